"""Whether runs that become one mean were made alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from ..errors import AlmPromptError
from ..methods.expression import changed_options
from .rows import run_name

# Runs that agree in these are averaged, or will be: they differ in seed and fold only.
_ALIKE = ("track", "protocol", "dataset", "target_dataset", "method", "shots", "model_hash")
_MADE_WITH = (
    "class_rule",
    "shot_rule",
    "base_classes",
    "novel_classes",
    "encoder_mode",
    "template",
    "described",
    "descriptions_hash",
    "training",
)


def check_same_settings(rows: Iterable[Mapping[str, Any]]) -> None:
    """Refuse runs of one method on one data set that were made with different settings.

    What a row does not say, such as one of an earlier version, is not compared.

    Args:
        rows: rows of a benchmark, finished or begun, in any order.

    Raises:
        AlmPromptError: names two runs and the first setting in which they differ.
    """
    told: dict[tuple[Any, ...], tuple[Any, Mapping[str, Any]]] = {}
    for row in rows:
        alike = tuple(row.get(name) for name in _ALIKE)
        for name, value in _made_with(row).items():
            earlier, other = told.setdefault((alike, name), (value, row))
            if value != earlier:
                name, value, earlier = _first_difference(name, value, earlier)
                raise AlmPromptError(
                    f"{run_name(row)}: was run with {name} {value}, but {run_name(other)} with {earlier}, and two "
                    "settings make no one mean; keep them in folders of their own and report these apart"
                )


def _made_with(row: Mapping[str, Any]) -> dict[str, Any]:
    made_with = {name: row[name] for name in _MADE_WITH if row.get(name) is not None}
    if "config" not in row:
        return made_with
    if row["config"] is None:
        # Zero-shot is not trained.
        made_with.pop("training", None)
    return made_with | {"options": changed_options(row["config"])}


def _first_difference(name: str, value: Any, other: Any) -> tuple[str, str, str]:
    """Of two groups of settings, the first that differs."""
    if isinstance(value, dict):
        name = next(key for key in {**value, **other} if value.get(key) != other.get(key))
        return name, _shown(value.get(name)), _shown(other.get(name))
    return name, _shown(value), _shown(other)


def _shown(value: Any) -> str:
    return "its default" if value is None else repr(value)[:60]
