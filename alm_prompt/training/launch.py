"""How many processes and GPUs a training was started with."""

from __future__ import annotations

import logging
import os

from transformers import TrainingArguments

from ..errors import AlmPromptError

logger = logging.getLogger(__name__)


def check_launch(args: TrainingArguments) -> None:
    """Refuse processes that would not train together, and take one GPU per process.

    Args:
        args: of the trainer; they know how it was started.

    Raises:
        AlmPromptError: the processes of a launcher would each train alone.
    """
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if started > args.world_size:
        raise AlmPromptError(
            f"{started} processes were started, but each would train alone; on CPUs set use_cpu=True (--use_cpu)"
        )
    if args.n_gpu > 1:
        # Upstream would copy the model into threads (nn.DataParallel). The copies have no parameters, by which class
        # features are known to be of the present text tower.
        logger.warning(
            "%d GPUs but one process, which trains on the first; torchrun --nproc_per_node %d takes all of them",
            args.n_gpu,
            args.n_gpu,
        )
        args._n_gpu = 1
