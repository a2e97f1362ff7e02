"""Options of KgCoOp."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ...errors import AlmPromptError
from ...registry import peft_type_of
from ..coop.config import CoOpPromptConfig
from .layer import KgCoOpPrompt

ANCHORS = ("template", "ensemble")


@dataclass
class KgCoOpPromptConfig(CoOpPromptConfig):
    """Config of KgCoOp (arXiv 2303.13283): CoOp with a penalty on leaving the zero-shot class embeddings.

    Raises:
        AlmPromptError: an option is out of its range.
    """

    method_class: ClassVar[type[KgCoOpPrompt]] = KgCoOpPrompt

    weight: float = field(default=8.0, metadata={"help": "Weight of the distance from the anchor."})
    anchor: str = field(
        default="template",
        metadata={"help": "Anchor: 'template' (the zero-shot template) or 'ensemble' (mean over 100 templates)."},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = peft_type_of("kgcoop")
        if self.weight < 0:
            raise AlmPromptError(f"weight is {self.weight}; give a weight of at least 0")
        if self.anchor not in ANCHORS:
            raise AlmPromptError(f"anchor is {self.anchor!r}; choose one of {', '.join(ANCHORS)}")
