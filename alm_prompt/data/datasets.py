"""Data sets with their folds, opened from whatever layout they come in."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .clips import AudioClips, Clip
from .sources import csv_header, load_clips
from .splits import Fold, held_out_folds

__all__ = ["AudioDataset", "Fold", "open_dataset"]


@dataclass(frozen=True)
class AudioDataset:
    """A data set and the ways to part it.

    Args:
        name: Name in results; also what the class rules go by.
        class_names: All classes, sorted.
        folds: The ways to part it that are averaged over; at least one.
        root: Folder that it was read from, if any.
    """

    name: str
    class_names: tuple[str, ...]
    folds: tuple[Fold, ...]
    root: Path | None = None

    @classmethod
    def from_clips(cls, name: str, clips: AudioClips, root: Path | None = None) -> AudioDataset:
        """Part clips by their folds, or by half where they have none (see `held_out_folds`)."""
        return cls(name, tuple(clips.class_names), held_out_folds(clips), root)

    @cached_property
    def clips(self) -> AudioClips:
        """Every clip once."""
        return AudioClips(_once(clip for fold in self.folds for clip in (*fold.train, *fold.test)), self.class_names)


def open_dataset(source: str | os.PathLike, name: str | None = None, **columns: Any) -> AudioDataset:
    """Open a data set with its folds; audio is decoded only when it is used.

    Args:
        source: "world" (the bundled sound world); a CSV file; a folder with `metadata.csv` (columns `file_name`,
            `label` and `fold_or_split`, unless `columns` says otherwise) or with one sub-folder per class; or the name
            of a data set on the Hub.
        name: Name in results; that of the file or folder when not given.
        **columns: See `load_clips`.

    Raises:
        AlmPromptError: Nothing is there, or what is there cannot be used.
    """
    if str(source) == "world":
        from .world import world_clips

        return AudioDataset.from_clips(name or "world", world_clips())
    path = Path(source).expanduser()
    clips = load_clips(source, **(_metadata_columns(path) | columns))
    root = path if path.is_dir() else path.parent if path.is_file() else None
    return AudioDataset.from_clips(name or path.stem, clips, root)


def _metadata_columns(path: Path) -> dict[str, Any]:
    """Columns of a `metadata.csv` as it goes with an `audio` folder; none of them where there is none."""
    table = path / "metadata.csv" if path.is_dir() else path
    if not table.is_file():
        return {}
    header = csv_header(table)
    if not {"file_name", "label"} <= set(header):
        return {}
    columns = {"path_column": "file_name", "label_column": "label"}
    if "fold_or_split" in header:
        columns["fold_column"] = "fold_or_split"
    if (table.parent / "audio").is_dir():
        columns["audio_dir"] = table.parent / "audio"
    return columns


def _once(clips: Iterable[Clip]) -> list[Clip]:
    return list({clip.clip_id: clip for clip in clips}.values())
