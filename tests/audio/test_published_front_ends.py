"""The front ends of LAION CLAP, MS-CLAP and Pengi against torchlibrosa's formula, written out in float64."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from alm_prompt import AlmFeatureExtractor
from alm_prompt.audio import fit_length, log_mel, read_waveform
from alm_prompt.models.convert.front_ends import LAION, MSCLAP_2022, MSCLAP_2023, PENGI

# Settings; then what the official code states: audio rate, rate of the filters, hop, samples and frames of a clip.
FAMILIES = {
    "laion": (LAION, 48_000, 48_000, 480, 480_000, 1001),
    "msclap-2022": (MSCLAP_2022, 44_100, 44_100, 320, 220_500, 690),
    "msclap-2023": (MSCLAP_2023, 44_100, 32_000, 320, 308_700, 965),
    "pengi": (PENGI, 44_100, 32_000, 320, 308_700, 965),
}


def slaney_mel(hertz: float) -> float:
    return hertz * 3 / 200 if hertz < 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4)


def slaney_hertz(mel: float) -> float:
    return mel * 200 / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)


def librosa_filters(rate: int) -> np.ndarray:
    """`librosa.filters.mel(sr=rate, n_fft=1024, n_mels=64, fmin=50, fmax=14000)`, transposed."""
    edges = [slaney_hertz(mel) for mel in np.linspace(slaney_mel(50), slaney_mel(14_000), 66)]
    filters = np.zeros((513, 64))
    for band in range(64):
        low, middle, high = edges[band : band + 3]
        for k in range(513):
            hertz = k * rate / 1024
            rise, fall = (hertz - low) / (middle - low), (high - hertz) / (high - middle)
            filters[k, band] = max(0.0, min(rise, fall)) * 2 / (high - low)
    return filters


def torchlibrosa_by_hand(wave: np.ndarray, mel_rate: int, hop: int) -> np.ndarray:
    """`Spectrogram` and `LogmelFilterBank`, one frame at a time."""
    padded = np.concatenate([wave[512:0:-1], wave, wave[-2:-514:-1]]).astype(np.float64)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(1024) / 1024)
    filters = librosa_filters(mel_rate)
    rows = []
    for start in range(0, len(padded) - 1024 + 1, hop):
        spectrum = np.fft.rfft(padded[start : start + 1024] * window)
        mel = (spectrum.real**2 + spectrum.imag**2) @ filters
        rows.append(10 * np.log10(np.maximum(mel, 1e-10)) - 10 * np.log10(max(1e-10, 1.0)))
    return np.stack(rows)


def synthetic_clip(num_samples: int) -> torch.Tensor:
    """A chirp in noise, then silence: loud, quiet and empty bands."""
    time = np.arange(num_samples) / num_samples
    noise = np.random.default_rng(0).standard_normal(num_samples)
    wave = 0.5 * np.sin(2 * np.pi * (2000 + 20_000 * time) * time) + 0.01 * noise
    return torch.from_numpy((wave * (time < 0.7)).astype(np.float32))


def check(family: str, wave: torch.Tensor) -> None:
    settings, _, mel_rate, hop, _, frames = FAMILIES[family]
    actual = log_mel(wave, AlmFeatureExtractor(**settings).spec)
    assert actual.shape == (frames, 64)
    np.testing.assert_allclose(actual.numpy(), torchlibrosa_by_hand(wave.numpy(), mel_rate, hop), atol=5e-5, rtol=0)


@pytest.mark.parametrize("family", FAMILIES)
def test_front_end_is_torchlibrosas(family: str) -> None:
    settings, rate, _, _, samples, _ = FAMILIES[family]
    extractor = AlmFeatureExtractor(**settings)
    assert (extractor.sampling_rate, extractor.clip_seconds * rate) == (rate, samples)
    check(family, synthetic_clip(samples))


@pytest.mark.parametrize("family", FAMILIES)
def test_front_end_is_torchlibrosas_on_real_clips(family: str, shared_dir: Path) -> None:
    settings, rate, _, _, samples, _ = FAMILIES[family]
    for path in sorted((shared_dir / "data" / "esc10" / "audio").iterdir())[::150]:
        wave = read_waveform(path, target_rate=rate, max_seconds=settings["clip_seconds"])
        check(family, fit_length(wave, samples, settings["pad"]))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_short_clip_is_filled_as_the_official_loader_does(family: str) -> None:
    settings, rate, _, _, samples, _ = FAMILIES[family]
    clip = synthetic_clip(samples)[: samples * 2 // 5]
    repeated = np.tile(clip.numpy(), 3)
    expected = np.pad(np.tile(clip.numpy(), 2), (0, samples))[:samples] if family == "laion" else repeated[:samples]
    extractor = AlmFeatureExtractor(**settings)
    features = extractor(clip.numpy(), sampling_rate=rate)["input_features"]
    assert torch.equal(features, extractor(expected, sampling_rate=rate)["input_features"])
