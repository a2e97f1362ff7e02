"""Processes that divide the prompts of a step have the gradients of one process."""

from __future__ import annotations

import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from alm_prompt.models import AlmForAudioClassification
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

    # 25 classes are few enough for every process to encode all of them, unless each clip has its own.
    divided = {"coop": (75, 0), "coop+sept": (75, 25), "cocoop+sept": (75, 100)}
    for method, (_, prompts) in script["METHODS"].items():
        one = saved(f"{method}-off", 0, 1)
        assert (one.pop("processes").item(), one.pop("prompts").item()) == (1, prompts)
        assert min(gradient.abs().max() for gradient in one.values()) > 1e-6
        common, own = divided[method]
        for fast, share in (("auto", (own + -(-common // 2), own + common // 2)), ("off", [own + common] * 2)):
            for rank in range(2):
                two = saved(f"{method}-{fast}", rank, 2)
                assert (two.pop("processes").item(), two.pop("prompts").item()) == (2, share[rank])
                for name, gradient in one.items():
                    torch.testing.assert_close(two[name], gradient, rtol=0, atol=1e-10, msg=f"{method} {fast} {name}")
    one, two = saved("trained", 0, 1), [saved("trained", rank, 2) for rank in range(2)]
    assert [found.pop("prompts").item() for found in (one, *two)] == [150, 76, 74]
    for name, learned in one.items():
        torch.testing.assert_close(two[0][name], learned, rtol=0, atol=1e-6)
        assert torch.equal(two[0][name], two[1][name])


def test_one_process_encodes_all(tiny_alm: AlmForAudioClassification) -> None:
    alm, prompts, mask = tiny_alm.alm, torch.randn(100, 3, 24), torch.ones(100, 3, dtype=torch.long)
    with sharing_prompts(True):
        assert torch.equal(encode_in_shares(alm, prompts, mask, 0), alm.encode_prompts(prompts, mask, 0))
