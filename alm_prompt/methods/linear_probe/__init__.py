"""Linear probe: a linear classifier on the audio embedding, the yardstick without prompts."""

from ...registry import register_method
from ..tuner import PromptTuner
from .config import LinearProbeConfig

__all__ = ["LinearProbeConfig"]

register_method("linear_probe", LinearProbeConfig, PromptTuner)
