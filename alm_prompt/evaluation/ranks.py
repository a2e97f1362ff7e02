"""Several processes on one benchmark: each run is made by one of them, on a device of its own."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

Item = TypeVar("Item")
VISIBLE = "CUDA_VISIBLE_DEVICES"


@dataclass(frozen=True)
class Rank:
    """One of `count` processes."""

    index: int = 0
    count: int = 1

    def share(self, items: Sequence[Item]) -> list[Item]:
        """Every `count`-th item: the same for all processes to count on, whatever the others have finished."""
        return list(items[self.index :: self.count])


def take_rank() -> Rank:
    """This process's place among those that `torchrun` or `accelerate launch` started.

    What the launcher says is taken out of the environment, and one GPU is left visible: every run is then trained by
    one process alone, where a `Trainer` would spread it over all. To be called before CUDA is used.
    """
    index, count, local = (int(os.environ.pop(name, default)) for name, default in _LAUNCHED)
    for name in ("LOCAL_WORLD_SIZE", "GROUP_RANK", "ROLE_RANK", "ROLE_WORLD_SIZE"):
        os.environ.pop(name, None)
    visible = os.environ.get(VISIBLE)
    gpus = visible.split(",") if visible else [str(number) for number in range(torch.cuda.device_count())]
    if gpus:
        os.environ[VISIBLE] = gpus[local % len(gpus)]
    return Rank(index, count)


_LAUNCHED = (("RANK", "0"), ("WORLD_SIZE", "1"), ("LOCAL_RANK", "0"))
