"""Audio-language models: configuration, towers, class head, processor."""

from .class_bank import ClassBank
from .class_head import ClassHead, similarity_output
from .classification import AlmForAudioClassification
from .configuration import AlmConfig
from .modeling import AlmModel
from .processing import AlmFeatureExtractor, AlmProcessor

__all__ = [
    "AlmConfig",
    "AlmFeatureExtractor",
    "AlmForAudioClassification",
    "AlmModel",
    "AlmProcessor",
    "ClassBank",
    "ClassHead",
    "similarity_output",
]
