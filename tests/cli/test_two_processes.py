"""`alm-prompt train` and `evaluate` in two processes: the adapter, the files and the figures of one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from alm_prompt.cli.main import main

RUN = ["--classes", "bird song", "hand drum", "ocean waves", "--shots", "3", "--epochs", "2"]


def files(folder: Path) -> set[str]:
    """Names of all files; the random state of each process has a file of its own in a checkpoint."""
    names = (str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    return {re.sub(r"rng_state(_\d)?", "rng_state", name) for name in names}


@pytest.mark.slow
def test_two_processes_write_what_one_writes(
    world: Path, torchrun: Callable[..., str], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Nine clips in batches of eight: nothing is left for the second process in every second step."""
    one, two = tmp_path / "one", tmp_path / "two"
    train = ["train", "--data", str(world), *RUN, "--cache-dir"]
    assert main([*train, str(tmp_path / "cache"), "--output-dir", str(one), "--batch-size", "8"]) == 0
    printed = capfd.readouterr().out
    both = torchrun(
        "-m", "alm_prompt", *train, str(tmp_path / "cache-2"), "--output-dir", str(two), "--batch-size", "4"
    )
    assert both.count("adapter saved in") == printed.count("adapter saved in") == 1
    assert files(one) == files(two)
    assert files(tmp_path / "cache") == files(tmp_path / "cache-2")
    weights = [load_file(folder / "adapter" / "adapter_model.safetensors") for folder in (one, two)]
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, rtol=0, atol=1e-6)
    assert [json.loads((run / "settings.json").read_text())["processes"] for run in (one, two)] == [1, 2]


def test_one_of_two_processes_evaluates(
    adapter: Path, world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    evaluate = ["evaluate", "--adapter", str(adapter), "--data", str(world), "--no-cache", "--output-dir"]
    printed = []
    for name, rank in {"alone": None, "first": "0", "second": "1"}.items():
        if rank is not None:
            for variable, value in {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": "2"}.items():
                monkeypatch.setenv(variable, value)
        assert main([*evaluate, str(tmp_path / name)]) == 0
        printed.append(capfd.readouterr().out)
    assert printed[0] == printed[1] != printed[2] == ""
    assert (tmp_path / "alone" / "results.json").read_text() == (tmp_path / "first" / "results.json").read_text()
    assert not (tmp_path / "second").exists()
