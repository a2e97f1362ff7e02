"""Data sets of `alm-prompt benchmark`: what lies below a folder, and what a recipe takes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import AlmPromptError, nearest
from .benchmark_options import BenchmarkDataOptions

if TYPE_CHECKING:
    from ..data import AudioDataset
    from ..evaluation.protocols import Recipe

WORLD = "world"


def list_datasets(root: Path) -> None:
    """Print which data sets of the catalog are below a folder, how to get the others, and what else is there."""
    from ..data import CATALOG, find_datasets

    for found in find_datasets(root):
        known, folds = found.known, len(found.known.fold_names)
        state = "missing" if found.path is None else "in part" if found.how_to_get else "there"
        lists = "" if found.path is None else f"{found.pairs} of {folds} pair(s) of lists; "
        published = f"{len(known.class_names)} classes, {folds} fold(s), {sum(known.test_clips)} test clips"
        print(f"{known.name:<16}{state:<9}{known.task}: {lists}published: {published}")
        if found.how_to_get:
            print(f"{'':<16}get it: {found.how_to_get}")
        for other in CATALOG.values():
            if found.path is not None and other.folder == known.folder and other != known:
                exchanged = ", ".join(other.exchanged_folds)
                print(f"{'':<16}also as {other.name}: train and test lists of folds {exchanged} exchanged")
    others = [path.name for path in _other_folders(root)]
    if others:
        print(f"also below {root}, for --datasets: {', '.join(others)}")


def open_datasets(
    recipe: Recipe, data: BenchmarkDataOptions, quiet: bool
) -> tuple[Recipe, Mapping[str, AudioDataset]]:
    """Open the data sets of a recipe.

    Args:
        recipe: the recipe.
        data: the flags: where data sets are, and which are wanted.
        quiet: say nothing about those that are left out.

    Returns:
        The recipe with the data sets that are there alone, and these by name.

    Raises:
        AlmPromptError: none is there, one that is named is not, or what is there cannot be used.
    """
    root = None if data.data_root is None else Path(data.data_root).expanduser()
    if root is not None and not root.is_dir():
        raise AlmPromptError(f"--data-root {root}: no such folder")
    if data.datasets:
        there = data.datasets
    elif root is None:
        # A recipe of one's own may name folders; the published data sets are nowhere without a root.
        there = [entry for entry in recipe.datasets if not _of_catalog(entry)] or [WORLD]
    else:
        there = _there(recipe, root, quiet)
    recipe = replace(recipe, datasets=there)
    names = dict.fromkeys(name for entry in recipe.datasets for name in entry.split(":"))
    checks = {"strict": data.check_data, "keep_duplicates": data.keep_duplicates}
    return recipe, {name: _open_dataset(name, root, checks) for name in names}


def _there(recipe: Recipe, root: Path, quiet: bool) -> list[str]:
    from ..data import CATALOG, find_datasets

    found = {entry.known.folder: entry for entry in find_datasets(root)}
    there = []
    for entry in recipe.datasets:
        places = [found[CATALOG[name].folder] for name in _of_catalog(entry)]
        missing = [place.how_to_get for place in places if place.path is None]
        if not missing:
            there.append(entry)
        elif not quiet:
            print(f"{entry} is left out; get it: {'; '.join(missing)}")
    if not there:
        others = ", ".join(path.name for path in _other_folders(root)) or "none"
        raise AlmPromptError(
            f"--data-root {root}: none of the recipe's data sets is there; name others with --datasets (folders "
            f"there: {others})"
        )
    return there


def _of_catalog(entry: str) -> list[str]:
    """Those names of a data set or pair that are in the catalog."""
    from ..data import CATALOG

    return [name for name in entry.split(":") if name in CATALOG]


def _open_dataset(name: str, root: Path | None, checks: Mapping[str, bool]) -> AudioDataset:
    from ..data import CATALOG, open_dataset

    if name == WORLD or root is None:
        return open_dataset(name, **checks)
    if name in CATALOG:
        return open_dataset(root / CATALOG[name].folder, name, **checks)
    if not (root / name).exists():
        known = [WORLD, *CATALOG, *(path.name for path in _other_folders(root))]
        raise AlmPromptError(f"no data set {name!r} below {root}; {nearest(name, known)}")
    return open_dataset(root / name, name, **checks)


def _other_folders(root: Path) -> list[Path]:
    """Folders below the root that are none of the catalog's."""
    from ..data import CATALOG

    known = {entry.folder for entry in CATALOG.values()}
    return sorted(path for path in root.iterdir() if path.is_dir() and path.name not in known)
