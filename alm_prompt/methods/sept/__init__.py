"""SEPT: a wrapped prompt method whose context must also place the acoustic neighbours of its classes."""

from ...registry import register_method
from ..tuner import PromptTuner
from .config import SeptPromptConfig

__all__ = ["SeptPromptConfig"]

register_method("sept", SeptPromptConfig, PromptTuner)
