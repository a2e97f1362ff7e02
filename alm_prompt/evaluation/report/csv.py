"""Reports as CSV: one line per figure and method, numbers as they are, the settings in every line."""

from __future__ import annotations

import csv
import io
from typing import Any

from .table import Report, Table


def write_csv(report: Report) -> str:
    """The long tables of all sections as one, with the union of their columns; accuracies are fractions."""
    lines = [line for section in report.sections for table in section.tables if table.long for line in _lines(table)]
    fields = list(dict.fromkeys(name for line in lines for name in line))
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _lines(table: Table) -> list[dict[str, Any]]:
    lines = []
    for row in table.rows:
        line: dict[str, Any] = {}
        for column, cell in zip(table.columns, row, strict=True):
            line |= dict(zip(column.fields, cell.values or (cell.text,), strict=True))
        lines.append(line | {name.replace(" ", "_"): value for name, value in table.settings.items()})
    return lines
