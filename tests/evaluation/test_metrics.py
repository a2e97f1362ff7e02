"""Metrics against hand-written loops; `test_published.py` reduces the published tables with them."""

from __future__ import annotations

import math
from statistics import fmean

import pytest

from alm_prompt.errors import AlmPromptError
from alm_prompt.evaluation.metrics import accuracy, h_of_means, harmonic_mean, macro_f1, mean_and_deviation, mean_of_h


def test_both_reductions_of_h() -> None:
    pairs = [(0.9, 0.3), (0.6, 0.6)]
    assert mean_of_h(pairs) == pytest.approx((2 * 0.9 * 0.3 / 1.2 + 0.6) / 2)
    assert h_of_means(pairs) == pytest.approx(2 * 0.75 * 0.45 / 1.2)
    for reduction in (mean_of_h, h_of_means):
        with pytest.raises(AlmPromptError, match="at least one pair"):
            reduction([])


def test_deviation_divides_by_n_minus_one() -> None:
    values = [0.2, 0.5, 0.9, 0.4]
    mean = sum(values) / 4
    by_hand = math.sqrt(sum((value - mean) ** 2 for value in values) / 3)
    assert mean_and_deviation(values) == (pytest.approx(mean), pytest.approx(by_hand))
    assert mean_and_deviation([0.7]) == (0.7, None)


@pytest.mark.parametrize(("base", "novel"), [(0.9, 0.3), (1.0, 1.0), (0.5, 0.0), (83.6, 76.8)])
def test_harmonic_mean_is_the_inverse_of_the_mean_inverse(base: float, novel: float) -> None:
    by_hand = 0.0 if base == 0 or novel == 0 else 1 / ((1 / base + 1 / novel) / 2)
    assert harmonic_mean(base, novel) == pytest.approx(by_hand)


def test_harmonic_mean_of_two_zeros_is_zero() -> None:
    assert harmonic_mean(0.0, 0.0) == 0.0


@pytest.mark.parametrize("value", [-0.1, float("nan")])
def test_harmonic_mean_refuses_what_is_no_accuracy(value: float) -> None:
    with pytest.raises(AlmPromptError, match="at least 0"):
        harmonic_mean(0.5, value)


def test_accuracy_and_macro_f1_match_a_hand_loop() -> None:
    predictions = [0, 1, 2, 2, 1, 0, 0, 2]
    references = [0, 1, 1, 2, 1, 2, 0, 1]
    assert accuracy(predictions, references) == sum(p == r for p, r in zip(predictions, references, strict=True)) / 8
    scores = []
    for label in range(3):
        hits = sum(p == r == label for p, r in zip(predictions, references, strict=True))
        precision = hits / predictions.count(label)
        recall = hits / references.count(label)
        scores.append(2 * precision * recall / (precision + recall))
    assert macro_f1(predictions, references) == pytest.approx(fmean(scores))


def test_macro_f1_counts_a_class_that_is_only_predicted() -> None:
    # Class 0: precision 1, recall 1/2. Class 2 occurs in the predictions alone: 0.
    assert macro_f1([0, 2], [0, 0]) == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize(("predictions", "references"), [([], []), ([0], [0, 1])])
def test_accuracy_needs_one_prediction_per_clip(predictions: list[int], references: list[int]) -> None:
    with pytest.raises(AlmPromptError, match="one per clip"):
        accuracy(predictions, references)
