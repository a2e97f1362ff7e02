"""Audio-language models: configuration, towers, class head, processor."""

from .class_bank import ClassBank
from .class_head import ClassHead, similarity_output
from .classification import AlmForAudioClassification
from .configuration import AlmConfig
from .modeling import AlmModel
from .pengi import PengiConfig, PengiForConditionalGeneration, PengiProcessor
from .processing import AlmFeatureExtractor, AlmProcessor
from .scores import audio_entailment, audio_quality, audio_text_cosines, fit_entailment_thresholds

__all__ = [
    "AlmConfig",
    "AlmFeatureExtractor",
    "AlmForAudioClassification",
    "AlmModel",
    "AlmProcessor",
    "ClassBank",
    "ClassHead",
    "PengiConfig",
    "PengiForConditionalGeneration",
    "PengiProcessor",
    "audio_entailment",
    "audio_quality",
    "audio_text_cosines",
    "fit_entailment_thresholds",
    "similarity_output",
]
