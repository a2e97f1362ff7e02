"""Reports of benchmarks: one model of tables, written as Markdown, LaTeX, CSV or HTML."""

from __future__ import annotations

from collections.abc import Sequence

from .build import build_report
from .comparison import Comparison, compare
from .csv import write_csv
from .html import write_html
from .latex import write_latex
from .layout import overview
from .markdown import grid, write_markdown
from .reading import read_results
from .summaries import MethodSummary, Row, Score, summarise
from .table import Report

__all__ = [
    "WRITERS",
    "Comparison",
    "MethodSummary",
    "Report",
    "Score",
    "build_report",
    "compare",
    "markdown_report",
    "markdown_table",
    "read_results",
    "summarise",
]

WRITERS = {"md": write_markdown, "tex": write_latex, "csv": write_csv, "html": write_html}


def markdown_table(summaries: Sequence[MethodSummary]) -> str:
    """Markdown table of accuracies in percent: separate and generalised form of every method in one row."""
    return grid(overview(summaries, title=""))


def markdown_report(rows: Sequence[Row], title: str) -> str:
    """A Markdown page with the tables and what a reader must know to repeat or judge them.

    Args:
        rows: rows of a benchmark.
        title: heading of the page, e.g. the data set and the model.
    """
    return write_markdown(build_report(rows, title))
