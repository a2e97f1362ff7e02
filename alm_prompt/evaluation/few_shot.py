"""A few-shot task in hand: a frozen model, few encoded clips to train adapters on, and all others to measure with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from peft import get_peft_model
from transformers import set_seed

from ..data.checks import check_leaks
from ..data.collate import FeatureDataset
from ..data.sources import AudioClips, load_clips
from ..data.splits import sample_shots
from ..data.world import TINY_MODEL, world_clips
from ..errors import AlmPromptError
from ..models import AlmForAudioClassification, AlmProcessor
from ..training import AudioFeatureCache
from .metrics import accuracy
from .run import predict_features, train_adapter

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel


@dataclass(frozen=True)
class FewShotTask:
    """Few clips per class to train on, all others to measure with; made by [`few_shot_task`].

    Attributes:
        model: the frozen model.
        trained_classes: the classes that adapters are trained on.
        class_names: these, then those that are only tested.
        train: audio features of the training clips; labels are indices into `class_names`.
        test: those of all other clips.
    """

    model: AlmForAudioClassification
    trained_classes: list[str]
    class_names: list[str]
    train: FeatureDataset
    test: FeatureDataset

    def fit(self, config: PeftConfig, **training_args: Any) -> PeftModel:
        """Train an adapter on the training classes; `unload()` the model that comes back before the next one.

        Args:
            config: the method.
            **training_args: fields of [`AlmTrainingArguments`] that differ from the published recipe.

        Returns:
            The model with the adapter, in eval mode.
        """
        self.model.set_classes(self.trained_classes)
        set_seed(training_args.get("seed", 0))
        model = get_peft_model(self.model, config)
        train_adapter(model, self.train, training_args)
        return model.eval()

    def accuracy(self, model: AlmForAudioClassification | PeftModel) -> float:
        """Share of the test clips that a model tells apart, among `class_names`.

        Args:
            model: the model, with or without an adapter; `class_names` become its classes.
        """
        if model.class_names != self.class_names:
            model.set_classes(self.class_names)
        return accuracy(predict_features(model, self.test.features), self.test.labels)


def open_task(
    model: str | Path | None = None, data: str | Path | None = None, clips_per_class: int = 40
) -> tuple[AlmForAudioClassification, AlmProcessor, AudioClips]:
    """A model, its processor and clips: what [`run_benchmark`] and [`few_shot_task`] start from.

    Args:
        model: folder or Hub id; default: the bundled tiny model.
        data: what [`load_clips`] reads; default: the sound world.
        clips_per_class: recordings of each class of the sound world.
    """
    source = TINY_MODEL if model is None else model
    clips = world_clips(per_class=clips_per_class) if data is None else load_clips(data)
    return AlmForAudioClassification.from_pretrained(source), AlmProcessor.from_pretrained(source), clips


def few_shot_task(
    model: AlmForAudioClassification,
    processor: AlmProcessor,
    clips: AudioClips,
    shots: int = 16,
    seed: int = 0,
    trained_classes: Sequence[str] | None = None,
) -> FewShotTask:
    """Draw few clips per class and encode all; the protocol of PALM (arXiv 2409.19806) where all classes are trained.

    Args:
        model: the zero-shot model.
        processor: its processor.
        clips: all clips.
        shots: training clips per class.
        seed: seed of the draw.
        trained_classes: classes to train; default: all. Clips of the others are test clips.

    Raises:
        AlmPromptError: a class has too few clips, is unknown, no clip is left for testing, or one of these is the same
            audio as a clip to train on.
    """
    trained_classes = list(clips.class_names if trained_classes is None else trained_classes)
    names = trained_classes + [name for name in clips.class_names if name not in trained_classes]
    train = sample_shots(clips.select(labels=trained_classes), shots, seed)
    drawn = {clip.clip_id for clip in train}
    test = AudioClips((clip for clip in clips if clip.clip_id not in drawn), clips.class_names)
    if not test:
        raise AlmPromptError(f"{shots} shots take all {len(clips)} clips and leave none for testing; lower shots")
    check_leaks(train, test)
    cache = AudioFeatureCache()
    parts = [FeatureDataset(cache.features(model, processor, part), part.label_ids(names)) for part in (train, test)]
    return FewShotTask(model, trained_classes, names, *parts)
