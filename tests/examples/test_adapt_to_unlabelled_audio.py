"""The example of test-time adaptation runs as its docstring says, on the sound world and on a user's folder."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

from alm_prompt.data.world import write_world

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "adapt_to_unlabelled_audio.py"
FAST = ["--clips_per_class", "1", "--views", "4"]


@pytest.mark.parametrize("own_folder", [False, True])
def test_adaptation(
    own_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ["--at_once", "5"]
    if own_folder:
        write_world(tmp_path / "sounds", per_class=2)
        source = ["--data", str(tmp_path / "sounds")]
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, *source, *FAST, "--output_dir", str(tmp_path / "run")])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    printed = capsys.readouterr().out
    assert re.search(r"^before: \d\.\d{3} on 12 clips$", printed, flags=re.MULTILINE)
    assert re.search(r"^adapted to each: \d\.\d{3}$", printed, flags=re.MULTILINE)
    [adapted] = re.findall(r"^adapted once: (\d\.\d{3})$", printed, flags=re.MULTILINE)
    assert f"reloaded from {tmp_path / 'run'}: {adapted}" in printed
    assert (tmp_path / "run" / "adapter_model.safetensors").is_file()
