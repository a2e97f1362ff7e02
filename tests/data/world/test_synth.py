"""The synthesiser does what the attributes say."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from alm_prompt.data.world.grammar import all_sounds
from alm_prompt.data.world.synth import NUM_SAMPLES, SAMPLING_RATE, Sound, render

TONE = Sound("tone", "mid", "steady", "continuous", "clean")


def loudest_frequency(wave: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    return float(np.fft.rfftfreq(len(wave), 1 / SAMPLING_RATE)[spectrum.argmax()])


def stroke_times(wave: np.ndarray) -> np.ndarray:
    """Seconds at which the short-time level rises above a fifth of its maximum."""
    step = SAMPLING_RATE // 200
    level = np.abs(wave[: NUM_SAMPLES // step * step]).reshape(-1, step).max(axis=1)
    loud = level > 0.2 * level.max()
    return np.flatnonzero(loud[1:] & ~loud[:-1]) / 200


def test_every_composition_gives_a_finite_clip_of_the_agreed_form():
    sounds = all_sounds()
    for index in range(0, len(sounds), 37):
        wave = render(sounds[index], np.random.default_rng(index))
        assert wave.shape == (NUM_SAMPLES,) and wave.dtype == np.float32
        assert np.abs(wave).max() == pytest.approx(0.9, abs=1e-5)


def test_seed_decides_every_sample():
    first, again, other = (render(TONE, np.random.default_rng(seed)) for seed in (3, 3, 4))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(("pitch", "low", "high"), [("low", 140, 280), ("mid", 520, 950), ("high", 1700, 3000)])
def test_pitch_sets_the_loudest_frequency(pitch: str, low: float, high: float):
    wave = render(replace(TONE, pitch=pitch), np.random.default_rng(0))
    assert 0.97 * low < loudest_frequency(wave) < 1.03 * high


@pytest.mark.parametrize(("motion", "sign"), [("rising", 1), ("falling", -1), ("steady", 0)])
def test_motion_moves_the_pitch(motion: str, sign: int):
    wave = render(replace(TONE, motion=motion), np.random.default_rng(1))
    octaves = np.log2(loudest_frequency(wave[-4000:]) / loudest_frequency(wave[:4000]))
    assert np.sign(np.round(octaves, 1)) == sign


def test_wobbling_pitch_goes_up_and_down():
    wave = render(replace(TONE, motion="wobbling"), np.random.default_rng(2))
    pitch = [loudest_frequency(frame) for frame in wave.reshape(-1, 1000)]
    turns = np.diff(np.sign(np.diff(pitch)[np.diff(pitch) != 0]))
    assert np.count_nonzero(turns) >= 5


def test_rhythms_differ_in_their_strokes():
    click = Sound("click", "high", "steady", "slow", "clean")
    slow, fast, single, accelerating = (
        stroke_times(render(replace(click, rhythm=rhythm), np.random.default_rng(5)))
        for rhythm in ("slow", "fast", "single", "accelerating")
    )
    assert len(single) == 1
    assert 0.38 <= np.diff(slow).mean() <= 0.72
    assert 0.1 <= np.diff(fast).mean() <= 0.17
    assert np.diff(accelerating)[0] > 2 * np.diff(accelerating)[-1]


def test_texture_changes_the_sound_and_keeps_its_pitch():
    waves = {name: render(replace(TONE, texture=name), np.random.default_rng(6)) for name in ("clean", "rough")}
    assert loudest_frequency(waves["clean"]) == pytest.approx(loudest_frequency(waves["rough"]), rel=0.01)
    assert not np.allclose(waves["clean"], waves["rough"], atol=0.1)
