"""Few-shot samples, base and novel classes, folds: by rules of names and seeds, never of the order of files."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from ..errors import AlmPromptError, about, shorten
from .checks import check_leaks
from .class_rules import CLASS_RULES, base_novel_classes, divide_classes
from .clips import AudioClips, Clip
from .shots import SHOT_RULES, ranked, sample_shots

__all__ = [
    "CLASS_RULES",
    "SHOT_RULES",
    "Fold",
    "Split",
    "base_novel_classes",
    "base_to_novel_split",
    "check_leaks",
    "divide_classes",
    "few_shot_split",
    "folds",
    "held_out_folds",
    "sample_shots",
]


@dataclass(frozen=True)
class Fold:
    """One way to part a data set: what may be learned from, and what is measured on.

    Args:
        name: Name of the held-out fold; None where there is one way only.
        train: All clips to learn from; few-shot samples are drawn from them.
        test: Held-out clips. The class list of both sides is that of the data set.
    """

    name: str | None
    train: AudioClips
    test: AudioClips


@dataclass(frozen=True)
class Split:
    """One base-to-novel problem: learn the base classes from `train`, measure base and novel classes on `test`.

    Args:
        train: Few-shot clips of the base classes.
        test: Held-out clips of all classes.
        base_classes: Classes that are learned.
        novel_classes: Classes that are only tested.
        fold: Fold held out for testing; None where the data set has no folds.
        seed: Seed of the few-shot sample.
        shots: Clips per base class that were asked for.
    """

    train: AudioClips
    test: AudioClips
    base_classes: tuple[str, ...]
    novel_classes: tuple[str, ...]
    fold: str | None
    seed: int
    shots: int

    @cached_property
    def hash(self) -> str:
        """SHA-256 over which clips and labels are on which side, and the class lists (64 hexadecimal digits)."""
        sides = [sorted((clip.clip_id, clip.label) for clip in side) for side in (self.train, self.test)]
        text = json.dumps([*sides, self.base_classes, self.novel_classes])
        return hashlib.sha256(text.encode()).hexdigest()

    def check_leaks(self) -> None:
        """Raise if a clip is on both sides (see `check_leaks`)."""
        check_leaks(self.train, self.test)


def folds(clips: AudioClips) -> tuple[str, ...]:
    """Names of the folds, numbers in numerical order; empty where the clips have none.

    Raises:
        AlmPromptError: Some clips have a fold and others have none.
    """
    names = {clip.fold for clip in clips}
    if None not in names:
        return tuple(sorted(names, key=lambda name: (int(name) if name.isdecimal() else math.inf, name)))
    if len(names) > 1:
        clip_id = next(clip.clip_id for clip in clips if clip.fold is None)
        raise AlmPromptError(f"clip {clip_id!r} has no fold while others have one: give every clip a fold, or none")
    return ()


def held_out_folds(clips: AudioClips, test_fraction: float = 0.5) -> tuple[Fold, ...]:
    """Every way to part clips by their folds.

    Clips whose folds are called "train" and "test" are parted so, once. Other folds are held out in turn. Where the
    clips have no folds, `test_fraction` of every class is held out, chosen by a rule that no seed changes.

    Args:
        clips: The data set.
        test_fraction: Part of every class that is held out where there are no folds; at least one clip is.

    Raises:
        AlmPromptError: Only some clips have a fold, there is one fold only, there are others beside "train" and
            "test", or `test_fraction` is no fraction.
    """
    names = folds(clips)
    if not names:
        return (Fold(None, *_hold_out(clips, test_fraction)),)
    if len(names) == 1:
        raise AlmPromptError(f"all clips are of fold {names[0]!r}, so nothing is left to learn from: give the others")
    if {"train", "test"} <= set(names):
        if len(names) > 2:
            raise AlmPromptError(f"the folds are {', '.join(names)}: give the clips of train and test alone")
        return (Fold(None, clips.select(folds=["train"]), clips.select(folds=["test"])),)
    return tuple(_without(clips, name) for name in names)


def few_shot_split(
    fold: Fold,
    base: Sequence[str],
    novel: Sequence[str],
    shots: int,
    seed: int,
    rule: str = "hashed",
    allow_fewer: bool = False,
    check_leaks: bool = True,
) -> Split:
    """Draw few shots of the base classes from one side of a fold; base and novel classes of the other are the test.

    Args:
        fold: The two sides.
        base: Classes that are learned.
        novel: Classes that are only tested; may be empty.
        shots: Clips per base class.
        seed: Seed of the draw.
        rule: See `sample_shots`.
        allow_fewer: See `sample_shots`.
        check_leaks: Refuse a split with a clip on both sides. Reads every file once.

    Raises:
        AlmPromptError: A class has too few clips or is both base and novel, no clip of the base or of the novel
            classes is held out, or a clip is on both sides.
    """
    both = set(base) & set(novel)
    if both:
        raise AlmPromptError(f"class {shorten(sorted(both))} is base and novel: put it on one side")
    with about(fold.name and f"fold {fold.name}"):
        train = sample_shots(fold.train.select(labels=base), shots, seed, allow_fewer, rule)
        test = fold.test.select(labels=[*base, *novel])
        for names in filter(None, (base, novel)):
            if not any(clip.label in names for clip in test):
                raise AlmPromptError(f"no clip of {shorten(names)} is held out for testing: add some")
        split = Split(train, test, tuple(base), tuple(novel), fold.name, seed, shots)
        if check_leaks:
            split.check_leaks()
    return split


def base_to_novel_split(
    clips: AudioClips,
    fold: str | None = None,
    shots: int = 16,
    seed: int = 0,
    allow_fewer: bool = False,
    test_fraction: float = 0.5,
    check_leaks: bool = True,
) -> Split:
    """Hold out a fold for testing, and draw few shots of the alphabetically first half of the classes from the others.

    Where the clips have no folds, `test_fraction` of every class is held out, chosen by a rule of its own: every
    `seed` draws its shots from the same rest and is tested on the same clips.

    Args:
        clips: The data set.
        fold: Fold to hold out; None where the clips have no folds.
        shots: Clips per base class.
        seed: Seed of the few-shot draw.
        allow_fewer: See `sample_shots`.
        test_fraction: Part of every class that is held out where there are no folds; at least one clip is.
        check_leaks: Refuse a split with a clip on both sides. Reads every file once.

    Raises:
        AlmPromptError: The fold is unknown or missing, a class has too few clips, or a clip is on both sides.
    """
    base, novel = base_novel_classes(clips.class_names)
    names = folds(clips)
    if names and fold is None:
        raise AlmPromptError(f"the clips have folds {', '.join(names)}: name the one to hold out")
    if not names and fold is not None:
        raise AlmPromptError(f"fold {fold!r} cannot be held out: the clips have no folds")
    parted = _without(clips, fold) if fold is not None else Fold(None, *_hold_out(clips, test_fraction))
    return few_shot_split(parted, base, novel, shots, seed, allow_fewer=allow_fewer, check_leaks=check_leaks)


def _without(clips: AudioClips, fold: str) -> Fold:
    test = clips.select(folds=[fold])
    return Fold(fold, clips.select(folds=[name for name in folds(clips) if name != fold]), test)


def _hold_out(clips: AudioClips, test_fraction: float) -> tuple[AudioClips, AudioClips]:
    if not 0 < test_fraction < 1:
        raise AlmPromptError(f"test_fraction={test_fraction} must lie between 0 and 1")
    rest: list[Clip] = []
    test: list[Clip] = []
    for members in clips.by_label().values():
        held_out = max(math.floor(len(members) * test_fraction), 1)
        order = ranked(members, "hold-out", 0)
        test += order[:held_out]
        rest += order[held_out:]
    return AudioClips(rest, clips.class_names), AudioClips(test, clips.class_names)
