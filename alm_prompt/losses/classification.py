"""Losses on classification logits."""

from __future__ import annotations

import torch

# ZEBRA's code adds this inside the logarithm; it is part of the published formula.
LOG_OFFSET = 1e-8


def prediction_entropy(logits: torch.Tensor) -> torch.Tensor:
    """Mean entropy, in nats, of the predicted class distributions.

    `mean_b -sum_c p[b, c] * log(p[b, c] + 1e-8)` with `p = softmax(logits)` (ZEBRA, arXiv 2606.31587).

    Args:
        logits: `[B, C]`.

    Returns:
        Scalar in `[0, log C]`.
    """
    probabilities = logits.softmax(dim=-1)
    return -(probabilities * (probabilities + LOG_OFFSET).log()).sum(dim=-1).mean()
