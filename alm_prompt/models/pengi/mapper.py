"""From one embedding to the vectors that a language model reads in the place of words."""

from __future__ import annotations

import torch
from torch import nn

# Width of a mapper's feed-forward layers, as a multiple of its own.
MLP_RATIO = 2


class PrefixMapper(nn.Module):
    """Transformer that turns an embedding into a prefix (ClipCap, arXiv 2111.09734, section 3.2; Pengi).

    A linear layer spreads the embedding over `prefix_length` positions, as many learned constants follow, and
    pre-norm transformer layers without a mask mix them. The prefix is what stands at the constants' positions then.

    Args:
        embed_dim: size `d` of the embedding.
        width: width of the language model.
        prefix_length: vectors of the prefix.
        layers: number of transformer layers.
        heads: attention heads per layer.
    """

    def __init__(self, embed_dim: int, width: int, prefix_length: int, layers: int, heads: int) -> None:
        super().__init__()
        self.linear = nn.Linear(embed_dim, prefix_length * width)
        self.prefix_const = nn.Parameter(torch.randn(prefix_length, width))
        self.layers = nn.ModuleList(MapperLayer(width, heads) for _ in range(layers))

    def forward(self, embeds: torch.Tensor) -> torch.Tensor:
        """Map `[B, embed_dim]` to a prefix `[B, prefix_length, width]`."""
        spread = self.linear(embeds).unflatten(1, self.prefix_const.shape)
        states = torch.cat([spread, self.prefix_const.expand_as(spread)], dim=1)
        for layer in self.layers:
            states = layer(states)
        return states[:, len(self.prefix_const) :]


class MapperLayer(nn.Module):
    """Transformer layer of a [`PrefixMapper`].

    Args:
        width: width of the states.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = MapperAttention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = MapperMlp(width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Transform `[B, L, width]`."""
        states = states + self.attn(self.norm1(states))
        return states + self.mlp(self.norm2(states))


class MapperAttention(nn.Module):
    """Self-attention whose queries, keys and values have no bias.

    Args:
        width: width of the states.
        heads: attention heads.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_queries = nn.Linear(width, width, bias=False)
        self.to_keys_values = nn.Linear(width, 2 * width, bias=False)
        self.project = nn.Linear(width, width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Transform `[B, L, width]`."""
        keys, values = self.to_keys_values(states).chunk(2, dim=-1)
        by_head = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in (self.to_queries(states), keys, values)
        )
        attended = nn.functional.scaled_dot_product_attention(*by_head)
        return self.project(attended.transpose(1, 2).flatten(2))


class MapperMlp(nn.Module):
    """Feed-forward layer.

    Args:
        width: width of the states.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """Transform `[B, L, width]`."""
        return self.fc2(nn.functional.relu(self.fc1(states)))
