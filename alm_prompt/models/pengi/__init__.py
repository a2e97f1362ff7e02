"""Pengi (Deshmukh et al. 2023): an audio-language model that writes text about a clip, as a text prompt asks."""

from .configuration import PengiConfig
from .modeling import PengiForConditionalGeneration
from .processing import PengiProcessor

__all__ = ["PengiConfig", "PengiForConditionalGeneration", "PengiProcessor"]
