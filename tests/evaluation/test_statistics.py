"""The interval and the paired test against hand-written loops."""

from __future__ import annotations

import itertools
import random

import numpy as np
import pytest

from alm_prompt.errors import AlmPromptError
from alm_prompt.evaluation.statistics import EXACT_RUNS, bootstrap_interval, paired_sign_flip_test

VALUES = [0.91, 0.42, 0.66, 0.58, 0.73, 0.49, 0.80]
WEIGHTS = [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 2.0]


def loop_interval(values: list[float], weights: list[float], resamples: int) -> tuple[float, float]:
    """Draw runs one by one with another generator; the ends are order statistics."""
    draw, means = random.Random(7), []
    for _ in range(resamples):
        picked = [draw.randrange(len(values)) for _ in values]
        total = sum(weights[i] for i in picked)
        means.append(sum(weights[i] * values[i] for i in picked) / total)
    means.sort()
    return means[round(0.025 * resamples)], means[round(0.975 * resamples) - 1]


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_interval_matches_a_loop(weights: list[float] | None) -> None:
    low, high = bootstrap_interval(VALUES, weights, resamples=40_000)
    by_hand = loop_interval(VALUES, weights or [1.0] * len(VALUES), 40_000)
    # Two independent sets of draws: the ends agree up to the noise of 40,000 draws.
    assert (low, high) == pytest.approx(by_hand, abs=0.005)


def test_interval_on_the_same_draws_is_the_same_to_the_last_digit() -> None:
    table = np.random.default_rng(0).multinomial(len(VALUES), [1 / len(VALUES)] * len(VALUES), size=200)
    means = []
    for counts in table:
        drawn = [i for i, count in enumerate(counts) for _ in range(count)]
        means.append(sum(VALUES[i] * WEIGHTS[i] for i in drawn) / sum(WEIGHTS[i] for i in drawn))
    means.sort()

    def quantile(share: float) -> float:
        place = share * (len(means) - 1)
        below = int(place)
        return means[below] + (place - below) * (means[below + 1] - means[below])

    low, high = bootstrap_interval(VALUES, WEIGHTS, resamples=200, seed=0)
    assert low == pytest.approx(quantile(0.025), abs=1e-12)
    assert high == pytest.approx(quantile(0.975), abs=1e-12)


def test_several_numbers_of_a_run_are_drawn_together() -> None:
    pairs = [(value, 1 - value) for value in VALUES]
    low, high = bootstrap_interval(pairs, combine=lambda one, other: one + other)
    assert (low, high) == pytest.approx((1, 1))


def test_interval_is_repeatable_and_needs_two_runs() -> None:
    assert bootstrap_interval(VALUES) == bootstrap_interval(VALUES)
    assert bootstrap_interval(VALUES) != bootstrap_interval(VALUES, seed=1)
    with pytest.raises(AlmPromptError, match="at least 2 runs, got 1"):
        bootstrap_interval([0.5])


@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_exact_test_counts_every_sign_pattern(weights: list[float] | None) -> None:
    differences = [0.05, -0.01, 0.04, 0.02, -0.02, 0.07, 0.01]
    terms = [d * w for d, w in zip(differences, weights or [1.0] * 7, strict=True)]
    extreme = 0
    for signs in itertools.product((1, -1), repeat=7):
        extreme += abs(sum(s * t for s, t in zip(signs, terms, strict=True))) >= abs(sum(terms)) - 1e-12
    assert paired_sign_flip_test(differences, weights) == extreme / 2**7


def test_smallest_possible_p_and_no_difference() -> None:
    assert paired_sign_flip_test([0.1] * 5) == 2 / 2**5
    assert paired_sign_flip_test([0.0] * 5) == 1
    assert paired_sign_flip_test([0.3]) == 1
    # Ties in another order of summation count: 0.1 + 0.2 and 0.3 differ in the last bit.
    assert paired_sign_flip_test([0.1, 0.2, -0.3]) == 1


def test_many_runs_are_sampled_close_to_the_exact_p() -> None:
    differences = [0.05, -0.03, 0.04, 0.02, -0.02, 0.03, -0.01, 0.02, -0.02, 0.01, 0.03, -0.04, 0.02, 0.01]
    assert len(differences) == EXACT_RUNS
    exact = paired_sign_flip_test(differences)
    # A run without a difference adds nothing but takes the test over the limit.
    sampled = paired_sign_flip_test([*differences, 0.0])
    assert sampled == pytest.approx(exact, abs=0.02)
    assert sampled != exact
    assert sampled == paired_sign_flip_test([*differences, 0.0])


def test_sampled_p_counts_the_measured_pattern() -> None:
    # None of 9999 random patterns of 30 signs is all plus or all minus.
    assert paired_sign_flip_test([0.1] * 30) == 1 / 10_000


def test_no_pairs_are_refused() -> None:
    with pytest.raises(AlmPromptError, match="there are none"):
        paired_sign_flip_test([])
