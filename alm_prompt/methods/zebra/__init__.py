"""ZEBRA: a prompt method's logits fused with zero-shot logits, and an entropy bonus, against forgetting."""

from ...registry import register_method
from ..tuner import PromptTuner
from .config import ZebraPromptConfig

__all__ = ["ZebraPromptConfig"]

register_method("zebra", ZebraPromptConfig, PromptTuner)
