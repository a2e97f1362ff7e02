"""Reads the text that ships with the package, and checks text that users bring.

Every shipped file is JSON with a header that says what wrote it, when, by which instruction and under which licence.
What the text must be like follows SEPT (arXiv 2601.20867, templates and neighbours) and ReCLAP (arXiv 2409.09213,
descriptions).
"""

from __future__ import annotations

import json
import os
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import AlmPromptError

_DATA = Path(__file__).parent / "data"
_SEPARATORS_AND_PUNCTUATION = ("P", "Z", "C")


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


def checked_descriptions(
    descriptions: Mapping[str, Sequence[str]], class_names: Sequence[str], kind: str = "descriptions"
) -> dict[str, list[str]]:
    """Holds descriptions to a class list.

    Args:
        descriptions: sentences per class; more classes than are asked for do no harm.
        class_names: classes that each need at least one sentence.
        kind: what an error calls them.

    Returns:
        Sentences of the classes, in the order of `class_names`.

    Raises:
        AlmPromptError: a class without descriptions, or one that is no text or blank.
    """
    _check_mapping(kind, descriptions)
    for name in class_names:
        sentences = descriptions.get(name)
        if not sentences:
            raise AlmPromptError(f"class {name!r} has no {kind}; give at least one sentence for every class")
        if isinstance(sentences, str) or not isinstance(sentences, Sequence):
            given = "one text" if isinstance(sentences, str) else f"of type {type(sentences).__name__}"
            raise AlmPromptError(f"the {kind} of class {name!r} are {given}; give a list of sentences")
        blank = next((text for text in sentences if not isinstance(text, str) or not text.strip(" .")), None)
        if blank is not None:
            what = kind.removesuffix("s")
            raise AlmPromptError(f"class {name!r} has the blank {what} {blank!r}; remove it or write a sentence")
    return {name: list(descriptions[name]) for name in class_names}


def checked_neighbors(
    neighbors: Mapping[str, Sequence[str]],
    class_names: Sequence[str],
    held_out: Iterable[str] = (),
    per_class: int | None = None,
) -> dict[str, list[str]]:
    """Holds neighbours to the classes that are trained.

    Two texts count as equal when they differ only in case, spaces and punctuation.

    Args:
        neighbors: terms per class.
        class_names: classes that are trained; each needs terms.
        held_out: classes that training must not know. Terms *for* them are left out, terms that *name* one are an
            error (see `drop_overlaps`).
        per_class: number of terms that each class must have, or `None` for any number above zero.

    Returns:
        Terms of the trained classes, in the order of `class_names`.

    Raises:
        AlmPromptError: terms for other classes, a class without terms or with another number of them, a blank or
            doubled term, or a term that equals a trained or a held-out class.
    """
    _check_mapping("neighbours", neighbors)
    held_out = list(held_out)
    _check_classes(neighbors, class_names, held_out)
    trained = {same_text(name): name for name in class_names}
    hidden = {same_text(name): name for name in held_out}
    owners: dict[str, str] = {}
    for name in class_names:
        _check_number(name, neighbors[name], per_class)
        for term in neighbors[name]:
            key = same_text(term) if isinstance(term, str) else ""
            if not key:
                raise AlmPromptError(f"class {name!r} has the blank neighbour {term!r}; remove it or write a term")
            if key in trained:
                raise AlmPromptError(f"neighbour {term!r} of class {name!r} is the class {trained[key]!r}; replace it")
            if key in hidden:
                raise AlmPromptError(
                    f"neighbour {term!r} of class {name!r} is the held-out class {hidden[key]!r}, which training must "
                    "not know; replace it or drop it with drop_overlaps"
                )
            if key in owners:
                raise AlmPromptError(
                    f"neighbour {term!r} of class {name!r} stands twice (also in class {owners[key]!r}); keep one"
                )
            owners[key] = name
    return {name: list(neighbors[name]) for name in class_names}


def drop_overlaps(
    neighbors: Mapping[str, Sequence[str]], held_out: Iterable[str]
) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Drops terms that name a held-out class (SEPT's overlap filter), whatever their case and punctuation.

    Args:
        neighbors: terms per class.
        held_out: classes that training must not know.

    Returns:
        The terms that stay, for every class, and the terms that went, for the classes that lost any.
    """
    hidden = {same_text(name) for name in held_out}
    kept = {name: [term for term in terms if same_text(term) not in hidden] for name, terms in neighbors.items()}
    dropped = {name: [term for term in terms if same_text(term) in hidden] for name, terms in neighbors.items()}
    return kept, {name: terms for name, terms in dropped.items() if terms}


def same_text(text: str) -> str:
    """The text without case, spaces and punctuation: `"City_Center"` and `"city center"` give the same."""
    # Accents and vowel signs are marks, not punctuation: without them words of many languages would fall together.
    return "".join(
        character
        for character in unicodedata.normalize("NFKC", text).casefold()
        if unicodedata.category(character)[0] not in _SEPARATORS_AND_PUNCTUATION
    )


def _check_mapping(kind: str, texts: Mapping[str, Sequence[str]]) -> None:
    if not isinstance(texts, Mapping):
        raise AlmPromptError(f"{kind} are of type {type(texts).__name__}; give a mapping from class name to a list")


def _check_classes(
    neighbors: Mapping[str, Sequence[str]], class_names: Sequence[str], held_out: Sequence[str]
) -> None:
    foreign = [name for name in neighbors if name not in class_names and name not in held_out]
    if foreign:
        raise AlmPromptError(
            f"neighbours are for other classes ({_shortened(foreign)}); the classes are {_shortened(class_names)}"
        )
    missing = [name for name in class_names if name not in neighbors]
    if missing:
        raise AlmPromptError(f"there are no neighbours for {_shortened(missing)}; give terms for every trained class")


def _check_number(name: str, terms: Sequence[str], per_class: int | None) -> None:
    if isinstance(terms, str):
        raise AlmPromptError(f"the neighbours of class {name!r} are the text {terms!r}; give a list of terms")
    if not terms:
        raise AlmPromptError(f"class {name!r} has an empty list of neighbours; give at least one term")
    if not isinstance(terms, Sequence):
        raise AlmPromptError(
            f"the neighbours of class {name!r} are of type {type(terms).__name__}; give a list of terms"
        )
    if per_class is not None and len(terms) != per_class:
        raise AlmPromptError(f"class {name!r} has {len(terms)} neighbours; every class needs {per_class}")


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
    raise AlmPromptError(f"no {kind} ship for the classes {_shortened(class_names)}; give your own, by class name")


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


def _shortened(names: Sequence[str], most: int = 5) -> str:
    listed = ", ".join(repr(name) for name in names[:most])
    return f"{listed} and {len(names) - most} more" if len(names) > most else listed
