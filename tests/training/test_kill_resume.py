"""Runs that are killed for real go on to the same adapter, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from alm_prompt.models import AlmForAudioClassification

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_killed_runs_resume_bitwise(tiny_alm: AlmForAudioClassification, tmp_path: Path) -> None:
    tiny_alm.save_pretrained(tmp_path / "model")
    script = str(ROOT / "benchmarks" / "kill_resume.py")
    options = ["--kills", "4", "--model", str(tmp_path / "model"), "--output", str(tmp_path / "result.json")]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    finished = subprocess.run(
        [sys.executable, script, *options],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    result = json.loads((tmp_path / "result.json").read_text())
    assert [run["bitwise_equal"] for run in result["runs"]] == [True] * 4
    steps_resumed_from = [int(run["resumed_from"].split("-")[1]) for run in result["runs"] if run["resumed_from"]]
    steps_per_epoch = 3
    assert any(step % steps_per_epoch for step in steps_resumed_from), "no kill in the middle of an epoch"
    assert any(run["operation"] for run in result["runs"]), "no kill while files are written"
