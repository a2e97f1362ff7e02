"""Checksum of an adapter's weights, kept in its config."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import AlmPromptError

BLOCK = 2**20  # bytes


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def check_weights(path: Path, expected: str | None) -> None:
    """Refuse weights that are not those that their config was saved with.

    Args:
        path: the safetensors file.
        expected: SHA-256 in the config; `None` in adapters saved before there was one, which are not checked.

    Raises:
        AlmPromptError: they differ, be it by one bit.
    """
    if expected is not None and file_sha256(path) != expected:
        raise AlmPromptError(
            f"{path} is damaged or of another adapter: its SHA-256 is not the one in adapter_config.json; fetch or "
            "save the adapter again"
        )
