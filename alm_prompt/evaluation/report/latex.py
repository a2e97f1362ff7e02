"""Reports as LaTeX tables, to be read in with `\\input`."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable

from .table import Column, Report, Table

PREAMBLE = (
    r"% Read in with \input; needs \usepackage{array, booktabs, graphicx, longtable}, "
    "and UTF-8 (the default since 2018)."
)
# Longer headings, and names in a column of them, go on in another line of a table over pages, which is not scaled.
HEADING_WIDTH, NAME_WIDTH = 12, 24
_SIGNS = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "%": r"\%",
    "#": r"\#",
    "_": r"\_",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "±": r"$\pm$",
    "\N{MINUS SIGN}": "$-$",
    "→": r"$\rightarrow$",
    "▲": r"$\uparrow$",
    "▼": r"$\downarrow$",
    "\N{EN DASH}": "--",
    "…": r"\ldots{}",
    # At the start of a line, the end of the line before would take these for its own.
    "[": "{[}",
    "*": "{*}",
}


def write_latex(report: Report) -> str:
    """All tables as LaTeX text, one after the other."""
    parts = [PREAMBLE, f"% {' '.join(report.title.split())}"]
    for section in report.sections:
        for table in section.tables:
            caption = escape_latex(f"{section.title}. {table.title}.")
            parts.append(_long(table, caption) if table.long else _floating(table, caption))
    return "\n\n".join([*parts, *map(escape_latex, report.notes)]) + "\n"


def escape_latex(text: str) -> str:
    """Text as LaTeX prints it."""
    return re.sub("|".join(map(re.escape, _SIGNS)), lambda match: _SIGNS[match.group()], " ".join(text.split()))


def _floating(table: Table, caption: str) -> str:
    """A table that keeps to one page, made smaller where it is wider than the text."""
    width = r"\ifdim\width>\linewidth\linewidth\else\width\fi"
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{caption}}}",
        rf"\resizebox{{{width}}}{{!}}{{%",
        rf"\begin{{tabular}}{{{_alignment(table)}}}",
        *_head(table),
        *_body(table),
        r"\bottomrule",
        r"\end{tabular}}",
        *_notes(table),
        r"\end{table}",
    ]
    return "\n".join(lines)


def _long(table: Table, caption: str) -> str:
    """A table that goes on over pages."""
    lines = [
        r"{\scriptsize\setlength{\tabcolsep}{3pt}",
        rf"\begin{{longtable}}{{{_alignment(table)}}}",
        rf"\caption{{{caption}}}\\",
        *_head(table),
        r"\endhead",
        r"\bottomrule",
        r"\endfoot",
        *_body(table),
        r"\end{longtable}",
        *_notes(table),
        "}",
    ]
    return "\n".join(lines)


def _notes(table: Table) -> list[str]:
    return [rf"\par\smallskip\footnotesize\raggedright {escape_latex(note)}" for note in table.captions]


def _columns(table: Table) -> tuple[Column, ...]:
    """The columns that are printed: the name of a group stands above its lines, not beside each."""
    return table.columns[1:] if table.long else table.columns


def _alignment(table: Table) -> str:
    return "".join(_kind(table, place) for place in range(-len(_columns(table)), 0))


def _kind(table: Table, place: int) -> str:
    if not table.columns[place].words:
        return "r"
    wraps = table.long and any(len(row[place].text) > NAME_WIDTH for row in table.rows)
    return r">{\raggedright\arraybackslash}p{.2\linewidth}" if wraps else "l"


def _head(table: Table) -> list[str]:
    names = [column.name for column in _columns(table)]
    headings = map(_stacked if table.long else escape_latex, names)
    return [r"\toprule", " & ".join(headings) + r" \\", r"\midrule"]


def _stacked(heading: str) -> str:
    lines = map(escape_latex, textwrap.wrap(heading, HEADING_WIDTH, break_long_words=False))
    return r"\shortstack[r]{" + r"\\".join(lines) + "}"


def _body(table: Table) -> list[str]:
    shown = len(_columns(table))
    lines = []
    for name, rows in table.groups():
        lines += [r"\midrule"] if lines else []
        lines += [rf"\multicolumn{{{shown}}}{{l}}{{\textbf{{{escape_latex(name)}}}}} \\*"] if name else []
        lines += [_line(cell.text for cell in row[-shown:]) for row in rows]
    return lines


def _line(texts: Iterable[str]) -> str:
    return " & ".join(map(escape_latex, texts)) + r" \\"
