"""Checksum of an adapter's weights, kept in its config."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..errors import AlmPromptError

BLOCK = 2**20  # bytes
# Contexts of 1,000 classes with 16 vectors of 768 are a fifth of it. Files from strangers are read as a whole.
LARGEST_WEIGHTS = 2**28  # bytes


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()


def check_weights(path: Path, expected: str | None) -> None:
    """Refuse weights that are not those that their config was saved with, or too many to be an adapter's.

    Args:
        path: the safetensors file.
        expected: SHA-256 in the config; `None` in adapters saved before there was one, which are not checked.

    Raises:
        AlmPromptError: they differ, be it by one bit, or are larger than 256 MiB.
    """
    if path.stat().st_size > LARGEST_WEIGHTS:
        raise AlmPromptError(
            f"{path} has {path.stat().st_size:,} bytes, more than the {LARGEST_WEIGHTS:,} that an adapter may have"
        )
    if expected is not None and file_sha256(path) != expected:
        raise AlmPromptError(
            f"{path} is damaged or of another adapter: its SHA-256 is not the one in adapter_config.json; fetch or "
            "save the adapter again"
        )
