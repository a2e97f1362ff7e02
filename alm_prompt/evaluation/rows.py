"""Rows of a benchmark on disk: one JSON object per line, complete after every row, however the process ends."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from huggingface_hub.utils import WeakFileLock

from ..errors import AlmPromptError
from ..files import write_whole

ROWS_NAME = "rows.jsonl"
FAILED_NAME = "failed.jsonl"
RESULTS_NAME = "results.json"
TABLE_NAME = "table.md"
LOCK_NAME = ".rows.lock"
# Rows without a format, the first, have no protocol and no data set.
ROW_FORMAT = 2
_KEY = ("protocol", "dataset", "target_dataset", "method", "shots", "seed", "fold")


class RowStore:
    """Finished and failed runs of a folder, which several processes may fill at the same time.

    Args:
        folder: where `rows.jsonl` and `failed.jsonl` lie or will lie; `None` keeps the rows in memory only.
        replace: forget what lies there; it is removed when the first row, or failure, is kept or forgotten.

    Raises:
        AlmPromptError: the file there is not one of rows, or was written by another version.
    """

    def __init__(self, folder: str | Path | None, replace: bool = False) -> None:
        self.folder = None if folder is None else Path(folder)
        self._replace = replace
        self.rows: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.failed: dict[tuple[Any, ...], dict[str, Any]] = {}
        self.read()

    def read(self) -> None:
        """Take in what is on disk by now."""
        if self.folder is None or self._replace:
            return
        for name, known in ((ROWS_NAME, self.rows), (FAILED_NAME, self.failed)):
            path = self.folder / name
            if not path.exists():
                continue
            known.clear()
            for row in read_rows(path):
                if row["format"] != ROW_FORMAT:
                    raise AlmPromptError(
                        f"{path} was written by another version of alm-prompt (rows of format {row['format']}, this "
                        f"one writes {ROW_FORMAT}); choose another output folder"
                    )
                known[row_key(row)] = row

    def find(self, run: Mapping[str, Any]) -> dict[str, Any] | None:
        """The finished row of a run, or `None`.

        Args:
            run: its key and a digest of its `settings`.

        Raises:
            AlmPromptError: the row was made with other settings.
        """
        row = self.rows.get(row_key(run))
        if row is not None and row["settings"] != run["settings"]:
            raise AlmPromptError(
                f"{self.folder}: {run_name(run)} was run with other settings, data or model; choose another output "
                "folder or remove the old run"
            )
        return row

    def add(self, row: dict[str, Any]) -> None:
        """Keep a row; on disk the whole file is replaced at once, so that no line is ever half-written."""
        with self._alone():
            self.rows[row_key(row)] = row
            self._write(ROWS_NAME, self.rows.values())
            if self.failed.pop(row_key(row), None):
                self._write(FAILED_NAME, self.failed.values())

    def fail(self, row: dict[str, Any]) -> None:
        """Keep the row of a run that failed, see [`failed_row`]; it is tried again next time."""
        with self._alone():
            self.failed[row_key(row)] = row
            self._write(FAILED_NAME, self.failed.values())

    def forget_failures(self, rows: Iterable[Mapping[str, Any]]) -> None:
        """Take runs off the list of failed ones: they are tried again."""
        with self._alone():
            if [row for row in rows if self.failed.pop(row_key(row), None)]:
                self._write(FAILED_NAME, self.failed.values())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold off other processes, and take in what they have written since."""
        if self.folder is None:
            yield
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with WeakFileLock(self.folder / LOCK_NAME):
            if self._replace:
                for name in (ROWS_NAME, FAILED_NAME, RESULTS_NAME, TABLE_NAME):
                    (self.folder / name).unlink(missing_ok=True)
                self._replace = False
            self.read()
            yield

    def _write(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        if self.folder is not None:
            lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
            write_whole(self.folder / name, "".join(lines))


def read_rows(path: str | Path) -> list[dict[str, Any]]:
    """Read a file of rows.

    Args:
        path: `rows.jsonl` or `failed.jsonl`.

    Returns:
        The rows; those of the first version lack `protocol`, `track` and `dataset`.

    Raises:
        AlmPromptError: a line is not a row, or of a newer version.
    """
    rows = []
    # As bytes: a name may hold what Unicode counts as the end of a line.
    for number, line in enumerate(Path(path).read_bytes().splitlines(), start=1):
        try:
            row = json.loads(line)
            row["method"], row["shots"], row["seed"], row["fold"], row["settings"]
            newer = row.setdefault("format", 1) > ROW_FORMAT
        except (ValueError, KeyError, TypeError) as error:
            raise AlmPromptError(f"{path}, line {number}: not a benchmark row; remove the file or the line") from error
        if newer:
            raise AlmPromptError(
                f"{path}, line {number}: written by a newer version of alm-prompt (rows of format {row['format']}, "
                f"known are up to {ROW_FORMAT}); upgrade, or choose another folder"
            )
        rows.append(row)
    return rows


def failed_row(run: Mapping[str, Any], error: Exception) -> dict[str, Any]:
    """Row of a run that failed: its key, and why in one line."""
    key = {name: run.get(name) for name in _KEY}
    return {"format": ROW_FORMAT, **key, "settings": run.get("settings"), "error": one_line_reason(error)}


def one_line_reason(error: Exception) -> str:
    """What went wrong, in one line; with the kind of error where it is none of ours."""
    words = " ".join(str(error).split())
    return words if isinstance(error, AlmPromptError) else f"{type(error).__name__}: {words}"


def row_key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    """What tells a run from all others of a folder."""
    return tuple(row.get(name) for name in _KEY)


def shots_in_words(shots: int) -> str:
    """A number of training clips per class as it is said."""
    return f"{shots} shot" if shots == 1 else f"{shots} shots"


def run_name(row: Mapping[str, Any]) -> str:
    """A run in words."""
    dataset = " to ".join(filter(None, (row.get("dataset"), row.get("target_dataset"))))
    parts = [dataset, row["method"], shots_in_words(row["shots"]), f"seed {row['seed']}"]
    parts += [] if row["fold"] is None else [f"fold {row['fold']}"]
    return ", ".join(filter(None, parts))
