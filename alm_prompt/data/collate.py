"""Data sets of torch for clips and cached features, and the collator that makes batches of either."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset

from ..errors import AlmPromptError
from .clips import AudioClips

# What `AlmProcessor` and `AlmFeatureExtractor` are: audio in, `input_features` [1, ...] (and `feature_mask`) out.
AudioProcessor = Callable[..., Mapping[str, torch.Tensor]]


class FeatureDataset(Dataset):
    """Audio features computed once, with their labels.

    Args:
        features: `[N, d]` projected audio features, not normalised.
        labels: N class indices.
    """

    def __init__(self, features: torch.Tensor, labels: Sequence[int]):
        if len(features) != len(labels):
            raise AlmPromptError(f"{len(features)} features but {len(labels)} labels: give one label per feature")
        self.features = features
        self.labels = [int(label) for label in labels]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"audio_features": self.features[index], "labels": self.labels[index]}


class ClipDataset(Dataset):
    """Clips that are decoded and turned into model input when they are asked for.

    Args:
        clips: Labelled clips.
        processor: Turns `audio=` into `input_features` (and `feature_mask`).
        class_names: The classes in the order of the model; a clip of any other class is refused.
    """

    def __init__(self, clips: AudioClips, processor: AudioProcessor, class_names: Sequence[str]):
        self.clips = clips
        self.processor = processor
        self.labels = clips.label_ids(class_names)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**_features_of(self.processor, self.clips[index].source), "labels": self.labels[index]}


class AlmCollator:
    """Stack items into a batch.

    Items hold `audio_features` `[d]`, or `input_features` with or without a `feature_mask` `[P]`, or (with a
    processor) `audio` of any kind that can be read; `labels` may be absent. Where items have a `feature_mask`, those
    of fewer patches are filled up with zeros and mask 0.

    Args:
        processor: Turns `audio` into `input_features`; needed only for items that hold raw audio.
    """

    def __init__(self, processor: AudioProcessor | None = None):
        self.processor = processor

    def __call__(self, items: Sequence[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        items = [self._with_features(item) for item in items]
        return {name: self._stack(name, items) for name in items[0]}

    def _with_features(self, item: Mapping[str, Any]) -> dict[str, Any]:
        if "audio" not in item:
            return dict(item)
        if self.processor is None:
            raise AlmPromptError("items hold raw audio: give AlmCollator a processor")
        rest = {name: value for name, value in item.items() if name != "audio"}
        return {**_features_of(self.processor, item["audio"]), **rest}

    def _stack(self, name: str, items: Sequence[Mapping[str, Any]]) -> torch.Tensor:
        values = [torch.as_tensor(item[name]) for item in items]
        if "feature_mask" in items[0] and name in ("input_features", "feature_mask"):
            return torch.nn.utils.rnn.pad_sequence(values, batch_first=True)
        if len({value.shape for value in values}) > 1:
            shapes = ", ".join(sorted({str(tuple(value.shape)) for value in values}))
            raise AlmPromptError(f"{name} of different shapes cannot be batched: {shapes}")
        return torch.stack(values)


def _features_of(processor: AudioProcessor, audio: Any) -> dict[str, torch.Tensor]:
    return {name: value[0] for name, value in processor(audio=audio).items()}
