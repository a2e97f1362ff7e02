"""Processes that divide the prompts of a step have the gradients of one process."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from alm_prompt.models.prompt_shares import encode_in_shares, sharing_prompts

SCRIPT = Path(__file__).with_name("class_parallel.py")


@pytest.mark.slow
def test_two_processes_encode_half_each_and_learn_what_one_learns(
    make_tiny_alm: Callable, torchrun: Callable[..., None], tmp_path: Path
) -> None:
    make_tiny_alm().save_pretrained(tmp_path / "model")
    generator = torch.Generator().manual_seed(3)
    clips = {"features": torch.randn(8, 32, generator=generator), "labels": torch.arange(8)}
    save_file(clips, tmp_path / "clips.safetensors")
    script = runpy.run_path(str(SCRIPT))
    script["main"](tmp_path)
    torchrun(SCRIPT, str(tmp_path))

    def saved(name: str, rank: int, processes: int) -> dict[str, torch.Tensor]:
        return load_file(tmp_path / f"{name}-{rank}-of-{processes}.safetensors")

    for method, (_, prompts) in script["METHODS"].items():
        one, two = saved(method, 0, 1), [saved(method, rank, 2) for rank in range(2)]
        assert [found.pop("processes").item() for found in (one, *two)] == [1, 2, 2]
        assert one.pop("prompts").item() == prompts
        # 25 classes are few enough for every process to encode all of them, unless each clip has its own.
        common, own = {"coop": (75, 0), "coop+sept": (75, 25), "cocoop+sept": (75, 100)}[method]
        assert [found.pop("prompts").item() for found in two] == [own + -(-common // 2), own + common // 2]
        for found in two:
            for name, gradient in one.items():
                assert gradient.abs().max() > 1e-6
                torch.testing.assert_close(found[name], gradient, rtol=0, atol=1e-10, msg=f"{method} {name}")
    one, two = saved("trained", 0, 1), [saved("trained", rank, 2) for rank in range(2)]
    assert [found.pop("prompts").item() for found in (one, *two)] == [150, 76, 74]
    for name, learned in one.items():
        torch.testing.assert_close(two[0][name], learned, rtol=0, atol=1e-6)
        assert torch.equal(two[0][name], two[1][name])


def test_one_process_encodes_all() -> None:
    prompts = torch.randn(100, 3, 4)
    with sharing_prompts(True):
        features = encode_in_shares(lambda prompts, mask, shared: prompts[:, 0], prompts, torch.ones(100, 3), 1)
    assert torch.equal(features, prompts[:, 0])
