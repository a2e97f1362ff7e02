"""Class names as text: which lists can be used, how a name is written, and what a tokenizer puts around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..errors import AlmPromptError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def readable(name: str) -> str:
    """A class name as it is written in a sentence."""
    return name.replace("_", " ")


def name_key(name: str) -> str:
    """What all spellings of one class name have in common: case and `_` do not tell two classes apart."""
    return readable(name).strip().lower()


def checked_names(class_names: Sequence[str]) -> list[str]:
    """The names as a list.

    Raises:
        AlmPromptError: there are none, or one is blank or stands twice.
    """
    if isinstance(class_names, str):
        raise AlmPromptError(f"class names are the text {class_names!r}; give a list of names")
    names = list(class_names)
    if not names:
        raise AlmPromptError("the list of class names is empty; give at least one name")
    seen: dict[str, str] = {}
    for position, name in enumerate(names):
        if not isinstance(name, str) or not name.strip():
            raise AlmPromptError(f"class name number {position + 1} is {name!r}; give each class a non-blank name")
        key = name_key(name)
        if key in seen:
            raise AlmPromptError(f"class name {name!r} stands twice in the list (as {seen[key]!r}); keep one of them")
        seen[key] = name
    return names


def special_token_ids(tokenizer: PreTrainedTokenizerBase, suffix: str) -> tuple[list[int], list[int]]:
    """Ids that stand before and after a text, found by what the tokenizer does rather than by their names."""
    probe = tokenizer("sound", add_special_tokens=False)["input_ids"]
    full = tokenizer(f"sound{suffix}")["input_ids"]
    for start in range(len(full) - len(probe) + 1):
        if full[start : start + len(probe)] == probe:
            return full[:start], full[start + len(probe) :]
    raise AlmPromptError(
        f"tokenizer {type(tokenizer).__name__} rewrites a text between its special tokens; use another"
    )
