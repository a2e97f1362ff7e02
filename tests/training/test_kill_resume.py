"""Work that is killed for real goes on and ends with the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_killed_work_goes_on_to_the_same_bytes(tmp_path: Path) -> None:
    script = str(ROOT / "benchmarks" / "kill_resume.py")
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    finished = subprocess.run(
        [sys.executable, script, "--kills", "2", "--output", str(tmp_path / "result.json")],
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr
    kinds = json.loads((tmp_path / "result.json").read_text())["kinds"]
    assert sorted(kinds) == ["benchmarking", "caching", "converting", "saving", "training"]
    for kind, result in kinds.items():
        assert [(run["equal"], run["half_written"]) for run in result["runs"]] == [(True, [])] * 2, kind
        assert result["things"] > 0
    assert all(run["event"] for result in kinds.values() for run in result["runs"] if not run["by_time"])
