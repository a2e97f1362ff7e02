"""What a list of clips must not hold: one clip on two sides, one recording under two labels, audio nobody can read."""

from __future__ import annotations

import os
from functools import lru_cache

from ..audio.waveform import AudioSource, content_hash
from ..errors import AlmPromptError
from .clips import AudioClips


def check_leaks(train: AudioClips, test: AudioClips) -> None:
    """Refuse a clip that is on both sides, under the same name or as the same audio under two names.

    Raises:
        AlmPromptError: Names the first such clip.
    """
    check_names_apart(train, test)
    contents = {_content(clip.source): clip.clip_id for clip in train}
    for clip in test:
        twin = contents.get(_content(clip.source))
        if twin is not None:
            raise AlmPromptError(f"test clip {clip.clip_id!r} is the same audio as train clip {twin!r}: remove one")


def check_names_apart(train: AudioClips, test: AudioClips) -> None:
    """Refuse a clip that is on both sides under the same name; no file is read.

    Raises:
        AlmPromptError: Names the first such clip.
    """
    trained = {clip.clip_id for clip in train}
    for clip in test:
        if clip.clip_id in trained:
            raise AlmPromptError(f"clip {clip.clip_id!r} is in both train and test: remove it from one")


def _content(source: AudioSource) -> str:
    if not isinstance(source, (str, os.PathLike)):
        return content_hash(source)
    try:
        stat = os.stat(source)
    except OSError:
        return content_hash(source)
    return _content_of_file(os.fspath(source), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=2**18)
def _content_of_file(path: str, size: int, mtime_ns: int) -> str:
    # Every split of a benchmark asks for the same files; size and time tell a file that has changed.
    return content_hash(path)
