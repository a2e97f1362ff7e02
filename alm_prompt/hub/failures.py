"""What goes wrong on the way to or from the Hub, in one line with the way out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from huggingface_hub import constants
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    HTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)

from ..errors import AlmPromptError

LOG_IN = "log in with `hf auth login` or give a token"


@contextmanager
def hub_failures(what: str, *, revision: str | None = None) -> Iterator[None]:
    """Turn a failure of `huggingface_hub` into one line.

    Args:
        what: beginning of the line, such as `adapter 'user/name' cannot be opened`.
        revision: the revision that was asked for.

    Raises:
        AlmPromptError: in place of any error of the Hub, the network or the disk.
    """
    try:
        yield
    except AlmPromptError:
        raise
    except (HTTPError, OSError, EntryNotFoundError, ValueError) as error:
        raise AlmPromptError(f"{what}: {_reason(error, revision)}") from error


def _reason(error: Exception, revision: str | None) -> str:
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE=1 keeps from reaching the Hub; unset it"
    if isinstance(error, LocalEntryNotFoundError):
        if constants.HF_HUB_OFFLINE:
            return "it is not in the cache, and HF_HUB_OFFLINE=1 keeps from fetching it; fetch it once without that"
        return "the Hub cannot be reached, and it is not in the cache; try again when online"
    if isinstance(error, GatedRepoError):
        return f"access must be asked for on its page; then {LOG_IN} that has it"
    if isinstance(error, RepositoryNotFoundError):
        return f"there is no such repository, or it is private; check the name, or {LOG_IN} that may read it"
    if isinstance(error, RevisionNotFoundError):
        return f"the repository has no revision {revision!r}; give a branch, tag or commit of it"
    if isinstance(error, EntryNotFoundError):
        return "the repository holds no adapter; it lacks adapter_config.json or adapter_model.safetensors"
    if isinstance(error, HfHubHTTPError) and error.response.status_code in (401, 403):
        return f"the Hub does not accept the token, or there is none; {LOG_IN} that may do this"
    lines = (line.strip() for line in str(error).splitlines())
    return next((line for line in lines if line), type(error).__name__)
