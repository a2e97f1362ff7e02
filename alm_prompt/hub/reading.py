"""Reading what lies beside an adapter's weights, which may be from a stranger: of bounded size, and of known form."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from peft.utils import CONFIG_NAME

from ..errors import AlmPromptError, about
from ..registry import METHODS, method_name

# Ten neighbours and ten descriptions of each of a thousand classes are a third of it.
LARGEST_CONFIG = 2**22  # bytes


def read_bounded(path: Path) -> bytes:
    """What a file of text holds.

    Raises:
        AlmPromptError: more than 4 MiB.
        OSError: it cannot be read.
    """
    size = path.stat().st_size
    if size > LARGEST_CONFIG:
        raise AlmPromptError(f"{path} has {size:,} bytes, more than the {LARGEST_CONFIG:,} that it may have")
    return path.read_bytes()


def read_config(folder: Path) -> dict[str, Any]:
    """Settings of the adapter in a folder, with the type of its method checked.

    Raises:
        AlmPromptError: there is none, it cannot be read, or its `peft_type` is none of ours.
    """
    path = folder / CONFIG_NAME
    try:
        config = json.loads(read_bounded(path))
    except AlmPromptError:
        raise
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        # A run keeps its adapter in a folder of its own.
        inside = sorted(path.parent for path in folder.glob(f"*/{CONFIG_NAME}"))
        hint = f"; did you mean {str(inside[0])!r}?" if inside else ""
        raise AlmPromptError(f"adapter {str(folder)!r} cannot be opened: {CONFIG_NAME}: {reason}{hint}") from error
    if not isinstance(config, dict) or not isinstance(config.get("peft_type"), str):
        raise AlmPromptError(f"{path} names no peft_type; give the folder of an adapter saved by alm-prompt")
    method_name(config["peft_type"])
    return config


def read_valid_config(folder: Path) -> dict[str, Any]:
    """The same, with every setting checked.

    Raises:
        AlmPromptError: as before, or the method has no such setting or value.
    """
    config = read_config(folder)
    kind = METHODS[method_name(config["peft_type"])]
    with about(str(folder / CONFIG_NAME)):
        kind(**kind.check_kwargs(**{name: value for name, value in config.items() if name != "peft_type"}))
    return config
