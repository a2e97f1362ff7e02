"""What is costly to compute and always the same, kept on disk: where it lies, and files that are whole or absent."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "ALM_PROMPT_CACHE"
# Part of every folder's name: raise it when files come to be written in another way.
STORE_FORMAT = 2
OWN_FILE = re.compile(r"[0-9a-f]{64}\.(safetensors|\d+\.tmp)")
OWN_FOLDER = re.compile(r"[0-9a-f]{64}")

_chosen: list[Path | None] = []


def default_cache_folder() -> Path:
    """`$ALM_PROMPT_CACHE`, else `~/.cache/alm_prompt`."""
    return Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "alm_prompt")


def cache_folder() -> Path | None:
    """Where this process keeps what prompt methods compute once; `None`: nowhere."""
    return _chosen[-1] if _chosen else default_cache_folder()


@contextmanager
def caching_in(folder: str | Path | None) -> Iterator[None]:
    """Choose for a while where this process keeps what prompt methods compute once.

    Args:
        folder: the folder, which may not exist yet; `None` neither reads nor writes the disk.
    """
    _chosen.append(None if folder is None else Path(folder))
    try:
        yield
    finally:
        _chosen.pop()


def store_folder(root: Path, kind: str, *identity: Any) -> Path:
    """Folder of a [`TensorStore`], named after everything that its tensors depend on besides their names.

    Args:
        root: the cache folder.
        kind: what the tensors are, a folder in it.
        *identity: what they depend on, as JSON values.
    """
    return root / kind / hashlib.sha256(json.dumps([STORE_FORMAT, *identity]).encode()).hexdigest()


def own_files(root: Path) -> dict[str, list[Path]]:
    """Files that [`TensorStore`] wrote below a cache folder, finished or not, by kind. Any other file is not ours."""
    found = defaultdict(list)
    for path in sorted(root.glob("*/*/*")):
        if OWN_FILE.fullmatch(path.name) and OWN_FOLDER.fullmatch(path.parent.name) and path.is_file():
            found[path.parent.parent.name].append(path)
    return dict(found)


class TensorStore:
    """Tensors by name in one folder, in files ("shards") named after the hash of their content and of the folder.

    Damage is therefore found when a shard is read, and so is one that comes from another folder. Several processes can
    fill one folder: they never write the same name with different bytes.

    Args:
        folder: where the shards lie, from [`store_folder`]; made when something is written.
        content: what they hold, in words, for messages.
        is_valid: tells a tensor that can be there from one that cannot; default: any can.
    """

    def __init__(
        self, folder: Path, content: str, is_valid: Callable[[torch.Tensor], bool] = lambda tensor: True
    ) -> None:
        self.folder = folder
        self.content = content
        self.is_valid = is_valid
        self.writable = True

    def read(self, names: Iterable[str]) -> dict[str, torch.Tensor]:
        """Return the tensors that are there of those asked for; say so and delete where a shard is damaged."""
        wanted = set(names)
        found: dict[str, torch.Tensor] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                shard = self._read_shard(path, wanted - found.keys())
            except FileNotFoundError:
                continue  # Another process has found it damaged in the meantime.
            except (SafetensorError, OSError, ValueError) as error:
                logger.warning("%s: damaged (%s); its %s are computed again", path, error, self.content)
                _delete(path)
                continue
            found |= {name: tensor for name, tensor in shard.items() if name in wanted}
        return found

    def write(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Write one shard; where the disk refuses, say so once and go on without."""
        if not self.writable:
            return
        path = self.folder / f"{self._digest(tensors)}.safetensors"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(dict(tensors), temporary)
            os.replace(temporary, path)
        except (SafetensorError, OSError) as error:
            self.writable = False
            with suppress(OSError):
                temporary.unlink()  # What a full disk has taken of it.
            logger.warning("%s: cannot be written (%s); %s are not cached", self.folder, error, self.content)

    def _read_shard(self, path: Path, wanted: set[str]) -> dict[str, torch.Tensor]:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            if wanted.isdisjoint(names):
                return {}
            shard = {name: file.get_tensor(name) for name in names}
        if self._digest(shard) != path.stem:
            raise ValueError("its content does not match its name and folder")
        if not all(self.is_valid(tensor) for tensor in shard.values()):
            raise ValueError("its tensors are of another shape or not finite")
        return shard

    def _digest(self, tensors: Mapping[str, torch.Tensor]) -> str:
        digest = hashlib.sha256(self.folder.name.encode())
        update_digest(digest, tensors)
        return digest.hexdigest()


def update_digest(digest: Any, tensors: Mapping[str, torch.Tensor]) -> None:
    """Add names, dtypes, shapes and bytes of tensors to a digest of `hashlib`."""
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{list(tensor.shape)}:".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())


def _delete(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        # A read-only cache keeps its damaged shard; it is never used, only announced again by the next run.
        logger.warning("%s: damaged and cannot be deleted", path)
