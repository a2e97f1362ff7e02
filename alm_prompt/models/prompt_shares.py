"""Prompts divided among processes: each encodes its share, and all have all features."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

from ..distributed import gather_rows, world

if TYPE_CHECKING:
    from .modeling import AlmModel

# Prompts a process below which the exchange is not worth the wait.
SMALLEST_SHARE = 32

_sharing: list[bool] = []


@contextmanager
def sharing_prompts(sharing: bool) -> Iterator[None]:
    """Let processes divide prompts that are the same for all of them, while they train together.

    All of them must do the same steps, and their gradients must be averaged (or summed) over the processes as in
    data-parallel training: a process then has the gradients of its own share only, for the losses of all processes.

    Args:
        sharing: whether they do.
    """
    _sharing.append(sharing)
    try:
        yield
    finally:
        _sharing.pop()


def encode_in_shares(alm: AlmModel, prompts: torch.Tensor, mask: torch.Tensor, shared: int) -> torch.Tensor:
    """Encode prompts that are the same in every process; each its share, where they are many and shares allowed.

    Args:
        alm: the model; nothing is shared where its text tower's `fast` is off.
        prompts: `[N, L, e]`.
        mask: `[N, L]`.
        shared: number of leading tokens that are the same in all prompts.

    Returns:
        `[N, d]`, with the gradients that encoding all of them here would have after averaging over the processes.
    """
    rank, processes = world()
    allowed = bool(_sharing) and _sharing[-1] and torch.is_grad_enabled() and alm.text_tower.fast == "auto"
    if not allowed or processes == 1 or len(prompts) < SMALLEST_SHARE * processes:
        return alm.encode_prompts(prompts, mask, shared)
    sizes = [len(prompts) // processes + (number < len(prompts) % processes) for number in range(processes)]
    start = sum(sizes[:rank])
    own = slice(start, start + sizes[rank])
    return gather_rows(alm.encode_prompts(prompts[own], mask[own], shared), sizes)
