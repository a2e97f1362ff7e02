"""Data sets with their folds, opened from whatever layout they come in."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import AlmPromptError, about, first_line, shorten
from .catalog import CATALOG, PUBLISHED_SHOTS, KnownDataset
from .checks import check_labels, check_readable, clashing_clips
from .clips import AudioClips, Clip
from .layouts import how_to_get, is_published, read_published
from .sources import load_clips
from .splits import Fold, held_out_folds

logger = logging.getLogger(__name__)

__all__ = ["AudioDataset", "Fold", "open_dataset"]


@dataclass(frozen=True)
class AudioDataset:
    """A data set and the ways to part it.

    Args:
        name: Name in results; also what the class rules go by.
        class_names: All classes, sorted.
        folds: The ways to part it that are averaged over; at least one.
        root: Folder that it was read from, if any.
        fixed: The one way that ZEBRA's benchmark takes: a pair of lists beside those of the folds, or the only fold;
            None where there are folds and no such pair.
    """

    name: str
    class_names: tuple[str, ...]
    folds: tuple[Fold, ...]
    root: Path | None = None
    fixed: Fold | None = None

    @classmethod
    def from_clips(cls, name: str, clips: AudioClips, root: Path | None = None) -> AudioDataset:
        """Part clips by their folds, or by half where they have none (see `held_out_folds`)."""
        folds = held_out_folds(clips)
        return cls(name, tuple(clips.class_names), folds, root, folds[0] if len(folds) == 1 else None)

    @cached_property
    def clips(self) -> AudioClips:
        """Every clip once.

        Raises:
            AlmPromptError: A clip has one label in one fold and another in another.
        """
        folds = (*self.folds, self.fixed) if self.fixed else self.folds
        return AudioClips(_once(folds), self.class_names)


def open_dataset(
    source: str | os.PathLike,
    name: str | None = None,
    *,
    strict: bool = False,
    keep_duplicates: bool = False,
    **columns: Any,
) -> AudioDataset:
    """Open a data set with its folds; audio is decoded only when it is used.

    A data set whose name is in the `CATALOG` must have the classes and folds that are published.

    Args:
        source: "world" (the bundled sound world); a folder in the published layout of the catalog (see `layouts`); a
            CSV file, other folder or name on the Hub that `load_clips` reads.
        name: Name in results; that of the file or folder when not given.
        strict: Refuse other numbers of clips than the published ones, which are a warning otherwise, and decode every
            clip.
        keep_duplicates: Take clips of the same audio under two labels as they are, with a warning; refused otherwise.
        **columns: See `load_clips`.

    Raises:
        AlmPromptError: Nothing is there, or what is there cannot be used: classes or folds that differ from the
            catalog, missing files, a clip on both sides of a fold, the same audio under two labels.
    """
    if str(source) == "world":
        from .world import world_clips

        return AudioDataset.from_clips(name or "world", world_clips())
    path = Path(source).expanduser()
    name = name or (path.stem if path.is_file() else path.absolute().name)
    known = CATALOG.get(name)
    if known is not None and str(source) == known.hub_id and not path.exists():
        path = _download(known)
    if is_published(path):
        folds, fixed = read_published(path, known, **columns)
        dataset = AudioDataset(name, tuple(folds[0].train.class_names), folds, path, fixed)
    elif known is not None and path.is_dir() and not (path / "metadata.csv").is_file():
        raise AlmPromptError(
            f"{path}: {name} is not there as it is published: `{how_to_get(known, path)}`, or give another name"
        )
    else:
        root = path if path.is_dir() else path.parent if path.is_file() else None
        clips = load_clips(path, **columns)
        with about(str(source)):
            dataset = AudioDataset.from_clips(name, clips, root)
    if known is not None:
        _check_published(dataset, known, strict)
    with about(str(source)):
        _check_clips(dataset, strict, keep_duplicates)
    return dataset


def _check_clips(dataset: AudioDataset, strict: bool, keep_duplicates: bool) -> None:
    """Refuse clips of two labels; where `strict`, also clips that cannot be decoded."""
    if not keep_duplicates:
        check_labels(dataset.clips)
    elif clashes := clashing_clips(dataset.clips):
        logger.warning(
            "%s: %d sounds have clips under two labels, such as %s: kept",
            dataset.name,
            len(clashes),
            " and ".join(f"{clip.clip_id!r} ({clip.label})" for clip in clashes[0][:2]),
        )
    if strict:
        check_readable(dataset.clips)


def _download(known: KnownDataset) -> Path:
    if known.zipped:
        command = how_to_get(known, Path(known.folder))
        raise AlmPromptError(f"{known.hub_id} is a zip file: get it by `{command}` and give the folder")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(known.hub_id, repo_type="dataset"))
    # Whatever goes wrong in there (network, name, disk), the user's way out is the same.
    except Exception as error:
        raise AlmPromptError(
            f"{known.hub_id}: no such folder, and the Hub did not give it: {first_line(error)}"
        ) from error


def _check_published(dataset: AudioDataset, known: KnownDataset, strict: bool) -> None:
    """Refuse other classes or folds than the published ones; other numbers of clips, too, where `strict`."""
    where = dataset.root or dataset.name
    missing = sorted(set(known.class_names) - set(dataset.class_names))
    unknown = sorted(set(dataset.class_names) - set(known.class_names))
    if missing or unknown:
        differences = [f"lacks {shorten(missing)}"] * bool(missing) + [f"has {shorten(unknown)}"] * bool(unknown)
        raise AlmPromptError(
            f"{where}: its classes are not those of {known.name}: it {' and '.join(differences)}: "
            "correct them or give another name"
        )
    names = tuple(fold.name for fold in dataset.folds)
    if names != known.fold_names:
        raise AlmPromptError(
            f"{where}: {known.name} has {len(known.fold_names)} folds, not {len(names)}: "
            "correct them or give another name"
        )
    wrong = _other_counts(dataset, known)
    if wrong:
        message = f"{where}: not {known.name} as published: {shorten(wrong, 2)}"
        if strict:
            raise AlmPromptError(f"{message}: get the data set again, whole")
        logger.warning(message)


def _other_counts(dataset: AudioDataset, known: KnownDataset) -> list[str]:
    places = [("", fold, count) for fold, count in zip(dataset.folds, known.test_clips, strict=True)]
    if len(places) > 1:
        places = [(f" in fold {fold.name}", fold, count) for _, fold, count in places]
        places += [(" in the fixed pair", dataset.fixed, known.fixed_test_clips)] * (dataset.fixed is not None)
    wrong = [
        f"{len(fold.test)} test clips{place} instead of {count}"
        for place, fold, count in places
        if count not in (None, len(fold.test))
    ]
    for place, fold, _ in places:
        small = [label for label, clips in fold.train.by_label().items() if len(clips) < PUBLISHED_SHOTS]
        if small:
            wrong.append(f"fewer than {PUBLISHED_SHOTS} train clips of {small[0]}{place}")
    return wrong


def _once(folds: Iterable[Fold]) -> list[Clip]:
    kept: dict[str, tuple[Clip, str]] = {}
    for fold in folds:
        place = "the fixed pair" if fold.name is None else f"fold {fold.name}"
        for clip in (*fold.train, *fold.test):
            first, earlier = kept.setdefault(clip.clip_id, (clip, place))
            if first.label != clip.label:
                raise AlmPromptError(
                    f"clip {clip.clip_id!r} is labelled {first.label!r} in {earlier} and {clip.label!r} in {place}: "
                    "correct one"
                )
    return [clip for clip, _ in kept.values()]
