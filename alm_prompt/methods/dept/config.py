"""Options of DePT."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ...errors import AlmPromptError
from ...registry import peft_type_of
from ..config import WrapperPromptConfig
from .layer import DePTPrompt


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

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = peft_type_of("dept")
        if not 0 <= self.similarity_weight <= 1:
            raise AlmPromptError(f"similarity_weight is {self.similarity_weight}; give a share between 0 and 1")
        if not self.head_learning_rate_factor > 0:
            raise AlmPromptError(
                f"head_learning_rate_factor is {self.head_learning_rate_factor}; give a number above 0"
            )
