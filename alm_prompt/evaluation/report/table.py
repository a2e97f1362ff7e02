"""What a report is made of, before any format: sections of tables with the settings under each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any


@dataclass(frozen=True)
class Cell:
    """One cell.

    Attributes:
        text: what a reader sees.
        values: what a CSV file holds, one per field of the column; `text` if empty.
        mark: "better", "worse" or "equal" for a difference, whose text says the same; a format may underline it.
    """

    text: str
    values: tuple[Any, ...] = ()
    mark: str = ""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: its heading.
        fields: names of its values in a CSV file.
        words: whether it holds words, which start at the left, or figures.
        heading: whether it names what a line is about.
    """

    name: str
    fields: tuple[str, ...]
    words: bool = False
    heading: bool = False


@dataclass(frozen=True)
class Table:
    """One table.

    Attributes:
        title: heading.
        columns: its columns.
        rows: one cell per column.
        notes: sentences under it.
        settings: by name, how its runs were made; stands under it, too.
        long: many lines, one per figure and method, grouped by the first column; the form that CSV files hold.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    settings: dict[str, str] = field(default_factory=dict)
    long: bool = False

    def groups(self) -> Iterator[tuple[str, list[tuple[Cell, ...]]]]:
        """The rows in groups with their names; a table that is not long is one group without a name."""
        for name, rows in groupby(self.rows, key=lambda row: row[0].text if self.long else ""):
            yield name, list(rows)

    @property
    def captions(self) -> list[str]:
        """The lines under the table: notes, then settings."""
        settings = "; ".join(f"{name} {value}" for name, value in self.settings.items())
        return [*self.notes, *([f"Settings: {settings}."] if settings else [])]


@dataclass(frozen=True)
class Section:
    """Tables under one heading."""

    title: str
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Report:
    """A page.

    Attributes:
        title: heading of the page.
        sections: one per track, protocol and number of shots, then the failed runs if there are any.
        notes: how to read the tables.
    """

    title: str
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()
