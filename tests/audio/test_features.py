"""The log-mel front ends against `ClapFeatureExtractor`, the golden data of YAMNet and plain loops."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from transformers import ClapFeatureExtractor

from alm_prompt.audio import LogMelSpec, fit_length, log_mel, mel_filters, pad_to_patches, patches
from alm_prompt.errors import AlmPromptError

CLAP = LogMelSpec()
YAMNET = LogMelSpec(
    sampling_rate=16_000,
    n_fft=512,
    win_length=400,
    hop_length=160,
    f_min=125.0,
    f_max=7500.0,
    mel_scale="htk",
    mel_norm=None,
    triangles_in_mel_space=True,
    power=1.0,
    center=False,
    log="ln",
    log_floor=0.0,
    log_offset=1e-3,
)


def clip(num_samples: int, rate: int = 48_000) -> np.ndarray:
    """A rising tone in noise, with a silent half: loud and empty bands next to each other."""
    time = np.arange(num_samples) / rate
    noise = np.random.default_rng(num_samples).standard_normal(num_samples)
    wave = 0.5 * np.sin(2 * np.pi * (200 + 800 * time) * time) + 0.01 * noise
    return (wave * (time < time[-1] / 2 if num_samples > 1 else 1)).astype(np.float32)


@pytest.fixture(scope="module")
def clap_extractor() -> ClapFeatureExtractor:
    return ClapFeatureExtractor(frequency_min=50, frequency_max=14_000, truncation="rand_trunc", padding="repeatpad")


@pytest.mark.parametrize("num_samples", [480_000, 479_999, 240_001, 160_000, 48_000, 700, 1])
def test_clap_front_end_equals_transformers(clap_extractor: ClapFeatureExtractor, num_samples: int) -> None:
    wave = clip(num_samples)
    expected = clap_extractor(wave, sampling_rate=48_000, return_tensors="pt")["input_features"][0, 0]

    actual = log_mel(fit_length(torch.from_numpy(wave), 480_000, "repeatpad"), CLAP)

    assert actual.shape == expected.shape == (1001, 64)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


def test_clap_filters_equal_transformers(clap_extractor: ClapFeatureExtractor) -> None:
    np.testing.assert_array_equal(mel_filters(CLAP).numpy(), clap_extractor.mel_filters_slaney)


def test_filters_are_built_for_the_mel_rate() -> None:
    for_32k = mel_filters(LogMelSpec(sampling_rate=32_000, hop_length=320))
    assert torch.equal(mel_filters(LogMelSpec(sampling_rate=44_100, hop_length=320, mel_rate=32_000)), for_32k)
    assert not torch.equal(mel_filters(LogMelSpec(sampling_rate=44_100, hop_length=320)), for_32k)


def yamnet_log_mel_by_hand(wave: np.ndarray) -> np.ndarray:
    """The published recipe, one frame at a time in float64."""
    mel = lambda hertz: 1127 * np.log(1 + hertz / 700)  # noqa: E731
    edges = np.linspace(mel(125), mel(7500), 66)
    bins = mel(np.arange(257) * 16_000 / 512)
    filters = np.zeros((257, 64))
    for band in range(64):
        low, middle, high = edges[band : band + 3]
        filters[:, band] = np.clip(np.minimum((bins - low) / (middle - low), (high - bins) / (high - middle)), 0, None)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(400) / 400)
    starts = range(0, len(wave) - 400 + 1, 160)
    return np.stack([np.log(np.abs(np.fft.rfft(wave[s : s + 400] * window, 512)) @ filters + 1e-3) for s in starts])


def test_yamnet_front_end_equals_its_recipe() -> None:
    wave = clip(15_600, 16_000)
    actual = log_mel(torch.from_numpy(wave), YAMNET)
    assert actual.shape == (96, 64)
    np.testing.assert_allclose(actual.numpy(), yamnet_log_mel_by_hand(wave.astype(np.float64)), atol=1e-5, rtol=0)


def test_yamnet_front_end_reproduces_golden_data(shared_dir) -> None:
    golden = np.load(shared_dir / "backbones" / "yamnet-minilm" / "golden.npz")
    for i, num_samples in enumerate(golden["num_samples"]):
        wave = torch.from_numpy(golden["waveform_int16"][i, :num_samples].astype(np.float32) / 32_768)
        actual = patches(log_mel(pad_to_patches(wave, YAMNET, 96, 48), YAMNET), 96, 48)
        assert len(actual) == golden["num_patches"][i]
        np.testing.assert_allclose(actual[0].numpy(), golden["log_mel_first_patch"][i], atol=5e-3, rtol=0)


@pytest.mark.parametrize("spec", [CLAP, YAMNET], ids=["clap", "yamnet"])
def test_long_clip_equals_its_parts(spec: LogMelSpec) -> None:
    wave = torch.from_numpy(clip(5000 * spec.hop_length, spec.sampling_rate))
    whole = log_mel(wave, spec)
    part = log_mel(wave[4000 * spec.hop_length :], spec)
    # The first frames of a centred part see its reflected edge instead of what came before.
    torch.testing.assert_close(whole[4004:], part[4:], atol=1e-5, rtol=0)


@pytest.mark.parametrize("spec", [CLAP, YAMNET], ids=["clap", "yamnet"])
@pytest.mark.parametrize("wave", [torch.zeros(48_000), torch.zeros(1), torch.ones(1), torch.ones(512)])
def test_silence_and_very_short_clips_are_finite(spec: LogMelSpec, wave: torch.Tensor) -> None:
    actual = log_mel(wave, spec)
    assert len(actual) >= 1
    assert actual.isfinite().all()
    if not wave.any():
        silence = -100.0 if spec is CLAP else math.log(1e-3)
        torch.testing.assert_close(actual, torch.full_like(actual, silence))


@pytest.mark.parametrize("frames", [1, 2, 96])
@pytest.mark.parametrize("spec", [CLAP, YAMNET], ids=["clap", "yamnet"])
def test_num_samples_is_the_least_that_gives_the_frames(spec: LogMelSpec, frames: int) -> None:
    least = spec.num_samples(frames)
    assert len(log_mel(torch.ones(least), spec)) == frames
    if frames > 1:
        assert len(log_mel(torch.ones(least - 1), spec)) == frames - 1


@pytest.mark.parametrize(
    ("pad", "expected"),
    [("repeatpad", [1, 2, 3, 1, 2, 3, 0, 0]), ("tile", [1, 2, 3, 1, 2, 3, 1, 2]), ("zero", [1, 2, 3, 0, 0, 0, 0, 0])],
)
def test_fit_length_fills_short_clips(pad: str, expected: list[int]) -> None:
    assert fit_length(torch.tensor([1.0, 2.0, 3.0]), 8, pad).tolist() == expected


@pytest.mark.parametrize(("length", "expected"), [(5, [0, 1, 2, 3, 4]), (3, [1, 2, 3]), (2, [1, 2]), (1, [2])])
@pytest.mark.parametrize("pad", ["repeatpad", "tile", "zero"])
def test_fit_length_keeps_the_centre_of_long_clips(length: int, expected: list[int], pad: str) -> None:
    assert fit_length(torch.arange(5.0), length, pad).tolist() == expected


@pytest.mark.parametrize("num_samples", [1, 15_599, 15_600, 15_601, 23_280, 23_281, 80_000])
def test_pad_to_patches_follows_yamnets_rule(num_samples: int) -> None:
    expected = 15_600 + 7_680 * max(math.ceil((num_samples - 15_600) / 7_680), 0)
    padded = pad_to_patches(torch.ones(num_samples), YAMNET, 96, 48)
    assert len(padded) == expected
    assert padded.sum() == num_samples
    assert len(patches(log_mel(padded, YAMNET), 96, 48)) == 1 + (expected - 15_600) // 7_680


def test_patches_overlap_and_drop_the_rest() -> None:
    frames = torch.arange(11.0)[:, None] * torch.ones(1, 3)
    cut = patches(frames, 4, 3)
    assert cut.shape == (3, 4, 3)
    assert cut[:, :, 0].tolist() == [[0, 1, 2, 3], [3, 4, 5, 6], [6, 7, 8, 9]]


@pytest.mark.parametrize(
    "call",
    [
        lambda: log_mel(torch.zeros(0), CLAP),
        lambda: log_mel(torch.zeros(2, 100), CLAP),
        lambda: fit_length(torch.zeros(0), 10),
        lambda: fit_length(torch.zeros(3), 10, "mirror"),
        lambda: pad_to_patches(torch.zeros(0), YAMNET, 96, 48),
        lambda: patches(torch.zeros(3, 64), 4, 1),
        lambda: LogMelSpec(win_length=2048),
        lambda: LogMelSpec(log="log2"),
        lambda: LogMelSpec(hop_length=0),
        lambda: LogMelSpec(log_floor=0.0),
    ],
    ids=["empty", "stereo", "fit-empty", "unknown-pad", "pad-empty", "no-patch", "window", "log", "hop", "floor"],
)
def test_wrong_arguments_are_refused_in_one_line(call) -> None:
    with pytest.raises(AlmPromptError) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("setting", ["hop_length=0", "n_mels=-1", "sampling_rate=0", "log_floor=0"])
def test_a_front_end_that_cannot_be_names_the_setting_and_its_value(setting: str) -> None:
    name, value = setting.split("=")
    with pytest.raises(AlmPromptError, match=setting):
        LogMelSpec(**{name: int(value)})
