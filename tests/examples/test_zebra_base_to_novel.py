"""The base-to-novel example runs as its docstring says, on the sound world and on a user's folder."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

from alm_prompt.data.world import write_world
from alm_prompt.evaluation.rows import read_rows

SCRIPT = Path(__file__).resolve().parents[2] / "examples" / "zebra_base_to_novel.py"
FAST = ["--shots", "2", "--num_train_epochs", "1", "--seeds", "0"]


@pytest.mark.parametrize("own_folder", [False, True])
def test_base_to_novel(
    own_folder: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source = ["--clips_per_class", "4"]
    if own_folder:
        write_world(tmp_path / "sounds", per_class=4)
        source = ["--data", str(tmp_path / "sounds")]
    monkeypatch.setattr(sys, "argv", [SCRIPT.name, *source, *FAST, "--output_dir", str(tmp_path / "run")])
    runpy.run_path(str(SCRIPT), run_name="__main__")
    rows = {row["method"]: row for row in read_rows(tmp_path / "run" / "rows.jsonl")}
    assert list(rows) == ["zero-shot", "CoOp", "CoOp, from words", "CoOp+ZEBRA"]
    printed = capsys.readouterr().out
    table = "\n".join(line for line in printed.splitlines() if line.startswith("|"))
    assert table in (tmp_path / "run" / "table.md").read_text(encoding="utf-8")
    gain = 100 * (rows["CoOp"]["base_g"] - rows["zero-shot"]["base_g"])
    assert f"CoOp against zero-shot, among all classes: base {gain:+.1f}, novel" in printed
