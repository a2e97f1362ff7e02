"""PALM: one learned vector per class, mixed into its text embedding; no gradient through the text tower."""

from ...registry import register_method
from ..tuner import PromptTuner
from .config import PalmPromptConfig

__all__ = ["PalmPromptConfig"]

register_method("palm", PalmPromptConfig, PromptTuner)
