"""What a list of clips must not hold: one clip on two sides, one recording under two labels, audio nobody can read."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache
from pathlib import Path

from ..audio.waveform import AudioSource, check_decodable, content_hash
from ..errors import AlmPromptError, shorten
from .clips import AudioClips, Clip

_PIECE = 4096


class DuplicateAudioError(AlmPromptError):
    """The same audio is there twice, where it must not be."""


def check_leaks(train: AudioClips, test: AudioClips) -> None:
    """Refuse a clip that is on both sides, under the same name or as the same audio under two names.

    Raises:
        AlmPromptError: Names the first such clip; a `DuplicateAudioError` where it has two names.
    """
    check_names_apart(train, test)
    for clip, twin in leaked_clips(train, test):
        raise DuplicateAudioError(
            f"test clip {clip.clip_id!r} is the same audio as train clip {twin.clip_id!r}: remove one"
        )


def leaked_clips(train: AudioClips, test: AudioClips) -> list[tuple[Clip, Clip]]:
    """Test clips that are the same audio as a train clip, each with that clip."""
    contents = {audio_content(clip.source): clip for clip in train}
    found = ((clip, contents.get(audio_content(clip.source))) for clip in test)
    return [(clip, twin) for clip, twin in found if twin is not None]


def check_names_apart(train: AudioClips, test: AudioClips) -> None:
    """Refuse a clip that is on both sides under the same name; no file is read.

    Raises:
        AlmPromptError: Names the first such clip.
    """
    trained = {clip.clip_id for clip in train}
    for clip in test:
        if clip.clip_id in trained:
            raise AlmPromptError(f"clip {clip.clip_id!r} is in both train and test: remove it from one")


def check_labels(clips: Iterable[Clip]) -> None:
    """Refuse two clips of the same audio under different labels.

    Raises:
        DuplicateAudioError: Names the first two such clips.
    """
    for first, *others in clashing_clips(clips):
        other = next(clip for clip in others if clip.label != first.label)
        raise DuplicateAudioError(
            f"clips {first.clip_id!r} ({first.label}) and {other.clip_id!r} ({other.label}) are the same audio under "
            "two labels: correct one, or remove one"
        )


def clashing_clips(clips: Iterable[Clip]) -> list[list[Clip]]:
    """Groups of clips that are the same audio under different labels.

    Files are compared by size, then by a piece from their middle, and read whole only where both agree.
    """
    groups = [list(clips)]
    for key in (_size, _middle, audio_content):
        groups = [part for group in groups for part in _grouped(group, key) if len({clip.label for clip in part}) > 1]
    return groups


def check_readable(clips: AudioClips) -> None:
    """Decode every clip, and refuse them if some cannot be.

    Raises:
        AlmPromptError: Says how many cannot be read, names the first of them, and says why the very first cannot.
    """
    reasons: dict[str, str] = {}
    for clip in clips:
        try:
            check_decodable(clip.source)
        except AlmPromptError as error:
            reasons[clip.clip_id] = str(error)
    if reasons:
        raise AlmPromptError(
            f"{len(reasons)} of {len(clips)} clips cannot be read: {shorten(reasons)}; {next(iter(reasons.values()))}"
        )


def _grouped(clips: list[Clip], key: Callable[[AudioSource], Hashable]) -> Iterable[list[Clip]]:
    groups: dict[Hashable, list[Clip]] = {}
    for clip in clips:
        groups.setdefault(key(clip.source), []).append(clip)
    return groups.values()


def _size(source: AudioSource) -> int | None:
    return os.stat(source).st_size if _is_path(source) else None


def _middle(source: AudioSource) -> bytes | None:
    if not _is_path(source):
        return None
    try:
        with Path(source).open("rb") as file:
            file.seek(os.stat(source).st_size // 2)
            return file.read(_PIECE)
    except OSError:
        # Left to `content_hash`, which says so.
        return None


def audio_content(source: AudioSource) -> str:
    """SHA-256 of the content of a clip (64 hexadecimal digits); a file that has not changed is read once."""
    if not _is_path(source):
        return content_hash(source)
    stat = os.stat(source)
    return _content_of_file(os.fspath(source), stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=2**18)
def _content_of_file(path: str, size: int, mtime_ns: int) -> str:
    # Every split of a benchmark asks for the same files; size and time tell a file that has changed.
    return content_hash(path)


def _is_path(source: AudioSource) -> bool:
    # A path that leads nowhere is left to `content_hash`, which says so.
    return isinstance(source, (str, os.PathLike)) and os.path.isfile(source)
