"""Training: arguments, trainer, cache of audio features, run record."""

from .arguments import AlmTrainingArguments
from .feature_cache import AudioFeatureCache
from .run_record import RunRecord
from .trainer import AlmTrainer

__all__ = ["AlmTrainer", "AlmTrainingArguments", "AudioFeatureCache", "RunRecord"]
