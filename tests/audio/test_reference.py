"""The published loaders' rules, against those loaders written out by hand."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
import torchaudio

from alm_prompt.audio.reference import read_reference
from alm_prompt.errors import AlmPromptError

RATE, LENGTH = 8_000, 1_000


def samples(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, shape).astype(np.float32)


def pengi_loader(channels: np.ndarray, rate: int) -> torch.Tensor:
    """`load_audio_into_tensor` of microsoft/Pengi and microsoft/CLAP."""
    audio = torch.from_numpy(channels)
    if rate != RATE:
        audio = torchaudio.transforms.Resample(rate, RATE)(audio)
    audio = audio.reshape(-1)
    if audio.shape[0] <= LENGTH:
        return audio.repeat(int(np.ceil(LENGTH / audio.shape[0])))[0:LENGTH]
    start = random.randrange(audio.shape[0] - LENGTH)
    return audio[start : start + LENGTH]


def clap_crop(wave: np.ndarray) -> np.ndarray:
    """The crop of `ClapFeatureExtractor._get_input_mel`."""
    start = np.random.randint(0, len(wave) - LENGTH + 1)
    return wave[start : start + LENGTH]


@pytest.mark.parametrize("rate", [8_000, 11_025, 16_000])
@pytest.mark.parametrize("shape", [(1, 300), (2, 300), (2, 500), (1, 1_000), (2, 5_000), (6, 5_000)])
def test_tile_follows_the_loader_of_pengi(shape: tuple[int, int], rate: int) -> None:
    clip = samples(*shape)
    random.seed(3)
    expected = pengi_loader(clip, rate)
    random.seed(3)
    actual = read_reference(clip, rate, target_rate=RATE, length=LENGTH, pad="tile")
    assert torch.equal(actual, expected)


@pytest.mark.parametrize("pad", ["repeatpad", "zero"])
def test_the_others_follow_the_crop_of_clap(pad: str) -> None:
    clip = samples(2, 5_000)
    np.random.seed(3)
    expected = clap_crop(clip.mean(axis=0))
    np.random.seed(3)
    actual = read_reference(clip, RATE, target_rate=RATE, length=LENGTH, pad=pad)
    np.testing.assert_array_equal(actual.numpy(), expected)


def test_range_of_the_start() -> None:
    clip = samples(LENGTH + 1)
    crops = {pad: set() for pad in ("tile", "repeatpad")}
    for seed in range(20):
        for pad, found in crops.items():
            random.seed(seed)
            np.random.seed(seed)
            found.add(read_reference(clip, RATE, target_rate=RATE, length=LENGTH, pad=pad)[0].item())
    assert crops == {"tile": {clip[0].item()}, "repeatpad": {clip[0].item(), clip[1].item()}}


def test_what_is_no_audio_is_refused_by_name(tmp_path) -> None:
    bad = samples(2, 500)
    bad[1, 7] = np.nan
    with pytest.raises(AlmPromptError, match="NaN or infinite"):
        read_reference(bad, RATE, target_rate=RATE, length=LENGTH, pad="tile")
    with pytest.raises(AlmPromptError, match=r"gone\.wav: no such audio file"):
        read_reference(tmp_path / "gone.wav", target_rate=RATE, length=LENGTH, pad="tile")
