"""CoCoOp: CoOp's context, shifted for every clip by a small network that hears it."""

from ...registry import register_method
from ..tuner import PromptTuner
from .config import CoCoOpPromptConfig

__all__ = ["CoCoOpPromptConfig"]

register_method("cocoop", CoCoOpPromptConfig, PromptTuner)
