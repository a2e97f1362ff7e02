"""Protocols as data: a recipe says what is run, on what, how, and what it is compared with.

The package ships one YAML file per published protocol in `recipes/`; a file of the same form works as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from ..data import CLASS_RULES, SHOT_RULES
from ..errors import LARGEST_SEED, AlmPromptError, nearest
from ..models.encoder_modes import ENCODER_MODES, FROZEN
from ..yaml_text import read_yaml
from .contestant import Contestant, check_template, label_key
from .grid import PAIR, check_training
from .measures import BASE_TO_NOVEL, CROSS_DATASET, MEASURES

RECIPES = Path(__file__).parent / "recipes"
OWN_TRACK = "own"
TRACKS = ("palm", "sept", "zebra", "generalized", "reclap", "tta", OWN_TRACK)
ALL_CLASSES = CLASS_RULES[0]
# What the keys of a recipe, and of one of its lines, are in YAML, and what an error calls it.
KINDS = {
    **dict.fromkeys(
        ("title", "source", "measure", "track", "class_rule", "shot_rule", "template", "encoder_mode"), (str, "text")
    ),
    **dict.fromkeys(("datasets", "shots", "seeds", "folds"), (list, "a list")),
    **dict.fromkeys(("methods", "training", "official"), (dict, "key: value lines")),
    "allow_fewer": (bool, "true or false"),
}
LINE_KINDS = {
    **dict.fromkeys(("stack", "template", "descriptions", "neighbors"), (str, "text")),
    "options": (dict, "key: value lines"),
    "sentences": (int, "a number"),
}
OFFICIAL_KINDS = {key: kind for key, kind in KINDS.items() if key not in ("methods", "official")}


@dataclass(frozen=True)
class Recipe:
    """A protocol.

    Args:
        name: name in results; that of the file.
        title: one line that says what it is.
        source: paper and table that it repeats.
        measure: what is measured, one of `alm_prompt.evaluation.measures.MEASURES`.
        methods: the lines of the table, by label; a text is a stack, a mapping the other fields of [`Contestant`].
        datasets: names of the data sets; for "cross-dataset", pairs `source:target`.
        track: figures are comparable inside a track only.
        class_rule: which classes are learned, see [`~alm_prompt.data.divide_classes`].
        shot_rule: how clips are drawn, see [`~alm_prompt.data.sample_shots`].
        shots: numbers of training clips per learned class, one run each.
        seeds: seeds, one run each.
        folds: names of the folds to hold out in turn, where a data set has folds; all when not given.
        allow_fewer: take all clips of a class that has fewer than `shots`.
        template: sentence around a class name; the model's own when not given.
        encoder_mode: how the encoders are while a method trains: "frozen" or "reference".
        training: fields of [`AlmTrainingArguments`] that differ from the published few-shot recipe.
        official: other values of the fields above with which the published runs were made.

    Raises:
        AlmPromptError: a value is unknown, or two contradict each other.
    """

    name: str
    title: str
    source: str
    measure: str
    methods: Sequence[Contestant]
    datasets: Sequence[str]
    track: str = OWN_TRACK
    class_rule: str = ALL_CLASSES
    shot_rule: str = SHOT_RULES[0]
    shots: Sequence[int] = (16,)
    seeds: Sequence[int] = (0, 1, 2)
    folds: Sequence[str] | None = None
    allow_fewer: bool = True
    template: str | None = None
    encoder_mode: str = FROZEN
    training: Mapping[str, Any] = field(default_factory=dict)
    official: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        choices = {
            "measure": tuple(MEASURES),
            "track": TRACKS,
            "class_rule": CLASS_RULES,
            "shot_rule": SHOT_RULES,
            "encoder_mode": ENCODER_MODES,
        }
        for name, known in choices.items():
            if getattr(self, name) not in known:
                raise AlmPromptError(
                    self._about(f"{name} is {getattr(self, name)!r}; choose one of {', '.join(known)}")
                )
        for name in ("methods", "datasets", "seeds", "shots"):
            given = [getattr(item, "label", item) for item in getattr(self, name)]
            if not given:
                raise AlmPromptError(self._about(f"{name} is empty; name at least one"))
            for item in given:
                if given.count(item) > 1:
                    raise AlmPromptError(self._about(f"{name} has {item!r} twice; name it once"))
        for name, least, most in (("shots", 1, None), ("seeds", 0, LARGEST_SEED)):
            for value in getattr(self, name):
                whole = isinstance(value, int) and not isinstance(value, bool)
                if not whole or value < least or (most is not None and value > most):
                    limits = f"at least {least}" + ("" if most is None else f" and at most {most}")
                    raise AlmPromptError(self._about(f"{name} has {value!r}; give whole numbers of {limits}"))
        if (self.measure == BASE_TO_NOVEL) != (self.class_rule != ALL_CLASSES):
            halves = ", ".join(CLASS_RULES[1:])
            raise AlmPromptError(
                self._about(
                    f"measure {self.measure} does not go with class_rule {self.class_rule}; "
                    f"{BASE_TO_NOVEL} learns half of the classes ({halves}), every other measure {ALL_CLASSES}"
                )
            )
        for dataset in self.datasets:
            if not isinstance(dataset, str) or (self.measure == CROSS_DATASET) != (dataset.count(PAIR) == 1):
                form = f"pairs source{PAIR}target" if self.measure == CROSS_DATASET else "one data set at a time"
                raise AlmPromptError(self._about(f"measure {self.measure} takes {form}, not {dataset!r}"))
        try:
            check_training(self.training)
            check_template(self.template)
        except AlmPromptError as error:
            raise AlmPromptError(self._about(str(error))) from error

    def changed(self, **values: Any) -> Recipe:
        """The recipe with other values of some fields; those that are `None` stay as they are.

        With another class rule its figures compare with none that were published: they get a track of their own.
        """
        values = {name: value for name, value in values.items() if value is not None}
        if values.get("class_rule", self.class_rule) != self.class_rule:
            values["track"] = OWN_TRACK
        return replace(self, **values)

    def with_methods(self, wanted: Sequence[str], options: Mapping[str, Any]) -> Recipe:
        """The recipe with some of its lines, or with other stacks of methods.

        Args:
            wanted: labels of the recipe, or stacks such as "coop+zebra".
            options: values by `"<method>.<option>"`, for every line that has the method.

        Raises:
            AlmPromptError: neither a label nor a stack, or an option that belongs to no line.
        """
        own = {label_key(line.label): line for line in self.methods}
        lines = []
        for name in dict.fromkeys(wanted):
            line = own.get(label_key(name)) or Contestant(label_key(name))
            parts = line.stack.split("+")
            mine = {key: value for key, value in options.items() if key.partition(".")[0] in parts}
            lines.append(replace(line, options={**line.options, **mine}) if mine else line)
        used = {part for line in lines for part in line.stack.split("+")}
        for key in options:
            if key.partition(".")[0] not in used:
                raise AlmPromptError(f"method option {key!r} belongs to none of {', '.join(wanted)}; remove it")
        return replace(self, methods=lines)

    def with_neighbors(self, sources: Mapping[str, str]) -> Recipe:
        """The recipe with every line that takes neighbours run once for each source of them.

        Args:
            sources: file or folder by name; under the name `""` they replace the shipped ones without a word.

        Raises:
            AlmPromptError: no line takes neighbours.
        """
        lines = []
        for line in self.methods:
            if not line.takes_neighbors:
                lines.append(line)
                continue
            for name, path in sources.items():
                label = f"{line.label} ({name})" if name else line.label
                lines.append(replace(line, label=label, neighbors=path))
        if lines == list(self.methods):
            raise AlmPromptError(self._about("none of its methods takes neighbours; leave out --neighbors"))
        return replace(self, methods=lines)

    def with_descriptions(self, path: str) -> Recipe:
        """The recipe with every line that reads descriptions reading those of a file.

        Raises:
            AlmPromptError: no line reads descriptions.
        """
        if all(line.descriptions is None for line in self.methods):
            raise AlmPromptError(self._about("none of its lines reads descriptions; leave out --descriptions"))
        lines = [line if line.descriptions is None else replace(line, descriptions=path) for line in self.methods]
        return replace(self, methods=lines)

    def as_official(self) -> Recipe:
        """The recipe as the published runs were made.

        Raises:
            AlmPromptError: it does not say how.
        """
        if not self.official:
            raise AlmPromptError(
                self._about("seeds and shots of the published runs are not known; leave out --official")
            )
        return replace(self, **self.official)

    def _about(self, message: str) -> str:
        return f"recipe {self.name}: {message}"


def recipe_names() -> list[str]:
    """Names of the recipes that ship with the package."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def read_recipe(name: str) -> Recipe:
    """Read a recipe.

    Args:
        name: one of [`recipe_names`], or the path of a YAML file of the same form.

    Raises:
        AlmPromptError: there is no such recipe, it cannot be read, or it holds an unknown key, method or value.
    """
    path = RECIPES / f"{name}.yaml"
    if name not in recipe_names():
        path = Path(name)
        if not path.is_file():
            known = recipe_names()
            raise AlmPromptError(f"no recipe {name!r}; {nearest(name, known)}, all are {', '.join(known)}")
    try:
        content = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise AlmPromptError(f"recipe {path}: cannot be read ({error}); give a YAML file of a recipe") from error
    about = f"recipe {path.stem}"
    if not isinstance(content, dict):
        raise AlmPromptError(f"{about}: holds no key: value lines")
    _check_entries(content, KINDS, about)
    _check_entries(content.get("official", {}), OFFICIAL_KINDS, f"{about}, official")
    needed = (item.name for item in fields(Recipe) if item.default is MISSING and item.default_factory is MISSING)
    for key in needed:
        if key != "name" and key not in content:
            raise AlmPromptError(f"{about}: {key} is missing; add it")
    methods = [_contestant(label, line, about) for label, line in content.pop("methods").items()]
    recipe = Recipe(name=path.stem, methods=methods, **content)
    if recipe.official:
        recipe.as_official()
    return recipe


def _contestant(label: str, line: Any, about: str) -> Contestant:
    settings = {"stack": line} if isinstance(line, str) else line or {}
    about = f"{about}, method {label!r}"
    if not isinstance(settings, dict):
        raise AlmPromptError(f"{about}: is {line!r}; write a stack of methods, or key: value lines")
    _check_entries(settings, LINE_KINDS, about)
    try:
        return Contestant(str(label), **settings)
    except AlmPromptError as error:
        raise AlmPromptError(f"{about}: {error}") from error


def _check_entries(content: Mapping[str, Any], kinds: Mapping[str, tuple[type, str]], about: str) -> None:
    for key, value in content.items():
        if key not in kinds:
            raise AlmPromptError(f"{about}: unknown key {key!r}; {nearest(str(key), kinds)}")
        kind, words = kinds[key]
        if not isinstance(value, kind):
            raise AlmPromptError(f"{about}: {key} is {value!r}; write {words}")
