"""The one exception that users of the library are meant to read, what its messages are made of, and a check."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

# NumPy takes no other seeds than from 0 to this one.
LARGEST_SEED = 2**32 - 1


class AlmPromptError(ValueError):
    """Bad input, met at the door: one line that names the thing, the value and the way out."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Half a sentence for an error about an unknown word: which of the known ones comes nearest."""
    return f"the nearest known one is {difflib.get_close_matches(word, list(known), n=1, cutoff=0)[0]!r}"


def shorten(names: Iterable[Any], limit: int = 5) -> str:
    """Names for an error message: the first few, and how many more there are."""
    names = [str(name) for name in names]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(names[:limit]) + more


def first_line(error: BaseException) -> str:
    """What another library's error says first; its kind where it says nothing."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)


@contextmanager
def about(name: str | None) -> Iterator[None]:
    """Put a name before what is refused inside; the kind of the error stays. `None` and `""` name nothing."""
    try:
        yield
    except AlmPromptError as error:
        if not name:
            raise
        raise type(error)(f"{name}: {error}") from error


def check_seed(name: str, seed: int) -> None:
    """Refuse a seed that not every generator of random numbers takes.

    Raises:
        AlmPromptError: names the parameter or flag, and the seed.
    """
    if not 0 <= seed <= LARGEST_SEED:
        raise AlmPromptError(f"{name} must be at least 0 and at most {LARGEST_SEED}, got {seed}")
