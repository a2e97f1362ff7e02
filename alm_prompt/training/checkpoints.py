"""Folders that are there whole or not at all, however a run ends.

Everything is written under a staging name and renamed when complete, and renamed away before it is deleted. What a
killed process leaves behind is therefore a staging folder, which no reader looks at and the next run removes.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from peft.utils import CONFIG_NAME as ADAPTER_CONFIG_NAME
from peft.utils import SAFETENSORS_WEIGHTS_NAME as ADAPTER_WEIGHTS_NAME
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME, TRAINER_STATE_NAME
from transformers.trainer_utils import sort_checkpoints

from ..errors import AlmPromptError
from ..hub import file_sha256
from .run_record import RUN_RECORD_NAME

STAGING_NAME = ".staging"
# Fields of an adapter's config that say where it comes from, not what it computes.
NOT_SETTINGS = {
    "auto_mapping",
    "base_model_name_or_path",
    "inference_mode",
    "peft_version",
    "revision",
    "text_signature",
    "weights_sha256",
}
MODEL_CARD_NAME = "README.md"


def list_checkpoints(run_dir: Path) -> list[Path]:
    """Return the checkpoint folders of a run, oldest step first."""
    return [Path(path) for path in sort_checkpoints(str(run_dir))]


def is_resumable(checkpoint: Path) -> bool:
    """Tell whether a checkpoint holds all that an exact continuation needs.

    A checkpoint appears whole, but `Trainer` itself deletes some in place (`save_total_limit=1` with a best model),
    and with `save_only_model=True` there is no state of the optimizer to continue from.
    """
    single_files = (TRAINER_STATE_NAME, OPTIMIZER_NAME, SCHEDULER_NAME)
    return (
        all((checkpoint / name).is_file() for name in single_files)
        and any(checkpoint.glob("rng_state*.pth"))
        and any(checkpoint.rglob("*.safetensors"))
    )


def last_resumable_checkpoint(run_dir: Path) -> Path | None:
    """Return the newest checkpoint that training can continue from, or `None`."""
    return next((path for path in reversed(list_checkpoints(run_dir)) if is_resumable(path)), None)


def check_adapters(checkpoint: Path) -> None:
    """Refuse a checkpoint with a damaged adapter: PEFT, which has its config already, reads no checksum on resuming.

    Raises:
        AlmPromptError: the weights are not those that their config was saved with, or one cannot be read.
    """
    for config in sorted(checkpoint.rglob(ADAPTER_CONFIG_NAME)):
        weights = config.with_name(ADAPTER_WEIGHTS_NAME)
        try:
            expected = json.loads(config.read_bytes()).get("weights_sha256")
            whole = expected in (None, file_sha256(weights))
        except (OSError, ValueError):
            whole = False
        if not whole:
            raise AlmPromptError(
                f"{weights} is damaged: its SHA-256 is not the one in {ADAPTER_CONFIG_NAME}; remove {checkpoint} to "
                "go on from the checkpoint before it"
            )


def check_settings(checkpoint: Path, adapter_name: str, settings: Mapping[str, Any]) -> None:
    """Refuse to go on with an adapter of other settings: tensors of the same sizes would be loaded into it.

    Args:
        checkpoint: its folder, checked by [`check_adapters`].
        adapter_name: of the adapter that is to go on.
        settings: what its config's `to_dict` gives.

    Raises:
        AlmPromptError: names the first setting that differs.
    """
    # Where PEFT writes it: only the adapter called "default" lies at the top.
    path = checkpoint / ("" if adapter_name == "default" else adapter_name) / ADAPTER_CONFIG_NAME
    if not path.is_file():
        return
    saved, own = json.loads(path.read_bytes()), json.loads(json.dumps(settings, default=list))
    # What another version knows and this file does not, or the other way round, has its default.
    for name in sorted(own.keys() & saved.keys() - NOT_SETTINGS):
        difference = _first_difference(name, saved[name], own[name])
        if difference:
            raise AlmPromptError(
                f"{checkpoint} cannot be resumed: its adapter was begun with {difference}; give the settings that it "
                "was begun with, or begin anew in another output_dir"
            )


def _first_difference(name: str, before: Any, now: Any) -> str:
    """The first setting that differs, in words; in what an adapter wraps, `prompt.<name>`."""
    if not (isinstance(before, dict) and isinstance(now, dict)):
        return "" if before == now else f"{name} {repr(before)[:60]}, and here it is {repr(now)[:60]}"
    differences = (_first_difference(f"{name}.{key}", before.get(key), now.get(key)) for key in before | now)
    return next(filter(None, differences), "")


def find_run(run_dir: Path) -> Path | None:
    """Return a file or folder that shows that `run_dir` already holds a run, or `None`."""
    traces = [*list_checkpoints(run_dir), *run_dir.glob(RUN_RECORD_NAME)]
    traces += [*run_dir.glob(ADAPTER_CONFIG_NAME), *run_dir.glob(f"*/{ADAPTER_CONFIG_NAME}")]
    return next(iter(traces), None)


def check_writable(run_dir: Path) -> None:
    """Create the folder of a run, and refuse it before hours of training if nothing can be written there.

    Raises:
        AlmPromptError: with the reason that the system gives.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=run_dir).close()
    except OSError as error:
        raise AlmPromptError(f"{run_dir}: cannot be written ({error.strerror}); choose another output_dir") from error


