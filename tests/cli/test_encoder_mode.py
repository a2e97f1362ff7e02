"""`--encoder-mode reference` from training to prediction."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from alm_prompt.cli.main import main

CLASSES = ["bird song", "hand drum", "ocean waves"]
FAST = ["--shots", "2", "--epochs", "2"]


def test_train_evaluate_predict_and_resume(
    world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], refused
) -> None:
    run = ["train", "--data", str(world), "--output-dir", str(tmp_path / "run"), "--classes", *CLASSES, *FAST]
    assert main([*run, "--encoder-mode", "reference"]) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["encoder_mode"] == "reference"
    adapter = tmp_path / "run" / "adapter"
    assert json.loads((adapter / "adapter_config.json").read_text())["encoder_mode"] == "reference"
    measure = ["evaluate", "--adapter", str(adapter), "--data", str(world), "--classes", *CLASSES]
    assert main([*measure, "--output-dir", str(tmp_path / "measured")]) == 0
    assert json.loads((tmp_path / "measured" / "run.json").read_text())["encoder_mode"] == "reference"
    capfd.readouterr()
    assert main(["predict", "--adapter", str(adapter), str(world / "hand drum" / "0000.wav"), "--json"]) == 0
    assert len(json.loads(capfd.readouterr().out)[0]["predictions"]) == 3
    assert "encoder_mode" in refused(*run, "--resume")


def test_benchmark(world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    command = ["evaluate", "--base-to-novel", "--data", str(world), "--output-dir", str(tmp_path), "--seeds", "0"]
    command += ["--methods", "zero-shot", "coop", "--classes", *CLASSES, *FAST, "--encoder-mode", "reference"]
    assert main(command) == 0
    assert "\n| zero-shot | " in capfd.readouterr().out
    assert "encoders frozen (zero-shot), reference (coop)" in (tmp_path / "table.md").read_text(encoding="utf-8")
    assert json.loads((tmp_path / "run.json").read_text())["encoder_mode"] == "reference"


def test_unknown_mode_is_refused(refused) -> None:
    assert "--encoder-mode" in refused("train", "--data", "x", "--output-dir", "y", "--encoder-mode", "train")
