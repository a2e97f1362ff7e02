"""`alm-prompt convert`: one command from an official checkpoint to a prediction."""

from __future__ import annotations

import json
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from alm_prompt.cli.main import main
from alm_prompt.models.convert.checkpoint import FAMILIES

HELPERS = Path(__file__).resolve().parents[1] / "models" / "convert"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with a small checkpoint in the layout of MS-CLAP 2022 and its tokenizer."""
    folder = tmp_path_factory.mktemp("official")
    tokenizer = runpy.run_path(str(HELPERS / "small_tokenizers.py"))["small_tokenizer"]("msclap-2022")
    tokenizer.save_pretrained(folder / "tokenizer")
    weights = runpy.run_path(str(HELPERS / "layouts.py"))["official_weights"]("msclap-2022", len(tokenizer))
    torch.save({"model": weights}, folder / "CLAP_weights_2022.pth")
    return folder


def test_a_converted_checkpoint_classifies(
    source: Path, world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    checkpoint, out = source / "CLAP_weights_2022.pth", tmp_path / "msclap"
    assert main(["convert", "msclap-2022", str(checkpoint), str(out), "--tokenizer", str(source / "tokenizer")]) == 0
    lines = capfd.readouterr().out.splitlines()
    report = json.loads((out / "conversion_report.json").read_text())
    assert lines[0] == f"{out}: {report['parameters']:,} parameters in 285 tensors"
    assert lines[1] == "left out: 7 of the checkpoint's 292 tensors, listed in conversion_report.json"
    assert lines[2].startswith("mel filters: at most ") and lines[2].endswith(" from the published recipe, the same")
    assert lines[3] == "logit scale: 40.45"
    assert str(tmp_path) not in (out / "conversion_report.json").read_text()

    clip = world / "hand drum" / "0000.wav"
    assert main(["predict", "--model", str(out), str(clip), "--classes", "hand drum", "ocean waves", "--json"]) == 0
    (entry,) = json.loads(capfd.readouterr().out)
    assert sum(guess["probability"] for guess in entry["predictions"]) == pytest.approx(1)


def test_bad_requests_are_one_line_and_write_nothing(
    refused: Callable[..., str], source: Path, tmp_path: Path
) -> None:
    checkpoint, out = source / "CLAP_weights_2022.pth", tmp_path / "out"
    tokenizer = ["--tokenizer", source / "tokenizer"]
    assert "family, checkpoint, output" in refused("convert")
    assert "'clip'; choose one of pengi" in refused("convert", "clip", checkpoint, out)
    assert "does not exist" in refused("convert", "pengi", tmp_path / "gone.pth", out)
    assert "not of pengi but of msclap-2022" in refused("convert", "pengi", checkpoint, out, *tokenizer)
    assert "is not empty" in refused("convert", "msclap-2022", checkpoint, source, *tokenizer)
    assert list(tmp_path.iterdir()) == []


def test_help_names_every_family(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    with pytest.raises(SystemExit):
        main(["convert", "--help"])
    text = capsys.readouterr().out
    assert all(family in text for family in FAMILIES)