def publish_checkpoint(staged: Path, run_dir: Path) -> Path:
    """Move a complete checkpoint out of the staging folder to its name in the run and return its new place."""
    target = run_dir / staged.name
    if target.exists():
        discard(target)
    os.replace(staged, target)
    return target


def prune_checkpoints(run_dir: Path, limit: int | None, protected: set[str]) -> None:
    """Delete the oldest checkpoints beyond `limit`, except those of the `protected` names."""
    if not limit or limit < 0:
        return
    checkpoints = list_checkpoints(run_dir)
    surplus = len(checkpoints) - max(limit, len(protected))
    for checkpoint in [path for path in checkpoints if path.name not in protected][: max(surplus, 0)]:
        discard(checkpoint)


def discard(folder: Path) -> None:
    """Delete a folder; the rename before it keeps a half-deleted checkpoint from looking like a whole one."""
    staging = folder.parent / STAGING_NAME
    staging.mkdir(exist_ok=True)
    grave = Path(tempfile.mkdtemp(dir=staging))
    os.replace(folder, grave)
    shutil.rmtree(grave)


def remove_leftovers(run_dir: Path) -> None:
    """Delete what a killed run left unfinished."""
    shutil.rmtree(run_dir / STAGING_NAME, ignore_errors=True)


@contextmanager
def staged_files(folder: Path) -> Iterator[Path]:
    """Give a staging folder whose files replace those of `folder` on success, the adapter's config last.

    An adapter without its config is not one to any reader, so a new one cannot be opened before it is complete. The
    model cards of `folder`, of named adapters too, are in the staging folder already: PEFT updates a card in place and
    keeps what people wrote into it.
    """
    remove_leftovers(folder)
    named = [config.parent for config in folder.glob(f"*/{ADAPTER_CONFIG_NAME}")]
    staging = folder / STAGING_NAME
    staging.mkdir(parents=True)
    try:
        for card in (adapter / MODEL_CARD_NAME for adapter in (folder, *named)):
            if card.is_file():
                copied = staging / card.relative_to(folder)
                copied.parent.mkdir(exist_ok=True)
                shutil.copy(card, copied)
        yield staging
        files = (path for path in staging.rglob("*") if path.is_file())
        for path in sorted(files, key=lambda path: (path.name == ADAPTER_CONFIG_NAME, path)):
            target = folder / path.relative_to(staging)
            target.parent.mkdir(parents=True, exist_ok=True)
            os.replace(path, target)
    finally:
        remove_leftovers(folder)
