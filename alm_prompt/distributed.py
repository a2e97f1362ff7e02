"""What several processes of one training exchange, and how they end."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
import torch.distributed
from torch import nn


def world() -> tuple[int, int]:
    """Number of this process, and how many there are: `(0, 1)` where `torch.distributed` does not run."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


@contextmanager
def ending_together() -> Iterator[None]:
    """Around all that a program does: end its processes cleanly, whoever has opened their process group.

    What is done in it must leave nothing behind that holds a `DistributedDataParallel`: put it into a function.
    """
    try:
        yield
    except BaseException:
        if world()[1] > 1:
            # To close the group would be to wait for processes that wait for this one; they are ended by the launcher.
            atexit.register(_end_at_once)
        raise
    if world()[1] > 1:
        # A DistributedDataParallel that outlives its group joins a thread that waits for the interpreter, for ever.
        gc.collect()
        torch.distributed.barrier()
        torch.distributed.destroy_process_group()


def _end_at_once() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)


def gather_rows(rows: torch.Tensor, sizes: Sequence[int]) -> torch.Tensor:
    """Bring together the rows of all processes; every process must call it.

    Gradients go back to the process that a row came from, as the sum over all processes.

    Args:
        rows: `[sizes[rank], ...]` of this process.
        sizes: how many rows each process holds.

    Returns:
        `[sum(sizes), ...]`, in the order of the processes.
    """
    # Not at the top: it cannot be imported where torch was built for one process.
    from torch.distributed.nn.functional import all_gather

    # Tensors that are gathered must be of one shape: fill up to the largest, and cut that off again.
    missing = max(sizes) - len(rows)
    parts = all_gather(nn.functional.pad(rows, (*[0] * (2 * rows.dim() - 1), missing)))
    return torch.cat([part[:size] for part, size in zip(parts, sizes, strict=True)])
