"""A disk that takes no more: one line, and what was there before is whole."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors import SafetensorError

from alm_prompt.cli import env
from alm_prompt.cli.main import main

ROOT = Path(__file__).resolve().parents[2]
REFUSALS = {
    "full": OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "adapter/results.json"),
    "read-only": OSError(errno.EROFS, os.strerror(errno.EROFS)),
    "safetensors": SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)"),
    "torch": RuntimeError("[enforce fail at inline_container.cc:778] . PytorchStreamWriter failed writing file\nmore"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refusal_is_one_line(kind, monkeypatch, capsys):
    def run(argv):
        raise REFUSALS[kind]

    monkeypatch.setattr(env, "run", run)
    assert main(["env"]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert line.startswith("error: the disk takes no more (")
    assert "make room" in line
    with pytest.raises(type(REFUSALS[kind])):
        main(["env", "--debug"])


def test_what_a_refusal_causes_is_named_by_it(monkeypatch, capsys):
    def run(argv):
        try:
            raise REFUSALS["full"]
        except OSError as error:
            raise RuntimeError("saving failed") from error

    monkeypatch.setattr(env, "run", run)
    assert main(["env"]) == 2
    assert "results.json" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["no such file", "first line\n  second line", ""])
def test_what_nobody_has_foreseen_is_one_line_too(text, monkeypatch, capsys):
    def run(argv):
        raise LookupError(text)

    monkeypatch.setattr(env, "run", run)
    assert main(["env"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    reason = text.splitlines()[0] if text else "no reason given"
    assert line.startswith(f"error: LookupError: {reason}; not foreseen: ")
    assert "--debug" in line
    with pytest.raises(LookupError):
        main(["env", "--debug"])


@pytest.mark.slow
def test_every_command_on_a_full_and_a_read_only_disk(faults):
    if not faults("disk").can_mount():
        pytest.skip("needs a tmpfs of its own, which this system does not let a process mount")
    command = [sys.executable, str(ROOT / "benchmarks" / "reliability.py"), "disk", "--count", "1"]
    path = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    finished = subprocess.run(
        command, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, timeout=300
    )
    result = json.loads(finished.stdout.splitlines()[-1])
    assert not result["crashes"]
    assert not result["lost"]
    assert result["refused"] >= 5
