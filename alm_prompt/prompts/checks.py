"""Checks of text that users bring: descriptions and neighbours, held to the classes that they are for."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping, Sequence

from ..errors import AlmPromptError, shorten

_SEPARATORS_AND_PUNCTUATION = ("P", "Z", "C")


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


def shortened(names: Sequence[str], most: int = 5) -> str:
    """The first names of a list, and how many more there are."""
    return shorten(map(repr, names), most)


def _check_mapping(kind: str, texts: Mapping[str, Sequence[str]]) -> None:
    if not isinstance(texts, Mapping):
        raise AlmPromptError(f"{kind} are of type {type(texts).__name__}; give a mapping from class name to a list")


def _check_classes(
    neighbors: Mapping[str, Sequence[str]], class_names: Sequence[str], held_out: Sequence[str]
) -> None:
    foreign = [name for name in neighbors if name not in class_names and name not in held_out]
    if foreign:
        raise AlmPromptError(
            f"neighbours are for other classes ({shortened(foreign)}); the classes are {shortened(class_names)}"
        )
    missing = [name for name in class_names if name not in neighbors]
    if missing:
        raise AlmPromptError(f"there are no neighbours for {shortened(missing)}; give terms for every trained class")


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
