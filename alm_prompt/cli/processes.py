"""A command that `torchrun` or `accelerate launch` has started in several processes, which write and speak as one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from accelerate import PartialState


@contextmanager
def join_processes() -> Iterator[PartialState]:
    """Let the processes of a launcher find each other; only the first one prints. Without one, this one is alone."""
    import torch
    from accelerate import PartialState

    # Without a GPU accelerate must be told that processes on CPUs are wanted, or each would work alone.
    processes = PartialState(cpu="LOCAL_RANK" in os.environ and not torch.cuda.is_available())
    if processes.is_main_process:
        yield processes
    else:
        with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
            yield processes
