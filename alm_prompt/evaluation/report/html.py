"""Reports as one HTML file that needs nothing else and can be read on a phone and in grey."""

from __future__ import annotations

from collections.abc import Iterable
from html import escape

from .table import Cell, Column, Report, Table

STYLE = """
:root { color-scheme: light dark; --line: #8886; --shade: #8882; }
body { font: 16px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 76rem; padding: 1rem; }
h2 { border-top: 3px solid; margin-top: 3rem; padding-top: .5rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; font-variant-numeric: tabular-nums; }
th, td { padding: .3rem .6rem; text-align: right; white-space: nowrap; }
.words { text-align: left; }
thead th { border-bottom: 2px solid; vertical-align: bottom; }
tbody tr { border-bottom: 1px solid var(--line); }
thead th { white-space: normal; }
.group { background: var(--shade); text-align: left; }
th[scope=row] { background: Canvas; left: 0; position: sticky; }
.better { font-weight: bold; }
.worse { background: var(--shade); font-weight: bold; }
.note { font-size: .875rem; max-width: 60rem; overflow-wrap: anywhere; }
"""


def write_html(report: Report) -> str:
    """The page as HTML text."""
    body = [f"<h1>{escape(report.title)}</h1>"]
    for section in report.sections:
        body.append(f"<h2>{escape(section.title)}</h2>")
        for table in section.tables:
            body += [f"<h3>{escape(table.title)}</h3>", *_table(table), *_notes(table.captions)]
    if report.notes:
        items = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
        body += ["<h2>How to read this page</h2>", f'<ul class="note">{items}</ul>']
    head = (
        '<meta charset="utf-8">\n<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>{STYLE}</style>"
    )
    joined = "\n".join(body)
    return f'<!DOCTYPE html>\n<html lang="en">\n<head>\n{head}\n</head>\n<body>\n{joined}\n</body>\n</html>\n'


def _table(table: Table) -> Iterable[str]:
    yield '<div class="wide"><table>'
    # The name of a group stands above its lines, which leaves a narrow screen to the figures.
    hidden = 1 if table.long else 0
    columns = table.columns[hidden:]
    yield f"<thead><tr>{''.join(map(_heading, columns))}</tr></thead>"
    for name, rows in table.groups():
        yield "<tbody>"
        if name:
            yield f'<tr><th scope="rowgroup" class="group" colspan="{len(columns)}">{escape(name)}</th></tr>'
        for row in rows:
            yield f"<tr>{''.join(map(_cell, columns, row[hidden:]))}</tr>"
        yield "</tbody>"
    yield "</table></div>"


def _heading(column: Column) -> str:
    return f'<th scope="col"{_classes(column)}>{escape(column.name)}</th>'


def _cell(column: Column, cell: Cell) -> str:
    text = escape(cell.text)
    if column.heading:
        return f'<th scope="row"{_classes(column)}>{text}</th>'
    return f"<td{_classes(column, cell.mark)}>{text}</td>"


def _classes(column: Column, mark: str = "") -> str:
    names = " ".join(filter(None, ("words" if column.words else "", mark)))
    return f' class="{names}"' if names else ""


def _notes(notes: Iterable[str]) -> Iterable[str]:
    return (f'<p class="note">{escape(note)}</p>' for note in notes)
