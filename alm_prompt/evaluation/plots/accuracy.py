"""Pictures of benchmark rows: base against novel accuracy, and accuracy over shots."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from textwrap import fill

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ...errors import AlmPromptError
from ..report.figures import FIGURES
from ..report.summaries import Row, dataset_of, part_of, summarise, whole_seeds
from .style import COLUMN, PAGE, SMALL, line_style, mark, styled

logger = logging.getLogger(__name__)

FORMS = {
    "separate: each half of the classes by itself": ("base", "novel"),
    "generalised: all classes together": ("base_g", "novel_g"),
}
ZERO_SHOT = "zero-shot"
LEGEND_COLUMNS = 4
OCTAVES_APART = 0.06
LABEL_WIDTH = 32  # letters of a line beside an axis
WORDS = {figure.name: figure.words for figure in FIGURES}
BAR = {"ecolor": "0.6", "elinewidth": 0.6}

Scores = Mapping[str, tuple[float, float]]


def scores(rows: Sequence[Row], key: str) -> Scores:
    """A figure of every method in percent: its mean, and its deviation over seeds (0 where there is one seed).

    Args:
        rows: benchmark rows.
        key: name of the figure in [`MethodSummary`].

    Raises:
        AlmPromptError: rows that cannot be put together, or without the figure.
    """
    found = {}
    for summary in summarise(rows):
        if key not in summary.figures:
            raise AlmPromptError(
                f"method {summary.method!r} has no figure {key!r} in these rows; it has {', '.join(summary.figures)}"
            )
        score = summary.figures[key]
        found[summary.method] = (100 * score.mean, 100 * (score.deviation or 0.0))
    return found


def measured_on(rows: Sequence[Row]) -> str:
    """Data and seeds of rows in words, as far as they say."""
    datasets = sorted({name for row in rows if (name := dataset_of(row))})
    by_method: dict[str, set[int]] = {}
    for row in rows:
        by_method.setdefault(row["method"], set()).add(row["seed"])
    fewest, seeds = (pick(map(len, by_method.values())) for pick in (min, max))
    data = [f"mean over {len(datasets)} data sets" if len(datasets) > 1 else name for name in datasets[:1]]
    spread = f"mean ± deviation of {seeds} seeds" if seeds > 1 else "one seed"
    fewer = "" if fewest == seeds else f" ({fewest} where there is no bar)" if fewest == 1 else f" (some: {fewest})"
    return ", ".join([*data, spread + fewer])


def complete(rows: Sequence[Row]) -> list[Row]:
    """Rows of seeds in which a method was run on all data sets and folds; means over others could not be compared.

    Raises:
        AlmPromptError: no seed of any method is complete, or there are no rows.
    """
    whole, others = whole_seeds(rows)
    if not whole:
        raise AlmPromptError(f"no complete runs to draw ({'; '.join(others) or 'no rows'}); finish the benchmark")
    if others:
        logger.warning("left out because incomplete: %s", "; ".join(others))
    return whole


@styled
def base_novel_scatter(rows: Sequence[Row], reference: str = ZERO_SHOT) -> Figure:
    """Novel against base accuracy of every method, in the separate and the generalised form.

    Dashed lines are the reference: below its line, novel classes were lost. On a dotted curve all points have the
    same harmonic mean. Bars are sample deviations over seeds.

    Args:
        rows: rows of base-to-novel runs.
        reference: label of the method that the others are held against, where it is among them.

    Raises:
        AlmPromptError: no rows, or rows of another kind of run.
    """
    rows = complete(rows)
    figure = Figure(figsize=(PAGE, 3.5), layout="constrained")
    panels = figure.subplots(1, len(FORMS))
    for axes, (form, (base, novel)) in zip(panels, FORMS.items(), strict=True):
        _scatter(axes, scores(rows, base), scores(rows, novel), reference)
        axes.set_title(form)
        axes.set_xlabel("accuracy on base classes (%)")
    shots = ", ".join(str(count) for count in sorted({row["shots"] for row in rows}))
    figure.suptitle(f"{measured_on(rows)}; {shots} training clips per base class", fontsize=8)
    panels[0].set_ylabel("accuracy on novel classes (%)")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=LEGEND_COLUMNS)
    return figure


def _scatter(axes: Axes, base: Scores, novel: Scores, reference: str) -> None:
    if reference in base:
        line = {"color": "black", "linestyle": "--", "linewidth": 0.8, "zorder": 1}
        axes.axvline(base[reference][0], **line)
        axes.axhline(novel[reference][0], **line, label=f"{reference} (both lines)")
    for number, method in enumerate(name for name in base if name != reference):
        (x, x_spread), (y, y_spread) = base[method], novel[method]
        axes.errorbar(x, y, y_spread, x_spread, label=method, linestyle="none", **BAR, **mark(number))
    for set_limits, scores in ((axes.set_xlim, base.values()), (axes.set_ylim, novel.values())):
        low = min(mean - spread for mean, spread in scores)
        high = max(mean + spread for mean, spread in scores)
        room = 0.08 * (high - low) + 1
        set_limits(low - room, high + room)
    _harmonic_means(axes)


def _harmonic_means(axes: Axes) -> None:
    """Curves of equal harmonic mean, in steps of ten."""
    (left, right), (bottom, top) = axes.get_xlim(), axes.get_ylim()
    for h in range(10, 100, 10):
        x = np.linspace(max(left, h / 2 + 0.01), right, 200)
        y = h * x / (2 * x - h)
        seen = (y > bottom) & (y < top)
        if seen.sum() > 1:
            axes.plot(x[seen], y[seen], color="0.7", linestyle=":", linewidth=0.7, zorder=0)
            axes.text(x[seen][-1], y[seen][-1], f"H {h}", fontsize=SMALL, color="0.4", ha="right", va="bottom")


@styled
def accuracy_over_shots(rows: Sequence[Row], key: str = "accuracy", reference: str = ZERO_SHOT) -> Figure:
    """A figure of every method over the number of training clips per class.

    Bars are sample deviations over seeds. The reference, which needs no clips, is a line across.

    Args:
        rows: benchmark rows with several numbers of shots.
        key: which figure of the rows.
        reference: label of the method without training clips, where it is among them.

    Raises:
        AlmPromptError: no rows of trained methods, or rows without the figure.
    """
    rows = complete(rows)
    trained = [row for row in rows if row["method"] != reference]
    if not trained:
        raise AlmPromptError("no benchmark rows of trained methods to draw; run the benchmark first")
    shots = sorted({row["shots"] for row in trained})
    by_shots = {count: scores([row for row in trained if row["shots"] == count], key) for count in shots}
    figure = Figure(figsize=(COLUMN, 3.6), layout="constrained")
    axes = figure.subplots()
    methods = list(dict.fromkeys(row["method"] for row in trained))
    for number, method in enumerate(methods):
        # Side by side, so that the bars of one number of shots do not hide each other.
        aside = 2 ** (OCTAVES_APART * (number - (len(methods) - 1) / 2))
        points = [(count * aside, *found[method]) for count, found in by_shots.items() if method in found]
        line = {"linestyle": line_style(number), "capsize": 2}
        axes.errorbar(*zip(*points, strict=True), label=method, **line, **BAR, **mark(number))
    # Zero-shot runs of several numbers of shots are the same run.
    untrained = {run: row for row in rows if row["method"] == reference for run in [(row["seed"], part_of(row))]}
    if untrained:
        level, _ = scores(list(untrained.values()), key)[reference]
        axes.axhline(level, color="0.4", linewidth=2, linestyle=(0, (1, 1)), label=reference, zorder=1)
    axes.set_xscale("log", base=2)
    axes.set_xticks(shots, labels=map(str, shots))
    axes.minorticks_off()
    axes.set_xlabel("training clips per class")
    axes.set_ylabel(fill(f"{WORDS[key]} (%)", LABEL_WIDTH))
    axes.set_title(measured_on(trained))
    figure.legend(loc="outside lower center", ncols=2, handlelength=4)
    return figure
