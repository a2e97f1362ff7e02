"""The one exception that users of the library are meant to read, and a hint that many of its messages end with."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AlmPromptError(ValueError):
    """Bad input, met at the door: one line that names the thing, the value and the way out."""


def nearest(word: str, known: Iterable[str]) -> str:
    """Half a sentence for an error about an unknown word: which of the known ones comes nearest."""
    return f"the nearest known one is {difflib.get_close_matches(word, list(known), n=1, cutoff=0)[0]!r}"
