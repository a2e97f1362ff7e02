"""The pre-training stream of the world: endless (waveform, caption) pairs, none of them from the downstream task."""

from __future__ import annotations

from functools import cache

import numpy as np

from .grammar import all_sounds, caption
from .synth import Sound, render
from .task import is_held_out

_SNR_DB = (10.0, 45.0)
_GAIN_DB = (-12.0, 0.0)


@cache
def pretraining_sounds() -> tuple[Sound, ...]:
    """The compositions of pre-training: all of the world's but those behind the downstream classes."""
    return tuple(sound for sound in all_sounds() if not is_held_out(sound))


def world_example(seed: int, index: int) -> tuple[np.ndarray, str, Sound]:
    """One pair of the pre-training stream.

    Args:
        seed: Seed of the stream.
        index: Position in the stream; (`seed`, `index`) fixes every sample and word.

    Returns:
        `[32000]` float32 waveform at 16 kHz, its caption, and the composition behind both.
    """
    rng = np.random.default_rng((seed, index))
    sounds = pretraining_sounds()
    sound = sounds[int(rng.integers(len(sounds)))]
    wave = render(sound, rng)
    snr, gain = rng.uniform(*_SNR_DB), rng.uniform(*_GAIN_DB)
    noise = rng.standard_normal(len(wave)) * np.sqrt(np.square(wave).mean()) * 10.0 ** (-snr / 20.0)
    return ((wave + noise) * 10.0 ** (gain / 20.0)).astype(np.float32), caption(sound, rng), sound
