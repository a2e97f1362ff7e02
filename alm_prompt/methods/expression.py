"""Stacks of methods written in one word, as papers do: `coop+zebra`."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from peft import PeftConfig

from ..errors import AlmPromptError
from ..registry import METHODS
from .config import PromptConfig, WrapperPromptConfig
from .saved_fields import check_fields

ZERO_SHOT = "zero-shot"
# What a config carries beside the choices of a user: PEFT's own fields, and what it is filled in with.
NO_OPTIONS = PeftConfig.__dataclass_fields__.keys() | {
    "class_names",
    "encoder_mode",
    "text_signature",
    "weights_sha256",
    "prompt",
}


def parse_method(expression: str, options: Mapping[str, Any] | None = None) -> PromptConfig | None:
    """Read a stack of methods.

    Args:
        expression: method names joined by `+`, the innermost first (`"coop+zebra"` is ZEBRA over CoOp), or
            `"zero-shot"`.
        options: values by `"<method>.<option>"`, such as `{"coop.n_ctx": 4}`.

    Returns:
        The config for `get_peft_model`, or `None` for `"zero-shot"`.

    Raises:
        AlmPromptError: unknown method or option, or a stack that cannot be built.
    """
    options = dict(options or {})
    names = [name.strip().lower() for name in expression.split("+")]
    if names == [ZERO_SHOT]:
        _refuse_left_over(options, expression)
        return None
    config: PromptConfig | None = None
    for name in names:
        config = _wrap(name, config, _take_options(name, options))
    _refuse_left_over(options, expression)
    return config


def neighbor_options(expression: str, neighbors: Mapping[str, list[str]]) -> dict[str, Any]:
    """Options that hand acoustic neighbours to every method of a stack that takes them; none where none does.

    Args:
        expression: method names joined by `+`.
        neighbors: terms per class.
    """
    names = [name.strip().lower() for name in expression.split("+")]
    takers = [name for name in names if name in METHODS and "neighbors" in METHODS[name].__dataclass_fields__]
    return {f"{name}.neighbors": neighbors for name in takers}


def changed_options(config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Options of a stack that differ from their defaults, by `"<method>.<option>"` as [`parse_method`] takes them.

    Args:
        config: a config as `to_dict` gives it, or gave it in another version: an option that it lacks has its default.
            `None` is zero-shot.
    """
    changed = {}
    while config is not None:
        name = config["peft_type"].removeprefix("ALM_").lower()
        # Of a method that is not installed, no default is known.
        fields = METHODS[name].__dataclass_fields__ if name in METHODS else None
        for option in config.keys() - NO_OPTIONS:
            if fields is None or (option in fields and fields[option].default != config[option]):
                changed[f"{name}.{option}"] = config[option]
        config = config.get("prompt")
    return dict(sorted(changed.items()))


def _wrap(name: str, inner: PromptConfig | None, options: dict[str, Any]) -> PromptConfig:
    if name not in METHODS:
        unknown = _unknown("prompt method", name, [ZERO_SHOT, *METHODS])
        raise AlmPromptError(f"{unknown}; + joins them, as in coop+zebra")
    config_class = METHODS[name]
    carried = PromptConfig.__dataclass_fields__.keys() | {"prompt"}
    known = [field for field in config_class.__dataclass_fields__ if field not in carried] + ["logit_scale"]
    for option in options:
        if option not in known:
            raise AlmPromptError(_unknown(f"option of {name}", option, known))
    check_fields(config_class, options)
    wraps = issubclass(config_class, WrapperPromptConfig)
    if wraps and inner is None and not config_class.stands_alone():
        raise AlmPromptError(f"{name} wraps another method; write for example coop+{name}")
    if inner is not None and not wraps:
        raise AlmPromptError(f"{name} wraps no other method; write it first in the stack")
    return config_class(prompt=inner, **options) if wraps else config_class(**options)


def _take_options(name: str, options: dict[str, Any]) -> dict[str, Any]:
    own = [key for key in options if key.partition(".")[0] == name]
    return {key.partition(".")[2]: options.pop(key) for key in own}


def _refuse_left_over(options: Mapping[str, Any], expression: str) -> None:
    if options:
        raise AlmPromptError(f"option {next(iter(options))!r} belongs to no method of {expression!r}; remove it")


def _unknown(kind: str, name: str, known: list[str]) -> str:
    guess = get_close_matches(name, known, n=1)
    hint = f"did you mean {guess[0]!r}? " if guess else ""
    return f"unknown {kind} {name!r}; {hint}there are {', '.join(known)}"
