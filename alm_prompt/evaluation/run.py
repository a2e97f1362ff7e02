"""One run of a benchmark: train one method on one split and measure it."""

from __future__ import annotations

import copy
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from peft import get_peft_model
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from ..data.collate import AlmCollator, ClipDataset, FeatureDataset
from ..data.splits import Split
from ..errors import AlmPromptError
from ..models.encoder_modes import REFERENCE
from ..prompts import drop_overlaps
from ..training import AlmTrainer, AlmTrainingArguments, AudioFeatureCache
from ..training.adaptation import predict_adapted, view_features
from .measures import MEASURES, TEST_TIME

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

    from ..data.clips import AudioClips
    from ..models import AlmForAudioClassification, AlmProcessor
    from .grid import Run

# Clips classified in one forward pass.
EVAL_BATCH = 128
# The result is the adapter at the end: a run leaves nothing behind, and the benchmark shows the progress.
QUIET = {"save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "dataloader_pin_memory": False}


@dataclass(frozen=True)
class EncodedClips:
    """Audio features of a data set, to be found by clip.

    Attributes:
        features: `[N, d]`, projected, not normalised.
        position: row of a clip's features, by clip id.
        views: views of the test clips of one split, for runs that adapt to them; filled by the first such run.
    """

    features: torch.Tensor
    position: Mapping[str, int]
    views: dict[tuple[int, int], torch.Tensor] = field(default_factory=dict)

    @classmethod
    def encode(
        cls,
        cache: AudioFeatureCache,
        model: AlmForAudioClassification | PeftModel,
        processor: AlmProcessor,
        clips: AudioClips,
        progress: bool,
    ) -> EncodedClips:
        """Encode clips, or find them in a cache."""
        features = cache.features(model, processor, clips, progress=progress)
        return cls(features, {clip.clip_id: row for row, clip in enumerate(clips)})

    def of(self, clips: AudioClips) -> torch.Tensor:
        """Features `[len(clips), d]` of some of the clips."""
        return self.features[[self.position[clip.clip_id] for clip in clips]]


def train_and_measure(
    run: Run,
    model: AlmForAudioClassification,
    processor: AlmProcessor,
    encoded: EncodedClips,
    on_epoch: Callable[[str], None] = lambda word: None,
) -> dict[str, Any]:
    """Train a run's method on its shots and measure it on its test clips.

    Args:
        run: what to do.
        model: the zero-shot model; it comes back without an adapter.
        processor: its processor.
        encoded: audio features of all clips, by the frozen encoders; a method that trains with others does not use it.
        on_epoch: called with a word about the progress after every epoch.

    Returns:
        The measured part of a benchmark row.

    Raises:
        AlmPromptError: the method knows a novel class.
    """
    start = time.perf_counter()
    split = run.split
    # Putting an adapter on a model fills in its config; each run starts from the one that was given.
    config = copy.deepcopy(run.config)
    logit_scale = getattr(config, "logit_scale", None) or model.alm.logit_scale.exp().item()
    with _adapted(model, config, split, run.class_text) as (adapted, parameters):
        _check_neighbors(config, split.novel_classes)
        predict = _Prediction(adapted, processor, encoded, run)
        if parameters and run.measure != TEST_TIME:
            if predict.reference:
                dataset = ClipDataset(split.train, processor, split.base_classes)
            else:
                dataset = FeatureDataset(encoded.of(split.train), split.train.label_ids(split.base_classes))
            train_adapter(adapted, dataset, {**run.training, "seed": split.seed}, on_epoch)
        adapted.eval()
        figures = MEASURES[run.measure](predict, split, run.target)
    return {
        **figures,
        "trainable_parameters": parameters,
        "seconds": time.perf_counter() - start,
        "train_clips": len(split.train),
        "test_clips": len(run.test_clips),
        "base_classes": list(split.base_classes),
        "novel_classes": list(split.novel_classes),
        "logit_scale": logit_scale,
    }


class _Prediction:
    """Predictions of a run's model for its test clips, from whatever features its encoders ask for."""

    def __init__(self, model: Any, processor: AlmProcessor, encoded: EncodedClips, run: Run) -> None:
        self.model, self.processor, self.encoded, self.run = model, processor, encoded, run
        self.reference = model.class_head.encoder_mode == REFERENCE
        self.trained: EncodedClips | None = None

    def __call__(self, clips: AudioClips, classes: Sequence[str]) -> list[int]:
        self.model.set_classes(classes, **self.run.class_text)
        if self.run.measure == TEST_TIME and self.run.config is not None:
            # As they are listed, clips of one class may lie together.
            logits = predict_adapted(self.model, self._views(clips), seed=self.run.split.seed)
            return logits.argmax(dim=-1).tolist()
        if self.reference and self.trained is None:
            # Encoders that drift in training are met as they are at its end, once for all figures.
            off = AudioFeatureCache(enabled=False)
            self.trained = EncodedClips.encode(off, self.model, self.processor, self.run.test_clips, False)
        return predict_features(self.model, (self.trained or self.encoded).of(clips))

    def _views(self, clips: AudioClips) -> torch.Tensor:
        """Views of the test clips: those of the last run, where it had as many of the same."""
        key = id(self.run.split), getattr(self.run.config, "views", 0)
        if key not in self.encoded.views:
            # Views take a lot of memory: of one split at a time.
            self.encoded.views.clear()
            sources = [clip.source for clip in clips]
            self.encoded.views[key] = view_features(
                self.model, self.processor, sources, seed=self.run.split.seed, progress=False
            )
        return self.encoded.views[key]


def _check_neighbors(config: PeftConfig | None, novel: Sequence[str]) -> None:
    """Refuse a stack whose acoustic neighbours name a class that training must not know."""
    while config is not None:
        _, named = drop_overlaps(getattr(config, "neighbors", None) or {}, novel)
        for name, terms in named.items():
            raise AlmPromptError(f"neighbour {terms[0]!r} of class {name!r} is a novel class; give others")
        config = getattr(config, "prompt", None)


@torch.no_grad()
def predict_features(model: Any, features: torch.Tensor) -> list[int]:
    """Most likely class of every clip.

    Args:
        model: a model with its classes set, with or without an adapter, in eval mode.
        features: `[N, d]` audio features from [`AudioFeatureCache`].

    Returns:
        `N` indices into the model's class names.
    """
    device = next(model.parameters()).device
    batches = features.to(device).split(EVAL_BATCH)
    return [index for batch in batches for index in model(audio_features=batch).logits.argmax(dim=-1).tolist()]


@contextmanager
def _adapted(
    model: AlmForAudioClassification, config: PeftConfig | None, split: Split, class_text: Mapping[str, Any]
) -> Iterator[tuple[Any, int]]:
    """The model with the base classes and, for a while, an adapter; with its number of trainable parameters."""
    model.set_classes(split.base_classes, **class_text)
    if config is None:
        yield model, 0
        return
    set_seed(split.seed)
    adapted = get_peft_model(model, config)
    try:
        yield adapted, adapted.get_nb_trainable_parameters()[0]
    finally:
        adapted.unload()


def train_adapter(
    model: torch.nn.Module,
    dataset: FeatureDataset | ClipDataset,
    training_args: Mapping[str, Any],
    on_epoch: Callable[[str], None] = lambda word: None,
) -> None:
    """Train a model's adapter on encoded clips, in silence and without leaving files.

    Args:
        model: the model with its adapter.
        dataset: audio features and labels, or clips where the encoder mode is "reference".
        training_args: fields of [`AlmTrainingArguments`] that differ from the published recipe.
        on_epoch: called with a word about the progress after every epoch.
    """
    with tempfile.TemporaryDirectory() as folder:
        args = AlmTrainingArguments(output_dir=folder, **{**QUIET, **training_args})
        trainer = AlmTrainer(
            model=model,
            args=args,
            train_dataset=dataset,
            data_collator=AlmCollator(),
            callbacks=[_EpochCallback(on_epoch)],
        )
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    # Mixed precision is for training: else adapters would be measured in another precision than zero-shot.
    trainer.accelerator.unwrap_model(trainer.model, keep_fp32_wrapper=False)


class _EpochCallback(TrainerCallback):
    def __init__(self, on_epoch: Callable[[str], None]) -> None:
        self.on_epoch = on_epoch

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.on_epoch(f"epoch {state.epoch:.0f}/{state.num_train_epochs}")
