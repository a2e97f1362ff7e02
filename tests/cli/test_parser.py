"""Flags, YAML defaults and the errors that name the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from alm_prompt.cli.options import DataOptions, RunOptions, TrainingOptions
from alm_prompt.cli.parser import CommandParser
from alm_prompt.errors import AlmPromptError


@pytest.fixture
def parser() -> CommandParser:
    return CommandParser("train", "test", [DataOptions, TrainingOptions, RunOptions])


def write(path: Path, text: str) -> str:
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_yaml_sets_defaults_and_flags_win(parser: CommandParser, tmp_path: Path) -> None:
    config = write(
        tmp_path / "run.yaml",
        "data: sounds\noutput-dir: out\nshots: 4\nlearning_rate: 0.002\nallow_fewer: true\nclasses: [dog, rain]\n"
        "fold_column: null\n",
    )
    data, training, run, _ = parser.parse(["--config", config, "--shots", "8"])
    assert (data.data, run.output_dir, data.classes) == ("sounds", "out", ["dog", "rain"])
    assert (training.shots, training.learning_rate, training.allow_fewer) == (8, 0.002, True)
    assert data.fold_column is None


def test_names_that_yaml_1_1_takes_for_times_and_dates_are_words(parser: CommandParser, tmp_path: Path) -> None:
    config = write(tmp_path / "run.yaml", "data: sounds\nshots: 010\nclasses: [1:30, 2024-01-01, 1_000]\n")
    data, training, _, _ = parser.parse(["--config", config])
    assert data.classes == ["1:30", "2024-01-01", "1_000"]
    assert training.shots == 10


def test_required_flags_stay_required_beside_a_config(parser: CommandParser, tmp_path: Path) -> None:
    config = write(tmp_path / "run.yaml", "output_dir: out\n")
    with pytest.raises(AlmPromptError, match="data"):
        parser.parse(["--config", config])


def test_unknown_key_names_the_nearest(parser: CommandParser, tmp_path: Path) -> None:
    config = write(tmp_path / "run.yaml", "data: sounds\nlearning_rat: 0.1\n")
    with pytest.raises(AlmPromptError, match=r"unknown key 'learning_rat'.*'learning_rate'"):
        parser.parse(["--config", config])


def test_a_wrong_value_in_a_config_names_the_file(parser: CommandParser, tmp_path: Path) -> None:
    config = write(tmp_path / "run.yaml", "shots: many\n")
    with pytest.raises(AlmPromptError, match=r"run\.yaml: argument --shots: invalid int value: 'many'"):
        parser.parse(["--data", "sounds", "--config", config])


def test_help_names_every_flag_once_with_its_default(parser: CommandParser) -> None:
    help_text = " ".join(parser.format_help().split())
    assert help_text.startswith("usage: alm-prompt train [flags] --data DATA test")
    assert "--allow-fewer take all clips" in help_text  # a switch takes no value
    assert "--learning-rate LEARNING_RATE learning rate of SGD (default: 0.05)" in help_text
    assert not {"--allow_fewer", "None)", "False)"} & set(help_text.split())


def test_unknown_flag_names_the_nearest(parser: CommandParser) -> None:
    with pytest.raises(AlmPromptError, match=r"'--shot'.*'--shots'"):
        parser.parse(["--data", "sounds", "--output-dir", "out", "--shot", "4"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("shots: many", "invalid int value"),
        ("shots: 0", "greater than 0"),
        ("- data", "no flag: value lines"),
        ("data: [unclosed", "cannot be read"),
        ("data: a\nshots: 2\nshots: 4", r"run\.yaml: cannot be read \(line 3: key 'shots' is in line 2 already"),
        ("batch_size: 2\nbatch-size: 4", r"run\.yaml: key 'batch_size' is there twice"),
        ("classes: [true, no]", "'classes': YAML read an item as True, not as a word; quote it"),
        ("classes: [dog, ~]", "'classes': YAML read an item as None, not as a word; quote it"),
        ("classes: [a sound: dog]", "quote it"),
        ("shots: " + 5000 * "9", "cannot be read"),
        ("classes: " + 3000 * "[", "cannot be read"),
        ("shots: !!bool many", "cannot be read"),
        ("data: !!python/object/apply:os.getcwd []", "cannot be read"),
    ],
)
def test_bad_yaml_is_refused(parser: CommandParser, tmp_path: Path, text: str, message: str) -> None:
    config = write(tmp_path / "run.yaml", text)
    with pytest.raises(AlmPromptError, match=message):
        parser.parse(["--config", config, "--data", "sounds", "--output-dir", "out"])


def test_missing_config_file_is_named(parser: CommandParser) -> None:
    with pytest.raises(AlmPromptError, match=r"nowhere\.yaml"):
        parser.parse(["--config", "nowhere.yaml"])


def test_resume_and_overwrite_exclude_each_other(parser: CommandParser) -> None:
    with pytest.raises(AlmPromptError, match="exclude"):
        parser.parse(["--data", "sounds", "--output-dir", "out", "--resume", "--overwrite"])
