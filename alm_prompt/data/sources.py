"""Where labelled clips come from: a folder per class, a CSV file, or a data set of the Hub.

Loading lists the clips and checks that their files are there; audio is decoded only when it is used.
"""

from __future__ import annotations

import csv
import logging
import os
from collections.abc import ItemsView, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import AlmPromptError, about, first_line, shorten
from .clips import AudioClips, Clip

if TYPE_CHECKING:
    from datasets import Dataset

AUDIO_SUFFIXES = frozenset({".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aiff", ".aif", ".au", ".caf", ".w64"})

# `alm-prompt benchmark` takes data sets as they are published, and has no such flags.
logger = logging.getLogger(__name__)

_FLAGS = "(flags of train and evaluate)"

WHAT_TO_GIVE = "give a folder with one sub-folder per class, or a CSV file"

__all__ = ["AudioClips", "Clip", "load_clips", "load_csv", "load_folder", "load_hub_dataset"]


def load_clips(path_or_name: str | os.PathLike, split: str = "train", **columns: Any) -> AudioClips:
    """Load labelled clips from whatever is there: a CSV file, a folder, or the name of a data set on the Hub.

    A folder is read through its `metadata.csv` if it has one, else as one sub-folder per class. A CSV file with the
    columns `file_name` and `label` needs no words about its columns: they are taken, `fold_or_split` is the fold, and
    files are looked for in a folder `audio` beside it, each of these if it is there.

    Args:
        path_or_name: Path of a CSV file or folder, or a Hub name such as "ashraq/esc50".
        split: Split of a Hub data set.
        **columns: Passed on to `load_csv` or `load_hub_dataset`.
    """
    path = Path(path_or_name).expanduser()
    table = path / "metadata.csv" if path.is_dir() else path
    if table.is_file():
        return load_csv(table, **(_metadata_columns(table) | columns))
    if path.is_dir():
        if columns:
            raise AlmPromptError(f"{path}: has no metadata.csv, so {shorten(columns)} cannot be used: leave it out")
        for listed in sorted([*path.glob("train*.csv"), *path.glob("csv_files/train*.csv")]):
            raise AlmPromptError(
                f"{path}: has lists of its clips: give one of them, such as {listed}, and {path} as audio_dir"
            )
        return load_folder(path)
    if path.is_absolute() or not 1 <= len(path.parts) <= 2:
        raise AlmPromptError(f"{path}: no such file or folder: {WHAT_TO_GIVE}")
    for name in ("audio_dir", "path_column"):
        if name in columns:
            raise AlmPromptError(f"{path}: no such file or folder, and on the Hub there is no {name}: leave it out")
    from datasets import load_dataset

    try:
        dataset = load_dataset(str(path_or_name), split=split)
    # Whatever goes wrong in there (network, name, format), the user's way out is the same.
    except Exception as error:
        raise AlmPromptError(
            f"{path}: no such file or folder, and no Hub data set of that name was loaded ({first_line(error)}): "
            f"{WHAT_TO_GIVE}"
        ) from error
    with about(str(path_or_name)):
        return load_hub_dataset(dataset, **columns)


