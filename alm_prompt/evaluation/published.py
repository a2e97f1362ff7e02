"""Figures that papers have published, as rows of the same form as our own, so that one code reduces both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from ..yaml_text import read_yaml

FOLDER = Path(__file__).parent / "published"
# Of what a paper prints, the figures that are accuracies; rows carry them as fractions.
ACCURACIES = ("accuracy", "macro_f1", "source", "target", "base", "novel", "h")
# What identifies a row; a table sets it once, per line or per column.
KEYS = ("dataset", "target_dataset", "method", "shots", "seed", "fold", "printed")


@dataclass(frozen=True)
class PublishedTable:
    """One table of a paper or of its logs.

    Attributes:
        name: our name of the table.
        paper: short name of the paper or source.
        arxiv: its arXiv id.
        source: table of the paper, or logs.
        track: comparisons are meaningful inside one track only.
        protocol: recipe that makes the same table of our runs; `None` where there is none.
        rows: one mapping per cell of the table, with accuracies as fractions and the keys of a benchmark row:
            `dataset` is `None` for a mean over the data sets, `seed` and `fold` for a mean over those.
    """

    name: str
    paper: str
    arxiv: str
    source: str
    track: str
    protocol: str | None
    rows: tuple[Mapping[str, Any], ...]

    @property
    def citation(self) -> str:
        """Where the figures stand, e.g. "SEPT (arXiv 2601.20867), Table 1"."""
        return f"{self.paper} (arXiv {self.arxiv}), {self.source}"


@cache
def published_tables() -> dict[str, PublishedTable]:
    """All tables that come with the package, by name."""
    tables = {}
    for path in sorted(FOLDER.glob("*.yaml")):
        paper = read_yaml(path.read_text(encoding="utf-8"))
        for table in paper["tables"]:
            tables[table["name"]] = _read_table(table, paper)
    return tables


def find_published(track: str, protocol: str) -> list[PublishedTable]:
    """The tables that a protocol reproduces; none where nothing was published in this track."""
    return [table for table in published_tables().values() if (table.track, table.protocol) == (track, protocol)]


def _read_table(table: Mapping[str, Any], paper: Mapping[str, Any]) -> PublishedTable:
    protocol = table.get("protocol")
    unit = {"fraction": 1, "percent": 100}[paper["unit"]]
    common = dict.fromkeys(KEYS) | {key: table[key] for key in KEYS if key in table}
    common |= {"track": paper["track"], "protocol": protocol}
    keys = table.get("keys", [])
    rows = []
    for line in table["rows"]:
        named = dict(zip(keys, line, strict=False))
        for column, cell in zip(table.get("columns", [None]), line[len(keys) :], strict=True):
            if cell is None:
                continue
            across = {} if column is None else {table["across"]: column}
            printed = zip(table["figures"], map(float, str(cell).split("/")), strict=True)
            figures = {name: value / unit if name in ACCURACIES else value for name, value in printed}
            rows.append({**common, **named, **across, **figures})
    return PublishedTable(
        table["name"], paper["paper"], paper["arxiv"], table["source"], paper["track"], protocol, tuple(rows)
    )
