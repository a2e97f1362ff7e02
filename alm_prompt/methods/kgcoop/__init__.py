"""KgCoOp: CoOp held near the zero-shot embeddings of its classes."""

from ...registry import register_method
from ..tuner import PromptTuner
from .config import KgCoOpPromptConfig

__all__ = ["KgCoOpPromptConfig"]

register_method("kgcoop", KgCoOpPromptConfig, PromptTuner)
