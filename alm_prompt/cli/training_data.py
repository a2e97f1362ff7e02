"""What `alm-prompt train` learns from: few clips of every class, or sentences that stand in for them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import AlmPromptError
from .options import TrainingDataOptions, TrainingOptions

if TYPE_CHECKING:
    from peft import PeftModel

    from ..data import ClipDataset, FeatureDataset
    from ..models import AlmProcessor
    from ..training import AudioFeatureCache


class TrainingClips:
    """Clips of every class.

    Args:
        options: which clips.
        training: how many of them are drawn.
        seed: seed of the draw.
    """

    def __init__(self, options: TrainingDataOptions, training: TrainingOptions, seed: int) -> None:
        from ..data import folds
        from .loading import open_clips, take_side

        clips = open_clips(options)
        self.clips = take_side(clips, options, "train")
        # The folds that are left to measure on, where some were named to learn from.
        self.other_folds: list[str] = []
        if options.folds is not None:
            self.other_folds = [name for name in folds(clips) if name not in options.folds]
        self.class_names = options.classes or self.clips.class_names
        self.shots, self.allow_fewer, self.seed = training.shots, training.allow_fewer, seed

    def __str__(self) -> str:
        return f"{len(self.clips)} clips"

    def draw(self, class_names: Sequence[str]) -> dict[str, Any]:
        """Keep few clips of every class.

        Returns:
            What tells the draw from others; `evaluate` leaves out the clips that an adapter was `trained_on`.

        Raises:
            AlmPromptError: a class has too few clips, or one recording was drawn under two labels.
        """
        from ..audio.waveform import content_hash
        from ..data import Split, check_labels, sample_shots

        self.clips = sample_shots(self.clips.select(labels=class_names), self.shots, self.seed, self.allow_fewer)
        check_labels(self.clips)
        names = self.clips.class_names
        whole = Split(self.clips, self.clips[:0], tuple(names), (), None, self.seed, self.shots)
        return {
            "classes": names,
            "split_hash": whole.hash,
            "trained_on": sorted(content_hash(clip.source) for clip in self.clips),
        }

    def dataset(
        self, model: PeftModel, processor: AlmProcessor, cache: AudioFeatureCache
    ) -> FeatureDataset | ClipDataset:
        """Encoded clips, or the clips themselves where the encoders' output changes in training."""
        from ..data import ClipDataset, FeatureDataset

        if model.class_head.encoder_mode == "reference":
            return ClipDataset(self.clips, processor, model.class_names)
        return FeatureDataset(cache.features(model, processor, self.clips), self.clips.label_ids(model.class_names))


class TrainingSentences:
    """Sentences about every class, of a file or made of shipped text.

    Args:
        options: which classes and sentences, and the noise on their features.
        training: how many sentences are drawn.
        seed: seed of the draw and of the noise.

    Raises:
        AlmPromptError: sentences that cannot be read or used, or an encoder mode that needs clips.
    """

    def __init__(self, options: TrainingDataOptions, training: TrainingOptions, seed: int) -> None:
        from ..prompts import checked_sentences, class_sentences, read_descriptions, sample_sentences

        if training.encoder_mode != "frozen":
            raise AlmPromptError("--audio-free trains on encoded sentences; leave out --encoder-mode")
        self.class_names, self.noise_std, self.seed = options.classes, options.noise_std, seed
        self.other_folds: list[str] = []
        given = class_sentences(self.class_names)
        if options.sentences is not None:
            given = checked_sentences(read_descriptions(options.sentences, kind="sentences"), self.class_names)
        self.sentences = sample_sentences(given, training.shots, seed, training.allow_fewer)

    def __str__(self) -> str:
        return f"{sum(map(len, self.sentences.values()))} sentences"

    def draw(self, class_names: Sequence[str]) -> dict[str, Any]:
        """The sentences are drawn already.

        Returns:
            What tells them from others; no clip was `trained_on`.
        """
        return {
            "classes": list(class_names),
            "split_hash": hashlib.sha256(json.dumps(self.sentences).encode()).hexdigest(),
            "trained_on": [],
            "sentences": self.sentences,
            "noise_std": self.noise_std,
        }

    def dataset(self, model: PeftModel, processor: AlmProcessor, cache: AudioFeatureCache) -> FeatureDataset:
        """Encoded sentences; neither the processor nor the cache of audio is needed."""
        from ..training import audio_free_dataset

        return audio_free_dataset(model, self.sentences, self.noise_std, self.seed)
