"""Reduction of benchmark rows to one line per method, and the table in which both forms stand side by side."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from ..errors import AlmPromptError
from .metrics import h_of_means, mean_and_deviation, mean_of_h


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
class FormSummary:
    """One form of the protocol: separate (as published) or generalised (every clip among all classes).

    Attributes:
        base: accuracy on base clips.
        novel: accuracy on novel clips.
        mean_of_h: mean of every run's own harmonic mean.
        h_of_means: harmonic mean of `base` and `novel`; its deviation is that of the seeds' own values.
    """

    base: Score
    novel: Score
    mean_of_h: Score
    h_of_means: Score


@dataclass(frozen=True)
class MethodSummary:
    """All runs of one method.

    Attributes:
        method: label given to the benchmark.
        separate: base clips among base classes, novel clips among novel classes.
        generalised: every clip among all classes.
        novel_to_base: share of novel clips given to a base class in the generalised form.
        trainable_parameters: learned numbers.
        seconds: mean wall time of a run's training and measurement.
        seeds: how many seeds were run.
        folds: how many folds were run with each seed.
    """

    method: str
    separate: FormSummary
    generalised: FormSummary
    novel_to_base: Score
    trainable_parameters: int
    seconds: float
    seeds: int
    folds: int


def summarise(rows: Sequence[Mapping[str, Any]]) -> list[MethodSummary]:
    """Reduce benchmark rows: mean over the folds of each seed, then mean and deviation over the seeds.

    Args:
        rows: rows of [`run_benchmark`], one per (method, seed, fold).

    Returns:
        One summary per method, in the order in which the methods first appear.

    Raises:
        AlmPromptError: there are no rows, or a method's seeds were run on different folds.
    """
    if not rows:
        raise AlmPromptError("no benchmark rows to summarise; run the benchmark first")
    return [_summarise_method(method, rows) for method in dict.fromkeys(row["method"] for row in rows)]


def _summarise_method(method: str, rows: Iterable[Mapping[str, Any]]) -> MethodSummary:
    own = [row for row in rows if row["method"] == method]
    seeds = list(dict.fromkeys(row["seed"] for row in own))
    by_seed = [[row for row in own if row["seed"] == seed] for seed in seeds]
    if len({frozenset(row["fold"] for row in runs) for runs in by_seed}) > 1:
        raise AlmPromptError(f"{method}: its seeds were run on different folds; finish the benchmark before reporting")
    shares = [fmean(row["novel_to_base"] for row in runs) for runs in by_seed]
    return MethodSummary(
        method=method,
        separate=_summarise_form(by_seed, "base", "novel"),
        generalised=_summarise_form(by_seed, "base_g", "novel_g"),
        novel_to_base=Score(*mean_and_deviation(shares)),
        trainable_parameters=own[0]["trainable_parameters"],
        seconds=fmean(row["seconds"] for row in own),
        seeds=len(seeds),
        folds=len(by_seed[0]),
    )


def _summarise_form(by_seed: Sequence[Sequence[Mapping[str, Any]]], base: str, novel: str) -> FormSummary:
    pairs = [[(row[base], row[novel]) for row in runs] for runs in by_seed]
    base_per_seed = [fmean(pair[0] for pair in runs) for runs in pairs]
    novel_per_seed = [fmean(pair[1] for pair in runs) for runs in pairs]
    _, deviation = mean_and_deviation([h_of_means(runs) for runs in pairs])
    return FormSummary(
        base=Score(*mean_and_deviation(base_per_seed)),
        novel=Score(*mean_and_deviation(novel_per_seed)),
        mean_of_h=Score(*mean_and_deviation([mean_of_h(runs) for runs in pairs])),
        h_of_means=Score(h_of_means(zip(base_per_seed, novel_per_seed, strict=True)), deviation),
    )


def markdown_table(summaries: Sequence[MethodSummary]) -> str:
    """Markdown table of accuracies in percent: separate and generalised form of every method in one row."""
    form = ("base", "novel", "mean of H", "H of means")
    generalised = [f"{name} (g)" for name in form]
    table = [["method", "learned", *form, *generalised, "novel to base (g)", "s/run"]]
    for summary in summaries:
        forms = (summary.separate, summary.generalised)
        scores = [score for f in forms for score in (f.base, f.novel, f.mean_of_h, f.h_of_means)]
        figures = [str(score) for score in (*scores, summary.novel_to_base)]
        table.append([summary.method, f"{summary.trainable_parameters:,}", *figures, f"{summary.seconds:.1f}"])
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    lines = [table[0], rule, *table[1:]]
    return "\n".join(f"| {_aligned(cells, widths)} |" for cells in lines)


def _aligned(cells: Sequence[str], widths: Sequence[int]) -> str:
    first, *rest = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return " | ".join([first.strip().ljust(widths[0]), *rest])


def markdown_report(rows: Sequence[Mapping[str, Any]], title: str) -> str:
    """A page with the table and what a reader must know to repeat or judge it.

    Args:
        rows: rows of [`run_benchmark`].
        title: heading of the page, e.g. the data set and the model.
    """
    summaries = summarise(rows)
    first = rows[0]
    spread = ", ± sample deviation (n - 1) over seeds" if len({row["seed"] for row in rows}) > 1 else ""
    return "\n".join(
        [
            f"# {title}",
            "",
            markdown_table(summaries),
            "",
            f"Accuracy in percent, mean over folds and then over seeds{spread}. Left: base clips among the "
            f"{len(first['base_classes'])} base classes, novel clips among the {len(first['novel_classes'])} novel "
            "classes (the published, separate form). (g): every clip among all classes (generalised); novel to base: "
            "share of novel clips given to a base class. learned: trainable numbers. s/run: seconds of a run.",
            "",
            f"Shots {first['shots']}; seeds {_listed(rows, 'seed')}; folds {_listed(rows, 'fold')}; "
            f"{_encoders(rows)}; {_class_text(first)}; "
            f"logit scale {first['logit_scale']:.2f}; split hashes {_listed(rows, 'split_hash', 12)}.",
            "",
        ]
    )


def _encoders(rows: Sequence[Mapping[str, Any]]) -> str:
    """The encoder mode; where methods differ in it, of which method."""
    modes = list(dict.fromkeys(row["encoder_mode"] for row in rows))
    if len(modes) == 1:
        return f"encoders {modes[0]}"
    methods = {mode: _listed([row for row in rows if row["encoder_mode"] == mode], "method") for mode in modes}
    return "encoders " + ", ".join(f"{mode} ({names})" for mode, names in methods.items())


def _class_text(row: Mapping[str, Any]) -> str:
    return "classes by their descriptions" if row.get("described") else f"template {row['template']!r}"


def _listed(rows: Sequence[Mapping[str, Any]], key: str, length: int | None = None) -> str:
    return ", ".join(dict.fromkeys("all" if row[key] is None else str(row[key])[:length] for row in rows))
