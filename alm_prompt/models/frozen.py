"""Encoders as they are: no dropout, no drifting statistics, no gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def in_eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Switch off dropout and the update of running statistics, also where a trainer has switched them on."""
    modes = [(module, module.training) for part in modules for module in part.modules()]
    for part in modules:
        part.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """The same without gradients, and with results that a later training step may use."""
    # A training step cannot use a tensor that was made under inference mode.
    with in_eval_mode(*modules), torch.inference_mode(False), torch.no_grad():
        yield
