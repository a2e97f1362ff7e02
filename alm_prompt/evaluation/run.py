"""One run of the benchmark: train one method on one split and measure it in both forms."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from peft import get_peft_model
from transformers import PrinterCallback, TrainerCallback, TrainerControl, TrainerState, TrainingArguments, set_seed

from ..data.collate import AlmCollator, ClipDataset, FeatureDataset
from ..data.splits import Split
from ..models.encoder_modes import REFERENCE
from ..training import AlmTrainer, AlmTrainingArguments, AudioFeatureCache
from .metrics import accuracy, harmonic_mean

if TYPE_CHECKING:
    from peft import PeftConfig, PeftModel

    from ..data.sources import AudioClips
    from ..models import AlmForAudioClassification, AlmProcessor

# Clips classified in one forward pass; the class prompts are encoded once per pass.
EVAL_BATCH = 128
# The result is the adapter at the end: a run leaves nothing behind, and the benchmark shows the progress.
QUIET = {"save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "dataloader_pin_memory": False}


@dataclass(frozen=True)
class EncodedClips:
    """Audio features of a data set, to be found by clip.

    Attributes:
        features: `[N, d]`, projected, not normalised.
        position: row of a clip's features, by clip id.
    """

    features: torch.Tensor
    position: Mapping[str, int]

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
    model: AlmForAudioClassification,
    processor: AlmProcessor,
    encoded: EncodedClips,
    split: Split,
    config: PeftConfig | None,
    class_text: Mapping[str, Any],
    training_args: Mapping[str, Any],
    on_epoch: Callable[[str], None],
) -> dict[str, Any]:
    """Train a method on a split's shots and measure it on its test clips.

    Args:
        model: the zero-shot model; it comes back without an adapter.
        processor: its processor.
        encoded: audio features of all clips, by the frozen encoders; a method that trains with others does not use it.
        split: the split.
        config: the method, filled in by the way; `None` is zero-shot.
        class_text: template and descriptions of the classes, as `set_classes` takes them.
        training_args: fields of [`AlmTrainingArguments`] that differ from the published recipe.
        on_epoch: called with a word about the progress after every epoch.

    Returns:
        The measured part of a benchmark row.
    """
    start = time.perf_counter()
    logit_scale = getattr(config, "logit_scale", None) or model.alm.logit_scale.exp().item()
    with _adapted(model, config, split, class_text) as (adapted, parameters):
        reference = adapted.class_head.encoder_mode == REFERENCE
        if parameters:
            if reference:
                dataset = ClipDataset(split.train, processor, split.base_classes)
            else:
                dataset = FeatureDataset(encoded.of(split.train), split.train.label_ids(split.base_classes))
            train_adapter(adapted, dataset, {**training_args, "seed": split.seed}, on_epoch)
        if reference:
            encoded = EncodedClips.encode(AudioFeatureCache(enabled=False), adapted, processor, split.test, False)
        scores = _measure(adapted, encoded, split, class_text)
    return {
        **scores,
        "trainable_parameters": parameters,
        "seconds": time.perf_counter() - start,
        "train_clips": len(split.train),
        "test_clips": len(split.test),
        "base_classes": list(split.base_classes),
        "novel_classes": list(split.novel_classes),
        "logit_scale": logit_scale,
    }


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


class _EpochCallback(TrainerCallback):
    def __init__(self, on_epoch: Callable[[str], None]) -> None:
        self.on_epoch = on_epoch

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self.on_epoch(f"epoch {state.epoch:.0f}/{state.num_train_epochs}")


def _measure(model: Any, encoded: EncodedClips, split: Split, class_text: Mapping[str, Any]) -> dict[str, float]:
    """Accuracy in both forms: each half among its own classes, then every clip among all classes."""
    base, novel = list(split.base_classes), list(split.novel_classes)
    base_clips, novel_clips = split.test.select(labels=base), split.test.select(labels=novel)
    model.eval()

    def predict(clips: AudioClips, classes: Sequence[str]) -> list[int]:
        model.set_classes(classes, **class_text)
        return predict_features(model, encoded.of(clips))

    def correct(clips: AudioClips, classes: Sequence[str]) -> float:
        return accuracy(predict(clips, classes), clips.label_ids(classes))

    novel_among_all = predict(novel_clips, base + novel)
    scores = {
        "base": correct(base_clips, base),
        "novel": correct(novel_clips, novel),
        "base_g": correct(base_clips, base + novel),
        "novel_g": accuracy(novel_among_all, novel_clips.label_ids(base + novel)),
        "novel_to_base": sum(label < len(base) for label in novel_among_all) / len(novel_among_all),
    }
    return scores | {
        "h": harmonic_mean(scores["base"], scores["novel"]),
        "h_g": harmonic_mean(scores["base_g"], scores["novel_g"]),
    }
