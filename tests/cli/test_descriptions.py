"""`--descriptions` on the command line: from a file, shipped, and carried by the adapter."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from alm_prompt.cli.main import main
from alm_prompt.evaluation.rows import read_rows

CLASSES = ["bird song", "hand drum", "ocean waves"]
SENTENCES = {
    "bird song": ["a bird sings in the forest", "short high whistles of a bird"],
    "hand drum": ["a drum is hit by hand"],
    "ocean waves": ["waves roll over the beach", "a low hiss that comes and goes"],
}


@pytest.fixture
def sentences(tmp_path: Path) -> Path:
    path = tmp_path / "descriptions.json"
    path.write_text(json.dumps(SENTENCES))
    return path


def test_train_evaluate_predict_with_descriptions(
    world: Path, sentences: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    common = ["--data", str(world), "--classes", *CLASSES, "--no-cache"]
    described = ["--descriptions", str(sentences)]
    recipe = ["--method", "coop", "--shots", "2", "--epochs", "1"]
    assert main(["train", *common, *described, *recipe, "--output-dir", str(run)]) == 0
    assert json.loads((run / "adapter" / "adapter_config.json").read_text())["descriptions"] == SENTENCES
    clip = str(next((world / "bird song").iterdir()))
    printed = []
    for flags in ([], described):
        capfd.readouterr()
        assert main(["predict", clip, "--adapter", str(run / "adapter"), "--json", *flags]) == 0
        printed.append(json.loads(capfd.readouterr().out))
    assert printed[0] == printed[1]


def test_resume_with_other_descriptions_is_refused(
    world: Path, sentences: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    flags = ["--data", str(world), "--classes", *CLASSES, "--no-cache", "--method", "coop", "--shots", "2"]
    flags += ["--epochs", "1", "--descriptions", str(sentences), "--output-dir", str(tmp_path / "run")]
    assert main(["train", *flags]) == 0
    sentences.write_text(json.dumps(SENTENCES | {"hand drum": ["a soft thud"]}))
    assert "descriptions" in refused("train", *flags, "--resume")


def test_benchmark_with_shipped_descriptions(world: Path, tmp_path: Path) -> None:
    flags = ["--base-to-novel", "--methods", "zero-shot", "--shots", "2", "--seeds", "0", "--no-cache"]
    for name, more in (("named", []), ("described", ["--descriptions", "shipped"])):
        assert main(["evaluate", "--data", str(world), *flags, *more, "--output-dir", str(tmp_path / name)]) == 0
    [named], [described] = (read_rows(tmp_path / name / "rows.jsonl") for name in ("named", "described"))
    assert (named["described"], described["described"]) == (False, True)
    assert named["settings"] != described["settings"]
    assert "classes by their descriptions" in (tmp_path / "described" / "table.md").read_text()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"bird song": ["a bird"]}, "class 'hand drum' has no descriptions"),
        ({"bird song": "a bird"}, "does not hold descriptions; expected JSON like"),
        ([1], "does not hold descriptions; expected JSON like"),
    ],
)
def test_unusable_descriptions_are_one_line(
    content: object, message: str, world: Path, tmp_path: Path, refused: Callable[..., str]
) -> None:
    path = tmp_path / "descriptions.json"
    path.write_text(json.dumps(content))
    line = refused("evaluate", "--data", world, "--classes", *CLASSES, "--descriptions", path, "--no-cache")
    assert message in line
