"""The one exception that users of the library are meant to read, and what its messages begin and end with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


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
