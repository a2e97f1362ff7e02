"""One line of a benchmark's table: a stack of methods, and the text that it reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AlmPromptError
from ..methods import parse_method
from ..methods.expression import neighbor_options
from ..prompts import checked_neighbors, open_descriptions, read_neighbors, sample_sentences

if TYPE_CHECKING:
    from peft import PeftConfig


@dataclass(frozen=True)
class Contestant:
    """One line of a table: a stack of methods, and the text that it reads.

    Args:
        label: name in results.
        stack: methods joined by `+`, the innermost first, or "zero-shot"; the label when not given.
        options: values by `"<method>.<option>"`.
        template: sentence around a class name, with one `{}`; that of the recipe when not given.
        descriptions: sentences that stand for the classes: "shipped", or a JSON file.
        sentences: how many of a class's descriptions are taken, drawn with the seed of the run; all when not given.
        neighbors: acoustic neighbours: a JSON file, or a folder with one `<data set>.json` for each; the shipped ones
            when not given.

    Raises:
        AlmPromptError: an unknown method or option, or settings that contradict each other.
    """

    label: str
    stack: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    template: str | None = None
    descriptions: str | None = None
    sentences: int | None = None
    neighbors: str | None = None

    def __post_init__(self) -> None:
        names = (self.stack or self.label).split("+")
        object.__setattr__(self, "stack", "+".join(name.strip().lower() for name in names))
        self.config()
        check_template(self.template)
        if self.sentences is not None and self.descriptions is None:
            raise AlmPromptError("sentences counts descriptions; add descriptions: shipped, or a file")
        if self.sentences is not None and self.sentences < 1:
            raise AlmPromptError(f"sentences is {self.sentences}; take at least 1")
        if self.neighbors is not None and not self.takes_neighbors:
            raise AlmPromptError(f"no method of {self.stack!r} takes neighbours; leave them out")

    @property
    def takes_neighbors(self) -> bool:
        """Whether one of its methods has an option for acoustic neighbours."""
        return bool(neighbor_options(self.stack, {}))

    def config(self, dataset: str = "", base: Sequence[str] = (), novel: Sequence[str] = ()) -> PeftConfig | None:
        """A new config of the stack; `None` for zero-shot.

        Args:
            dataset: name of the data set that it will learn.
            base: classes that it will learn; without, neighbours of a file are left out.
            novel: classes that training must not know.

        Raises:
            AlmPromptError: an unknown method or option, or neighbours that cannot be used for these classes.
        """
        options = dict(self.options)
        if base and self.neighbors is not None:
            path = Path(self.neighbors)
            given = read_neighbors(path / f"{dataset}.json" if path.is_dir() else path)
            options |= neighbor_options(self.stack, checked_neighbors(given, base, novel))
        return parse_method(self.stack, options)

    def class_text(self, class_names: Sequence[str], seed: int, template: str) -> dict[str, Any]:
        """Template and descriptions of the classes, as `set_classes` takes them.

        Args:
            class_names: all classes that occur in a run.
            seed: seed of the run.
            template: the template where the line has none of its own.

        Raises:
            AlmPromptError: descriptions that cannot be read, lack a class, or are too few.
        """
        found = None if self.descriptions is None else open_descriptions(self.descriptions, class_names)
        if found is not None and self.sentences is not None:
            found = sample_sentences(found, self.sentences, seed)
        return {"template": self.template or template, "descriptions": found}

    def text_facts(self, class_names: Sequence[str]) -> dict[str, str]:
        """What rows say of the descriptions, see [`description_facts`]; the same for all seeds.

        Args:
            class_names: all classes that occur in a run.

        Raises:
            AlmPromptError: descriptions that cannot be read, or lack a class.
        """
        if self.descriptions is None:
            return {}
        return description_facts(open_descriptions(self.descriptions, class_names), self.sentences)


def description_facts(descriptions: Mapping[str, Sequence[str]], sentences: int | None = None) -> dict[str, str]:
    """What rows say of descriptions: a hash, by which one sees whether two runs read the same.

    Args:
        descriptions: sentences by class.
        sentences: how many of a class are drawn, if not all are taken.
    """
    text = json.dumps([descriptions, sentences], sort_keys=True)
    return {"descriptions_hash": hashlib.sha256(text.encode()).hexdigest()}


def label_key(method: str | None) -> str:
    """A label without case and blanks, as users and papers differ in them."""
    return "".join(str(method).lower().split())


def check_template(template: str | None) -> None:
    """Refuse a template that has no one place for the class name; `None` stands for another template.

    Raises:
        AlmPromptError: it does not hold `{}` once.
    """
    if template is not None and template.count("{}") != 1:
        raise AlmPromptError(f"template {template!r} needs one {{}} for the class name")
