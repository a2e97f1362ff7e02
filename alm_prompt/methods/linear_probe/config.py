"""Options of the linear probe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...registry import peft_type_of
from ..config import PromptConfig
from .layer import LinearProbe


@dataclass
class LinearProbeConfig(PromptConfig):
    """Config of a linear probe on the unit audio embedding (as in PALM's table 4): `K * (d + 1)` numbers.

    Classes outside the training list keep their zero-shot logits.
    """

    method_class: ClassVar[type[LinearProbe]] = LinearProbe

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = peft_type_of("linear_probe")
