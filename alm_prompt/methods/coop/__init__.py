"""CoOp: context vectors shared by all classes, learned in place of the words around a class name."""

from ...registry import register_method
from ..tuner import PromptTuner
from .config import CoOpPromptConfig

__all__ = ["CoOpPromptConfig"]

register_method("coop", CoOpPromptConfig, PromptTuner)
