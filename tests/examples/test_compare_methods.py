"""The comparison of methods runs as its docstring says, on the sound world and on a user's folder."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from alm_prompt import AlmPromptError
from alm_prompt.data.world import write_world
from alm_prompt.evaluation.rows import read_rows

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "compare_methods.py"
FAST = ["--shots", "2", "--num_train_epochs", "1", "--seeds", "0"]


def compare(monkeypatch: pytest.MonkeyPatch, folder: Path, *arguments: str) -> dict[str, dict]:
    """Run the script; its rows by method."""
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, *arguments, *FAST, "--output_dir", str(folder)])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    return {row["method"]: row for row in read_rows(folder / "rows.jsonl")}


def test_default_methods(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    rows = compare(monkeypatch, tmp_path, "--clips_per_class", "4")
    assert list(rows) == ["zero-shot", "coop", "cocoop", "kgcoop", "palm", "linear_probe", "coop+zebra"]
    printed = capsys.readouterr().out
    table = "\n".join(line for line in printed.splitlines() if line.startswith("|"))
    assert table in (tmp_path / "table.md").read_text(encoding="utf-8")
    base, novel = (100 * (rows["palm"][key] - rows["zero-shot"][key]) for key in ("base", "novel"))
    assert f"palm against zero-shot, separate: base {base:+.1f}, novel {novel:+.1f} points" in printed
    base, novel = (100 * (rows["palm"][key] - rows["zero-shot"][key]) for key in ("base_g", "novel_g"))
    assert f"palm against zero-shot, all classes: base {base:+.1f}, novel {novel:+.1f} points" in printed


def test_own_folder_and_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_world(tmp_path / "sounds", per_class=4)
    source = ["--data", str(tmp_path / "sounds")]
    rows = compare(monkeypatch, tmp_path / "run", "--methods", "zero-shot", "palm+zebra", *source)
    assert list(rows) == ["zero-shot", "palm+zebra"]


def test_unknown_method_is_refused_before_any_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AlmPromptError, match="did you mean 'coop'"):
        compare(monkeypatch, tmp_path / "run", "--methods", "copo")
    assert not (tmp_path / "run").exists()
