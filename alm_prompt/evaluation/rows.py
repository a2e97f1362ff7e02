"""Rows of a benchmark on disk: one JSON object per line, complete after every row, however the process ends."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import AlmPromptError

ROWS_NAME = "rows.jsonl"
RESULTS_NAME = "results.json"
TABLE_NAME = "table.md"
_KEY = ("method", "seed", "fold")


class RowStore:
    """Finished rows by (method, seed, fold).

    Args:
        folder: where `rows.jsonl` lies or will lie; `None` keeps the rows in memory only.

    Raises:
        AlmPromptError: the file there is not one of rows.
    """

    def __init__(self, folder: str | Path | None) -> None:
        self.path = None if folder is None else Path(folder) / ROWS_NAME
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        if self.path is not None and self.path.exists():
            for row in read_rows(self.path):
                self.rows[_key(row)] = row

    def find(self, run: Mapping[str, Any]) -> dict[str, Any] | None:
        """The finished row of a run, or `None`.

        Args:
            run: its `method`, `seed`, `fold` and a digest of its `settings`.

        Raises:
            AlmPromptError: the row was made with other settings.
        """
        row = self.rows.get(_key(run))
        if row is not None and row["settings"] != run["settings"]:
            raise AlmPromptError(
                f"{self.path}: {run['method']}, seed {run['seed']}, fold {run['fold']} was run with other settings, "
                "data or model; choose another output folder or remove the old run"
            )
        return row

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row; on disk the whole file is replaced at once, so that no line is ever half-written."""
        self.rows[_key(row)] = row
        if self.path is None:
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        write_text(self.path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in self.rows.values()))


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """Read a file of rows.

    Raises:
        AlmPromptError: a line is not a row.
    """
    rows = []
    for number, line in enumerate(Path(path).read_text(encoding="utf-8").splitlines(), start=1):
        try:
            row = json.loads(line)
            _key(row), row["settings"]
        except (ValueError, KeyError, TypeError) as error:
            raise AlmPromptError(f"{path}, line {number}: not a benchmark row; remove the file or the line") from error
        rows.append(row)
    return rows


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name, then rename it into place."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _KEY)
