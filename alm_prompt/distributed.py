"""What several processes of one training exchange."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.distributed
from torch import nn


def world() -> tuple[int, int]:
    """Number of this process, and how many there are: `(0, 1)` where `torch.distributed` does not run."""
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return 0, 1
    return torch.distributed.get_rank(), torch.distributed.get_world_size()


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
