"""The output folder of a run: refused before work starts, never silently overwritten."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from ..errors import AlmPromptError

# What our commands write into an output folder: the marks of a run, and all that --overwrite may remove.
RUN_FILES = (
    "run_record.json",
    "adapter_config.json",
    "adapter_model.safetensors",
    "README.md",
    "rows.jsonl",
    "results.json",
    "table.md",
)
CHECKPOINTS = "checkpoint-*"


def check_output_dir(path: str | Path, *, resume: bool = False, overwrite: bool = False) -> Path:
    """Make sure that a run may be written into a folder, without creating or changing anything.

    Args:
        path: the folder; it need not exist.
        resume: a run in the folder will be continued.
        overwrite: a run in the folder will be replaced.

    Returns:
        The folder.

    Raises:
        AlmPromptError: it holds a run and neither flag is set, it is a file, or it cannot be written.
    """
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise AlmPromptError(f"output folder {folder} is a file; choose another --output-dir")
    if _run_in(folder) and not (resume or overwrite):
        raise AlmPromptError(
            f"output folder {folder} holds a run; add --resume to continue it, --overwrite to replace it, "
            "or choose another --output-dir"
        )
    parent = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.exists())
    try:
        # Permission bits say nothing to root or on a read-only mount, a real file does.
        with tempfile.TemporaryFile(dir=parent):
            pass
    except OSError as error:
        raise AlmPromptError(
            f"output folder {folder} cannot be written ({error.strerror}); choose another --output-dir"
        ) from error
    return folder


def open_output_dir(folder: Path, *, overwrite: bool = False) -> None:
    """Create the folder; with `overwrite`, remove the files of the run in it and nothing else."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in _run_in(folder) if overwrite else ():
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _run_in(folder: Path) -> list[Path]:
    files = [folder / name for name in RUN_FILES if (folder / name).exists()]
    checkpoints = list(folder.glob(CHECKPOINTS))
    only_a_readme = [path.name for path in files] == ["README.md"]
    return checkpoints if only_a_readme else files + checkpoints
