"""Batches of cached features, of spectrograms and of patches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from alm_prompt.data import AlmCollator, AudioClips, Clip, ClipDataset, FeatureDataset
from alm_prompt.errors import AlmPromptError


def patch_processor(audio) -> dict[str, torch.Tensor]:
    """One patch of shape [2, 3] per sample, filled with the sample."""
    patches = torch.as_tensor(audio["array"])[:, None, None].expand(-1, 2, 3)
    return {"input_features": patches[None], "feature_mask": torch.ones(1, len(patches), dtype=torch.long)}


@pytest.fixture
def clips() -> AudioClips:
    sources = [{"array": np.arange(1.0, length + 1), "sampling_rate": 8_000} for length in (2, 1, 3)]
    return AudioClips(Clip(source, label, label) for source, label in zip(sources, "bca", strict=True))


def test_feature_dataset() -> None:
    features = torch.arange(12.0).reshape(4, 3)
    dataset = FeatureDataset(features, torch.tensor([1, 0, 2, 1]))
    assert len(dataset) == 4
    batch = AlmCollator()([dataset[2], dataset[0]])
    assert batch.keys() == {"audio_features", "labels"}
    assert torch.equal(batch["audio_features"], features[[2, 0]])
    assert torch.equal(batch["labels"], torch.tensor([2, 1]))
    assert batch["labels"].dtype == torch.long


def test_feature_dataset_needs_a_label_per_feature() -> None:
    with pytest.raises(AlmPromptError, match="3 features but 2 labels"):
        FeatureDataset(torch.zeros(3, 2), [0, 1])


def test_clip_dataset_follows_the_order_of_the_model(clips: AudioClips) -> None:
    dataset = ClipDataset(clips, patch_processor, ["c", "a", "b"])
    assert [dataset[i]["labels"] for i in range(len(dataset))] == [2, 0, 1]
    assert dataset[2]["input_features"].shape == (3, 2, 3)
    with pytest.raises(AlmPromptError, match="'c', which is not in the class list"):
        ClipDataset(clips, patch_processor, ["a", "b"])


def test_clips_are_decoded_when_asked_for(clips: AudioClips) -> None:
    def fail(audio):
        raise AssertionError("decoded too early")

    dataset = ClipDataset(clips, fail, ["a", "b", "c"])
    with pytest.raises(AssertionError, match="too early"):
        dataset[0]


def test_patches_are_filled_with_zeros_and_masked(clips: AudioClips) -> None:
    batch = next(iter(DataLoader(ClipDataset(clips, patch_processor, "abc"), 3, collate_fn=AlmCollator())))
    assert batch["input_features"].shape == (3, 3, 2, 3)
    assert batch["input_features"][..., 1, 2].tolist() == [[1, 2, 0], [1, 0, 0], [1, 2, 3]]
    assert batch["feature_mask"].tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]
    assert batch["labels"].tolist() == [1, 2, 0]


def test_raw_audio_goes_through_the_processor(clips: AudioClips) -> None:
    items = [{"audio": clip.source, "labels": 5} for clip in clips]
    expected = AlmCollator()([{**ClipDataset(clips, patch_processor, "abc")[i], "labels": 5} for i in range(3)])
    actual = AlmCollator(patch_processor)(items)
    assert actual.keys() == expected.keys()
    assert all(torch.equal(actual[name], expected[name]) for name in expected)
    with pytest.raises(AlmPromptError, match="give AlmCollator a processor"):
        AlmCollator()(items)


def test_items_without_labels_make_a_batch_without() -> None:
    batch = AlmCollator()([{"input_features": torch.ones(1, 4, 2)}, {"input_features": torch.zeros(1, 4, 2)}])
    assert batch.keys() == {"input_features"}
    assert batch["input_features"].shape == (2, 1, 4, 2)


def test_different_shapes_without_a_mask_are_refused() -> None:
    with pytest.raises(AlmPromptError, match=r"input_features of different shapes .*\(4, 2\), \(5, 2\)"):
        AlmCollator()([{"input_features": torch.ones(4, 2)}, {"input_features": torch.ones(5, 2)}])
