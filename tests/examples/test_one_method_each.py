"""The examples of single methods run, and show what they promise to show."""

from __future__ import annotations

import json
import re
import runpy
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from alm_prompt.data.world import WORLD_CLASSES, write_world
from alm_prompt.prompts import neighbors

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs an example on few clips for one epoch and returns what it prints."""

    def run_example(name: str, *arguments: str) -> str:
        monkeypatch.setattr(sys, "argv", [name, "--clips_per_class", "2", "--epochs", "1", "--shots", "1", *arguments])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run_example


def test_cocoop_instance_context(run: Callable[..., str]) -> None:
    printed = run("cocoop_instance_context", "--clips_per_class", "3")
    assert re.findall(r"feedback to the (\w+): [\d.]+, (\d+) prompts more", printed) == [
        ("context", "12"),
        ("text_features", "0"),
    ]
    assert len(re.findall(r"of one class: [01]\.\d{4}, of two classes: [01]\.\d{4}", printed)) == 2


def test_kgcoop_anchor(run: Callable[..., str]) -> None:
    printed = run("kgcoop_anchor")
    assert len(re.findall(r"^(one template|100 templates) as zero-shot: base", printed, flags=re.MULTILINE)) == 2
    learned = re.findall(r"^(.*): base .* cosine \S+ to one template, \S+ to 100", printed, flags=re.MULTILINE)
    assert learned == ["CoOp", "KgCoOp, one template", "KgCoOp, 100 templates"]


def test_dept_transfer_head(run: Callable[..., str]) -> None:
    printed = run("dept_transfer_head")
    assert re.findall(r"(\d+) classes without a vote", printed) == ["0", "6", "0"]
    _, fused, plain = re.findall(r"best logit among trained classes (-?[\d.]+)", printed)
    assert fused != plain


def test_palm_variants(run: Callable[..., str]) -> None:
    printed = run("palm_variants")
    rows = re.findall(r"^(\S.*?) +([\d,]+)  \d\.\d{3}$", printed, flags=re.MULTILINE)
    assert [name for name, _ in rows] == [
        "zero-shot",
        "PALM",
        "PALM + CoOp",
        "PALM + CoCoOp",
        "PALM + CoCoOp†",
        "linear probe",
        "PALM without text",
    ]
    shares = dict(re.findall(r"^  (\w[\w ]+?) +(0\.\d\d)$", printed, flags=re.MULTILINE))
    assert shares.keys() == WORLD_CLASSES.keys()
    assert all(0.2 < float(share) < 0.6 for share in shares.values())


def test_linear_probe_on_an_own_folder(run: Callable[..., str], tmp_path: Path) -> None:
    write_world(tmp_path / "sounds", per_class=2)
    printed = run("linear_probe", "--data", str(tmp_path / "sounds"))
    assert len(re.findall(r"^ +1 +\d\.\d{3} +\d\.\d{3}  \d\.\d{3}$", printed, flags=re.MULTILINE)) == 1
    assert re.findall(r"(linear probe|PALM): \d+ of (\d+) clips of untrained", printed) == [
        ("linear probe", "12"),
        ("PALM", "12"),
    ]


def test_sept_neighbors_of_an_own_file(run: Callable[..., str], tmp_path: Path) -> None:
    terms = neighbors("world")
    terms["bird song"][1] = "Ocean waves!"  # a held-out class
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(terms), encoding="utf-8")
    printed = run("sept_neighbors", "--neighbors", str(path), "--terms", "2")
    assert "dropped because they name a held-out class: {'bird song': ['Ocean waves!']}" in printed
    figures = re.findall(r"^(\w+ \w+) +-?\d\.\d\d +-?\d\.\d\d +-?\d\.\d\d$", printed, flags=re.MULTILINE)
    assert figures == sorted(WORLD_CLASSES)[:6]
    assert re.findall(r"^\| (zero-shot|CoOp|CoOp\+SEPT) ", printed, flags=re.MULTILINE) == [
        "zero-shot",
        "CoOp",
        "CoOp+SEPT",
    ]
