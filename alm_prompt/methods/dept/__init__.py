"""DePT: a prompt method beside a transfer head, which takes what is special to the training classes off the prompt."""

from ...registry import register_method
from ..tuner import PromptTuner
from .config import DePTPromptConfig

__all__ = ["DePTPromptConfig"]

register_method("dept", DePTPromptConfig, PromptTuner)