def load_folder(root: str | os.PathLike) -> AudioClips:
    """Load a folder that holds one sub-folder of audio files per class; its name is the class name.

    Clips are named by their path below `root`; files in deeper folders count; names that start with a dot do not.

    Raises:
        AlmPromptError: The folder is missing, has no sub-folders, or a class has no audio file.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise AlmPromptError(f"{root}: no such folder")
    classes = sorted(path for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))
    if not classes:
        raise AlmPromptError(f"{root}: has no sub-folders: put the clips of every class into a folder of its name")
    clips = []
    for folder in classes:
        files = sorted(_audio_files(folder))
        if not files:
            raise AlmPromptError(f"{folder}: holds no audio file (wav, flac, ogg, mp3 ...): add some or remove it")
        clips += [Clip(str(file), folder.name, file.relative_to(root).as_posix()) for file in files]
    return AudioClips(clips)


def load_csv(
    csv_path: str | os.PathLike,
    audio_dir: str | os.PathLike | None = None,
    path_column: str = "path",
    label_column: str = "classname",
    fold_column: str | None = None,
) -> AudioClips:
    """Load a CSV file with a header and one row per clip.

    Args:
        csv_path: The CSV file (UTF-8).
        audio_dir: Folder that the paths in it start from; the folder of the CSV file when not given.
        path_column: Column with the audio file; it names the clip, too.
        label_column: Column with the class name.
        fold_column: Column with the fold, if there are folds.

    Raises:
        AlmPromptError: The file or a column is missing, a row is incomplete, or audio files are missing.
    """
    csv_path = Path(csv_path).expanduser()
    folder = csv_path.parent if audio_dir is None else Path(audio_dir).expanduser()
    columns = [column for column in (path_column, label_column, fold_column) if column is not None]
    clips = []
    for line, row in _csv_rows(csv_path, columns):
        if not clips and fold_column is None and "fold" in row:
            logger.warning("%s: its column 'fold' is not used; fold_column %s takes it", csv_path, _FLAGS)
        values = [(row[column] or "").strip() for column in columns]
        if not all(values):
            raise AlmPromptError(f"{csv_path}, line {line}: no {columns[values.index('')]}: fill it in")
        clips.append(Clip(str(folder / values[0]), values[1], Path(values[0]).as_posix(), *values[2:]))
    if not clips:
        raise AlmPromptError(f"{csv_path}: lists no clip")
    missing = [clip.clip_id for clip in clips if not _is_readable(clip.source)]
    if missing:
        raise AlmPromptError(
            f"{csv_path}: {len(missing)} of {len(clips)} audio files are missing or unreadable in {folder}: "
            f"{shorten(missing)}: correct the paths or give audio_dir {_FLAGS}"
        )
    with about(str(csv_path)):
        return AudioClips(clips)


def load_hub_dataset(
    dataset: Dataset,
    audio_column: str = "audio",
    label_column: str = "label",
    fold_column: str | None = None,
) -> AudioClips:
    """Wrap one split of a `datasets` data set; audio stays where it is until a clip is read.

    Clips are named by their audio paths, below the folder that all have in common, or by row where there are none.

    Args:
        dataset: One split.
        audio_column: Column with the audio.
        label_column: Column with the class: a `ClassLabel` or text.
        fold_column: Column with the fold, if there are folds.

    Raises:
        AlmPromptError: `dataset` holds several splits, lacks a column or a label, or is empty.
    """
    from datasets import Audio, ClassLabel

    if isinstance(dataset, Mapping):
        raise AlmPromptError(f"the data set has the splits {shorten(dataset)}: give one of them")
    columns = [column for column in (audio_column, label_column, fold_column) if column is not None]
    _refuse_missing_columns("the data set", columns, dataset.column_names, "audio_column, label_column, fold_column")
    # soundfile decodes: `datasets` itself would need torchcodec and FFmpeg.
    dataset = dataset.select_columns(columns).cast_column(audio_column, Audio(decode=False))
    feature = dataset.features[label_column]
    paths, rows = [], []
    for index, row in enumerate(dataset):
        if row[label_column] in (None, -1):
            raise AlmPromptError(f"row {index} of the data set has no {label_column}: use a split with labels")
        label = feature.int2str(row[label_column]) if isinstance(feature, ClassLabel) else str(row[label_column])
        fold = row[fold_column] if fold_column else None
        paths.append(row[audio_column]["path"])
        rows.append((_HubAudio(dataset, index, audio_column), label, fold if fold is None else str(fold)))
    if not rows:
        raise AlmPromptError("the data set holds no clip")
    ids = _clip_ids(paths)
    return AudioClips(Clip(source, label, name, fold) for name, (source, label, fold) in zip(ids, rows, strict=True))


def _clip_ids(paths: list[str | None]) -> list[str]:
    # Of absolute and relative paths, only the latter would be the same on every machine.
    if None in paths or len(set(paths)) < len(paths) or len(set(map(os.path.isabs, paths))) > 1:
        return [f"row {index:08d}" for index in range(len(paths))]
    # The folder that all have in common may be the download cache of this machine.
    common = os.path.commonpath([os.path.dirname(path) for path in paths])
    return [Path(path).relative_to(common).as_posix() for path in paths]


class _HubAudio(Mapping):
    """The `{"bytes", "path"}` of one row, fetched each time it is asked for: a list of clips holds no audio."""

    def __init__(self, dataset: Dataset, index: int, column: str):
        self._dataset, self._index, self._column = dataset, index, column

    def _row(self) -> dict[str, Any]:
        return self._dataset[self._index][self._column]

    def __getitem__(self, key: str) -> Any:
        return self._row()[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._row())

    def __len__(self) -> int:
        return len(self._row())

    def items(self) -> ItemsView[str, Any]:
        """All of it, fetched once."""
        return self._row().items()


def _audio_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file() and not hidden:
            yield path


def _metadata_columns(csv_path: Path) -> dict[str, Any]:
    with _open_csv(csv_path) as reader:
        header = set(reader.fieldnames or ())
    if not {"file_name", "label"} <= header or {"path", "classname"} <= header:
        return {}
    columns: dict[str, Any] = {"path_column": "file_name", "label_column": "label"}
    if "fold_or_split" in header:
        columns["fold_column"] = "fold_or_split"
    if (csv_path.parent / "audio").is_dir():
        columns["audio_dir"] = csv_path.parent / "audio"
    return columns


def _csv_rows(csv_path: Path, columns: list[str]) -> Iterator[tuple[int, dict[str, str]]]:
    with _open_csv(csv_path) as reader:
        parameters = f"path_column, label_column, fold_column {_FLAGS}"
        _refuse_missing_columns(str(csv_path), columns, reader.fieldnames or (), parameters)
        for row in reader:
            yield reader.line_num, row


@contextmanager
def _open_csv(csv_path: Path) -> Iterator[csv.DictReader]:
    try:
        # utf-8-sig: spreadsheets begin a CSV file with a byte order mark, which would become part of a column's name.
        with csv_path.open(encoding="utf-8-sig", newline="") as file:
            yield csv.DictReader(file)
    except FileNotFoundError as error:
        raise AlmPromptError(f"{csv_path}: no such CSV file") from error
    except OSError as error:
        raise AlmPromptError(f"{csv_path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise AlmPromptError(f"{csv_path}: is not a CSV file in UTF-8: save it as one") from error


def _refuse_missing_columns(name: str, wanted: list[str], found: Any, parameters: str) -> None:
    missing = [column for column in wanted if column not in found]
    if missing:
        raise AlmPromptError(
            f"{name} has no column {shorten(missing)} (it has: {shorten(found, 20) or 'none'}): "
            f"rename the columns or give {parameters}"
        )


def _is_readable(path: str) -> bool:
    return os.path.isfile(path) and os.access(path, os.R_OK)
