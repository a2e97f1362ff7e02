"""Options of CoCoOp."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ...errors import AlmPromptError
from ...registry import peft_type_of
from ..coop.config import CoOpPromptConfig
from .layer import CoCoOpPrompt

FEEDBACKS = ("context", "text_features")


@dataclass
class CoCoOpPromptConfig(CoOpPromptConfig):
    """Config of CoCoOp (arXiv 2203.05557): every context vector is shifted by a network of the clip's embedding.

    Every clip reads the class names anew: a step costs as many prompts as clips times classes. With
    `feedback="text_features"` (arXiv 2409.19806, table 4) the class embeddings are shifted instead, and a step costs
    one prompt per class.

    Raises:
        AlmPromptError: an option is out of its range.
    """

    method_class: ClassVar[type[CoCoOpPrompt]] = CoCoOpPrompt

    reduction: int = field(
        default=16, metadata={"help": "The network's hidden width is the joint dimension divided by this."}
    )
    feedback: str = field(
        default="context", metadata={"help": "What the network shifts: the 'context' or the 'text_features'."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = peft_type_of("cocoop")
        if isinstance(self.reduction, bool) or not isinstance(self.reduction, int) or self.reduction < 1:
            raise AlmPromptError(f"reduction is {self.reduction!r}; give a whole number of at least 1")
        if self.feedback not in FEEDBACKS:
            raise AlmPromptError(f"feedback is {self.feedback!r}; choose one of {', '.join(FEEDBACKS)}")
