"""The contrastive loss against hand-written loops, and over two processes against one."""

from __future__ import annotations

import itertools
import math
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from alm_prompt import AlmPromptError
from alm_prompt.losses import contrastive_loss

SCRIPT = Path(__file__).with_name("contrastive_processes.py")


def embeds(pairs, seed=0):
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2, pairs, 5, dtype=torch.float64, generator=generator)
    return torch.nn.functional.normalize(both, dim=-1)


def by_hand(audio, text, scale):
    audio, text = audio.tolist(), text.tolist()
    total = 0.0
    for i in range(len(audio)):
        to_text = [scale * sum(a * t for a, t in zip(audio[i], other, strict=True)) for other in text]
        to_audio = [scale * sum(a * t for a, t in zip(other, text[i], strict=True)) for other in audio]
        for scores in (to_text, to_audio):
            total -= math.log(math.exp(scores[i]) / sum(math.exp(score) for score in scores))
    return total / (2 * len(audio))


@pytest.mark.parametrize("pairs", [1, 2, 7])
@pytest.mark.parametrize("scale", [1.0, 14.3])
def test_equals_a_hand_written_loop(pairs, scale):
    audio, text = embeds(pairs)
    assert contrastive_loss(audio, text, scale).item() == pytest.approx(by_hand(audio, text, scale), abs=1e-12)


def test_is_not_one_sided():
    # Two clips alike: each clip finds its text as well as before, the text of one cannot find its clip.
    audio, text = embeds(2)
    audio = torch.stack([audio[0], audio[0]])
    loss = contrastive_loss(audio, text, 10.0).item()
    assert loss == pytest.approx(by_hand(audio, text, 10.0), abs=1e-12)
    assert loss == pytest.approx(contrastive_loss(text, audio, 10.0).item(), abs=1e-12)


@pytest.mark.parametrize("cuts", [(3,), (1, 5), (0, 7)])
def test_shares_add_up_to_the_whole_with_its_gradient(cuts):
    audio, text = (side.requires_grad_() for side in embeds(7))
    whole = contrastive_loss(audio, text, 4.0)
    bounds = [0, *cuts, 7]
    shares = [contrastive_loss(audio, text, 4.0, slice(*ends)) for ends in itertools.pairwise(bounds)]
    torch.testing.assert_close(sum(shares), whole, atol=1e-12, rtol=0)
    for one, other in zip(*(torch.autograd.grad(loss, (audio, text)) for loss in (whole, sum(shares))), strict=True):
        torch.testing.assert_close(one, other, atol=1e-12, rtol=0)


def test_half_precision_is_left_for_float32():
    audio, text = (side.bfloat16() for side in embeds(4))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = contrastive_loss(audio, text, 100.0)
    assert loss.item() == pytest.approx(by_hand(audio.double(), text.double(), 100.0), abs=1e-4)


def test_pairs_need_as_many_texts_as_clips(tiny_alm):
    alm = tiny_alm.alm
    mel = torch.randn(2, 1, 16, alm.config.audio_config.num_mel_bins)
    with pytest.raises(AlmPromptError, match="return_loss=True with 2 clips and 3 texts"):
        alm(input_ids=torch.full((3, 4), 5), input_features=mel, return_loss=True)


@pytest.mark.slow
def test_two_processes_equal_one(torchrun: Callable[..., None], tmp_path: Path) -> None:
    runpy.run_path(str(SCRIPT))["main"](tmp_path, ["8"])
    torchrun(SCRIPT, str(tmp_path), "4,4", "5,3")
    before, one, *others = (load_file(tmp_path / f"{name}.safetensors") for name in ("untrained", "8", "4,4", "5,3"))
    assert one.pop("processes").item() == 1
    assert max((one[name] - weight).abs().max() for name, weight in before.items()) > 0.01
    for two in others:
        assert two.pop("processes").item() == 2
        for name, weight in one.items():  # "losses" of the steps among them
            torch.testing.assert_close(two[name], weight, rtol=0, atol=1e-10, msg=name)
