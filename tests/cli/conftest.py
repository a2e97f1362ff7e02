"""A small world of sounds on disk, and an adapter trained on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from alm_prompt.cli.main import main

FAST = ["--shots", "2", "--epochs", "2", "--no-cache"]


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with four recordings of each class of the sound world."""
    from alm_prompt.data.world import write_world

    root = tmp_path_factory.mktemp("world") / "sounds"
    write_world(root, per_class=4)
    return root


@pytest.fixture(scope="session")
def adapter(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Adapter for three classes of the world, in a finished run."""
    run = tmp_path_factory.mktemp("runs") / "run"
    classes = ["bird song", "hand drum", "ocean waves"]
    assert main(["train", "--data", str(world), "--output-dir", str(run), "--classes", *classes, *FAST]) == 0
    return run / "adapter"


@pytest.fixture
def refused(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs a command that must be refused, and returns its one line on standard error."""

    def run(*argv: str | Path) -> str:
        capfd.readouterr()
        assert main([str(argument) for argument in argv]) == 2
        error = capfd.readouterr().err
        lines = error.replace("\r", "\n").strip().splitlines()
        assert len(lines) == 1, error
        assert lines[0].startswith("error: ")
        return lines[0]

    return run
