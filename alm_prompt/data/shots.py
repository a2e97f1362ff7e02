"""Few clips of every class: which ones is fixed by a rule and a seed."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence

import numpy as np

from ..errors import AlmPromptError, check_seed
from .clips import AudioClips, Clip

logger = logging.getLogger(__name__)

SHOT_RULES = ("hashed", "pandas")


def sample_shots(
    clips: AudioClips, shots: int, seed: int, allow_fewer: bool = False, rule: str = "hashed"
) -> AudioClips:
    """Draw `shots` clips of every class.

    Rule "hashed": the clips of a class are ranked by SHA-256 of (seed, class, clip id), and the first ones are taken.
    So the draw is the same on every machine and for every version of every library, does not depend on other classes
    or the order of files, and 4 shots are among the 16 of the same seed.

    Rule "pandas", that of the code of PALM and ZEBRA: NumPy's generator is seeded once, and class after class, sorted,
    pandas' `sample` draws from it. The draw depends on the order of the clips and on the classes before.

    Args:
        clips: What to draw from; every class of its class list is drawn.
        shots: Clips per class, at least 1.
        seed: Another seed, another draw; from 0 to 2**32 - 1.
        allow_fewer: Take all clips of a class that has fewer (at least one), with a warning, instead of refusing.
        rule: One of `SHOT_RULES`.

    Raises:
        AlmPromptError: A class has too few clips, the rule is unknown, or the seed too large.
    """
    if shots < 1:
        raise AlmPromptError(f"shots={shots} must be at least 1")
    if rule not in SHOT_RULES:
        raise AlmPromptError(f"unknown shot rule {rule!r}: use {', '.join(SHOT_RULES)}")
    check_seed("seed", seed)
    # The state that `numpy.random.seed(seed)` would give; the global one is left alone.
    generator = np.random.RandomState(seed)
    drawn: list[Clip] = []
    for label, members in clips.by_label().items():
        if len(members) < shots:
            shortage = f"class {label!r} has {len(members)} clips, fewer than {shots} shots"
            if not (allow_fewer and members):
                others = "lower shots (--shots), or set allow_fewer (a flag of train and evaluate)"
                raise AlmPromptError(f"{shortage}: add clips" + (f", {others}" if members else ""))
            logger.warning("%s: all of them are used", shortage)
        if rule == "pandas":
            drawn += _sampled_as_pandas(members, shots, generator)
        else:
            drawn += ranked(members, "shots", seed)[:shots]
    return AudioClips(drawn, clips.class_names)


def ranked(clips: Sequence[Clip], purpose: str, seed: int) -> list[Clip]:
    """Clips in an order that looks random and depends on (`purpose`, `seed`) and their labels and names alone."""

    def rank(clip: Clip) -> tuple[str, str]:
        key = json.dumps([purpose, seed, clip.label, clip.clip_id])
        return hashlib.sha256(key.encode()).hexdigest(), clip.clip_id

    return sorted(clips, key=rank)


def _sampled_as_pandas(clips: list[Clip], shots: int, generator: np.random.RandomState) -> list[Clip]:
    # What `DataFrame.sample(shots)` does; a class with fewer clips is taken whole and draws nothing.
    if len(clips) < shots:
        return clips
    return [clips[row] for row in generator.choice(len(clips), size=shots, replace=False)]
