"""Reports as LaTeX tables, to be read in with `\\input`."""

from __future__ import annotations

import re

from .table import Cell, Report, Table

PREAMBLE = (
    r"""% Read in with \input; needs \usepackage{booktabs, graphicx, longtable} and UTF-8 (the default since 2018)."""
)
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
        r"{\footnotesize\setlength{\tabcolsep}{3pt}",
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
    return [rf"\par\smallskip\footnotesize {escape_latex(note)}" for note in table.captions]


def _alignment(table: Table) -> str:
    return "".join("l" if column.words else "r" for column in table.columns)


def _head(table: Table) -> list[str]:
    return [r"\toprule", _line([Cell(column.name) for column in table.columns]), r"\midrule"]


def _body(table: Table) -> list[str]:
    lines = []
    for name, (first, *rest) in table.groups():
        lines += [r"\midrule"] if lines else []
        # A group's name stands in its first line only.
        lines += [_line(first), *(_line((Cell(""), *row[1:]) if name else row) for row in rest)]
    return lines


def _line(cells: list[Cell] | tuple[Cell, ...]) -> str:
    return " & ".join(escape_latex(cell.text) for cell in cells) + r" \\"
