"""A run that exists is never silently overwritten, and a folder that cannot be written is refused at once."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from alm_prompt.cli.run_folder import (
    BENCHMARK_PARTS,
    MEASUREMENT_PARTS,
    TRAINING_PARTS,
    check_output_dir,
    check_outside,
    check_settings,
    open_output_dir,
    write_settings,
)
from alm_prompt.errors import AlmPromptError


def test_check_creates_nothing(tmp_path: Path) -> None:
    assert check_output_dir(tmp_path / "a" / "b", TRAINING_PARTS) == tmp_path / "a" / "b"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["run.json", "settings.json", "adapter", "checkpoint-10"])
def test_folder_with_a_run_is_refused_unless_told(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    with pytest.raises(AlmPromptError, match="--resume"):
        check_output_dir(tmp_path, TRAINING_PARTS)
    check_output_dir(tmp_path, TRAINING_PARTS, resume=True)
    check_output_dir(tmp_path, TRAINING_PARTS, overwrite=True)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("rows.jsonl", TRAINING_PARTS),
        ("adapter_config.json", TRAINING_PARTS),
        ("adapter", BENCHMARK_PARTS),
        ("adapter_config.json", BENCHMARK_PARTS),
        ("rows.jsonl", MEASUREMENT_PARTS),
        ("settings.json", MEASUREMENT_PARTS),
    ],
)
def test_what_another_command_has_written_is_never_replaced(tmp_path: Path, name: str, parts: tuple[str, ...]) -> None:
    (tmp_path / name).mkdir()
    for told in ({}, {"resume": True}, {"overwrite": True}):
        with pytest.raises(AlmPromptError, match=f"holds '{name}', which another command has written"):
            check_output_dir(tmp_path, parts, **told)


def test_overwrite_removes_the_run_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "checkpoint-10").mkdir()
    (tmp_path / "notes.txt").write_text("keep")
    open_output_dir(tmp_path, TRAINING_PARTS, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_a_replacement_that_was_killed_is_not_resumed_as_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(path: Path) -> None:
        raise KeyboardInterrupt

    write_settings(tmp_path, {"seed": 0})
    (tmp_path / "checkpoint-10").mkdir()
    monkeypatch.setattr(shutil, "rmtree", kill)
    with pytest.raises(KeyboardInterrupt):
        open_output_dir(tmp_path, TRAINING_PARTS, overwrite=True)
    with pytest.raises(AlmPromptError, match="begun with another seed"):
        check_settings(tmp_path, {"seed": 1})


@pytest.mark.parametrize("settings", [None, "[]", "{"])
def test_checkpoints_without_settings_are_not_resumed(tmp_path: Path, settings: str | None) -> None:
    if settings is not None:
        (tmp_path / "settings.json").write_text(settings)
    check_settings(tmp_path, {"seed": 1})
    (tmp_path / "checkpoint-10").mkdir()
    with pytest.raises(AlmPromptError, match=r"--resume: .* holds checkpoints, but no settings.json"):
        check_settings(tmp_path, {"seed": 1})


def test_unwritable_and_blocked_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(AlmPromptError, match="is a file"):
        check_output_dir(tmp_path / "file", TRAINING_PARTS)
    with pytest.raises(AlmPromptError, match="cannot be written"):
        check_output_dir(tmp_path / "file" / "below", TRAINING_PARTS)


def test_output_among_the_classes_of_the_data_is_refused(tmp_path: Path) -> None:
    (tmp_path / "dog").mkdir()
    for inside in (tmp_path, tmp_path / "runs" / "one"):
        with pytest.raises(AlmPromptError, match=r"lies in the data folder .* choose a folder outside"):
            check_outside(inside, str(tmp_path))
    check_outside(tmp_path.parent / "runs", str(tmp_path))
    check_outside(tmp_path, "user/sounds")
    (tmp_path / "metadata.csv").touch()
    check_outside(tmp_path / "runs", str(tmp_path))
