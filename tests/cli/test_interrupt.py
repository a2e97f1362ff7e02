"""Ctrl-C: one line that says how to go on, and a run that can."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from transformers import Trainer

from alm_prompt.cli.main import main
from alm_prompt.evaluation.rows import RowStore, read_rows

TRAIN = ["--classes", "bird song", "hand drum", "--shots", "2", "--epochs", "6", "--batch-size", "2", "--no-cache"]


@pytest.fixture(autouse=True)
def keyboard() -> Iterator[None]:
    """Hear the signal also where the suite was started in the background, which has it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press_ctrl_c(monkeypatch: pytest.MonkeyPatch, owner: type, method: str, calls: int) -> None:
    """Send the signal that the terminal sends, after some calls of a method."""
    made = []
    original: Callable = getattr(owner, method)

    def counted(*args, **kwargs):
        outcome = original(*args, **kwargs)
        made.append(method)
        if len(made) == calls:
            os.kill(os.getpid(), signal.SIGINT)
        return outcome

    monkeypatch.setattr(owner, method, counted)


def last_line(error: str) -> str:
    assert "Traceback" not in error
    return error.replace("\r", "\n").strip().splitlines()[-1]


def test_train_goes_on_with_resume(world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    train = ["train", "--data", str(world), *TRAIN, "--output-dir"]
    assert main([*train, str(whole)]) == 0
    with pytest.MonkeyPatch.context() as patch:
        press_ctrl_c(patch, Trainer, "training_step", calls=7)
        assert main([*train, str(broken)]) == 130
    assert last_line(capfd.readouterr().err) == "interrupted; the same command with --resume goes on"
    assert not (broken / "adapter").exists()
    assert main([*train, str(broken), "--resume"]) == 0
    weights = [(run / "adapter" / "adapter_model.safetensors").read_bytes() for run in (whole, broken)]
    assert weights[0] == weights[1]
    results = [json.loads((run / "run.json").read_text())["results"] for run in (whole, broken)]
    assert results[0] == results[1]


def test_benchmark_goes_on_when_repeated(world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = ["--data-root", str(world.parent), "--datasets", world.name, "--no-cache"]
    settings = ["--methods", "zero-shot", "--seeds", "0", "1", "--shots", "1", "--epochs", "1"]
    command = ["benchmark", "zebra-base-to-novel", *data, *settings, "--output-dir", str(tmp_path)]
    with pytest.MonkeyPatch.context() as patch:
        press_ctrl_c(patch, RowStore, "add", calls=1)
        assert main(command) == 130
    assert last_line(capfd.readouterr().err) == "interrupted; the same command goes on"
    (first,) = read_rows(tmp_path / "rows.jsonl")
    assert main(command) == 0
    rows = read_rows(tmp_path / "rows.jsonl")
    assert [row["seed"] for row in rows] == [0, 1]
    assert rows[0] == first
