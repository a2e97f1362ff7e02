"""Views of a clip: the same sound, heard a little differently each time."""

from __future__ import annotations

import numpy as np
import torch

from .waveform import content_hash

# No paper states what views of audio to take. These ranges were chosen once and never tuned: half a sound is mostly
# still that sound, and recordings differ by a few decibels in level and have some noise.
_CROP_SHARE = (0.5, 1.0)
_GAIN_DB = (-6.0, 6.0)
_SNR_DB = (20.0, 40.0)


def audio_views(wave: torch.Tensor, count: int, seed: int = 0) -> list[torch.Tensor]:
    """Views of a clip, the first of which is the clip itself.

    Each of the others is a crop of 50 to 100 % of the clip from anywhere in it, between 6 dB softer and 6 dB louder,
    with white noise 20 to 40 dB below it; all drawn uniformly. The same samples and seed give the same views, in any
    list of clips and under any name, and fewer of them are the first of more.

    Args:
        wave: `[n]` mono samples, n >= 1.
        count: Number of views, at least 1.
        seed: Seed of all that is random, at least 0.

    Returns:
        `count` waveforms `[m]` of the same type, n / 2 <= m <= n.
    """
    rng = np.random.default_rng((seed, int(content_hash(wave), 16)))
    return [wave, *(_view(wave, rng) for _ in range(count - 1))]


def _view(wave: torch.Tensor, rng: np.random.Generator) -> torch.Tensor:
    length = int(np.ceil(rng.uniform(*_CROP_SHARE) * wave.numel()))
    start = rng.integers(wave.numel() - length, endpoint=True)
    gain, snr = rng.uniform(*_GAIN_DB), rng.uniform(*_SNR_DB)
    view = wave[start : start + length] * 10 ** (gain / 20)
    noise = torch.from_numpy(rng.standard_normal(length)).to(view)
    return view + noise * view.square().mean().sqrt() * 10 ** (-snr / 20)
