"""Every kind of picture is drawn from what the commands write, and bad input is met in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from alm_prompt.cli.main import main

from .conftest import FAST

pytest.importorskip("matplotlib", reason="matplotlib is not installed (extra plots)")

Refused = Callable[..., str]


@pytest.fixture(scope="module")
def palm(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of PALM on two classes."""
    run = tmp_path_factory.mktemp("palm") / "run"
    classes = ["--classes", "bird song", "hand drum"]
    assert main(["train", "--method", "palm", "--data", str(world), "--output-dir", str(run), *classes, *FAST]) == 0
    return run


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Results of two methods with two numbers of shots."""
    folder = tmp_path_factory.mktemp("results")
    figures = {"accuracy": 0.5, "base": 0.6, "novel": 0.5, "base_g": 0.4, "novel_g": 0.3}
    rows = [
        {"method": method, "seed": 0, "fold": None, "shots": shots, "settings": "", "dataset": "ESC50", **figures}
        for method in ("zero-shot", "coop")
        for shots in (1, 2)
    ]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def drawn(path: Path, *argv: str | Path) -> bool:
    """Run the command; whether a whole picture came of it."""
    assert main(["plot", *map(str, argv), "--output", str(path)]) == 0
    return path.read_bytes().startswith(b"\x89PNG") and path.read_bytes().endswith(b"IEND\xaeB`\x82")


def test_pictures_of_an_adapter(adapter: Path, palm: Path, world: Path, tmp_path: Path) -> None:
    assert drawn(tmp_path / "neighbors.png", "neighbors", "--adapters", adapter)
    assert drawn(tmp_path / "tsne.png", "tsne", "--adapters", adapter, palm / "adapter")
    assert drawn(tmp_path / "mixing.png", "mixing", "--adapter", palm / "adapter")
    assert drawn(tmp_path / "confusion.png", "confusion", "--adapter", adapter, "--data", world, "--no-cache")


def test_pictures_of_runs(palm: Path, results: Path, tmp_path: Path) -> None:
    assert drawn(tmp_path / "losses.png", "losses", "--run", palm)
    assert drawn(tmp_path / "shots.png", "shots", "--results", results)
    assert drawn(tmp_path / "base-novel.png", "base-novel", "--results", results, "--only", "shots=2")


def test_help_names_every_kind(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["plot", "--help"]) == 0
    printed = capfd.readouterr().out
    for kind in ("neighbors", "tsne", "base-novel", "shots", "confusion", "mixing", "losses"):
        assert f"  {kind} " in printed


def test_bad_input_is_one_line(adapter: Path, results: Path, tmp_path: Path, refused: Refused) -> None:
    picture = tmp_path / "a.png"
    assert "'pie'" in refused("plot", "pie")
    assert ".png, .pdf, .svg" in refused("plot", "losses", "--run", tmp_path, "--output", tmp_path / "a.gif")
    assert "trainer_state.json" in refused("plot", "losses", "--run", tmp_path, "--output", picture)
    assert "no mixing" in refused("plot", "mixing", "--adapter", adapter, "--output", picture)
    assert "no classes" in refused("plot", "tsne", "--output", picture)
    rows = ("--results", results, "--output", picture)
    assert "add --only shots=1" in refused("plot", "base-novel", *rows)
    assert "key=value" in refused("plot", "shots", *rows, "--only", "ESC50")
    assert "no row has this value" in refused("plot", "shots", *rows, "--only", "dataset=ESC10")
    assert "no figure 'f1'" in refused("plot", "shots", *rows, "--figure", "f1")
    for damaged in ('{"log_his', "[]", "{}"):
        (tmp_path / "trainer_state.json").write_text(damaged)
        assert "trainer_state.json is damaged" in refused("plot", "losses", "--run", tmp_path, "--output", picture)
    assert not picture.exists()
    (tmp_path / "b.png").mkdir()
    folder = ("--output", tmp_path / "b.png", "--overwrite")
    assert "is a folder; name a file, such as" in refused("plot", "shots", "--results", results, *folder)
    picture.write_bytes(b"mine")
    assert "--overwrite" in refused("plot", "shots", *rows)
    assert picture.read_bytes() == b"mine"
