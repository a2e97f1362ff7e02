"""The few-shot example runs as its docstring says, on the sound world and on a user's folder."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from alm_prompt.data.world import write_world

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "coop_few_shot.py"
FAST = ["--shots", "2", "--num_train_epochs", "2", "--use_cpu"]


@pytest.mark.parametrize("own_folder", [False, True])
def test_few_shot(
    own_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ["--clips_per_class", "3"]
    if own_folder:
        write_world(tmp_path / "sounds", per_class=3)
        source = ["--data", str(tmp_path / "sounds")]
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, *source, *FAST, "--output_dir", str(tmp_path / "run")])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    printed = capsys.readouterr().out
    assert "on 12 clips" in printed
    [trained] = re.findall(r"^CoOp: (0\.\d{3}|1\.000)$", printed, flags=re.MULTILINE)
    assert f"reloaded from {tmp_path / 'run'}: {trained}" in printed
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "results.json",
    }
