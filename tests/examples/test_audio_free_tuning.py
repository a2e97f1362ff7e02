"""The audio-free example runs as its docstring says, on the sound world and on a user's folder and sentences."""

from __future__ import annotations

import json
import re
import runpy
import sys
from pathlib import Path

import pytest

from alm_prompt.data.world import WORLD_CLASSES, write_world

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "audio_free_tuning.py"
FAST = ["--shots", "1", "--epochs", "1", "--noise_std", "0.1"]


@pytest.mark.parametrize("own", [False, True])
def test_audio_free_tuning(
    own: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, text = ["--clips_per_class", "2"], "captions"
    if own:
        write_world(tmp_path / "sounds", per_class=2)
        text = str(tmp_path / "sentences.json")
        Path(text).write_text(json.dumps({name: [f"a recording of {name}"] for name in WORLD_CLASSES}))
        arguments = ["--data", str(tmp_path / "sounds"), "--sentences", text]
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, *arguments, *FAST])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    printed = re.findall(r"^(.*): (?:0\.\d{3}|1\.000)$", capsys.readouterr().out, flags=re.MULTILINE)
    assert printed == [
        "zero-shot, names",
        "zero-shot, shipped sentences as descriptions",
        f"zero-shot, {text} as descriptions",
        "CoOp, learned from shipped sentences",
        f"CoOp, learned from {text}",
        "CoOp, learned from audio",
    ]
