"""Training arguments with the published few-shot recipe as defaults."""

# No `from __future__ import annotations`: HfArgumentParser reads the types of the fields.

from dataclasses import dataclass, field

import torch
from transformers import TrainingArguments
from transformers.training_args import OptimizerNames

from ..errors import AlmPromptError


@dataclass
class AlmTrainingArguments(TrainingArguments):
    """[`~transformers.TrainingArguments`] whose defaults are the recipe of PALM and ZEBRA.

    SGD with momentum 0.9 at a constant learning rate of 0.05, no weight decay, no gradient clipping, 50 epochs of
    batches of 16 (arXiv 2409.19806, arXiv 2606.31587). Only fields that differ from `transformers` or do not exist
    there are listed here. A plain [`~transformers.Trainer`] reads these arguments too and then trains to the same
    parameters as [`AlmTrainer`].

    Raises:
        AlmPromptError: for `optim_args` that cannot be read or contradict the momentum, for fp16 on a CPU, and for
            options that would silently replace a method's own objective or write pickled files.
    """

    num_train_epochs: float = field(default=50.0, metadata={"help": "Number of passes over the training clips."})
    per_device_train_batch_size: int = field(default=16, metadata={"help": "Clips per device in one forward pass."})
    per_device_eval_batch_size: int = field(
        default=128, metadata={"help": "Clips per device in one forward pass of evaluation."}
    )
    learning_rate: float = field(default=0.05, metadata={"help": "Learning rate."})
    momentum: float = field(default=0.9, metadata={"help": "Momentum of SGD; other optimizers do not read it."})
    optim: str = field(default="sgd", metadata={"help": "Name of the optimizer, as in transformers."})
    lr_scheduler_type: str = field(default="constant", metadata={"help": "Schedule of the learning rate."})
    max_grad_norm: float = field(default=0.0, metadata={"help": "Largest norm of the gradient; 0 switches it off."})
    seed: int = field(default=0, metadata={"help": "Seed of the order of the clips and of all else that is random."})
    logging_strategy: str = field(
        default="epoch", metadata={"help": "When to log the loss and its parts: 'no', 'steps' or 'epoch'."}
    )
    # Ten checkpoints a run: a few-shot epoch can be a single step, which takes less time than a checkpoint of it.
    save_strategy: str = field(
        default="steps", metadata={"help": "When to write a checkpoint: 'no', 'steps', 'epoch' or 'best'."}
    )
    save_steps: float = field(
        default=0.1, metadata={"help": "Steps between checkpoints; below 1, a share of all steps of the run."}
    )
    save_total_limit: int | None = field(
        default=2, metadata={"help": "Checkpoints to keep; the best and the last one always stay."}
    )
    # Upstream's filter has the host wait for the GPU in every step, to log a mean in place of a loss that diverged.
    logging_nan_inf_filter: bool = field(
        default=False, metadata={"help": "Log the mean loss so far in place of one that is NaN or infinite."}
    )
    # The order of the types is that of transformers: HfArgumentParser fails on any other.
    report_to: None | str | list[str] = field(  # noqa: RUF036
        default="none", metadata={"help": "Experiment trackers to report to: 'none', 'all' or their names."}
    )
    # Features of a batch are a few kilobytes, and on a CPU torch warns of what it cannot do.
    dataloader_pin_memory: bool = field(
        default=False, metadata={"help": "Lay batches where a GPU fetches them faster."}
    )
    # What an adapter learns, it learns in every step.
    ddp_find_unused_parameters: bool | None = field(
        default=False, metadata={"help": "Several processes: look for parameters without a gradient in every step."}
    )
    overwrite_output_dir: bool = field(
        default=False, metadata={"help": "Start anew in a folder that holds a run, and delete its checkpoints."}
    )

    def __post_init__(self) -> None:
        # Given through `optim_args`, because that is where the optimizer of a plain Trainer looks for it.
        if self.optim == OptimizerNames.SGD:
            self.optim_args = _with_momentum(self.optim_args, self.momentum)
        if self.label_smoothing_factor:
            raise AlmPromptError(
                f"label_smoothing_factor={self.label_smoothing_factor} would replace the objective of the prompt "
                "method by a smoothed cross-entropy: leave it at 0"
            )
        if self.push_to_hub:
            raise AlmPromptError(
                "push_to_hub=True would upload pickled training arguments with every checkpoint: "
                "train first, then call model.push_to_hub(...)"
            )
        if self.bf16 and not torch.accelerator.is_available():
            # Upstream refuses bfloat16 on a machine without a GPU until it is told that this is meant.
            self.use_cpu = True
        super().__post_init__()
        if self.fp16 and self.device.type == "cpu":
            # Upstream would go on in full precision, without a word.
            raise AlmPromptError("fp16=True needs a GPU, and this is a CPU: set bf16=True, or neither")


class _WithMomentum(str):
    """`optim_args` with the momentum of their arguments: in a copy of these it contradicts no other one."""


def _with_momentum(optim_args: str | None, momentum: float) -> str:
    """Return `optim_args` with the momentum in it."""
    try:
        settings = dict(item.split("=") for item in (optim_args or "").replace(" ", "").split(",") if item)
        given = float(settings.get("momentum", momentum))
    except ValueError as error:
        raise AlmPromptError(
            f"optim_args={optim_args!r} cannot be read: write name=value, with commas between, such as 'nesterov=true'"
        ) from error
    if given != momentum and not isinstance(optim_args, _WithMomentum):
        raise AlmPromptError(f"momentum={momentum}, but optim_args={optim_args!r} says {given}: give momentum alone")
    settings["momentum"] = momentum
    return _WithMomentum(",".join(f"{key}={value}" for key, value in settings.items()))
