"""The example of descriptions runs as its docstring says."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "descriptions.py"
FAST = ["--shots", "2", "--epochs", "1", "--clips_per_class", "4"]


def test_names_and_descriptions_give_a_table_each(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, *FAST])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    by_name, described = capsys.readouterr().out.split("# Classes by description")
    figures = [re.findall(r"^\| zero-shot .*", table, flags=re.MULTILINE) for table in (by_name, described)]
    assert figures[0] != figures[1]
    for table in (by_name, described):
        assert all(f"| {name}" in table for name in ("zero-shot", "CoOp", "KgCoOp"))
