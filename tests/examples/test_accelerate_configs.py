"""The files for `accelerate launch` parse, by accelerate's own loader and launcher."""

from __future__ import annotations

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import launch_command_parser

FOLDER = Path(__file__).resolve().parents[2] / "examples" / "accelerate_configs"
# Kind of training, processes and machines of each file.
EXPECTED = {
    "one_machine": ("MULTI_GPU", 4, 1),
    "several_machines": ("MULTI_GPU", 8, 2),
    "fsdp": ("FSDP", 4, 1),
    "deepspeed": ("DEEPSPEED", 4, 1),
}


def test_every_file_is_listed() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_config_parses(name: str) -> None:
    path = FOLDER / f"{name}.yaml"
    config = load_config_from_file(str(path))
    assert (config.distributed_type, config.num_processes, config.num_machines) == EXPECTED[name]
    known = vars(launch_command_parser().parse_args(["script.py"]))
    assert config.fsdp_config.keys() <= known.keys()
    assert config.deepspeed_config.keys() <= known.keys()


@pytest.mark.parametrize("name", ["one_machine", "several_machines"])
def test_command_in_the_file_is_one_of_the_launcher(name: str) -> None:
    command = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[1]
    words = command.removeprefix("# accelerate launch ").split()
    arguments = launch_command_parser().parse_args(words)
    assert (FOLDER.parents[1] / arguments.config_file).is_file()
    assert arguments.module
    assert [arguments.training_script, arguments.training_script_args[0]] == ["alm_prompt", "train"]
