"""Settings from a file or a command line: every field is known and of its type before a config is made of them."""

from __future__ import annotations

import types
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from functools import cache
from typing import TYPE_CHECKING, Any, Union, get_args, get_origin, get_type_hints

from ..errors import AlmPromptError

if TYPE_CHECKING:
    from peft import PeftConfig

# Whole numbers beyond it are not exact in JSON readers of other languages, and no setting comes near.
LARGEST_NUMBER = 2**53
# Every class name, description and neighbour is a prompt, and a prediction reads them all at once.
MOST_ENTRIES = 10_000


def check_fields(config_class: type[PeftConfig], settings: Mapping[str, Any]) -> None:
    """Refuse settings that a config class does not have, has as another type, or that have no end.

    Args:
        config_class: the class that a config will be made of.
        settings: values as JSON gives them, by field.

    Raises:
        AlmPromptError: a field is unknown, of another type, or holds more than 10,000 entries.
    """
    hints = _hints(config_class)
    for name, value in settings.items():
        if name not in hints:
            raise AlmPromptError(
                f"{config_class.__name__} has no option {name[:60]!r}; remove it from the config, or install the "
                "versions of alm-prompt and peft that wrote it"
            )
        if not _is_of(value, hints[name]):
            wanted = getattr(hints[name], "__name__", None) or str(hints[name])
            raise AlmPromptError(
                f"{config_class.__name__}: {name} is {_shortened(value)}, which is no {wanted}; correct it"
            )
        if _count(value) > MOST_ENTRIES:
            raise AlmPromptError(
                f"{config_class.__name__}: {name} holds {_count(value):,} entries, but a config may have no more than "
                f"{MOST_ENTRIES:,}; leave some out"
            )


def _count(value: Any) -> int:
    """Number of entries of a list, or of all lists in a mapping."""
    if isinstance(value, dict):
        return sum(len(entry) if isinstance(entry, list) else 1 for entry in value.values())
    return len(value) if isinstance(value, list) else 0


@cache
def _hints(config_class: type[PeftConfig]) -> dict[str, Any]:
    names = {item.name for item in fields(config_class)}
    # Class variables name types that are there for type checkers only.
    hints = get_type_hints(config_class, localns={"PromptMethod": Any})
    return {name: hint for name, hint in hints.items() if name in names}


def _is_of(value: Any, hint: Any) -> bool:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return True
    if origin in (Union, types.UnionType):
        return any(_is_of(value, argument) for argument in arguments)
    if origin is list:
        return isinstance(value, list) and all(_is_of(item, arguments[0]) for item in value)
    if origin is dict:
        return isinstance(value, dict) and all(_is_of(item, arguments[1]) for item in value.values())
    if hint in (int, float):
        number = isinstance(value, int | hint) and not isinstance(value, bool)
        return number and -LARGEST_NUMBER <= value <= LARGEST_NUMBER
    return isinstance(value, str if issubclass(hint, Enum) else hint)


def _shortened(value: Any) -> str:
    # Of a long or deep value only its kind: its text may be without end.
    return repr(value)[:60] if isinstance(value, str | int | float | bool | None) else f"a {type(value).__name__}"
