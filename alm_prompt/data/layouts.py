"""The layout in which the data sets of the catalog are published.

`<Name>/audios/`, with `train.csv` and `test.csv` beside it; sets with folds have `csv_files/train_1.csv`,
`csv_files/test_1.csv` and so on instead, and `csv_files/train.csv`, `csv_files/test.csv` for the one pair that ZEBRA
takes. The columns are `path`, below `<Name>`, and `classname`.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from shlex import quote
from typing import Any

from ..errors import AlmPromptError, about
from .catalog import PUBLISHED, KnownDataset
from .checks import check_names_apart
from .clips import AudioClips
from .sources import load_csv
from .splits import Fold

_LISTS = "csv_files"
_SIDES = ("train", "test")
_FIXED = tuple(f"{_LISTS}/{side}.csv" for side in _SIDES)


@dataclass(frozen=True)
class FoundDataset:
    """Whether a data set of the catalog is at hand.

    Args:
        known: What is published about it.
        path: Its folder, or None where it is missing.
        how_to_get: Command that brings it, or what is missing of it; empty where all lists are there.
        pairs: How many of its folds have both lists there.
    """

    known: KnownDataset
    path: Path | None
    how_to_get: str = ""
    pairs: int = 0


def find_datasets(root: str | os.PathLike) -> tuple[FoundDataset, ...]:
    """Look for every data set of the catalog below a folder.

    Args:
        root: Folder that holds one folder per data set, named as in the catalog.

    Returns:
        One entry per published data set, in the order of the catalog.

    Raises:
        AlmPromptError: There is no such folder.
    """
    root = Path(root).expanduser()
    if not root.is_dir():
        raise AlmPromptError(f"{root}: no such folder")
    found = []
    for known in PUBLISHED:
        path = root / known.folder
        pairs = sum(all((path / file).is_file() for file in _pair(name)) for name in known.fold_names)
        get = "" if pairs == len(known.fold_names) else how_to_get(known, path)
        found.append(FoundDataset(known, path if is_published(path) else None, get, pairs))
    return tuple(found)


def is_published(path: Path) -> bool:
    """Whether a folder holds lists in the published layout."""
    return (path / "train.csv").is_file() or any(path.glob(f"{_LISTS}/train*.csv"))


def how_to_get(known: KnownDataset, path: Path) -> str:
    """The shell command that makes `path` the folder of a data set, as far as it is not."""
    archive, inner = path / f"{known.folder}.zip", path / known.folder
    if is_published(inner):
        return f"mv {quote(str(inner))}/* {quote(str(path))}"
    # The archive holds the folder of the data set itself.
    unzip = f"unzip {quote(str(archive))} -d {quote(str(path.parent))}"
    if archive.is_file():
        return unzip
    download = f"hf download {known.hub_id} --repo-type dataset --local-dir {quote(str(path))}"
    return f"{download} && {unzip}" if known.zipped else download


def read_published(path: Path, known: KnownDataset | None, **columns: Any) -> tuple[tuple[Fold, ...], Fold | None]:
    """Read the lists of a folder in the published layout.

    Args:
        path: The folder.
        known: What is published about it, if anything is.
        **columns: See `load_csv`.

    Returns:
        The folds, and ZEBRA's one pair: the only fold where there are none, else None where the pair is missing.

    Raises:
        AlmPromptError: A list is missing or broken, lists files that are not there, or a clip is on both sides.
    """
    names = _fold_names(path) if known is None else known.fold_names
    pairs = {name: _read_pair(path, _pair(name), columns) for name in names}
    if names == (None,):
        (fold,) = _folds(pairs)
        return (fold,), fold
    for name in () if known is None else known.exchanged_folds:
        pairs[name] = pairs[name][::-1]
    if all((path / file).is_file() for file in _FIXED):
        *folds, fixed = _folds(pairs | {None: _read_pair(path, _FIXED, columns)})
        return tuple(folds), fixed
    return _folds(pairs), None


def _fold_names(path: Path) -> tuple[str | None, ...]:
    # PALM's scripts leave copies of a fold's lists beside `audios`: they say nothing where there are numbered ones.
    names = {file.stem.removeprefix(f"{side}_") for side in _SIDES for file in path.glob(f"{_LISTS}/{side}_*.csv")}
    return tuple(sorted(names, key=lambda name: (len(name), name))) or (None,)


def _pair(fold: str | None) -> tuple[str, ...]:
    """Lists of a fold; without a name, those of a data set that has no folds."""
    return tuple(f"{side}.csv" if fold is None else f"{_LISTS}/{side}_{fold}.csv" for side in _SIDES)


def _read_pair(path: Path, files: tuple[str, ...], columns: dict[str, Any]) -> tuple[AudioClips, AudioClips]:
    for file in files:
        if not (path / file).is_file():
            raise AlmPromptError(f"{path}: {file} is missing: get the data set again, whole")
    train, test = (load_csv(path / file, **({"audio_dir": path} | columns)) for file in files)
    with about(f"{path}: {' and '.join(files)}"):
        check_names_apart(train, test)
    return train, test


def _folds(pairs: dict[str | None, tuple[AudioClips, AudioClips]]) -> tuple[Fold, ...]:
    class_names = {name for sides in pairs.values() for clips in sides for name in clips.class_names}
    return tuple(Fold(name, *(AudioClips(clips, class_names) for clips in sides)) for name, sides in pairs.items())
