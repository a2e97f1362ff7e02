"""How an adapter names its backbone: here, and to others."""

from __future__ import annotations

import os
from pathlib import Path

from huggingface_hub.utils import HFValidationError, validate_repo_id

TINY = "tiny"
TINY_FOLDER = Path(__file__).resolve().parents[1] / "assets" / "tiny_alm"


def recorded_name(name: str | None) -> str | None:
    """The name to write down: as it was given, but the bundled model's is the same on every machine."""
    return TINY if name and Path(name).absolute() == TINY_FOLDER else name


def lasting_name(name: str | None) -> str | None:
    """The name to write into an adapter: the same, but a folder's holds wherever the adapter is opened from."""
    known = recorded_name(name)
    # From elsewhere a relative path would be the Hub id of whoever registers it.
    return str(Path(known).absolute()) if known and known != TINY and os.path.isdir(known) else known


def is_hub_id(name: str | None) -> bool:
    """Whether a name is one that others can open from the Hub: neither the bundled model nor a local folder."""
    return is_repo_id(name) and name != TINY and not Path(name).exists()


def is_repo_id(name: object) -> bool:
    """Whether a name has the form of a Hub id, so that it can be no path or URL."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return isinstance(name, str)


def shared_name(name: str | None) -> str | None:
    """The name to give to others: `None` for a local folder, whose path would mean nothing to them."""
    return name if name == TINY or is_hub_id(name) else None
