"""Options of DePT."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ...errors import AlmPromptError
from ...registry import peft_type_of
from ..config import WrapperPromptConfig
from ..saved_fields import MOST_ENTRIES
from .layer import CONCATENATED, HEAD_INPUTS, STACKED, DePTPrompt


@dataclass
class DePTPromptConfig(WrapperPromptConfig):
    """Config of DePT (arXiv 2309.07439, "decoupled"), around CoOp, KgCoOp or another prompt method.

    Raises:
        AlmPromptError: an option is out of its range, or no method is wrapped.
    """

    method_class: ClassVar[type[DePTPrompt]] = DePTPrompt

    similarity_weight: float = field(
        default=0.3, metadata={"help": "Share of the wrapped method in loss and fused logits; the rest is the head's."}
    )
    head_learning_rate_factor: float = field(
        default=6.5, metadata={"help": "Learning rate of the head relative to that of the prompt, under SGD."}
    )
    fusion: bool = field(default=True, metadata={"help": "Let the head vote on training classes in predictions, too."})
    head_in: str = field(
        default=STACKED,
        metadata={
            "help": "What the head reads in training: text and audio of a clip as two rows (stacked), or as one row "
            "of twice the width (concatenated), which has no vote without a label."
        },
    )
    head_classes: int | None = field(
        default=None,
        metadata={"help": "Outputs of the head; default: the training classes. Further ones are never right."},
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = peft_type_of("dept")
        if not 0 <= self.similarity_weight <= 1:
            raise AlmPromptError(f"similarity_weight is {self.similarity_weight}; give a share between 0 and 1")
        if self.head_in not in HEAD_INPUTS:
            raise AlmPromptError(f"head_in is {self.head_in!r}; choose {' or '.join(HEAD_INPUTS)}")
        if self.head_in == CONCATENATED and self.fusion:
            raise AlmPromptError(
                "head_in is 'concatenated': the head reads the true class's text and cannot vote; set fusion=False"
            )
        if self.head_classes is not None and not 1 <= self.head_classes <= MOST_ENTRIES:
            raise AlmPromptError(
                f"head_classes is {self.head_classes}; give the number of training classes, or up to {MOST_ENTRIES:,}"
            )
        if not self.head_learning_rate_factor > 0:
            raise AlmPromptError(
                f"head_learning_rate_factor is {self.head_learning_rate_factor}; give a number above 0"
            )
