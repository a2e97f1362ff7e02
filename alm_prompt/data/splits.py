"""Few-shot samples, base and novel classes, folds: by rules of names and seeds, never of the order of files."""

from __future__ import annotations

import hashlib
import json
import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from ..audio.waveform import content_hash
from ..errors import AlmPromptError
from .clips import AudioClips, Clip

logger = logging.getLogger(__name__)


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


def sample_shots(clips: AudioClips, shots: int, seed: int, allow_fewer: bool = False) -> AudioClips:
    """Draw `shots` clips of every class.

    The clips of a class are ranked by SHA-256 of (seed, class, clip id), and the first ones are taken. So the draw is
    the same on every machine and for every version of every library, does not depend on other classes or the order of
    files, and 4 shots are among the 16 of the same seed.

    Args:
        clips: What to draw from; every class of its class list is drawn.
        shots: Clips per class, at least 1.
        seed: Another seed, another draw.
        allow_fewer: Take all clips of a class that has fewer (at least one), with a warning, instead of refusing.

    Raises:
        AlmPromptError: A class has too few clips.
    """
    if shots < 1:
        raise AlmPromptError(f"shots={shots} must be at least 1")
    drawn: list[Clip] = []
    for label, members in clips.by_label().items():
        if len(members) < shots:
            shortage = f"class {label!r} has {len(members)} clips, fewer than {shots} shots"
            if not (allow_fewer and members):
                raise AlmPromptError(f"{shortage}: lower shots, add clips" + (", or allow fewer" if members else ""))
            logger.warning("%s: all of them are used", shortage)
        drawn += _ranked(members, "shots", seed)[:shots]
    return AudioClips(drawn, clips.class_names)


def base_novel_classes(names: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide classes into base and novel: alphabetical, the first ceil(n / 2) are base (Zhou et al. 2022, CoCoOp).

    Raises:
        AlmPromptError: There are fewer than two classes, or one is named twice.
    """
    ordered = sorted(names)
    if len(ordered) < 2:
        raise AlmPromptError(f"base and novel classes need at least 2 classes, not {len(ordered)}")
    for name, following in pairwise(ordered):
        if name == following:
            raise AlmPromptError(f"class {name!r} is named twice: name it once")
    half = math.ceil(len(ordered) / 2)
    return tuple(ordered[:half]), tuple(ordered[half:])


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


def base_to_novel_split(
    clips: AudioClips,
    fold: str | None = None,
    shots: int = 16,
    seed: int = 0,
    allow_fewer: bool = False,
    test_fraction: float = 0.5,
    check_leaks: bool = True,
) -> Split:
    """Hold out a fold for testing, and draw few shots of the base classes from the other folds.

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
    if names:
        test = clips.select(folds=[fold])
        rest = clips.select(folds=[name for name in names if name != fold])
    elif fold is not None:
        raise AlmPromptError(f"fold {fold!r} cannot be held out: the clips have no folds")
    else:
        rest, test = _hold_out(clips, test_fraction)
    train = sample_shots(rest.select(labels=base), shots, seed, allow_fewer)
    split = Split(train, test, base, novel, fold, seed, shots)
    if check_leaks:
        split.check_leaks()
    return split


def check_leaks(train: AudioClips, test: AudioClips) -> None:
    """Refuse a clip that is on both sides, under the same name or as the same audio under two names.

    Raises:
        AlmPromptError: Names the first such clip.
    """
    trained = {clip.clip_id for clip in train}
    for clip in test:
        if clip.clip_id in trained:
            raise AlmPromptError(f"clip {clip.clip_id!r} is in both train and test: remove it from one")
    contents = {content_hash(clip.source): clip.clip_id for clip in train}
    for clip in test:
        twin = contents.get(content_hash(clip.source))
        if twin is not None:
            raise AlmPromptError(f"test clip {clip.clip_id!r} is the same audio as train clip {twin!r}: remove one")


def _hold_out(clips: AudioClips, test_fraction: float) -> tuple[AudioClips, AudioClips]:
    if not 0 < test_fraction < 1:
        raise AlmPromptError(f"test_fraction={test_fraction} must lie between 0 and 1")
    rest: list[Clip] = []
    test: list[Clip] = []
    for members in clips.by_label().values():
        held_out = max(math.floor(len(members) * test_fraction), 1)
        ranked = _ranked(members, "hold-out", 0)
        test += ranked[:held_out]
        rest += ranked[held_out:]
    return AudioClips(rest, clips.class_names), AudioClips(test, clips.class_names)


def _ranked(clips: list[Clip], purpose: str, seed: int) -> list[Clip]:
    def rank(clip: Clip) -> tuple[str, str]:
        key = json.dumps([purpose, seed, clip.label, clip.clip_id])
        return hashlib.sha256(key.encode()).hexdigest(), clip.clip_id

    return sorted(clips, key=rank)
