"""Encoders as they are: no dropout, no drifting statistics, no gradients."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def frozen(*modules: nn.Module) -> Iterator[None]:
    """Run modules in eval mode and without gradients; what they give, a later training step may use.

    Args:
        *modules: what is run; it is left in the mode that it was in.
    """
    modes = [(module, module.training) for part in modules for module in part.modules()]
    for part in modules:
        part.eval()
    try:
        # A training step cannot use a tensor that was made under inference mode.
        with torch.inference_mode(False), torch.no_grad():
            yield
    finally:
        for module, training in modes:
            module.training = training
