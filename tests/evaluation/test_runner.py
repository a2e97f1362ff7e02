"""The runner across processes: killed and gone on, and dealt over two ranks; no row is lost or made twice."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from alm_prompt.cli.main import main
from alm_prompt.errors import AlmPromptError
from alm_prompt.evaluation.ranks import VISIBLE, Rank, take_rank
from alm_prompt.evaluation.rows import RowStore, read_rows

ROOT = Path(__file__).resolve().parents[2]
GRID = ["--datasets", "SESA", "Beijing-Opera", "--folds", "1", "--seeds", "0", "1", "--shots", "2"]
METHODS = ["--methods", "zero-shot", "coop"]


def command(standins: Path, folder: Path, epochs: int) -> list[str]:
    start = ["benchmark", "palm-few-shot", "--data-root", str(standins), "--output-dir", str(folder)]
    return [*start, *GRID, *METHODS, "--epochs", str(epochs)]


def figures(folder: Path) -> dict[tuple, tuple]:
    rows = read_rows(folder / "rows.jsonl")
    found = {(row["dataset"], row["method"], row["seed"]): (row["accuracy"], row["settings"]) for row in rows}
    assert len(found) == len(rows)
    return found


def row(method: str, **more) -> dict:
    key = {"protocol": "p", "dataset": "d", "shots": 1, "seed": 0, "fold": None, "settings": "s", "format": 2}
    return {**key, "method": method, **more}


def test_two_stores_of_one_folder_lose_no_row(tmp_path: Path) -> None:
    first, second = RowStore(tmp_path), RowStore(tmp_path)
    first.add(row("a"))
    second.fail(row("c", error="why"))
    second.add(row("b"))
    first.add(row("c"))
    assert [line["method"] for line in read_rows(tmp_path / "rows.jsonl")] == ["a", "b", "c"]
    assert read_rows(tmp_path / "failed.jsonl") == []


def test_a_name_may_hold_ends_of_lines(tmp_path: Path) -> None:
    RowStore(tmp_path).add(row("a\u2028b\x85c\nd"))
    assert [line["method"] for line in read_rows(tmp_path / "rows.jsonl")] == ["a\u2028b\x85c\nd"]


@pytest.mark.parametrize(
    "line",
    [b'{"method": "coop"}', b"[1]", b"{", b"\xff", json.dumps(row("a", format="2")).encode(), b"\n{}"],
    ids=["keys", "list", "json", "encoding", "format", "blank"],
)
def test_what_is_no_row_is_named_with_its_line(line: bytes, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(json.dumps(row("a")).encode() + b"\n" + line + b"\n")
    with pytest.raises(AlmPromptError, match=r"rows\.jsonl, line 2: not a benchmark row"):
        RowStore(tmp_path)


def test_ranks_share_everything_once(monkeypatch: pytest.MonkeyPatch) -> None:
    items = list(range(7))
    assert sorted(item for index in range(3) for item in Rank(index, 3).share(items)) == items
    for name, value in {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", VISIBLE: "5,6"}.items():
        monkeypatch.setenv(name, value)
    assert take_rank() == Rank(3, 4)
    assert os.environ[VISIBLE] == "6"
    # Nothing is left by which a Trainer would join the others.
    assert not {"RANK", "WORLD_SIZE", "LOCAL_RANK"} & os.environ.keys()
    assert take_rank() == Rank()


@pytest.mark.slow
def test_killed_process_goes_on_without_repeating_or_losing_a_row(standins: Path, tmp_path: Path) -> None:
    folder = tmp_path / "killed"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(
        [sys.executable, "-m", "alm_prompt", *command(standins, folder, epochs=30)],
        env=environment,
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    rows = folder / "rows.jsonl"
    while process.poll() is None and not (rows.exists() and len(read_rows(rows)) >= 2):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before = read_rows(rows)
    assert 2 <= len(before) < 8
    assert main(command(standins, folder, epochs=30)) == 0
    assert read_rows(rows)[: len(before)] == before
    assert main(command(standins, tmp_path / "whole", epochs=30)) == 0
    assert figures(folder) == figures(tmp_path / "whole")


@pytest.mark.slow
def test_two_ranks_make_the_rows_of_one(standins: Path, tmp_path: Path, torchrun: Callable[..., None]) -> None:
    script = tmp_path / "run.py"
    script.write_text("import sys\nfrom alm_prompt.cli.main import main\nsys.exit(main(sys.argv[1:]))\n")
    torchrun(script, *command(standins, tmp_path / "two", epochs=2))
    assert main(command(standins, tmp_path / "one", epochs=2)) == 0
    assert figures(tmp_path / "two") == figures(tmp_path / "one")
    assert (tmp_path / "two" / "table.md").exists()
