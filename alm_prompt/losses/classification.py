"""Losses on classification logits."""

from __future__ import annotations

import math

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


def confident_views(logits: torch.Tensor, share: float) -> torch.Tensor:
    """Which views of each clip are predicted with the lowest entropy (TPT, arXiv 2209.07511, section 3.2).

    Args:
        logits: `[N, V, C]`.
        share: share of the views to take, above 0 and up to 1; rounded down, but at least one view.

    Returns:
        `[N, k]` indices of views, the most confident first.
    """
    log_probabilities = logits.log_softmax(dim=-1)
    entropies = -(log_probabilities.exp() * log_probabilities).sum(dim=-1)
    count = max(int(share * logits.shape[1]), 1)
    return entropies.topk(count, dim=1, largest=False).indices


def view_entropy(logits: torch.Tensor) -> torch.Tensor:
    """Entropy, in nats, of the prediction averaged over the views of a clip (TPT, arXiv 2209.07511, section 3.2).

    `mean_n -sum_c q[n, c] * log q[n, c]` with `q[n] = mean_v softmax(logits[n, v])`. Low where the views agree and are
    sure.

    Args:
        logits: `[N, V, C]`.

    Returns:
        Scalar in `[0, log C]`: the mean over the clips.
    """
    log_mean = logits.log_softmax(dim=-1).logsumexp(dim=1) - math.log(logits.shape[1])
    return -(log_mean.exp() * log_mean).sum(dim=-1).mean()
