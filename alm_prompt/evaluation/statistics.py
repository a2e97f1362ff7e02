"""How sure a mean over runs is: bootstrap interval, and the paired test of two methods on the same runs."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from functools import lru_cache

import numpy as np

from ..errors import AlmPromptError

# Up to this many runs the paired test goes through every sign pattern (2^14 of them).
EXACT_RUNS = 14


def bootstrap_interval(
    values: Sequence[float] | Sequence[Sequence[float]],
    weights: Sequence[float] | None = None,
    combine: Callable[..., np.ndarray] | None = None,
    level: float = 0.95,
    resamples: int = 2000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a weighted mean over runs.

    Runs are drawn with replacement, as many as there are, and the mean of each draw is taken; the interval holds the
    middle `level` of those means. It tells how far the mean depends on which of these runs were made, and is blind to
    what all runs share, such as clips that several of them test on.

    Args:
        values: `[n]` or `[n, k]`, one row per run; the `k` numbers of a run are drawn together.
        weights: `[n]` weight of each run in the mean; equal by default.
        combine: makes one number of the `k` means, given `k` arrays `[resamples]`; needed where k > 1.
        level: share of the resampled means inside the interval.
        resamples: how often the runs are drawn.
        seed: seed of the draws.

    Returns:
        Lower and upper end, in the unit of the values.

    Raises:
        AlmPromptError: there are fewer than two runs.
    """
    table = np.asarray(values, dtype=float).reshape(len(values), -1)
    if len(table) < 2:
        raise AlmPromptError(f"a bootstrap interval needs at least 2 runs, got {len(table)}")
    weights = np.ones(len(table)) if weights is None else np.asarray(weights, dtype=float)
    drawn = _draws(len(table), resamples, seed) * weights
    means = drawn @ table / drawn.sum(axis=1, keepdims=True)
    statistic = means[:, 0] if combine is None else combine(*means.T)
    low, high = np.quantile(statistic, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


@lru_cache(maxsize=64)
def _draws(runs: int, resamples: int, seed: int) -> np.ndarray:
    """How often each run is drawn, `[resamples, runs]`."""
    return np.random.default_rng(seed).multinomial(runs, np.full(runs, 1 / runs), size=resamples)


def paired_sign_flip_test(
    differences: Sequence[float], weights: Sequence[float] | None = None, samples: int = 9999, seed: int = 0
) -> float:
    """Two-sided p of the sign-flip permutation test on differences between two methods.

    If neither method were better, every difference could as well have the other sign. p is the share of sign patterns
    whose weighted mean is at least as far from zero as the measured one: over all patterns with up to `EXACT_RUNS`
    runs, else over `samples` random ones and the measured one. With n runs p is never below 2 / 2^n.

    Args:
        differences: `[n]`, one per run that both methods made: same data set, fold, seed and clips.
        weights: `[n]` weight of each run in the mean; equal by default.
        samples: random patterns where there are too many for all.
        seed: seed of these patterns.

    Raises:
        AlmPromptError: there are no differences.
    """
    if len(differences) == 0:
        raise AlmPromptError("a paired test needs runs that both methods made; there are none")
    weights = np.ones(len(differences)) if weights is None else np.asarray(weights, dtype=float)
    terms = np.asarray(differences, dtype=float) * weights
    exact = len(terms) <= EXACT_RUNS
    if exact:
        signs = np.array(list(itertools.product((1, -1), repeat=len(terms))))
    else:
        signs = np.random.default_rng(seed).choice((1, -1), size=(samples, len(terms)))
    # Patterns that tie with the measured one must count, whatever the order of summation rounds them to.
    extreme = np.abs(signs @ terms) >= abs(terms.sum()) - 1e-12 * np.abs(terms).sum()
    return float(extreme.mean()) if exact else float((extreme.sum() + 1) / (samples + 1))
