"""Reports as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .table import Report, Table


def write_markdown(report: Report) -> str:
    """The page as Markdown text."""
    parts = [f"# {_escape(report.title)}"]
    for section in report.sections:
        parts.append(f"## {_escape(section.title)}")
        for table in section.tables:
            parts += [f"### {_escape(table.title)}", grid(table), *map(_escape, table.captions)]
    if report.notes:
        parts += ["## How to read this page", "\n".join(f"- {note}" for note in report.notes)]
    return "\n\n".join(parts) + "\n"


def grid(table: Table) -> str:
    """The table alone, its columns aligned."""
    lines = [[column.name for column in table.columns], *([cell.text for cell in row] for row in table.rows)]
    lines = [[_escape(text).replace("|", "\\|") for text in line] for line in lines]
    widths = [max(3, *map(len, column)) for column in zip(*lines, strict=True)]
    rule = [
        "-" * width if column.words else "-" * (width - 1) + ":"
        for column, width in zip(table.columns, widths, strict=True)
    ]
    lines.insert(1, rule)
    return "\n".join(f"| {' | '.join(_aligned(table, line, widths))} |" for line in lines)


def _aligned(table: Table, texts: Sequence[str], widths: Sequence[int]) -> list[str]:
    return [
        text.ljust(width) if column.words else text.rjust(width)
        for text, column, width in zip(texts, table.columns, widths, strict=True)
    ]


def _escape(text: str) -> str:
    """Names and messages may hold what Markdown would take for markup."""
    for sign in "\\`*":
        text = text.replace(sign, f"\\{sign}")
    # Where a tag could begin. Not every Markdown knows a backslash before this sign.
    return " ".join(re.sub(r"<(?=[A-Za-z/!?])", "&lt;", text).split())
