"""What a training run tells the card of its adapter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any

from transformers import TrainingArguments

from ..hub import AdapterResults, Figure, Measurement
from ..prompts.checks import shortened

# What decides the result. Other arguments say where files lie, how often something is printed, and on what machine.
RECIPE = (
    "num_train_epochs",
    "max_steps",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "lr_scheduler_type",
    "warmup_steps",
    "optim",
    "momentum",
    "weight_decay",
    "adam_beta1",
    "adam_beta2",
    "adam_epsilon",
    "max_grad_norm",
    "bf16",
    "fp16",
    "seed",
    "data_seed",
    "load_best_model_at_end",
    "metric_for_best_model",
)
# What a trainer measures about itself, not about the adapter.
NOT_FIGURES = ("loss", "runtime", "samples_per_second", "steps_per_second", "model_preparation_time")


def training_results(args: TrainingArguments, clips: int | None, steps: int, processes: int) -> AdapterResults:
    """Results of an adapter that has just been trained, with nothing measured yet.

    Times and losses are left out: a run that was killed and resumed leaves the same files as one that was not.

    Args:
        args: arguments of the trainer; those of the recipe that differ from the defaults of their class are kept.
        clips: training clips, where their number is known.
        steps: steps of the optimizer.
        processes: how many trained together.
    """
    training = {"clips": clips, "steps": steps, "processes": processes, "settings": changed_settings(args)}
    return AdapterResults(training=training)


def changed_settings(args: TrainingArguments) -> dict[str, Any]:
    """Arguments of the recipe that differ from the defaults of their class, as JSON values."""
    defaults = {item.name: item.default for item in fields(args)}
    values = {name: getattr(args, name) for name in RECIPE if name in defaults}
    return {
        name: value.value if isinstance(value, Enum) else value
        for name, value in values.items()
        if value != defaults[name]
    }


def trainer_measurement(
    metrics: Mapping[str, Any], prefix: str, other_classes: Sequence[str] | None = None
) -> Measurement | None:
    """The shares that `Trainer.evaluate` has measured; `None` where it has computed none.

    Args:
        metrics: what it returns.
        prefix: with which their names begin.
        other_classes: the classes told apart, where they are not those that the adapter was trained on.
    """
    start = f"{prefix}_"
    named = {name.removeprefix(start): value for name, value in metrics.items() if name.startswith(start)}
    figures = {
        name: Figure.of(float(value))
        for name, value in named.items()
        if name not in NOT_FIGURES and isinstance(value, int | float) and 0 <= value <= 1
    }
    classes = f", classes {shortened(other_classes)}" if other_classes else ""
    return Measurement(figures, protocol=f"Trainer.evaluate, {prefix}{classes}") if figures else None
