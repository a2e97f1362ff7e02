"""The last batch over a data set, divided among processes.

`accelerate` gives every process a full batch, and for the last one repeats clips of the first ones. Upstream counts
these in the loss, too; here each clip counts once, so that several processes learn and measure what one does.
"""

from __future__ import annotations

from typing import Any

import torch
from accelerate.state import GradientState
from transformers import TrainingArguments
from transformers.trainer_utils import has_length

# Label that upstream leaves out when it counts those of a step.
NOT_COUNTED = -100


def own_clips(clips: int, batch_size: int, rank: int, processes: int) -> int:
    """How many clips of the last batch of process `rank` are not repeated ones.

    Args:
        clips: of the whole data set.
        batch_size: of each process; the clips of a step go to one process after the other.
        rank: number of the process.
        processes: how many there are.
    """
    last = clips % (batch_size * processes) or batch_size * processes
    return min(max(last - batch_size * rank, 0), batch_size)


def own_clips_now(args: TrainingArguments, state: GradientState, batch_size: int) -> int | None:
    """How many clips of the batch just read are not repeated ones; `None` where there can be no others.

    Args:
        args: of the trainer; they know which of several processes this is.
        state: knows what is read.
        batch_size: of each process.
    """
    if args.world_size == 1 or not state.end_of_dataloader or args.dataloader_drop_last:
        return None
    dataset = state.active_dataloader.dataset
    return own_clips(len(dataset), batch_size, args.process_index, args.world_size) if has_length(dataset) else None


def cut(batch: dict[str, Any], count: int) -> dict[str, Any]:
    """The first clips of a batch."""
    return {name: value[:count] for name, value in batch.items()}


def filler(batch: dict[str, Any]) -> dict[str, Any]:
    """One clip of a batch, with a label that is not counted: every process must take every step."""
    one = cut(batch, 1)
    return one | {"labels": torch.full_like(one["labels"], NOT_COUNTED)}
