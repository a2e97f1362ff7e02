"""Rate conversion against known tones, SciPy's `resample_poly` and a single torchaudio call."""

from __future__ import annotations

from math import gcd

import numpy as np
import pytest
import torch
import torchaudio
from scipy.signal import resample_poly

from alm_prompt.audio.resampling import resampled_blocks, resampled_window, resampling_ratio

RATES = [(8_000, 16_000), (44_100, 16_000), (44_100, 48_000), (192_000, 16_000), (11_025, 48_000), (16_000, 44_100)]


def resample(wave: torch.Tensor, rate: int, target: int, block: int) -> torch.Tensor:
    return torch.cat(list(resampled_blocks(wave.split(block), resampling_ratio(rate, target))))


def noise(num_samples: int) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).standard_normal(num_samples).astype(np.float32))


@pytest.mark.parametrize(("rate", "target"), RATES)
@pytest.mark.parametrize("block", [997, 20_000, 10**9])
def test_blocks_give_what_one_torchaudio_call_gives(rate: int, target: int, block: int) -> None:
    wave = noise(50_021)
    expected = torchaudio.functional.resample(
        wave, rate, target, lowpass_filter_width=10, rolloff=1.0, resampling_method="sinc_interp_kaiser", beta=5.0
    )
    torch.testing.assert_close(resample(wave, rate, target, block), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize(("rate", "target"), [*RATES, (47_999, 16_000), (44_101, 48_000)])
def test_a_tone_keeps_its_pitch_and_level(rate: int, target: int) -> None:
    seconds, hertz = 2, 440.0
    tone = torch.from_numpy(np.sin(2 * np.pi * hertz * np.arange(seconds * rate) / rate).astype(np.float32))
    actual = resample(tone, rate, target, 10_000).numpy()
    expected = np.sin(2 * np.pi * hertz * np.arange(len(actual)) / target)
    middle = slice(len(actual) // 4, -len(actual) // 4)
    # An odd rate is rounded to a ratio of few phases: the pitch may drift by less than a hundredth of a semitone.
    if (rate, target) in RATES:
        np.testing.assert_allclose(actual[middle], expected[middle], atol=5e-3)
    peak = np.abs(np.fft.rfft(actual[middle] * np.hanning(len(actual[middle])), 2**20)).argmax() * target / 2**20
    assert abs(peak - hertz) < hertz * 6e-4


@pytest.mark.parametrize(("rate", "target"), RATES)
def test_agrees_with_scipys_resample_poly(rate: int, target: int) -> None:
    wave = noise(50_021)
    expected = resample_poly(wave.numpy().astype(np.float64), target // gcd(rate, target), rate // gcd(rate, target))
    # SciPy rescales the filter to a gain of exactly 1 at 0 Hz, torchaudio does not.
    np.testing.assert_allclose(resample(wave, rate, target, 10_000).numpy(), expected, atol=5e-3, rtol=0)


def test_what_the_target_rate_cannot_hold_is_removed() -> None:
    tone = torch.from_numpy(np.sin(2 * np.pi * 12_000 * np.arange(48_000) / 48_000).astype(np.float32))
    assert resample(tone, 48_000, 16_000, 10_000)[200:-200].abs().max() < 1e-2


@pytest.mark.parametrize("num_samples", [1, 2, 440, 441, 442, 30_000])
@pytest.mark.parametrize(("rate", "target"), RATES)
def test_length_is_exact(rate: int, target: int, num_samples: int) -> None:
    expected = -(-num_samples * target // rate)
    assert len(resample(noise(num_samples), rate, target, 1000)) == expected
    assert resampled_window(num_samples, resampling_ratio(rate, target), None) == (0, num_samples, 0, expected)


def test_same_rate_changes_nothing() -> None:
    wave = noise(5000)
    assert torch.equal(resample(wave, 16_000, 16_000, 999), wave)


@pytest.mark.parametrize(("rate", "target"), [*RATES, (16_000, 16_000)])
@pytest.mark.parametrize("max_samples", [1, 999, 4096])
def test_window_is_the_centre_of_the_whole(rate: int, target: int, max_samples: int) -> None:
    wave, ratio = noise(60_007), resampling_ratio(rate, target)
    whole = resample(wave, rate, target, 10_000)
    middle = (len(whole) - max_samples) // 2

    start, stop, first, length = resampled_window(len(wave), ratio, max_samples)
    part = torch.cat(list(resampled_blocks(wave[start:stop].split(10_000), ratio)))[first : first + length]

    torch.testing.assert_close(part, whole[middle : middle + max_samples], atol=2e-6, rtol=0)
    assert stop - start < max_samples * rate / target + 12 * ratio.denominator + 48 * max(rate / target, 1)
