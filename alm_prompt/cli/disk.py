"""A disk that is full or read-only in the middle of a command: one line, like bad input."""

from __future__ import annotations

import errno

from ..errors import first_line

REFUSALS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}
# What safetensors and torch say in errors of their own, which carry no number.
PHRASES = (
    *("No space left on device", "Read-only file system", "File too large"),
    *("PytorchStreamWriter failed writing", "basic_ios::clear: iostream error"),
)


def disk_refusal(error: BaseException | None) -> str | None:
    """The line for an error that comes from a disk that takes no more.

    Args:
        error: what ended a command.

    Returns:
        The line; `None` where the error, and those that it came from, are of another kind.
    """
    while error is not None:
        if (isinstance(error, OSError) and error.errno in REFUSALS) or any(text in str(error) for text in PHRASES):
            return (
                f"the disk takes no more ({first_line(error)}); what was there before is whole: make room or choose "
                "another folder, then go on with --resume or repeat the command"
            )
        error = error.__cause__ or error.__context__
    return None
