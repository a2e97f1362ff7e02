"""Every figure of every method: how sure it is, and how far from the reference method, ours and as published."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...errors import AlmPromptError
from ..contestant import label_key
from ..rows import run_name
from ..statistics import bootstrap_interval, paired_sign_flip_test
from .figures import Figure, figures_of
from .summaries import Row, Score, by_seed, check_one_track, dataset_of, part_of, summarise


@dataclass(frozen=True)
class Comparison:
    """One figure of one method.

    Attributes:
        figure: which figure.
        method: which method.
        score: mean and deviation of our runs.
        interval: 95 % bootstrap interval over the runs (data set, fold, seed); `None` for a single run.
        difference: our mean minus that of the reference method; `None` for the reference itself, or without one.
        p: paired sign-flip test over the runs that both made; `None` where no runs are paired.
        pairs: number of these runs.
        published: the published figure; `None` where there is none.
        published_difference: the published figure minus the one published for the reference method on the same data.
    """

    figure: Figure
    method: str
    score: Score
    interval: tuple[float, float] | None
    difference: float | None
    p: float | None
    pairs: int
    published: Score | None
    published_difference: float | None


def compare(rows: Sequence[Row], reference: str | None = None, published: Sequence[Row] = ()) -> list[Comparison]:
    """Compare all methods with a reference method, figure by figure.

    Args:
        rows: our rows, of one track, protocol and number of shots, complete for every seed of a method.
        reference: label of the reference method; `None`, or one without rows, gives figures without differences.
        published: published rows of the same track.

    Raises:
        AlmPromptError: the rows belong to two tracks, or two methods were measured on different splits.
    """
    check_one_track([*rows, *published])
    summaries = {summary.method: summary.figures for summary in summarise(rows)}
    runs = {method: _distinct([row for row in rows if row["method"] == method]) for method in summaries}
    comparisons = []
    for figure in figures_of(rows):
        printed, beside = _published(published, figure, label_key(reference))
        for method, own in runs.items():
            others = runs[reference] if reference in runs and method != reference else None
            p, pairs = _paired_test(own, others, figure) if others else (None, 0)
            comparisons.append(
                Comparison(
                    figure=figure,
                    method=method,
                    score=summaries[method][figure.name],
                    interval=_interval(own, figure),
                    difference=_difference(summaries, figure, method, reference),
                    p=p,
                    pairs=pairs,
                    published=printed.get(label_key(method), {}).get(figure.name),
                    published_difference=_difference(beside, figure, label_key(method), label_key(reference)),
                )
            )
    return comparisons


def _distinct(rows: Sequence[Row]) -> list[Row]:
    """One seed of runs that learn nothing and come out the same with all: they are one run that was made again."""
    keys = sorted({key for figure in figures_of(rows) for key in figure.parts})
    found = {(part_of(row), *(row[key] for key in keys)): row for row in reversed(rows)}
    again = len(found) == len({part_of(row) for row in rows})
    fixed = all(row.get("trainable_parameters") == 0 for row in rows)
    return list(reversed(found.values())) if fixed and again else list(rows)


def _published(
    rows: Sequence[Row], figure: Figure, reference: str
) -> tuple[dict[str, dict[str, Score]], dict[str, dict[str, Score]]]:
    """Published figures by method, one kind of them, and those of the same data as the reference's."""
    having = [row for row in rows if figure in figures_of([row])]
    printed = {label_key(s.method): s.figures for s in summarise(having)} if having else {}
    data = {key: {dataset_of(row) for row in having if label_key(row["method"]) == key} for key in printed}
    return printed, {key: figures for key, figures in printed.items() if data[key] == data.get(reference)}


def _difference(
    figures: Mapping[str, Mapping[str, Score]], figure: Figure, method: str, reference: str | None
) -> float | None:
    if method == reference:
        return None
    own, other = (figures.get(name, {}).get(figure.name) for name in (method, reference))
    return own.mean - other.mean if own and other else None


def _interval(rows: Sequence[Row], figure: Figure) -> tuple[float, float] | None:
    if len(rows) < 2:
        return None
    values = [[row[part] for part in figure.parts] for row in rows]
    # Every data set counts the same, however many folds it has.
    runs_of = Counter(part_of(row)[:2] for row in rows)
    weights = [1 / runs_of[part_of(row)[:2]] for row in rows]
    combine = None if figure.combine is None else np.vectorize(figure.combine, otypes=[float])
    return bootstrap_interval(values, weights, combine)


def _paired_test(rows: Sequence[Row], others: Sequence[Row], figure: Figure) -> tuple[float | None, int]:
    """p of the paired test and the number of pairs; no p for a figure that single runs do not have."""
    pairs = _pairs(rows, others)
    if figure.combine is not None or not pairs:
        return None, len(pairs)
    [key] = figure.parts
    runs_of = Counter(part_of(row)[:2] for row, _ in pairs)
    weights = [1 / runs_of[part_of(row)[:2]] for row, _ in pairs]
    return paired_sign_flip_test([row[key] - other[key] for row, other in pairs], weights), len(pairs)


def _pairs(rows: Sequence[Row], others: Sequence[Row]) -> list[tuple[Row, Row]]:
    """Runs of two methods on the same data set, fold and seed.

    A method that learns nothing gives the same with every seed, so one seed of it stands for all.
    """
    if not _fixed(others):
        if _fixed(rows):
            return [(row, other) for other, row in _pairs(others, rows)]
        there = {(row["seed"], part_of(row)): row for row in others}
        pairs = [(row, there[row["seed"], part_of(row)]) for row in rows if (row["seed"], part_of(row)) in there]
    else:
        there = {part_of(row): row for row in others}
        pairs = [(row, there[part_of(row)]) for row in rows if part_of(row) in there]
    for row, other in pairs:
        if row["seed"] == other["seed"] and row.get("split_hash") != other.get("split_hash"):
            hashes = " and ".join(str(one.get("split_hash"))[:12] for one in (row, other))
            raise AlmPromptError(
                f"{run_name(row)}: measured on another split than {other['method']} (hashes {hashes}); "
                "report their folders apart"
            )
    return pairs


def _fixed(rows: Sequence[Mapping[str, Any]]) -> bool:
    return len(by_seed(rows)) == 1 and all(row.get("trainable_parameters") == 0 for row in rows)
