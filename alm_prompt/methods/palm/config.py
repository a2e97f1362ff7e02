"""Options of PALM."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from ...registry import peft_type_of
from ..config import PromptConfig
from .layer import PalmPrompt


@dataclass
class PalmPromptConfig(PromptConfig):
    """Config of PALM (arXiv 2409.19806): learning in the joint space, with `d + 1` numbers per class.

    Classes outside the training list have no learned vector: they keep the embedding of their bare name. The paper
    does not say what to do with them; this is our rule.
    """

    method_class: ClassVar[type[PalmPrompt]] = PalmPrompt

    def __post_init__(self) -> None:
        super().__post_init__()
        self.peft_type = peft_type_of("palm")
