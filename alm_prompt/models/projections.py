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


class ResidualProjection(nn.Module):
    """`layer_norm(e + linear2(gelu(e)))` with `e = linear1(x)`, the projection of MS-CLAP and Pengi.

    Args:
        input_size: width of the tower.
        output_size: joint dimension `d`.
        dropout: dropout after `linear2`, in training only.
        front_size: width of a linear layer without bias that comes before, if any (CLIP's own in Pengi).
    """

    def __init__(self, input_size: int, output_size: int, dropout: float, front_size: int | None) -> None:
        super().__init__()
        self.front = nn.Linear(input_size, front_size, bias=False) if front_size else nn.Identity()
        self.linear1 = nn.Linear(front_size or input_size, output_size, bias=False)
        self.linear2 = nn.Linear(output_size, output_size, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.layer_norm = nn.LayerNorm(output_size)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Project `[N, input_size]` to `[N, output_size]`."""
        embeds = self.linear1(self.front(features))
        return self.layer_norm(embeds + self.dropout(self.linear2(nn.functional.gelu(embeds))))


def build_projection(settings: dict[str, Any], input_size: int, output_size: int) -> nn.Module:
    """Build a projection from its settings in [`AlmConfig`].

    Args:
        settings: `{"kind": "linear", "bias": bool}`,
            `{"kind": "mlp", "hidden_size": int, "activation": str, "bias": bool}` or
            `{"kind": "residual", "dropout": float, "front_size": int}`.
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
    if settings["kind"] == "residual":
        return ResidualProjection(input_size, output_size, settings.get("dropout", 0.5), settings.get("front_size"))
    raise AlmPromptError(f"projection kind {settings['kind']!r} is unknown; choose 'linear', 'mlp' or 'residual'")
