"""Training: arguments, trainer, cache of audio features, sentences in place of audio, run record, adaptation."""

from .adaptation import adapt, predict_adapted, view_features
from .arguments import AlmTrainingArguments
from .audio_free import audio_free_dataset
from .feature_cache import AudioFeatureCache
from .run_record import RunRecord
from .trainer import AlmTrainer

__all__ = [
    "AlmTrainer",
    "AlmTrainingArguments",
    "AudioFeatureCache",
    "RunRecord",
    "adapt",
    "audio_free_dataset",
    "predict_adapted",
    "view_features",
]
