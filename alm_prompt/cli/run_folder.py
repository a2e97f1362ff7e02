"""Where a command writes: refused before work starts, never silently overwritten."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from peft.utils import CONFIG_NAME

from ..errors import AlmPromptError
from ..evaluation.rows import FAILED_NAME, LOCK_NAME, RESULTS_NAME, ROWS_NAME, TABLE_NAME
from ..files import write_whole
from ..training.run_record import RUN_RECORD_NAME

# What our commands write into an output folder, beside the run record: the marks of a run, and all that --overwrite
# may remove.
SETTINGS_NAME = "settings.json"
ADAPTER_NAME = "adapter"
CHECKPOINTS = "checkpoint-*"
# Removed in this order: while a checkpoint is there, its settings say what it belongs to.
TRAINING_PARTS = (ADAPTER_NAME, CHECKPOINTS, SETTINGS_NAME)
BENCHMARK_PARTS = (ROWS_NAME, FAILED_NAME, LOCK_NAME, RESULTS_NAME, TABLE_NAME)
MEASUREMENT_PARTS = (RESULTS_NAME,)
ALL_PARTS = (*TRAINING_PARTS, *BENCHMARK_PARTS, CONFIG_NAME)


def check_output_dir(path: str | Path, parts: Sequence[str], *, resume: bool = False, overwrite: bool = False) -> Path:
    """Make sure that a run may be written into a folder, without creating or changing anything.

    Args:
        path: the folder; it need not exist.
        parts: what the command writes into it, see above.
        resume: a run in the folder will be continued.
        overwrite: a run in the folder will be replaced.

    Returns:
        The folder.

    Raises:
        AlmPromptError: it holds a run and neither flag is set, it holds what another command has written, it is a
            file, or it cannot be written.
    """
    folder = Path(path)
    check_writable(folder, "--output-dir")
    others = _found(folder, [part for part in ALL_PARTS if part not in parts])
    if others:
        raise AlmPromptError(
            f"output folder {folder} holds {others[0].name!r}, which another command has written; "
            "choose another --output-dir"
        )
    if _found(folder, (*parts, RUN_RECORD_NAME)) and not (resume or overwrite):
        raise AlmPromptError(
            f"output folder {folder} holds a run; add --resume to continue it, --overwrite to replace it, "
            "or choose another --output-dir"
        )
    return folder


def check_outside(folder: str | Path, data: str | None) -> None:
    """Refuse an output folder among the classes of a data folder, where it would count as one from then on.

    Args:
        folder: the folder of `--output-dir`.
        data: what `--data` names; a file, a Hub id and a folder with a table have room for other things.

    Raises:
        AlmPromptError: it is the data folder, or lies in it.
    """
    if data is None or not Path(data).is_dir() or (Path(data) / "metadata.csv").is_file():
        return
    if Path(folder).resolve().is_relative_to(Path(data).resolve()):
        raise AlmPromptError(
            f"--output-dir {folder} lies in the data folder {data}, where it would count as a class; choose a folder "
            "outside"
        )


def check_output_file(path: str | Path, example: str, *, overwrite: bool = False) -> Path:
    """Make sure that a command may write its one file, without creating or changing anything.

    Args:
        path: the file of `--output`; its folder need not exist.
        example: what such a file may be called.
        overwrite: a file that is there will be replaced.

    Returns:
        The file.

    Raises:
        AlmPromptError: it is a folder, is there and not to be replaced, or cannot be written.
    """
    output = Path(path)
    if output.is_dir():
        raise AlmPromptError(f"--output {output} is a folder; name a file, such as {output / example}")
    if output.exists() and not overwrite:
        raise AlmPromptError(f"{output} exists; add --overwrite to replace it, or choose another --output")
    check_writable(output.parent, "--output")
    return output


def check_writable(folder: Path, flag: str) -> None:
    """Refuse a folder, existing or not, where no file can be written.

    Args:
        folder: the folder.
        flag: the flag that named it.

    Raises:
        AlmPromptError: it is a file, or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise AlmPromptError(f"output folder {folder} is a file; choose another {flag}")
    parent = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    try:
        # Permission bits say nothing to root or on a read-only mount, a real file does.
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise AlmPromptError(
            f"output folder {folder} cannot be written ({error.strerror}); choose another {flag}"
        ) from error


def open_output_dir(folder: Path, parts: Sequence[str], *, overwrite: bool = False) -> None:
    """Create the folder; with `overwrite`, remove the `parts` and the record of the run in it, and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in _found(folder, (RUN_RECORD_NAME, *parts)) if overwrite else ():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _found(folder: Path, parts: Sequence[str]) -> list[Path]:
    return [path for pattern in parts for path in folder.glob(pattern)]


def write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Write down what a run was asked to do, before it starts."""
    write_whole(folder / SETTINGS_NAME, json.dumps(settings, indent=2, ensure_ascii=False) + "\n")


def read_settings(folder: Path) -> dict[str, Any] | None:
    """What the run in a folder was asked to do; `None` where that is not known."""
    try:
        settings = json.loads((folder / SETTINGS_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return settings if isinstance(settings, dict) else None


def check_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse to continue a run as something else.

    Raises:
        AlmPromptError: a setting differs from the run's, with its name, or nothing says what the checkpoints in the
            folder belong to.
    """
    begun = read_settings(folder)
    if begun is None and _found(folder, [CHECKPOINTS]):
        raise AlmPromptError(
            f"--resume: {folder} holds checkpoints, but no {SETTINGS_NAME} that can be read and says what they belong "
            "to; give --overwrite instead, or choose another --output-dir"
        )
    for name, value in (begun or {}).items():
        if settings.get(name) != value:
            raise AlmPromptError(
                f"--resume: the run in {folder} was begun with another {name} ({repr(value)[:60]}, now "
                f"{repr(settings.get(name))[:60]}); repeat its flags, or choose another --output-dir"
            )
