"""Modules in another mode for a while; encoders as they are: no dropout, no drifting statistics, no gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

import torch
from torch import nn


@contextmanager
def in_mode(training: bool, *modules: nn.Module) -> Iterator[None]:
    """Put modules into training or evaluation mode, and each of their parts back into its own."""
    modes = [(module, module.training) for part in modules for module in part.modules()]
    for part in modules:
        part.train(training)
    try:
        yield
    finally:
        for module, own in modes:
            module.training = own


def in_eval_mode(*modules: nn.Module) -> AbstractContextManager[None]:
    """Switch off dropout and the update of running statistics, also where a trainer has switched them on."""
    return in_mode(False, *modules)


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """The same without gradients, and with results that a later training step may use."""
    # A training step cannot use a tensor that was made under inference mode.
    with in_eval_mode(*modules), torch.inference_mode(False), torch.no_grad():
        yield
