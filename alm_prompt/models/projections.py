"""Projections from a tower's width into the joint space."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers.activations import ACT2FN

from ..errors import AlmPromptError


class MlpProjection(nn.Module):
    """`linear2(activation(linear1(x)))`, the projection of LAION CLAP.

    Args:
        input_size: width of the tower.
        hidden_size: width between the two layers.
        output_size: joint dimension `d`.
        activation: name of an activation of `transformers`.
        bias: whether both layers have a bias.
    """

    def __init__(self, input_size: int, hidden_size: int, output_size: int, activation: str, bias: bool) -> None:
        super().__init__()
        self.linear1 = nn.Linear(input_size, hidden_size, bias=bias)
        self.activation = ACT2FN[activation]
        self.linear2 = nn.Linear(hidden_size, output_size, bias=bias)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Project `[N, input_size]` to `[N, output_size]`."""
        return self.linear2(self.activation(self.linear1(features)))


def build_projection(settings: dict[str, Any], input_size: int, output_size: int) -> nn.Module:
    """Build a projection from its settings in [`AlmConfig`].

    Args:
        settings: `{"kind": "linear", "bias": bool}` or
            `{"kind": "mlp", "hidden_size": int, "activation": str, "bias": bool}`.
        input_size: width of the tower.
        output_size: joint dimension `d`.

    Raises:
        AlmPromptError: the kind is unknown.
    """
    bias = settings.get("bias", True)
    if settings["kind"] == "linear":
        return nn.Linear(input_size, output_size, bias=bias)
    if settings["kind"] == "mlp":
        hidden_size = settings.get("hidden_size") or output_size
        return MlpProjection(input_size, hidden_size, output_size, settings.get("activation", "relu"), bias)
    raise AlmPromptError(f"projection kind {settings['kind']!r} is unknown; choose 'linear' or 'mlp'")
