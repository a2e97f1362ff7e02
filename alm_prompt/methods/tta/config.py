"""Options of test-time adaptation."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ...errors import AlmPromptError
from ...registry import peft_type_of
from ..config import WrapperPromptConfig
from .layer import TtaPrompt


@dataclass
class TtaPromptConfig(WrapperPromptConfig):
    """Config of test-time adaptation (arXiv 2402.09585), which wraps any other prompt method.

    [`~alm_prompt.adapt`] reads it. That paper states no constants; the defaults are those of TPT (arXiv 2209.07511).

    Raises:
        AlmPromptError: an option is out of its range, or no method is wrapped.
    """

    method_class: ClassVar[type[TtaPrompt]] = TtaPrompt

    clips: int = field(default=1, metadata={"help": "Clips adapted to at once; 1 and 5 in the paper."})
    views: int = field(default=64, metadata={"help": "Views of every clip, the clip itself among them."})
    confident_share: float = field(
        default=0.1, metadata={"help": "Share of the views, those of lowest entropy, that is adapted to."}
    )
    learning_rate: float = field(default=5e-3, metadata={"help": "Learning rate of AdamW."})
    steps: int = field(default=1, metadata={"help": "Steps of AdamW per adaptation."})

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = peft_type_of("tta")
        for name in ("clips", "views", "steps"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise AlmPromptError(f"{name} is {value!r}; give a whole number of at least 1")
        if not 0 < self.confident_share <= 1:
            raise AlmPromptError(f"confident_share is {self.confident_share}; give a share above 0 and up to 1")
        if not self.learning_rate > 0:
            raise AlmPromptError(f"learning_rate is {self.learning_rate}; give a rate above 0")
