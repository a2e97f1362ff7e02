"""Parser of a command: flags from dataclasses, defaults from a YAML file, errors in one line."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import yaml
from transformers.hf_argparser import HfArgumentParser

from ..errors import AlmPromptError, nearest
from ..yaml_text import read_yaml


class HelpFormatter(argparse.HelpFormatter):
    """One name for every flag, the one with dashes; no value behind a switch; defaults where there is one to know."""

    def add_usage(self, usage: str | None, actions: Any, groups: Any, prefix: str | None = None) -> None:
        """Show what must be given; the flags follow below."""
        required = [action for action in actions if action.required or not action.option_strings]
        self._prog += " [flags]"
        super().add_usage(usage, required, (), prefix)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return super()._format_action_invocation(action)
        flags = ", ".join(flag for flag in action.option_strings if "_" not in flag)
        return flags if _is_switch(action) else f"{flags} {self._format_args(action, action.dest.upper())}".rstrip()

    def _get_help_string(self, action: argparse.Action) -> str | None:
        default = action.default
        if action.required or default is None or default is False or default == argparse.SUPPRESS:
            return action.help
        shown = " ".join(map(str, default)) if isinstance(default, list) else str(default)
        return f"{action.help} (default: {shown.replace('%', '%%')})"


class CommandParser(HfArgumentParser):
    """`HfArgumentParser` plus `--config file.yaml`: the file sets defaults, flags win, unknown keys are errors.

    Args:
        command: name after `alm-prompt`.
        description: what the command does, for `--help`.
        options: dataclasses whose fields become flags.
    """

    def __init__(self, command: str, description: str, options: Sequence[type]) -> None:
        super().__init__(
            options,
            prog=f"alm-prompt {command}",
            description=description,
            allow_abbrev=False,
            formatter_class=HelpFormatter,
        )
        self.add_argument("--config", metavar="FILE", help="YAML file that sets defaults of these flags")

    def error(self, message: str) -> NoReturn:
        """Raise instead of printing the usage: bad input is answered in one line."""
        raise AlmPromptError(f"{message}; see {self.prog} --help")

    def parse(self, argv: Sequence[str]) -> tuple[Any, ...]:
        """Parse a command line.

        Args:
            argv: what follows the command's name.

        Returns:
            One instance per dataclass, then a namespace with the arguments that belong to none.

        Raises:
            AlmPromptError: an unknown flag or key, a value of the wrong type, a missing flag.
        """
        finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
        finder.error = self.error
        finder.add_argument("--config")
        config = finder.parse_known_args(argv)[0].config
        if config is not None:
            self._set_defaults_from(Path(config))
        *parsed, unknown = self.parse_args_into_dataclasses(
            list(argv), return_remaining_strings=True, look_for_args_file=False
        )
        if unknown:
            flags = [flag for action in self._actions for flag in action.option_strings if flag.startswith("--")]
            raise AlmPromptError(f"unknown argument {unknown[0]!r}; {nearest(unknown[0], flags)}")
        return tuple(parsed)

    def _set_defaults_from(self, path: Path) -> None:
        actions = {action.dest: action for action in self._actions if action.option_strings}
        known = sorted(actions.keys() - {"help", "config"})
        settings = read_config(path, known)
        required = [action for action in self._actions if action.required]
        for action in required:
            action.required = False
        # Going through the flags gives a value in the file the same conversion and checks as on the command line.
        try:
            parsed = vars(self.parse_args(list(_as_flags(settings))))
        except AlmPromptError as error:
            raise AlmPromptError(f"config {path}: {error}") from error
        self.set_defaults(**{key: parsed[key] for key in settings})
        for action in required:
            action.required = action.dest not in settings


def read_config(path: Path, known: Iterable[str]) -> dict[str, Any]:
    """Read a YAML file of defaults.

    Args:
        path: the file.
        known: keys that may occur, with underscores; the file may write dashes.

    Returns:
        The settings by key with underscores; keys without a value are left out.

    Raises:
        AlmPromptError: the file cannot be read, is no mapping, or holds an unknown key.
    """
    try:
        settings = read_yaml(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise AlmPromptError(
            f"config {path}: cannot be read ({error}); give a YAML file of flag: value lines"
        ) from error
    if not isinstance(settings, dict):
        raise AlmPromptError(f"config {path}: holds no flag: value lines")
    known = list(known)
    written, settings = settings, {}
    for name, value in written.items():
        key = str(name).replace("-", "_")
        if key in settings:
            raise AlmPromptError(f"config {path}: key {key!r} is there twice, once with dashes; leave one of them out")
        settings[key] = value
    for key in settings:
        if key not in known:
            raise AlmPromptError(f"config {path}: unknown key {key!r}; {nearest(key, known)}")
    return {key: value for key, value in settings.items() if value is not None}


def _is_switch(action: argparse.Action) -> bool:
    """Whether a flag stands for true by itself, as those of `HfArgumentParser` do."""
    return action.nargs == 0 or (action.nargs == "?" and action.const is True)


def _as_flags(settings: dict[str, Any]) -> Iterator[str]:
    for key, value in settings.items():
        if isinstance(value, dict):
            value = [f"{name}={setting}" for name, setting in value.items()]
        if isinstance(value, list):
            for item in value:
                if isinstance(item, bool) or not isinstance(item, (str, int, float)):
                    raise AlmPromptError(f"config key {key!r}: YAML read an item as {item!r}, not as a word; quote it")
            yield from (f"--{key}", *map(str, value))
        else:
            yield f"--{key}={value}"
