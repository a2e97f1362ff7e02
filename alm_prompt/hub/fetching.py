"""Files of a stranger's repository, whose size is looked at before they are fetched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download

from ..errors import AlmPromptError


def fetch_file(repo_id: str, name: str, largest: int, **options: Any) -> Path:
    """The local copy of a file on the Hub.

    Args:
        repo_id: `user/name`.
        name: of the file.
        largest: bytes that it may have.
        **options: those of `hf_hub_download`, such as `revision` and `token`.

    Raises:
        AlmPromptError: it has more; nothing of it was fetched.
    """
    size = hf_hub_download(repo_id, name, dry_run=True, **options).file_size
    if size is not None and size > largest:
        raise AlmPromptError(
            f"{name} of {repo_id!r} has {size:,} bytes, more than the {largest:,} that an adapter's may have; take "
            "another adapter"
        )
    return Path(hf_hub_download(repo_id, name, **options))
