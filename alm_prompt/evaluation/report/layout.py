"""Layout of the tables: what stands in which column, and how it is written."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..rows import run_name
from .comparison import Comparison
from .figures import FIGURES, Figure
from .summaries import MethodSummary, Row, Score, protocol_of
from .table import Cell, Column, Table

NONE = "\N{EN DASH}"


def overview(
    summaries: Sequence[MethodSummary], title: str, notes: Sequence[str] = (), settings: dict[str, str] | None = None
) -> Table:
    """One line per method: both forms of the protocol side by side.

    Args:
        summaries: what [`summarise`] gives.
        title: heading.
        notes: sentences under the table.
        settings: how the runs were made.
    """
    shown = [figure for figure in FIGURES if any(figure.name in summary.figures for summary in summaries)]
    columns = [
        _words("method", heading=True),
        _number("learned"),
        *(_number(f.label) for f in shown),
        _number("s/run"),
    ]
    rows = []
    for summary in summaries:
        learned = NONE if summary.trainable_parameters is None else f"{summary.trainable_parameters:,}"
        seconds = NONE if summary.seconds is None else f"{summary.seconds:.1f}"
        scores = [_score(summary.figures.get(figure.name)) for figure in shown]
        rows.append((Cell(summary.method), Cell(learned), *scores, Cell(seconds)))
    return Table(title, tuple(columns), tuple(rows), tuple(notes), settings or {})


def comparison_table(
    comparisons: Iterable[Comparison], reference: str, title: str, notes: Sequence[str], settings: dict[str, str]
) -> Table:
    """One line per figure and method; columns in which nothing stands are left out.

    Args:
        comparisons: what [`compare`] gives.
        reference: label of the reference method.
        title: heading.
        notes: sentences under the table.
        settings: how the runs were made.
    """
    columns = (
        _words("figure"),
        _words("method", heading=True),
        _number("ours", "mean", "deviation"),
        _number(f"against {reference}", "difference", "outcome"),
        _number("p"),
        _number("pairs"),
        _number("95 % interval", "low", "high"),
        _number("published", "published", "published_deviation"),
        _number("published difference", "published_difference", "published_outcome"),
    )
    rows = [
        (
            Cell(c.figure.label, (c.figure.name,)),
            Cell(c.method),
            _score(c.score),
            _difference(c.difference, c.figure),
            Cell(NONE if c.p is None else "<0.001" if c.p < 0.001 else f"{c.p:.3f}", (_empty(c.p),)),
            Cell(str(c.pairs or NONE), (c.pairs,)),
            _range(c.interval),
            _score(c.published),
            _difference(c.published_difference, c.figure),
        )
        for c in comparisons
    ]
    kept = [i for i in range(len(columns)) if any(row[i].text != NONE for row in rows)]
    columns, *lines = (tuple(line[i] for i in kept) for line in (columns, *rows))
    return Table(title, columns, tuple(lines), tuple(notes), settings, long=True)


def failure_table(rows: Sequence[Row]) -> Table:
    """One line per failed run.

    Args:
        rows: their rows, with an `error` each.
    """
    columns = (_words("protocol"), _words("run", heading=True), _words("error"))
    lines = [tuple(map(Cell, (protocol_of(row), run_name(row), row["error"]))) for row in rows]
    return Table(f"{len(rows)} runs that ended with an error", columns, tuple(lines), long=True)


def _score(score: Score | None) -> Cell:
    return Cell(NONE, ("", "")) if score is None else Cell(str(score), (score.mean, _empty(score.deviation)))


def _range(interval: tuple[float, float] | None) -> Cell:
    if interval is None:
        return Cell(NONE, ("", ""))
    return Cell(f"{100 * interval[0]:.1f} to {100 * interval[1]:.1f}", interval)


def _difference(points: float | None, figure: Figure) -> Cell:
    """Sign, symbol and word say the same, so that nobody needs to see a colour."""
    if points is None:
        return Cell(NONE, ("", ""))
    text = f"{100 * points:+.1f}".replace("-", "\N{MINUS SIGN}")
    if text[1:] == "0.0":
        return Cell("= 0.0 equal", (points, "equal"), "equal")
    outcome = "better" if (points > 0) != figure.lower_is_better else "worse"
    return Cell(f"{'▲' if outcome == 'better' else '▼'} {text} {outcome}", (points, outcome), outcome)


def _empty(value: float | None) -> float | str:
    return "" if value is None else value


def _words(name: str, heading: bool = False) -> Column:
    return Column(name, (name,), words=True, heading=heading)


def _number(name: str, *fields: str) -> Column:
    return Column(name, fields or (name,))
