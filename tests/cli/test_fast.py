"""`--fast`, `--text-memory` and `env --explain`: how prompts are computed can be chosen, and is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from alm_prompt.cli.main import main

CLASSES = ["bird song", "hand drum", "ocean waves"]


@pytest.mark.parametrize(("fast", "path"), [("auto", "packed: prompts share rows"), ("off", "plain: fast is off")])
def test_run_record_says_which_path_ran(
    fast: str, path: str, adapter: Path, world: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    data = ["--data", str(world), "--classes", *CLASSES]
    printed = []
    for command in (["train", *data, "--shots", "1", "--epochs", "1"], ["evaluate", *data, "--adapter", str(adapter)]):
        folder = tmp_path / command[0]
        assert main([*command, "--fast", fast, "--output-dir", str(folder)]) == 0
        printed.append(capfd.readouterr().out)
        [taken] = json.loads((folder / "run.json").read_text())["text_paths"]
        assert taken.startswith(path)
    assert "accuracy" in printed[1]


def explained(capfd: pytest.CaptureFixture[str], *argv: str) -> list[str]:
    assert main(["env", "--explain", "--classes", *CLASSES, *argv]) == 0
    return capfd.readouterr().out.splitlines()


def test_explain_names_the_path_of_every_text_tower(capfd: pytest.CaptureFixture[str]) -> None:
    lines = explained(capfd)
    for family, path in (("bert", "packed"), ("clip_text_model", "packed"), ("t5", "plain")):
        assert any(line.startswith(f"  {family}: {path}: ") for line in lines)
    assert any(line.startswith("tiny has a clip_text_model; packed: prompts share rows") for line in lines)


@pytest.mark.parametrize(
    ("method", "first", "later"),
    [
        ("coop", "  first training step: 3 prompts (packed, rows: 1, tokens in a row: ", "3 prompts"),
        ("cocoop", "  first training step: 3 prompts for each of 4 clips (packed", "3 prompts for each of 4 clips"),
        ("palm", "  first training step: 3 prompts (packed", "no prompts"),
    ],
)
def test_explain_shows_the_work_of_a_method(
    method: str, first: str, later: str, capfd: pytest.CaptureFixture[str]
) -> None:
    lines = explained(capfd, "--method", method, "--batch-size", "4")
    assert any(line.startswith(first) for line in lines)
    assert any(line.startswith(f"  every later training step: {later}") for line in lines)


def test_explain_shows_what_falls_back(capfd: pytest.CaptureFixture[str]) -> None:
    shared = ["--method", "coop", "--method-options", "coop.n_ctx=4"]
    assert "shared at its start: 5)" in "\n".join(explained(capfd, *shared))
    in_front = explained(capfd, *shared, "coop.class_position=front")
    assert "shared at its start: 1)" in "\n".join(in_front)
    plain = explained(capfd, *shared, "--fast", "off")
    assert "tiny has a clip_text_model; plain: fast is off" in plain
    assert any("3 prompts (plain, tokens in a prompt: " in line for line in plain)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fast", "on"], "invalid choice: 'on'"),
        (["--text-memory", "0"], "--text-memory must be greater than 0 GiB, got 0.0"),
        (["--text-memory", "nan"], "--text-memory must be greater than 0 GiB, got nan"),
        (["--text-memory", "1e-7"], "text_tower.memory is 0.1 MiB, but the activations of one prompt of "),
        (["--num-workers", "-1"], "--num-workers must be at least 0, got -1"),
        (["--batch-size", "0"], "--batch-size must be greater than 0, got 0"),
    ],
)
def test_bad_flags_are_refused(flags: list[str], message: str, refused: Callable[..., str]) -> None:
    assert message in refused("env", "--explain", "--classes", *CLASSES, *flags)


def test_env_takes_no_flags_of_explain_without_it(refused: Callable[..., str]) -> None:
    assert "takes no arguments but those of --explain" in refused("env", "--method", "coop")
