"""Reduction of rows: mean over folds, then over data sets, then mean and deviation over seeds."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ...errors import AlmPromptError
from ..metrics import mean_and_deviation
from ..rows import run_name, shots_in_words
from ..same_settings import check_same_settings
from .figures import Figure, figures_of

Row = Mapping[str, Any]
# Track and protocol of rows of earlier versions, which carry neither.
OWN = "own"


@dataclass(frozen=True)
class Score:
    """A mean over seeds and its sample deviation (n - 1); `None` where one seed was run."""

    mean: float
    deviation: float | None = None

    def __str__(self) -> str:
        """In percent, as tables print it."""
        spread = "" if self.deviation is None else f" ± {100 * self.deviation:.1f}"
        return f"{100 * self.mean:.1f}{spread}"


@dataclass(frozen=True)
class MethodSummary:
    """All runs of one method.

    Attributes:
        method: label given to the benchmark.
        figures: by name, those that its rows carry, such as `accuracy` and `macro_f1`, or `base`, `novel`,
            `mean_of_h` (every run's own harmonic mean, then the mean) and `h_of_means` (harmonic mean of the mean
            base and the mean novel accuracy), and the same with `_g` for the generalised form.
        trainable_parameters: learned numbers, mean over data sets; `None` where rows do not tell.
        seconds: mean wall time of a run's training and measurement; `None` where rows do not tell.
        datasets: how many data sets were run.
        seeds: how many seeds were run.
        runs: how many runs there are in all.
    """

    method: str
    figures: dict[str, Score]
    trainable_parameters: int | None
    seconds: float | None
    datasets: int
    seeds: int
    runs: int


def summarise(rows: Sequence[Row]) -> list[MethodSummary]:
    """Reduce rows of one track: mean over the folds of each data set, over data sets, then over the seeds.

    The harmonic mean is reduced in both ways: `mean_of_h` is reduced like any accuracy, `h_of_means` is the harmonic
    mean of the reduced base and novel accuracy; its deviation is that of the seeds' own values.

    Args:
        rows: rows of a benchmark, one per run, or of a published table.

    Returns:
        One summary per method, in the order in which the methods first appear.

    Raises:
        AlmPromptError: there are no rows, they belong to two tracks or two models, a run is there twice, or a
            method's seeds were run on different folds or data sets, or on one data set with different settings.
    """
    if not rows:
        raise AlmPromptError("no benchmark rows to summarise; run the benchmark first")
    check_one_track(rows)
    check_one_model(rows)
    check_same_settings(rows)
    by_method = defaultdict(list)
    for row in rows:
        by_method[row["method"]].append(row)
    return [_summarise_method(method, own) for method, own in by_method.items()]


def check_one_track(rows: Sequence[Row]) -> None:
    """Refuse to compare runs of two tracks, whose classes, folds and recipes differ.

    Raises:
        AlmPromptError: the rows belong to several tracks.
    """
    methods = {track_of(row): row["method"] for row in rows}
    if len(methods) > 1:
        named = ", ".join(f"{track} ({method})" for track, method in methods.items())
        raise AlmPromptError(f"no figure or difference over two tracks: {named}; compare inside one track")


def check_one_model(rows: Sequence[Row]) -> None:
    """Refuse to reduce runs of two models to one figure, or to compare them.

    Raises:
        AlmPromptError: the rows belong to several models.
    """
    methods = {model_of(row): row["method"] for row in rows if model_of(row) is not None}
    if len(methods) > 1:
        named = ", ".join(f"{model} ({method})" for model, method in methods.items())
        raise AlmPromptError(f"no figure or difference over two models: {named}; take the rows of one")


def check_no_run_twice(rows: Sequence[Row]) -> None:
    """Refuse rows of one method where a data set, seed and fold occurs twice.

    Raises:
        AlmPromptError: a run is there twice.
    """
    seen = set()
    for row in rows:
        run = (row["seed"], part_of(row))
        if run in seen:
            raise AlmPromptError(f"{run_name(row)}: there are two rows of this run; report their folders apart")
        seen.add(run)


def part_of(row: Row) -> tuple[Any, ...]:
    """Which part of the protocol a run tests: data set, target data set and fold."""
    return row.get("dataset"), row.get("target_dataset"), row["fold"]


def track_of(row: Row) -> str:
    """The track of a run."""
    return row.get("track") or OWN


def model_of(row: Row) -> str | None:
    """The model of a run, with a hash of its weights; `None` for rows of earlier versions and of papers."""
    return f"{row['model']} ({row['model_hash'][:12]})" if "model_hash" in row else None


def protocol_of(row: Row) -> str:
    """The protocol of a run."""
    return row.get("protocol") or OWN


def by_seed(rows: Sequence[Row]) -> dict[Any, list[Row]]:
    """Rows by seed."""
    seeds = defaultdict(list)
    for row in rows:
        seeds[row["seed"]].append(row)
    return seeds


def whole_seeds(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Keep the seeds in which a method was run on every data set and fold that is there.

    Args:
        rows: rows of one protocol, of any number of shots.

    Returns:
        Their rows, and the other seeds in words.
    """
    parts = {part_of(row) for row in rows}
    several = len({row["shots"] for row in rows}) > 1
    whole: list[Row] = []
    others = []
    for method, shots in dict.fromkeys((row["method"], row["shots"]) for row in rows):
        own = [row for row in rows if (row["method"], row["shots"]) == (method, shots)]
        name = f"{method}, {shots_in_words(shots)}" if several else method
        for seed, runs in by_seed(own).items():
            there = len({part_of(row) for row in runs})
            if there == len(parts):
                whole += runs
            else:
                others.append(f"{name}, seed {seed}: {there} of {len(parts)} runs are there")
    return whole, others


def _summarise_method(method: str, rows: Sequence[Row]) -> MethodSummary:
    check_no_run_twice(rows)
    seeds = list(by_seed(rows).values())
    parts = [{part_of(row) for row in runs} for runs in seeds]
    if any(tested != parts[0] for tested in parts):
        raise AlmPromptError(f"{method}: its seeds were run on different folds; finish the benchmark before reporting")
    learned, seconds = ([row.get(key) for row in rows] for key in ("trainable_parameters", "seconds"))
    return MethodSummary(
        method=method,
        figures={figure.name: _score(seeds, figure) for figure in figures_of(rows)},
        trainable_parameters=None if None in learned else round(fmean(learned)),
        seconds=None if None in seconds else fmean(seconds),
        datasets=len({part[:2] for part in parts[0]}),
        seeds=len(seeds),
        runs=len(rows),
    )


def _score(seeds: Sequence[Sequence[Row]], figure: Figure) -> Score:
    means = [[_mean_over_datasets(runs, part) for part in figure.parts] for runs in seeds]
    _, deviation = mean_and_deviation([figure.of(parts) for parts in means])
    return Score(figure.of([fmean(part) for part in zip(*means, strict=True)]), deviation)


def _mean_over_datasets(rows: Sequence[Row], key: str) -> float:
    folds = defaultdict(list)
    for row in rows:
        folds[part_of(row)[:2]].append(row[key])
    return fmean(fmean(values) for values in folds.values())


def dataset_of(row: Row) -> str | None:
    """Name of a run's data set, or of its source and target."""
    source, target = part_of(row)[:2]
    return source if target is None else f"{source} → {target}"
