"""Metrics of the base-to-novel protocols. Accuracies are fractions in [0, 1]; means work in any unit."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import fmean, stdev

from ..errors import AlmPromptError


def harmonic_mean(base: float, novel: float) -> float:
    """Harmonic mean `2bn / (b + n)` of two accuracies, and 0 when both are 0.

    Raises:
        AlmPromptError: an accuracy is negative or not a number.
    """
    if not (base >= 0 and novel >= 0):
        raise AlmPromptError(f"accuracies must be numbers of at least 0, got {base} and {novel}")
    return 2 * base * novel / (base + novel) if base + novel else 0.0


def mean_of_h(pairs: Iterable[tuple[float, float]]) -> float:
    """Mean of the harmonic mean of every (base, novel) pair: the reduction of SEPT (arXiv 2601.20867).

    Raises:
        AlmPromptError: there are no pairs, or an accuracy is negative or not a number.
    """
    return fmean(harmonic_mean(base, novel) for base, novel in _at_least_one(pairs))


def h_of_means(pairs: Iterable[tuple[float, float]]) -> float:
    """Harmonic mean of the mean base and the mean novel accuracy: the reduction of CoOp's descendants.

    Never below [`mean_of_h`] on the same pairs, so the two must not share a column.

    Raises:
        AlmPromptError: there are no pairs, or an accuracy is negative or not a number.
    """
    bases, novels = zip(*_at_least_one(pairs), strict=True)
    return harmonic_mean(fmean(bases), fmean(novels))


def mean_and_deviation(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample deviation (n - 1); the deviation of a single value is unknown: `None`."""
    return fmean(values), stdev(values) if len(values) > 1 else None


def accuracy(predictions: Sequence[int], references: Sequence[int]) -> float:
    """Share of clips whose predicted class is the true one.

    Args:
        predictions: class index per clip.
        references: true class index per clip.

    Raises:
        AlmPromptError: there are no clips, or the two differ in length.
    """
    from sklearn.metrics import accuracy_score

    _check_pairs(predictions, references)
    return float(accuracy_score(references, predictions))


def macro_f1(predictions: Sequence[int], references: Sequence[int]) -> float:
    """Mean of the F1 score over the classes that occur, as a true or a predicted one; one never predicted counts as 0.

    Args:
        predictions: class index per clip.
        references: true class index per clip.

    Raises:
        AlmPromptError: there are no clips, or the two differ in length.
    """
    from sklearn.metrics import f1_score

    _check_pairs(predictions, references)
    return float(f1_score(references, predictions, average="macro", zero_division=0))


def _at_least_one(pairs: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    pairs = list(pairs)
    if not pairs:
        raise AlmPromptError("there is no H of no runs; give at least one pair of base and novel accuracy")
    return pairs


def _check_pairs(predictions: Sequence[int], references: Sequence[int]) -> None:
    if len(predictions) != len(references) or len(references) == 0:
        raise AlmPromptError(
            f"{len(predictions)} predictions for {len(references)} references; give one per clip, at least one"
        )
