"""What encoders do while an adapter trains: nothing ("frozen"), or what the published loops do to them ("reference").

Those loops call `train()` on the whole model. No weight of an encoder changes, but dropout, DropPath and SpecAugment
are at work, and batch norm uses the statistics of the batch and moves its running ones, which are used at test time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..audio.spec_augment import spec_augment

if TYPE_CHECKING:
    from .modeling import AlmModel

FROZEN, REFERENCE = "frozen", "reference"
ENCODER_MODES = (FROZEN, REFERENCE)


def running_statistics(alm: AlmModel) -> dict[str, torch.Tensor]:
    """Buffers of every batch norm in a model, by their dotted name."""
    return {
        f"{name}.{buffer_name}": buffer
        for name, module in alm.named_modules()
        if isinstance(module, _BatchNorm)
        for buffer_name, buffer in module.named_buffers(recurse=False)
    }


@contextmanager
def reference_encoders(alm: AlmModel, statistics: Mapping[str, torch.Tensor], training: bool) -> Iterator[None]:
    """Run a model's encoders with other running statistics; its own stay as they are.

    Args:
        alm: the model, in eval mode.
        statistics: what stands in for its [`running_statistics`]; moved in place in training.
        training: whether dropout, DropPath, SpecAugment and the statistics of the batch are at work.
    """
    own = running_statistics(alm)
    _use(alm, statistics)
    # Towers with a batch norm over mel bins give it this name; SpecAugment comes right after it.
    norm = getattr(alm.audio_tower, "batch_norm", None)
    hook = norm.register_forward_hook(_augment) if training and norm is not None else None
    alm.train(training)
    try:
        yield
    finally:
        alm.eval()
        if hook is not None:
            hook.remove()
        _use(alm, own)


def _use(alm: AlmModel, statistics: Mapping[str, torch.Tensor]) -> None:
    """Put tensors in place of buffers: the tensors themselves, which batch norm then moves."""
    for name, value in statistics.items():
        module_name, _, buffer_name = name.rpartition(".")
        setattr(alm.get_submodule(module_name), buffer_name, value)


def _augment(norm: nn.Module, inputs: Any, output: torch.Tensor) -> torch.Tensor:
    """`[B, F, T, channels]` in and out."""
    return spec_augment(output.transpose(1, 3)).transpose(1, 3)
