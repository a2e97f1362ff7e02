"""Training under autocast, as far as a CPU goes: bfloat16 by the trainer, float16 with a loss scaler by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from alm_prompt import AlmPromptError
from alm_prompt.training import AlmTrainer

METHODS = ["coop", "coop+zebra"]


@pytest.mark.parametrize("method", METHODS)
def test_bf16_trains_to_nearly_the_same_float32_parameters(
    method: str, prompted: Callable, arguments: Callable, learned: Callable, clips: list[dict[str, Any]]
) -> None:
    found = []
    for bf16 in (False, True):
        model = prompted(method)
        before = learned(model)
        AlmTrainer(model=model, args=arguments(bf16=bf16), train_dataset=clips).train()
        found.append(learned(model) - before)
        assert learned(model).dtype == torch.float32
    moved = found[0].norm()
    assert 0 < (found[1] - found[0]).norm() < 0.1 * moved


@pytest.mark.parametrize("method", METHODS)
def test_fp16_with_a_loss_scaler_learns_and_skips_an_overflow(
    method: str, prompted: Callable, learned: Callable, clips: list[dict[str, Any]]
) -> None:
    features = torch.stack([clip["audio_features"] for clip in clips])
    labels = torch.tensor([clip["labels"] for clip in clips])
    model = prompted(method).train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    for step in range(6):
        before = learned(model)
        with torch.autocast("cpu", torch.float16):
            loss = model(audio_features=features, labels=labels).loss
        optimizer.zero_grad()
        scaler.scale(loss * torch.inf if step == 3 else loss).backward()
        scaler.step(optimizer)
        scaler.update()
        assert torch.equal(learned(model), before) == (step == 3)
        assert learned(model).isfinite().all()
    assert scaler.get_scale() == 512.0


def test_fp16_on_a_cpu_is_refused(arguments: Callable) -> None:
    with pytest.raises(AlmPromptError, match="fp16=True needs a GPU, and this is a CPU: set bf16=True"):
        arguments(fp16=True)
