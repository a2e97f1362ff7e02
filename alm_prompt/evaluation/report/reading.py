"""Rows of results folders, of this version or of an earlier one."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ...errors import AlmPromptError
from ..rows import FAILED_NAME, ROWS_NAME, read_rows, run_name
from .figures import figures_of


def read_results(folders: Iterable[str | Path]) -> list[dict[str, Any]]:
    """Read the rows of results folders.

    Args:
        folders: folders with `rows.jsonl`, and with `failed.jsonl` where runs failed; where all did, that alone.

    Returns:
        All rows, in the order of the folders; those of failed runs have an `error` in place of figures.

    Raises:
        AlmPromptError: a folder without rows, or rows that this version cannot read.
    """
    rows = []
    for folder in map(Path, folders):
        path, failed = folder / ROWS_NAME, folder / FAILED_NAME
        if not path.is_file() and not failed.is_file():
            raise AlmPromptError(f"results folder {folder}: holds no {ROWS_NAME}; name a benchmark's output folder")
        found = read_rows(path) if path.is_file() else []
        for row in found:
            if not figures_of([row]):
                raise AlmPromptError(
                    f"{path}: {run_name(row)} has no figures that this version of alm-prompt knows; was the folder "
                    "written by another version?"
                )
        found += read_rows(failed) if failed.is_file() else []
        if not found:
            raise AlmPromptError(f"results folder {folder}: {ROWS_NAME} holds no rows yet; run the benchmark first")
        rows += found
    return rows
