"""The one exception that users of the library are meant to read, what its messages begin and end with, and a check."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

# NumPy takes no other seeds than from 0 to this one.
LARGEST_SEED = 2**32 - 1


class AlmPromptError(ValueError):
    """Bad input, met at the door: one line that names the thing, the value and the way out."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Half a sentence for an error about an unknown word: which of the known ones comes nearest."""
    return f"the nearest known one is {difflib.get_close_matches(word, list(known), n=1, cutoff=0)[0]!r}"


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
