"""Metrics against hand-written loops and against the published tables they must reproduce."""

from __future__ import annotations

import math
from statistics import fmean

import pytest

from alm_prompt.errors import AlmPromptError
from alm_prompt.evaluation.metrics import accuracy, h_of_means, harmonic_mean, macro_f1, mean_and_deviation, mean_of_h

# ZEBRA (arXiv 2606.31587), logs of seed 0: base and novel accuracy in percent on the eleven data sets.
ZEBRA_TABLE = {
    "zero-shot": [
        (52.00, 43.48), (66.13, 25.99), (67.50, 75.00), (58.50, 67.00), (56.86, 36.73), (53.61, 53.87),
        (23.25, 38.78), (60.00, 93.33), (33.33, 30.72), (63.77, 67.55), (53.90, 74.54),
    ],
    "coop": [
        (96.00, 60.87), (59.16, 32.61), (100.00, 72.50), (94.50, 54.50), (76.47, 53.06), (65.79, 39.22),
        (59.21, 32.70), (95.56, 76.67), (67.81, 15.86), (88.11, 36.12), (75.50, 54.43),
    ],
    "coop+zebra": [
        (96.00, 82.61), (61.72, 18.24), (95.00, 77.50), (95.50, 65.00), (74.51, 52.04), (70.78, 54.93),
        (59.65, 42.97), (91.11, 98.33), (71.69, 31.53), (85.26, 65.94), (80.73, 64.07),
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("method", "base", "novel", "of_means", "of_h"),
    [
        ("zero-shot", 53.53, 55.18, 54.34, 52.62),
        ("coop", 79.83, 48.05, 59.99, 58.99),
        ("coop+zebra", 80.18, 59.38, 68.23, 67.00),
    ],
)
def test_both_reductions_reproduce_the_zebra_table(
    method: str, base: float, novel: float, of_means: float, of_h: float
) -> None:
    pairs = ZEBRA_TABLE[method]
    assert fmean(pair[0] for pair in pairs) == pytest.approx(base, abs=0.006)
    assert fmean(pair[1] for pair in pairs) == pytest.approx(novel, abs=0.006)
    assert h_of_means(pairs) == pytest.approx(of_means, abs=0.006)
    assert mean_of_h(pairs) == pytest.approx(of_h, abs=0.006)


def test_deviation_reproduces_the_palm_logs() -> None:
    # PALM (arXiv 2409.19806) on CREMA-D, seeds 0 to 2: mean .3459, deviation 10.6 points.
    mean, deviation = mean_and_deviation([0.4453, 0.3580, 0.2344])
    assert mean == pytest.approx(0.3459, abs=5e-5)
    assert deviation == pytest.approx(0.106, abs=5e-4)


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


@pytest.mark.parametrize(("predictions", "references"), [([], []), ([0], [0, 1])])
def test_accuracy_needs_one_prediction_per_clip(predictions: list[int], references: list[int]) -> None:
    with pytest.raises(AlmPromptError, match="one per clip"):
        accuracy(predictions, references)
