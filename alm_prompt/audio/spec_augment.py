"""SpecAugment as the official audio towers apply it in training."""

from __future__ import annotations

import torch

# Dimension, number of stripes and width that no stripe reaches: PANN's and HTSAT's `SpecAugmentation(64, 2, 8, 2)`.
_STRIPES = ((2, 2, 64), (3, 2, 8))


def spec_augment(spectrograms: torch.Tensor) -> torch.Tensor:
    """Set two stripes of time and two of frequency to zero, at random, in every clip (arXiv 1904.08779).

    The rule of torchlibrosa's `DropStripes`: a stripe of fewer than 64 frames or 8 bins, wherever it fits. The numbers
    come from torch's global generator in the same order, so that the same seed drops the same stripes.

    Args:
        spectrograms: `[B, channels, T, F]`, normalised.

    Returns:
        A copy with stripes.
    """
    augmented = spectrograms.clone()
    for dim, count, limit in _STRIPES:
        size = augmented.shape[dim]
        for clip in range(len(augmented)):
            for _ in range(count):
                width = int(torch.randint(min(limit, size), (1,)))
                start = int(torch.randint(size - width, (1,)))
                augmented[clip].narrow(dim - 1, start, width).zero_()
    return augmented
