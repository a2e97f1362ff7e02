"""Sentences that stand in for audio of a class, for audio-free prompt tuning (PT-Text, arXiv 2309.08357)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence

from ..errors import AlmPromptError
from .checks import checked_descriptions
from .text_data import shipped_descriptions, shipped_neighbors, templates


def class_sentences(
    class_names: Sequence[str],
    neighbors: Mapping[str, Sequence[str]] | None = None,
    descriptions: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, list[str]]:
    """Sentences about each class, made of text that is at hand.

    For each class, in this order: its name in each of the 100 templates; each of its neighbours in one template, the
    first in the first and so on; its descriptions, which need not say the name. With 10 neighbours and 2 descriptions
    that is 112 sentences.

    Args:
        class_names: the classes; `_` is read as a space.
        neighbors: terms per class; default: those of the first shipped set that has all of the classes, else none.
        descriptions: sentences per class; default: as for neighbours.

    Returns:
        Sentences per class, in the order of `class_names`.
    """
    neighbors = _shipped_or_none(shipped_neighbors, class_names) if neighbors is None else neighbors
    descriptions = _shipped_or_none(shipped_descriptions, class_names) if descriptions is None else descriptions
    frames = templates()
    sentences = {}
    for name in class_names:
        named = [frame.replace("{}", name.replace("_", " ")) for frame in frames]
        near = [frames[i % len(frames)].replace("{}", term) for i, term in enumerate(neighbors.get(name, ()))]
        sentences[name] = [*named, *near, *descriptions.get(name, ())]
    return sentences


def checked_sentences(sentences: Mapping[str, Sequence[str]], class_names: Sequence[str]) -> dict[str, list[str]]:
    """Holds sentences to the classes that are trained.

    Args:
        sentences: sentences per class.
        class_names: the classes; each needs at least one sentence.

    Returns:
        The sentences, in the order of `class_names`.

    Raises:
        AlmPromptError: sentences for another class, a class without any, or one that is no text or blank.
    """
    checked = checked_descriptions(sentences, class_names, kind="sentences")
    foreign = next((name for name in sentences if name not in checked), None)
    if foreign is not None:
        raise AlmPromptError(f"there are sentences for {foreign!r}, which is no class; remove them or add the class")
    return checked


def sample_sentences(
    sentences: Mapping[str, Sequence[str]], per_class: int, seed: int, allow_fewer: bool = False
) -> dict[str, list[str]]:
    """Draw sentences of every class, by the rule that [`~alm_prompt.data.sample_shots`] draws clips by.

    The sentences of a class are ranked by SHA-256 of (seed, class, sentence), and the first ones are taken: the draw
    does not depend on other classes or the order of sentences, and 4 are among the 16 of the same seed.

    Args:
        sentences: sentences per class.
        per_class: how many are drawn of each.
        seed: another seed, another draw.
        allow_fewer: take all sentences of a class that has fewer, instead of refusing.

    Raises:
        AlmPromptError: a class has too few sentences.
    """
    drawn = {}
    for name, given in sentences.items():
        if len(given) < per_class and not allow_fewer:
            raise AlmPromptError(
                f"class {name!r} has {len(given)} sentences, fewer than {per_class}; lower the number, add sentences, "
                "or allow fewer"
            )
        key = {text: hashlib.sha256(json.dumps([seed, name, text]).encode()).hexdigest() for text in given}
        drawn[name] = sorted(given, key=key.__getitem__)[:per_class]
    return drawn


def _shipped_or_none(
    shipped: Callable[[Sequence[str]], dict[str, list[str]]], class_names: Sequence[str]
) -> dict[str, list[str]]:
    try:
        return shipped(class_names)
    except AlmPromptError:
        return {}
