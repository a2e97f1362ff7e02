"""Reads the text that ships with the package, and files that users bring.

Every shipped file is JSON with a header that says what wrote it, when, by which instruction and under which licence.
What the text must be like follows SEPT (arXiv 2601.20867, templates and neighbours) and ReCLAP (arXiv 2409.09213,
descriptions).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import AlmPromptError
from .checks import checked_descriptions, same_text, shortened

_DATA = Path(__file__).parent / "data"

SHIPPED = "shipped"  # in place of a file


def templates() -> list[str]:
    """The 100 shipped templates.

    Returns:
        Sentences with one `{}` for the class name; the first is `"This is a sound of {}."`.
    """
    return _read_json(_DATA / "templates.json")["templates"]


def available_sets() -> list[str]:
    """Names of the class lists that have shipped neighbours and descriptions, sorted."""
    return sorted(path.stem for path in (_DATA / "neighbors").glob("*.json"))


def neighbors(set_name: str) -> dict[str, list[str]]:
    """The shipped acoustic neighbours of a class list.

    Args:
        set_name: one of `available_sets()`.

    Returns:
        10 terms per class; no term belongs to two classes or names a class.

    Raises:
        AlmPromptError: there is no such set.
    """
    return _classes_of("neighbors", set_name)


def descriptions(set_name: str) -> dict[str, list[str]]:
    """The shipped descriptions of a class list: how each class sounds, placed in a scene.

    Args:
        set_name: one of `available_sets()`.

    Returns:
        2 sentences per class, each of at most 30 words.

    Raises:
        AlmPromptError: there is no such set.
    """
    return _classes_of("descriptions", set_name)


def read_neighbors(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    """Reads neighbours from a JSON file; `checked_neighbors` then holds them to a class list.

    Args:
        path: a file with `{class name: [terms]}`, alone or under the key `"classes"` beside a header as in the
            shipped files.

    Returns:
        Terms per class.

    Raises:
        AlmPromptError: the file is missing, is not JSON, or does not hold a list of terms per class.
    """
    return _read_classes(Path(path), "neighbours", '{"dog": ["barking", "yapping"]}')


def read_descriptions(path: str | os.PathLike[str], kind: str = "descriptions") -> dict[str, list[str]]:
    """Reads descriptions from a JSON file; `checked_descriptions` then holds them to a class list.

    Args:
        path: a file with `{class name: [sentences]}`, alone or under the key `"classes"` beside a header as in the
            shipped files.
        kind: what an error calls them.

    Returns:
        Sentences per class.

    Raises:
        AlmPromptError: the file is missing, is not JSON, or does not hold a list of sentences per class.
    """
    return _read_classes(Path(path), kind, '{"dog": ["A dog barks twice in a yard."]}')


def shipped_neighbors(class_names: Sequence[str]) -> dict[str, list[str]]:
    """Shipped neighbours of the classes, from the first set that has all of them, whatever their case.

    Raises:
        AlmPromptError: no set has all of the classes.
    """
    return _shipped("neighbors", class_names)


def shipped_descriptions(class_names: Sequence[str]) -> dict[str, list[str]]:
    """Shipped descriptions of the classes, from the first set that has all of them, whatever their case.

    Raises:
        AlmPromptError: no set has all of the classes.
    """
    return _shipped("descriptions", class_names)


def open_descriptions(source: str, class_names: Sequence[str]) -> dict[str, list[str]]:
    """Descriptions of the classes from where a flag or a recipe says.

    Args:
        source: a JSON file, or "shipped".
        class_names: classes that each need at least one.

    Raises:
        AlmPromptError: the file cannot be read, or the descriptions lack a class.
    """
    if source == SHIPPED:
        return shipped_descriptions(class_names)
    return checked_descriptions(read_descriptions(source), class_names)


def _classes_of(kind: str, set_name: str) -> dict[str, list[str]]:
    if set_name not in available_sets():
        raise AlmPromptError(f"no {kind} ship for {set_name!r}; available sets: {', '.join(available_sets())}")
    return _read_json(_DATA / kind / f"{set_name}.json")["classes"]


def _read_classes(path: Path, kind: str, example: str) -> dict[str, list[str]]:
    content = _read_json(path)
    # A class may itself be called "classes": its texts are a list, the mapping under a header is not.
    if isinstance(content, dict) and isinstance(content.get("classes"), dict):
        content = content["classes"]
    if not isinstance(content, dict) or not all(_is_terms(texts) for texts in content.values()):
        raise AlmPromptError(f"{path} does not hold {kind}; expected JSON like {example}")
    return content


def _shipped(kind: str, class_names: Sequence[str]) -> dict[str, list[str]]:
    wanted = {same_text(name): name for name in class_names}
    for set_name in available_sets():
        known = {same_text(name): texts for name, texts in _classes_of(kind, set_name).items()}
        if wanted.keys() <= known.keys():
            return {name: known[key] for key, name in wanted.items()}
    raise AlmPromptError(
        f"no {kind} ship for the classes {shortened(class_names)}; give your own, by class name ({kind}=, or a JSON "
        f"file with --{kind})"
    )


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=without_doubles)
    except OSError as error:
        raise AlmPromptError(f"cannot read {path}: {error.strerror}; give the path of a JSON file") from error
    except (ValueError, RecursionError) as error:
        raise AlmPromptError(f"{path} is not clean JSON ({error}); correct the file") from error


def without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Hook for `json.loads` that refuses a name that stands twice in an object.

    Plain `json` keeps the last of two equal names and would lose the terms of the first without a word.
    """
    content: dict[str, Any] = {}
    for name, value in pairs:
        if name in content:
            raise ValueError(f"{name!r} stands twice")
        content[name] = value
    return content


def _is_terms(terms: object) -> bool:
    return isinstance(terms, list) and all(isinstance(term, str) for term in terms)
