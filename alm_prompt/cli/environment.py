"""What stands around a command: the pair of torch and torchaudio that must match."""

from __future__ import annotations

import importlib

from ..errors import AlmPromptError, first_line
from ..versions import TORCH_PAIR, installed_version


def check_torchaudio() -> None:
    """Import torchaudio, and say what to install where that fails.

    A torchaudio built for another torch dies while loading its libraries, and takes `import transformers` with it,
    so every command asks here first.

    Raises:
        AlmPromptError: torchaudio cannot be imported.
    """
    try:
        importlib.import_module("torchaudio")
    except (ImportError, OSError, RuntimeError) as error:
        torch, torchaudio = (installed_version(name) or "missing" for name in ("torch", "torchaudio"))
        raise AlmPromptError(
            f"torchaudio cannot be imported (torch {torch}, torchaudio {torchaudio}: {first_line(error)}); "
            f"install the pair that belongs together: {TORCH_PAIR}"
        ) from error
