"""The figures that rows carry or that follow from them, in the order in which tables show them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..metrics import harmonic_mean


@dataclass(frozen=True)
class Figure:
    """One figure of a method.

    Attributes:
        name: its name in code and in CSV files.
        label: heading of its column.
        words: what it is, on the axis of a picture.
        parts: keys of the rows it is made of.
        combine: makes one number of the means of several parts; `None` for a single part.
        lower_is_better: whether a smaller value is the better one.
    """

    name: str
    label: str
    words: str
    parts: tuple[str, ...]
    combine: Callable[..., float] | None = None
    lower_is_better: bool = False

    def of(self, means: Sequence[float]) -> float:
        """The figure, given the mean of each of its parts."""
        return self.combine(*means) if self.combine else means[0]


def _single(name: str, label: str, words: str, **options: Any) -> Figure:
    return Figure(name, label, words, (name,), **options)


FIGURES = (
    _single("accuracy", "accuracy", "accuracy"),
    _single("macro_f1", "macro F1", "macro F1"),
    _single("source", "source", "accuracy on source classes"),
    _single("target", "target", "accuracy on target classes"),
    _single("base", "base", "accuracy on base classes"),
    _single("novel", "novel", "accuracy on novel classes"),
    Figure("mean_of_h", "mean of H", "harmonic mean of base and novel", ("h",)),
    Figure("h_of_means", "H of means", "harmonic mean of mean base and novel", ("base", "novel"), harmonic_mean),
    _single("base_g", "base (g)", "base accuracy, among all classes"),
    _single("novel_g", "novel (g)", "novel accuracy, among all classes"),
    Figure("mean_of_h_g", "mean of H (g)", "harmonic mean of base and novel, among all classes", ("h_g",)),
    Figure(
        "h_of_means_g",
        "H of means (g)",
        "harmonic mean of mean base and novel, among all classes",
        ("base_g", "novel_g"),
        harmonic_mean,
    ),
    _single("novel_to_base", "novel to base (g)", "novel clips given a base class", lower_is_better=True),
)


def figures_of(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """The figures that all rows carry."""
    return [figure for figure in FIGURES if all(row.get(part) is not None for row in rows for part in figure.parts)]
