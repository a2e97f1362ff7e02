"""`alm-prompt report`: folders in, a page out; bad input in one line."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from alm_prompt.cli.main import main

Refused = Callable[..., str]
SHARED = {"shots": 16, "fold": None, "encoder_mode": "frozen", "template": "{}", "logit_scale": 100.0, "format": 2}


def row(method: str, seed: int, accuracy: float, **different: Any) -> dict[str, Any]:
    measured = {"accuracy": accuracy, "macro_f1": accuracy, "trainable_parameters": 8, "seconds": 1.0}
    names = {"track": "palm", "protocol": "palm-few-shot", "dataset": "SESA", "split_hash": str(seed)}
    return {**SHARED, **measured, **names, "method": method, "seed": seed, "settings": f"{method}{seed}", **different}


def write(folder: Path, rows: list[dict[str, Any]], name: str = "rows.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


@pytest.fixture
def results(tmp_path: Path) -> Path:
    runs = [("zero-shot", 0, 0.7), ("zero-shot", 1, 0.7), ("palm", 0, 0.9), ("palm", 1, 0.8)]
    return write(tmp_path / "results", [row(*run) for run in runs])


def test_report_of_several_folders_goes_to_a_file(results: Path, tmp_path: Path) -> None:
    more = write(tmp_path / "more", [row("coop", 0, 0.6), row("coop", 1, 0.5)])
    write(more, [row("cocoop", 0, 0.0) | {"error": "no memory"}], "failed.jsonl")
    page = tmp_path / "pages" / "report.html"
    assert main(["report", str(results), str(more), "--output", str(page), "--title", "SESA, twice"]) == 0
    text = page.read_text(encoding="utf-8")
    assert text.startswith("<!DOCTYPE html>")
    for fact in ("SESA, twice", "▲ +15.0 better", "▼ \N{MINUS SIGN}15.0 worse", "no memory"):
        assert fact in text
    assert [path.name for path in page.parent.iterdir()] == ["report.html"]


def test_format_and_reference(results: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(results), "--reference", "palm"]) == 0
    printed = capsys.readouterr().out
    assert "against palm" in printed
    # PALM's logs on SESA: zero-shot 72.38, PALM 89.52.
    assert "| 72.4 |" in " ".join(printed.split())
    assert main(["report", str(results), "--format", "tex"]) == 0
    assert "\\toprule" in capsys.readouterr().out
    assert main(["report", str(results), "--format", "csv"]) == 0
    assert capsys.readouterr().out.startswith("figure,method,mean,")


def test_a_folder_whose_runs_all_failed_is_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    failed = write(tmp_path / "failed", [row("palm", 0, 0.0) | {"error": "no memory"}], "failed.jsonl")
    for form in ("md", "html", "tex", "csv"):
        assert main(["report", str(failed), "--format", form]) == 0
        assert "no memory" in capsys.readouterr().out


def test_bad_input_is_named(refused: Refused, results: Path, tmp_path: Path) -> None:
    empty = write(tmp_path / "empty", [])
    newer = write(tmp_path / "newer", [row("palm", 0, 0.9, format=99)])
    other = row("palm", 0, 0.9)
    del other["accuracy"], other["macro_f1"]
    strange = write(tmp_path / "strange", [other])
    zebra = write(tmp_path / "zebra", [row("coop+zebra", 0, 0.9, track="zebra", protocol="zebra-base-to-novel")])
    page = tmp_path / "page.md"
    page.write_text("mine")
    assert "holds no rows.jsonl" in refused("report", tmp_path)
    assert "holds no rows yet" in refused("report", empty)
    assert "newer version" in refused("report", newer)
    assert "another version" in refused("report", strange)
    assert "choose one of palm, zero-shot" in refused("report", results, "--reference", "nobody")
    assert "over two tracks" in refused("report", results, zebra, "--reference", "palm")
    assert "two rows of this run" in refused("report", results, results)
    assert "md, tex, csv, html" in refused("report", results, "--format", "docx")
    assert "name a md, tex, csv, html file" in refused("report", results, "--output", tmp_path / "report.docx")
    assert "--overwrite" in refused("report", results, "--output", page)
    assert "is a folder; name a file, such as" in refused("report", results, "--output", empty, "--overwrite")
    assert page.read_text() == "mine"
