"""`alm-prompt cache`: what is kept on disk, and its removal."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..cache import default_cache_folder, own_files
from ..errors import AlmPromptError
from .inspect_options import CacheOptions
from .parser import CommandParser

DESCRIPTION = "Say what the cache holds, or delete it. Nothing is lost but time: what is missing is computed again."
UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def run(argv: list[str]) -> None:
    """Print sizes and counts by kind; with `clear`, delete the files. What is not ours is left alone.

    Raises:
        AlmPromptError: a kind that is not in the cache, or a file that cannot be deleted.
    """
    parser = CommandParser("cache", DESCRIPTION, [CacheOptions])
    parser.add_argument("action", choices=("info", "clear"), help="say what is there, or delete it")
    options, rest = parser.parse(argv)
    root = Path(options.cache_dir or default_cache_folder())
    found = own_files(root)
    for kind in options.kinds or ():
        if kind not in found:
            raise AlmPromptError(f"the cache {root} holds no {kind!r}; it holds {', '.join(found) or 'nothing'}")
    found = {kind: files for kind, files in found.items() if not options.kinds or kind in options.kinds}
    print(f"{root}: {'' if found else 'nothing'}")
    for kind, files in found.items():
        print(f"  {kind}: {_in_words(files)}")
    if rest.action == "clear" and found:
        _delete([path for files in found.values() for path in files])
        print("deleted")


def _in_words(files: Sequence[Path]) -> str:
    """Tensors, files and bytes, and what of them is of no use."""
    tensors = [_count_tensors(path) for path in files if path.suffix == ".safetensors"]
    size = sum(path.stat().st_size for path in files)
    words = f"{sum(filter(None, tensors))} tensors in {len(files)} files of {len({p.parent for p in files})} folders, "
    words += next((f"{size / unit:.1f} {name}" for unit, name in UNITS if size >= unit), f"{size} B")
    useless = {"damaged": tensors.count(None), "unfinished": len(files) - len(tensors)}
    return words + "".join(f"; {count} of the files {state}" for state, count in useless.items() if count)


def _count_tensors(path: Path) -> int | None:
    """Number of tensors in a file; `None` where it cannot be read."""
    try:
        with safe_open(path, framework="pt") as file:
            return len(file.keys())
    except (SafetensorError, OSError):
        return None


def _delete(files: Sequence[Path]) -> None:
    """Delete files, and the folders that are empty then."""
    for path in files:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise AlmPromptError(f"{path} cannot be deleted ({error.strerror}); the files before it are") from error
    folders = {path.parent for path in files}
    for folder in (*folders, *{folder.parent for folder in folders}):
        with suppress(OSError):  # Something else lies in it.
            folder.rmdir()
