"""How the published loaders read a clip: at random, so that its features differ from call to call.

Only for the reproduction of published numbers; `read_waveform` and `fit_length` are the rules of this package.
"""

from __future__ import annotations

import random

import numpy as np
import torch

from .features import PadMode, fit_length
from .resampling import resample_by_default
from .waveform import AudioSource, read_channels, read_waveform


def read_reference(
    source: AudioSource, sampling_rate: int | None = None, *, target_rate: int, length: int, pad: PadMode
) -> torch.Tensor:
    """Read one clip by the rules of the loader whose padding is `pad`.

    "tile", the loader of Pengi and MS-CLAP (`load_audio_into_tensor`): channels are resampled by torchaudio's default
    filter and concatenated in time; a longer clip starts at a sample drawn by Python's `random` from [0, n - length).
    The others, `ClapFeatureExtractor`: a longer clip starts at a sample drawn by `numpy.random` from [0, n - length].

    Args:
        source: As in `read_waveform`.
        sampling_rate: Rate of bare samples in Hz.
        target_rate: Rate of the result in Hz.
        length: Number of samples wanted.
        pad: How to fill a shorter clip, as in `fit_length`.

    Returns:
        `[length]` float32.

    Raises:
        AlmPromptError: As in `read_waveform`.
    """
    if pad == "tile":
        channels, rate = read_channels(source, sampling_rate)
        wave = resample_by_default(channels, rate, target_rate).reshape(-1)
    else:
        wave = read_waveform(source, sampling_rate, target_rate=target_rate)
    surplus = wave.numel() - length
    if surplus <= 0:
        return fit_length(wave, length, pad)
    # The generators of the published code, so that its seeds give its crops.
    start = random.randrange(surplus) if pad == "tile" else np.random.randint(surplus + 1)
    return wave[start : start + length]
