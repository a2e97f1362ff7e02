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
        parts: keys of the rows it is made of.
        combine: makes one number of the means of several parts; `None` for a single part.
        lower_is_better: whether a smaller value is the better one.
    """

    name: str
    label: str
    parts: tuple[str, ...]
    combine: Callable[..., float] | None = None
    lower_is_better: bool = False

    def of(self, means: Sequence[float]) -> float:
        """The figure, given the mean of each of its parts."""
        return self.combine(*means) if self.combine else means[0]


def _single(name: str, label: str, **options: Any) -> Figure:
    return Figure(name, label, (name,), **options)


FIGURES = (
    _single("accuracy", "accuracy"),
    _single("macro_f1", "macro F1"),
    _single("source", "source"),
    _single("target", "target"),
    _single("base", "base"),
    _single("novel", "novel"),
    Figure("mean_of_h", "mean of H", ("h",)),
    Figure("h_of_means", "H of means", ("base", "novel"), harmonic_mean),
    _single("base_g", "base (g)"),
    _single("novel_g", "novel (g)"),
    Figure("mean_of_h_g", "mean of H (g)", ("h_g",)),
    Figure("h_of_means_g", "H of means (g)", ("base_g", "novel_g"), harmonic_mean),
    _single("novel_to_base", "novel to base (g)", lower_is_better=True),
)


def figures_of(rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
    """The figures that all rows carry."""
    return [figure for figure in FIGURES if all(row.get(part) is not None for row in rows for part in figure.parts)]
