"""The JSON record of a run."""

from __future__ import annotations

import json
from importlib.metadata import version
from pathlib import Path

import pytest

from alm_prompt.errors import AlmPromptError
from alm_prompt.training import RunRecord


def test_record_comes_back_as_it_was(tmp_path: Path) -> None:
    record = RunRecord(
        settings={"method": "coop", "shots": 16},
        seeds=[0, 1],
        wall_seconds=2.5,
        split_hash="ab",
        results={"base": 0.5},
    )
    path = record.save(tmp_path / "new" / "run")
    assert RunRecord.load(tmp_path / "new" / "run") == record
    assert list(path.parent.iterdir()) == [path]
    fields = json.loads(path.read_text())
    assert fields["versions"]["torch"] == version("torch")
    assert fields["encoder_mode"] == "frozen"


def test_folder_without_record(tmp_path: Path) -> None:
    with pytest.raises(AlmPromptError, match=r"no run\.json"):
        RunRecord.load(tmp_path)


@pytest.mark.parametrize("content", [b"{", b'{"seeds": [0]}', b'{"unknown": 1}', b"\xff\xfe"])
def test_damaged_record(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_bytes(content)
    with pytest.raises(AlmPromptError, match="not a run record"):
        RunRecord.load(tmp_path)
