"""`alm-prompt cache`: it counts what is there, and deletes what is ours and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from alm_prompt.cache import TensorStore, store_folder
from alm_prompt.cli.main import main


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A cache of two kinds, with a damaged and an unfinished file, and files of others."""
    root = tmp_path / "cache"
    for encoder in ("a", "b"):
        store = TensorStore(store_folder(root, "audio_features", encoder), "audio features")
        store.write({f"{clip:064}": torch.rand(512) for clip in range(3)})
    margins = TensorStore(store_folder(root, "margins", "a"), "margins")
    margins.write({"margins": torch.rand(3, 3, 2)})
    (margins.folder / f"{'0' * 64}.safetensors").write_bytes(b"cut")
    (margins.folder / f"{'1' * 64}.77.tmp").write_bytes(b"cut")
    for name in ("notes.txt", "margins/notes.txt", f"margins/{margins.folder.name}/model.safetensors"):
        (root / name).write_text("mine")
    return root


def printed(capfd: pytest.CaptureFixture[str], *argv: str | Path) -> list[str]:
    capfd.readouterr()
    assert main(["cache", *map(str, argv)]) == 0
    return capfd.readouterr().out.splitlines()


def test_info_counts_by_kind(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    files = sorted(root.rglob("*"))
    header, audio, margins = printed(capfd, "info", "--cache-dir", root)
    assert header.startswith(str(root))
    assert audio.startswith("  audio_features: 6 tensors in 2 files of 2 folders, 12.")
    assert audio.endswith(" KiB")
    assert margins.startswith("  margins: 1 tensors in 3 files of 1 folders, ")
    assert margins.endswith("; 1 of the files damaged; 1 of the files unfinished")
    assert sorted(root.rglob("*")) == files


def test_clear_deletes_what_is_ours_and_says_so(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    lines = printed(capfd, "clear", "--cache-dir", root)
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["audio_features", "margins", "deleted"]
    left = {str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()}
    assert {Path(path).name for path in left} == {"notes.txt", "model.safetensors"}
    assert not (root / "audio_features").exists()
    assert printed(capfd, "clear", "--cache-dir", root) == [f"{root}: nothing"]


def test_clear_of_one_kind(root: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "  margins" not in "\n".join(printed(capfd, "clear", "--kinds", "audio_features", "--cache-dir", root))
    [_, margins] = printed(capfd, "info", "--cache-dir", root)
    assert margins.startswith("  margins: 1 tensors in 3 files")


def test_default_folder(root: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALM_PROMPT_CACHE", str(root))
    assert len(printed(capfd, "info")) == 3
    monkeypatch.setenv("ALM_PROMPT_CACHE", str(root / "nowhere"))
    assert printed(capfd, "info") == [f"{root / 'nowhere'}: nothing"]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        ([], "the following arguments are required: action"),
        (["empty"], "invalid choice: 'empty'"),
        (["info", "--kinds", "text"], "holds no 'text'; it holds audio_features, margins"),
    ],
)
def test_bad_input(argv: list[str], message: str, root: Path, refused: Callable[..., str]) -> None:
    assert message in refused("cache", *argv, "--cache-dir", root)
