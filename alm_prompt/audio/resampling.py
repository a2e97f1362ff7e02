"""Rate conversion, one fixed way: torchaudio's windowed-sinc interpolation, applied block by block.

Blocks overlap by more than the width of the filter, so that the result is that of one call over the whole clip; a
whole-clip call would hold the clip several times over, and torchaudio rounds the length of long results.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from importlib import import_module
from types import ModuleType

import torch

from ..errors import AlmPromptError
from ..versions import TORCH_PAIR

# The filter of scipy.signal.resample_poly. torchaudio's default is shorter, lets more of what lies above the new
# Nyquist frequency through, and changes zero-shot accuracy on short percussive clips.
_FILTER = {"lowpass_filter_width": 10, "rolloff": 1.0, "resampling_method": "sinc_interp_kaiser", "beta": 5.0}
_MAX_PHASES = 1000


def resampling_ratio(rate: int, target_rate: int) -> Fraction:
    """Output samples per input sample.

    The filter has one phase per unit of the numerator. An odd rate (47,999 Hz) would need tens of thousands of them,
    and gigabytes; it gets the nearest ratio of at most 1,000 phases, a pitch error below a hundredth of a semitone.
    """
    return 1 / Fraction(rate, target_rate).limit_denominator(_MAX_PHASES)


def resampled_window(num_samples: int, ratio: Fraction, max_samples: int | None) -> tuple[int, int, int, int]:
    """Which input samples to resample to get a clip, or the centre of it.

    Args:
        num_samples: Length of the clip before resampling.
        ratio: Output samples per input sample.
        max_samples: Longest result wanted; None for the whole clip.

    Returns:
        `(start, stop, first, length)`: input range, and where the wanted part lies in its resampled form.
    """
    total = _resampled_length(num_samples, ratio)
    if max_samples is None or total <= max_samples:
        return 0, num_samples, 0, total
    first = (total - max_samples) // 2
    margin = _margin(ratio)
    start = max(first // ratio.numerator - margin, 0)
    stop = -(-(first + max_samples) // ratio.numerator) + margin
    return (
        start * ratio.denominator,
        min(stop * ratio.denominator, num_samples),
        first - start * ratio.numerator,
        max_samples,
    )


def resampled_blocks(blocks: Iterable[torch.Tensor], ratio: Fraction) -> Iterator[torch.Tensor]:
    """Resample a clip that arrives in blocks.

    Args:
        blocks: Consecutive `[n]` float32 parts of one clip.
        ratio: Output samples per input sample.

    Yields:
        Consecutive parts of the result, ceil(n * ratio) samples in all.
    """
    if ratio == 1:
        yield from blocks
        return
    up, down = ratio.numerator, ratio.denominator
    margin = _margin(ratio)
    pending = torch.zeros(margin * down)
    for block in blocks:
        pending = torch.cat([pending, block])
        ready = len(pending) // down - 2 * margin
        if ready > 0:
            yield _resample(pending[: (ready + 2 * margin) * down], ratio)[margin * up : (margin + ready) * up]
            pending = pending[ready * down :]
    remaining = len(pending) - margin * down
    whole = (-(-remaining // down) + 2 * margin) * down
    padded = torch.nn.functional.pad(pending, (0, whole - len(pending)))
    yield _resample(padded, ratio)[margin * up :][: _resampled_length(remaining, ratio)]


def resample_by_default(waves: torch.Tensor, rate: int, target_rate: int) -> torch.Tensor:
    """Resample `[channels, n]` whole, with torchaudio's own default filter, as the loaders of Pengi and MS-CLAP do."""
    return _torchaudio("transforms").Resample(rate, target_rate)(waves)


def _resampled_length(num_samples: int, ratio: Fraction) -> int:
    return math.ceil(num_samples * ratio)


def _margin(ratio: Fraction) -> int:
    """Reach of the filter to either side, in groups of `ratio.denominator` input samples, rounded up."""
    base = min(ratio.numerator, ratio.denominator) * _FILTER["rolloff"]
    width = math.ceil(_FILTER["lowpass_filter_width"] * ratio.denominator / base)
    return -(-width // ratio.denominator)


def _resample(wave: torch.Tensor, ratio: Fraction) -> torch.Tensor:
    return _torchaudio("functional").resample(wave, ratio.denominator, ratio.numerator, **_FILTER)


def _torchaudio(module: str) -> ModuleType:
    try:
        return import_module(f"torchaudio.{module}")
    except (ImportError, OSError) as error:
        raise AlmPromptError(
            f"torchaudio cannot be imported beside torch {torch.__version__}: {TORCH_PAIR}"
        ) from error
