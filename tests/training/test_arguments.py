"""The published recipe, and options that would quietly change what is trained."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import HfArgumentParser, Trainer

from alm_prompt.errors import AlmPromptError
from alm_prompt.training import AlmTrainingArguments


def test_defaults_are_the_published_recipe(tmp_path: Path) -> None:
    args = AlmTrainingArguments(output_dir=str(tmp_path))
    optimizer, settings = Trainer.get_optimizer_cls_and_kwargs(args)
    assert optimizer is torch.optim.SGD
    assert settings == {"lr": 0.05, "momentum": 0.9}
    assert (args.num_train_epochs, args.per_device_train_batch_size, args.seed) == (50, 16, 0)
    assert (args.weight_decay, args.max_grad_norm, args.lr_scheduler_type) == (0, 0, "constant")
    assert args.report_to == []


def test_flags_reach_the_optimizer(tmp_path: Path) -> None:
    flags = ["--output_dir", str(tmp_path), "--momentum", "0.5", "--learning_rate", "0.0125"]
    (args,) = HfArgumentParser(AlmTrainingArguments).parse_args_into_dataclasses(flags)
    assert Trainer.get_optimizer_cls_and_kwargs(args)[1] == {"lr": 0.0125, "momentum": 0.5}


def test_bf16_needs_no_word_about_the_device(tmp_path: Path) -> None:
    args = AlmTrainingArguments(output_dir=str(tmp_path), bf16=True)
    assert args.bf16
    assert (args.device.type == "cpu") == (not torch.accelerator.is_available())


def test_momentum_keeps_other_options_of_the_optimizer(tmp_path: Path) -> None:
    args = AlmTrainingArguments(output_dir=str(tmp_path), optim_args="nesterov=true", momentum=0.8)
    assert Trainer.get_optimizer_cls_and_kwargs(args)[1] == {"lr": 0.05, "momentum": 0.8, "nesterov": True}


def test_other_optimizers_do_not_get_momentum(tmp_path: Path) -> None:
    args = AlmTrainingArguments(output_dir=str(tmp_path), optim="adamw_torch")
    assert "momentum" not in Trainer.get_optimizer_cls_and_kwargs(args)[1]


def test_arguments_survive_a_copy(tmp_path: Path) -> None:
    args = AlmTrainingArguments(output_dir=str(tmp_path), momentum=0.7)
    assert replace(args, seed=3).optim_args == "momentum=0.7"


@pytest.mark.parametrize("optim_args", [None, "nesterov=true", "momentum=0.7, nesterov=true"])
def test_momentum_of_a_copy_is_the_one_that_is_used(tmp_path: Path, optim_args: str | None) -> None:
    args = AlmTrainingArguments(output_dir=str(tmp_path), momentum=0.7, optim_args=optim_args)
    for copied in (replace(args, momentum=0.5), replace(deepcopy(args), momentum=0.9, seed=3)):
        settings = Trainer.get_optimizer_cls_and_kwargs(copied)[1]
        assert settings["momentum"] == copied.momentum != args.momentum
        assert settings.get("nesterov", False) == bool(optim_args)
    with pytest.raises(AlmPromptError, match=r"momentum=0\.7.*0\.5"):
        replace(args, optim_args="momentum=0.5")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optim_args": "momentum=0.5"}, r"momentum=0\.9.*0\.5"),
        ({"optim_args": "nesterov"}, r"optim_args='nesterov' cannot be read: write name=value"),
        ({"optim_args": "momentum=high"}, r"optim_args='momentum=high' cannot be read"),
        ({"label_smoothing_factor": 0.1}, r"label_smoothing_factor=0\.1"),
        ({"push_to_hub": True}, r"push_to_hub=True"),
    ],
)
def test_contradictions_and_what_cannot_be_read_are_refused(
    tmp_path: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(AlmPromptError, match=message):
        AlmTrainingArguments(output_dir=str(tmp_path), **settings)
