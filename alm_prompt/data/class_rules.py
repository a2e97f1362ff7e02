"""Which classes are base and which are novel: the published rules."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from itertools import pairwise, takewhile

from ..errors import AlmPromptError, about, shorten
from .catalog import CATALOG, PUBLISHED

CLASS_RULES = ("all", "alphabetical-halves", "seed-42-halves")


def base_novel_classes(names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide classes into base and novel: alphabetical, the first ceil(n / 2) are base (Zhou et al. 2022, CoCoOp).

    Raises:
        AlmPromptError: There are fewer than two classes, or one is named twice.
    """
    ordered = sorted(names)
    if len(ordered) < 2:
        raise AlmPromptError(f"base and novel classes need at least 2 classes, not {len(ordered)}: add another class")
    for name, following in pairwise(ordered):
        if name == following:
            raise AlmPromptError(f"class {name!r} is named twice: name it once")
    half = math.ceil(len(ordered) / 2)
    return tuple(ordered[:half]), tuple(ordered[half:])


def divide_classes(
    rule: str, class_names: Iterable[str], dataset_name: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide the classes of a data set into base and novel.

    - "all": every class is base.
    - "alphabetical-halves": see `base_novel_classes`; SEPT's split (arXiv 2601.20867, table 5).
    - "seed-42-halves": ZEBRA's split (arXiv 2606.31587). Python's generator is seeded with 42 and goes through the
      data sets of the catalog in its order; each time, the sorted classes are shuffled by `random.sample`, and the
      first floor(n / 2) are base. For a data set outside the catalog, the generator is seeded with 42 anew.

    Args:
        rule: One of `CLASS_RULES`.
        class_names: All classes, in any order.
        dataset_name: Name of the data set.

    Returns:
        Base classes and novel classes, each sorted.

    Raises:
        AlmPromptError: The rule is unknown, there are too few classes, or those of a data set of the catalog differ.
    """
    if rule not in CLASS_RULES:
        raise AlmPromptError(f"unknown class rule {rule!r}: use {', '.join(CLASS_RULES)}")
    names = sorted(class_names)
    if rule == "all":
        return tuple(names), ()
    with about(dataset_name):
        halves = base_novel_classes(names)
    return halves if rule == "alphabetical-halves" else _seed_42_halves(names, dataset_name)


def _seed_42_halves(names: list[str], dataset_name: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    generator = random.Random(42)
    known = CATALOG.get(dataset_name)
    if known is not None:
        if names != sorted(known.class_names):
            raise AlmPromptError(
                f"{dataset_name} has the classes {shorten(known.class_names)}, not {shorten(names)}: "
                "use these, or another name"
            )
        for earlier in takewhile(lambda other: other.folder != known.folder, PUBLISHED):
            generator.sample(earlier.class_names, len(earlier.class_names))
    shuffled = generator.sample(names, len(names))
    half = len(names) // 2
    return tuple(sorted(shuffled[:half])), tuple(sorted(shuffled[half:]))
