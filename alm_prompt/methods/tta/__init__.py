"""Test-time adaptation: a method whose learned tensors are fitted to unlabelled test audio."""

from ...registry import register_method
from ..tuner import PromptTuner
from .config import TtaPromptConfig

__all__ = ["TtaPromptConfig"]

register_method("tta", TtaPromptConfig, PromptTuner)
