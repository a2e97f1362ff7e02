"""From a recipe to the runs of its grid."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from ..data import AudioClips, AudioDataset, Fold, Split, divide_classes, few_shot_split
from ..errors import AlmPromptError, about, nearest
from ..models.encoder_modes import FROZEN
from ..training import AlmTrainingArguments
from .rows import ROW_FORMAT, failed_row

if TYPE_CHECKING:
    from peft import PeftConfig

    from .protocols import Contestant, Recipe

PAIR = ":"
FIXED = "fixed"
# Training arguments that choose among epochs by clips that a benchmark does not have.
SELECTING = ("load_best_model_at_end", "metric_for_best_model", "eval_strategy", "do_eval")
# Those that every run sets itself.
OWN = ("seed", "output_dir")
# At 0 nothing would be trained, and measured as if it were.
POSITIVE = ("num_train_epochs", "learning_rate", "per_device_train_batch_size")


@dataclass(frozen=True)
class Run:
    """One cell of a benchmark's grid: a method on a split.

    Args:
        facts: what its row says beside all that follows: `protocol`, `track`, `dataset`, `class_rule`, `shot_rule`,
            and where there are any, `target_dataset` and `descriptions_hash`.
        label: the method's name in results.
        config: the method; `None` is zero-shot.
        class_text: template and descriptions of the classes, as `set_classes` takes them.
        split: the split.
        measure: what is measured, one of `alm_prompt.evaluation.measures.MEASURES`.
        training: fields of [`AlmTrainingArguments`] that differ from the published recipe.
        target: clips of another data set to measure on, with its classes as their class list.
    """

    facts: Mapping[str, Any]
    label: str
    config: PeftConfig | None
    class_text: Mapping[str, Any]
    split: Split
    measure: str
    training: Mapping[str, Any]
    target: AudioClips | None = None

    @property
    def test_clips(self) -> AudioClips:
        """All clips that it is measured on."""
        return self.split.test if self.target is None else AudioClips([*self.split.test, *self.target])

    def row(self, inputs: Mapping[str, str]) -> dict[str, Any]:
        """What is known of its row before it is measured, with the digest `settings` over all of it.

        By the digest one sees whether an earlier row may stand for this run.

        Args:
            inputs: what tells model and audio from others, as the row says it: `model_hash` and `audio_hash`.
        """
        config = None if self.config is None else self.config.to_dict()
        row = {
            "format": ROW_FORMAT,
            **self.facts,
            **inputs,
            "method": self.label,
            "shots": self.split.shots,
            "seed": self.split.seed,
            "fold": self.split.fold,
            "split_hash": self._split_hash(),
            "encoder_mode": getattr(self.config, "encoder_mode", FROZEN),
            "template": self.class_text["template"],
            "described": self.class_text["descriptions"] is not None,
            "config": _as_json(config),
            "training": _as_json(self.training),
        }
        text = json.dumps([row, self.measure, _as_json(self.class_text)], sort_keys=True)
        return row | {"measure": self.measure, "settings": hashlib.sha256(text.encode()).hexdigest()}

    def _split_hash(self) -> str:
        """That of the split, or of the split and the clips of another data set."""
        if self.target is None:
            return self.split.hash
        target = sorted((clip.clip_id, clip.label) for clip in self.target)
        return hashlib.sha256(json.dumps([self.split.hash, target]).encode()).hexdigest()


def plan_runs(
    recipe: Recipe, datasets: Mapping[str, AudioDataset], template: str
) -> tuple[list[Run], list[dict[str, Any]]]:
    """All runs of a recipe, by data set, shots, method, seed and fold.

    Args:
        recipe: the protocol.
        datasets: the data sets, by the names that the recipe calls them.
        template: the model's own template, where neither recipe nor line has one.

    Returns:
        The runs, and rows of those that are impossible, each with its reason: text that a method needs is not there.

    Raises:
        AlmPromptError: a data set or fold is missing, two data sets have one name, or a class has too few clips.
    """
    runs: list[Run] = []
    impossible: list[dict[str, Any]] = []
    _check_names(datasets)
    for name in recipe.datasets:
        for part in name.split(PAIR):
            if part not in datasets:
                raise AlmPromptError(f"no data set {part!r} is given; give {name}, or change the recipe's datasets")
        dataset, other = (datasets.get(part) for part in name.partition(PAIR)[::2])
        target = None if other is None else _renamed(other)
        facts = {
            "protocol": recipe.name,
            "track": recipe.track,
            "dataset": dataset.name,
            **({} if other is None else {"target_dataset": other.name}),
            "class_rule": recipe.class_rule,
            "shot_rule": recipe.shot_rule,
        }
        for shots in recipe.shots:
            splits = _splits(recipe, dataset, shots)
            for line, split in ((line, split) for line in recipe.methods for split in splits):
                try:
                    runs.append(_run(recipe, line, facts, split, target, recipe.template or template))
                except AlmPromptError as error:
                    cell = {"method": line.label, "shots": shots, "seed": split.seed, "fold": split.fold}
                    impossible.append(failed_row(facts | cell, error))
    return runs, impossible


def chosen_folds(dataset: AudioDataset, wanted: Sequence[str] | None) -> list[Fold]:
    """Folds of a data set by name; all where none is asked for.

    Args:
        dataset: the data set.
        wanted: names or numbers of folds, or "fixed" for the one pair of lists of ZEBRA's benchmark.

    Raises:
        AlmPromptError: the data set has no such fold, or not that pair.
    """
    if wanted is not None and list(wanted) == [FIXED]:
        if dataset.fixed is None:
            raise AlmPromptError(f"{dataset.name} has no fixed pair of lists beside its folds; leave out the folds")
        return [dataset.fixed]
    if wanted is None:
        return list(dataset.folds)
    named = {fold.name: fold for fold in dataset.folds if fold.name is not None}
    names = list(dict.fromkeys(map(str, wanted)))
    for name in names:
        if name not in named:
            have = f"its folds: {', '.join(named)}" if named else "its clips carry no folds"
            raise AlmPromptError(f"{dataset.name or 'the data'} has no fold {name!r}; {have}")
    return [named[name] for name in names]


def check_training(training: Mapping[str, Any]) -> None:
    """Refuse training arguments that do not exist, that train nothing or look at test clips.

    Raises:
        AlmPromptError: names the first such argument.
    """
    known = AlmTrainingArguments.__dataclass_fields__
    for name, value in training.items():
        if name not in known:
            raise AlmPromptError(f"unknown training argument {name!r}; {nearest(name, known)}")
        if name in OWN:
            raise AlmPromptError(f"training argument {name!r} is set by every run itself; leave it out")
        if name in POSITIVE and (isinstance(value, bool) or not isinstance(value, int | float) or not value > 0):
            raise AlmPromptError(f"training argument {name} is {value!r}; give a number above 0")
        if name in SELECTING and value not in (None, False, "no"):
            raise AlmPromptError(
                f"training argument {name}={value!r} is for choosing among epochs, and a benchmark has none but test "
                "clips to choose by; leave it out: the last epoch is measured"
            )


def _check_names(datasets: Mapping[str, AudioDataset]) -> None:
    """Refuse two data sets whose rows could not be told apart."""
    entries: dict[str, str] = {}
    for entry, dataset in datasets.items():
        other = entries.setdefault(dataset.name, entry)
        if other != entry:
            raise AlmPromptError(f"{other} and {entry} would both be {dataset.name!r} in results; rename one folder")


def _run(
    recipe: Recipe, line: Contestant, facts: Mapping[str, Any], split: Split, target: AudioClips | None, template: str
) -> Run:
    config = line.config(facts["dataset"], split.base_classes, split.novel_classes)
    if config is not None:
        config.encoder_mode = recipe.encoder_mode
    of_target = target.class_names if target is not None else ()
    classes = list(dict.fromkeys([*split.base_classes, *split.novel_classes, *of_target]))
    text = line.class_text(classes, split.seed, template)
    return Run(
        {**facts, **line.text_facts(classes)}, line.label, config, text, split, recipe.measure, recipe.training, target
    )


def _splits(recipe: Recipe, dataset: AudioDataset, shots: int) -> list[Split]:
    """One split per seed and fold; they are checked for leaks where a run of them is still to be made."""
    base, novel = divide_classes(recipe.class_rule, dataset.class_names, dataset.name)
    # Of data sets without folds, a recipe takes the one way that there is to part them.
    folds = chosen_folds(dataset, recipe.folds if len(dataset.folds) > 1 else None)
    with about(dataset.name):
        return [
            few_shot_split(fold, base, novel, shots, seed, recipe.shot_rule, recipe.allow_fewer, check_leaks=False)
            for seed in recipe.seeds
            for fold in folds
        ]


def _renamed(dataset: AudioDataset) -> AudioClips:
    """Every test clip of a data set once, under a name that no clip of another has: nothing of it was learned."""
    clips = {clip.clip_id: clip for fold in dataset.folds for clip in fold.test}.values()
    named = (replace(clip, clip_id=f"{dataset.name}/{clip.clip_id}") for clip in clips)
    return AudioClips(named, dataset.class_names)


def _as_json(value: Any) -> Any:
    """A value as it looks after a round trip through a file."""
    return json.loads(json.dumps(value, default=lambda item: sorted(item) if isinstance(item, set) else str(item)))
