"""Reading checkpoint files of others: tensors only. Code in a pickle is never run."""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from ...errors import AlmPromptError

# Where official files keep their weights: Pengi and MS-CLAP, LAION CLAP and ReCLAP.
WRAPPERS = ("model", "state_dict")
# What else is found under a checkpoint's name, by its first bytes.
NOT_WEIGHTS = {
    b"version https://git-lfs": "is a Git LFS pointer, not the file itself; fetch it with git lfs pull",
    b"<!doctype": "is an HTML page, not the file itself; download it again from the link behind the page",
    b"<html": "is an HTML page, not the file itself; download it again from the link behind the page",
}


class _Uninterpreted:
    """Stands in for the NumPy numbers (epoch, metrics) that LAION's training loop saved beside its weights."""

    def __init__(self, *_: Any) -> None:
        """Forget the arguments."""

    def __setstate__(self, _: Any) -> None:
        """Forget the state."""


NUMPY_NUMBERS = [
    (_Uninterpreted, name) for name in ("numpy.dtype", "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
]


def check_checkpoint_file(path: str | Path) -> Path:
    """Check cheaply that a file may hold the weights of a model, before any work.

    Args:
        path: the file.

    Returns:
        The path.

    Raises:
        AlmPromptError: there is no such file, or by its name or first bytes it is something else.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise AlmPromptError(f"checkpoint {path} {kind}; give the official weight file")
    if path.suffix == ".json":
        raise AlmPromptError(
            f"checkpoint {path} is an index or a configuration; give the official weight file, one file"
        )
    try:
        with path.open("rb") as file:
            start = file.read(64).lstrip().lower()
    except OSError as error:
        raise AlmPromptError(f"checkpoint {path} cannot be read ({error.strerror}); check its permissions") from error
    if not start:
        raise AlmPromptError(f"checkpoint {path} is empty; download it again")
    for mark, problem in NOT_WEIGHTS.items():
        if start.startswith(mark):
            raise AlmPromptError(f"checkpoint {path} {problem}")
    return path


def read_checkpoint(path: Path) -> dict[str, torch.Tensor]:
    """Read the weights of a checkpoint, in float32 where they are floating-point.

    Args:
        path: a file saved by `torch.save`, or a `.safetensors` file.

    Returns:
        Tensors by name, without the prefix `module.` of distributed training.

    Raises:
        AlmPromptError: the file is damaged, or holds anything but tensors.
    """
    content = _load(path)
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not content:
        raise AlmPromptError(f"checkpoint {path} holds no weights by name; give the official weight file")
    for name, value in content.items():
        if not isinstance(value, torch.Tensor):
            raise AlmPromptError(
                f"checkpoint {path} holds {name!r} of type {type(value).__name__} among its weights; give the "
                "official weight file"
            )
    weights = {
        name.removeprefix("module."): tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in content.items()
    }
    if len(weights) < len(content):
        raise AlmPromptError(
            f"checkpoint {path} holds a tensor with and without the prefix 'module.'; give one of both"
        )
    return weights


def _load(path: Path) -> Any:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(), torch.serialization.safe_globals(NUMPY_NUMBERS):
            # Its notes on pickle protocols come before an error, which says what matters.
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch answers a damaged file with whatever its parser stumbles over
        foreign = re.search(r"GLOBAL ([\w.]+)", str(error))
        if foreign:
            raise AlmPromptError(
                f"checkpoint {path} holds the Python object {foreign[1]}, which loading would have to run; nothing of "
                "it was run; give the official file, or a .safetensors file of its tensors"
            ) from error
        raise AlmPromptError(
            f"checkpoint {path} cannot be read: it is incomplete, no checkpoint, or a pickle of more than tensors; "
            "nothing of it was run; give the official file, downloaded again"
        ) from error
