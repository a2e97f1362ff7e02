"""A store of tensors gives back what was put in, or says that it cannot."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from alm_prompt.cache import TensorStore, store_folder

TENSORS = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}


@pytest.fixture
def store(tmp_path: Path) -> TensorStore:
    return TensorStore(store_folder(tmp_path, "numbers", "one", 1), "numbers")


def test_what_was_written_is_read(store: TensorStore) -> None:
    store.write(TENSORS)
    found = store.read(["b", "c"])
    assert found.keys() == {"b"}
    assert torch.equal(found["b"], TENSORS["b"])


def test_another_identity_is_another_folder(tmp_path: Path) -> None:
    identities = [("numbers", "one", 1), ("numbers", "one", 2), ("numbers", "one"), ("letters", "one", 1)]
    assert len({store_folder(tmp_path, *identity) for identity in identities}) == len(identities)


def test_shard_of_another_folder_is_announced_once_and_not_read(
    store: TensorStore, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = TensorStore(store_folder(tmp_path, "numbers", "another"), "numbers")
    other.write(TENSORS)
    shutil.copytree(other.folder, store.folder)
    assert store.read(TENSORS) == {}
    assert store.read(TENSORS) == {}
    [message] = caplog.messages
    assert "its content does not match its name and folder" in message
    assert "its numbers are computed again" in message


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process may grow beyond 100 bytes; for a moment only, in which pytest writes no report."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_full_disk_ends_the_cache_and_not_the_run(store: TensorStore, caplog: pytest.LogCaptureFixture) -> None:
    with full_disk():
        for number in range(2):
            store.write({f"{number}": torch.zeros(1000)})
    [message] = caplog.messages
    assert "numbers are not cached" in message
    assert not list(store.folder.iterdir())
