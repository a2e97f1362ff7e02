"""Training: arguments, trainer, cache of audio features, run record; adaptation without labels at test time."""

from .adaptation import adapt, predict_adapted, view_features
from .arguments import AlmTrainingArguments
from .feature_cache import AudioFeatureCache
from .run_record import RunRecord
from .trainer import AlmTrainer

__all__ = [
    "AlmTrainer",
    "AlmTrainingArguments",
    "AudioFeatureCache",
    "RunRecord",
    "adapt",
    "predict_adapted",
    "view_features",
]
