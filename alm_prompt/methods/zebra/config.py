"""Options of ZEBRA."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from ...errors import AlmPromptError
from ...registry import peft_type_of
from ..config import WrapperPromptConfig
from .layer import ZebraPrompt


@dataclass
class ZebraPromptConfig(WrapperPromptConfig):
    """Config of ZEBRA (arXiv 2606.31587), which wraps any other prompt method.

    Raises:
        AlmPromptError: an option is out of its range, or no method is wrapped.
    """

    method_class: ClassVar[type[ZebraPrompt]] = ZebraPrompt

    alpha: float = field(
        default=0.5, metadata={"help": "Share of the wrapped method in the fused logits; the rest is zero-shot."}
    )
    entropy_weight: float = field(
        default=0.05, metadata={"help": "Weight of the mean prediction entropy that is subtracted from the loss."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = peft_type_of("zebra")
        if not 0 <= self.alpha <= 1:
            raise AlmPromptError(f"alpha is {self.alpha}; give a share between 0 and 1")
        if self.entropy_weight < 0:
            raise AlmPromptError(f"entropy_weight is {self.entropy_weight}; give a weight of at least 0")
