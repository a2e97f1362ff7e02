"""Packed prompts: side by side in rows, without padding, and with a shared start computed once per row.

The same function as a text model's own forward, computed in another order; the layers of the text model are run module
by module, so that its attention can be told which tokens belong together.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import lru_cache, partial

import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint
from transformers import PreTrainedConfig

from .frozen import in_mode
from .text_layers import TextLayers

# Own tokens per row of a causal tower. More would share a start among more prompts, but every token is compared with
# all tokens of its row.
ROW_TOKENS = 128
# What a layer keeps of a token for the backward pass, in multiples of the hidden size; measured on CLIP and BERT.
ACTIVATIONS_PER_TOKEN = 20


@dataclass(frozen=True)
class Packing:
    """Where the tokens of `N` prompts lie in `R` rows of `T` places.

    Attributes:
        length: tokens of the longest prompt, `L`.
        shared: number of places at the start of every row that hold the shared start.
        source: `[R, T - shared]` tokens that lie behind it, counted over `[N, L]`; padding repeats token 0.
        mask: `[R, T, T]`, True where a place (second axis) sees another (third axis). Every place sees itself.
        read: `[R, K]` places whose last state is read; padding repeats place 0.
        places: `[N, J]` where the states that a prompt is pooled from lie, counted over `[R, K]`.
        pooled: `[N, J]`, 1 on those of real tokens, which come first.
    """

    length: int
    shared: int
    source: torch.Tensor
    mask: torch.Tensor
    read: torch.Tensor
    places: torch.Tensor
    pooled: torch.Tensor


# The same class list comes back in every step; a training step cannot use tensors made under inference mode.
@lru_cache(maxsize=16)
@torch.inference_mode(False)
def pack_prompts(
    lengths: tuple[int, ...], shared: int, causal: bool, pooled: str, room: int, device: torch.device
) -> Packing:
    """Lay prompts out in rows.

    Args:
        lengths: real tokens of each prompt.
        shared: leading tokens that are the same in all prompts; more than 0 only in a causal tower.
        causal: whether a token sees only the tokens before it.
        pooled: which states are read of each prompt: `"first"`, `"last"` or `"all"`.
        room: longest row in tokens; not less than the longest prompt.
        device: where the tensors go.
    """
    own = [length - shared for length in lengths]
    rows = _fill_rows(own, min(_row_capacity(own), room - shared) if causal else max(own))
    width, longest = shared + max(sum(own[index] for index in row) for row in rows), max(lengths)
    owner = torch.full((len(rows), width), -1)
    source = torch.zeros(len(rows), width, dtype=torch.long)
    # Where each token of each prompt lies; the shared start lies at the start of the row.
    tokens = torch.arange(longest)
    places = torch.zeros(len(own), longest, dtype=torch.long)
    for number, row in enumerate(rows):
        start = shared
        for index in row:
            end = start + own[index]
            owner[number, start:end] = index
            source[number, start:end] = index * longest + tokens[shared : lengths[index]]
            places[index] = number * width + torch.where(tokens < shared, tokens, tokens + start - shared)
            start = end
    mask = owner.unsqueeze(2) == owner.unsqueeze(1)
    mask[:, :, :shared] = True
    if causal:
        mask = mask.tril()
    read, places = _read_places(rows, places, lengths, width, pooled)
    real = (torch.arange(places.shape[1]) < torch.tensor(lengths).unsqueeze(1)).long()
    tensors = (source[:, shared:], mask, read, places, real)
    return Packing(longest, shared, *(tensor.to(device) for tensor in tensors))


def _row_capacity(sizes: Sequence[int]) -> int:
    """Room in a row with which as many rows as [`ROW_TOKENS`] asks for are filled about equally."""
    total, longest = sum(sizes), max(sizes)
    rows = -(-total // max(ROW_TOKENS, longest))
    return -(-total // rows) + longest - 1


def _fill_rows(sizes: Sequence[int], capacity: int) -> list[list[int]]:
    """Put prompts into rows, the longest first, each where it leaves the least room (best-fit decreasing)."""
    rows: list[list[int]] = []
    open_rows: dict[int, list[int]] = defaultdict(list)
    for index in sorted(range(len(sizes)), key=lambda index: -sizes[index]):
        room = min((room for room, found in open_rows.items() if found and room >= sizes[index]), default=None)
        if room is None:
            rows.append([])
            open_rows[capacity].append(len(rows) - 1)
            room = capacity
        row = open_rows[room].pop()
        rows[row].append(index)
        open_rows[room - sizes[index]].append(row)
    return rows


def _read_places(
    rows: list[list[int]], places: torch.Tensor, lengths: Sequence[int], width: int, pooled: str
) -> tuple[torch.Tensor, torch.Tensor]:
    """`read` and `places` of [`Packing`], from where all tokens lie."""
    if pooled == "all":
        outside = torch.arange(places.shape[1]) >= torch.tensor(lengths).unsqueeze(1)
        return torch.arange(width).repeat(len(rows), 1), places.masked_fill(outside, 0)
    most = max(len(row) for row in rows)
    read = torch.zeros(len(rows), most, dtype=torch.long)
    found = torch.zeros(len(lengths), 1, dtype=torch.long)
    for number, row in enumerate(rows):
        for column, index in enumerate(row):
            token = lengths[index] - 1 if pooled == "last" else 0
            read[number, column] = places[index, token] - number * width
            found[index] = number * most + column
    return read, found


def encode_packed(
    kind: type[TextLayers], model: nn.Module, prompts: torch.Tensor, packing: Packing, room: int
) -> torch.Tensor:
    """Last hidden states that prompts are pooled from.

    Args:
        kind: how to take the text model apart.
        model: the text model, in evaluation mode.
        prompts: `[B, N, L, e]` prompt embeddings, packed alike for every clip; `L` is the longest real length.
        packing: where they lie.
        room: number of tokens to run at a time; with more, the backward pass runs them again.

    Returns:
        `[B * N, J, e]`.
    """
    clips, shared = len(prompts), packing.shared
    states = kind.embed(model, prompts.flatten(0, 1)).unflatten(0, (clips, -1))
    start = states[:, :1, :shared].expand(-1, len(packing.source), -1, -1)
    rest = states.flatten(1, 2).index_select(1, packing.source.flatten()).unflatten(1, packing.source.shape)
    rows = torch.cat([start, rest], dim=2).flatten(0, 1)
    # Which tokens belong together is the same for every clip.
    mask, read = packing.mask.repeat(clips, 1, 1), packing.read.repeat(clips, 1)
    states = in_chunks(model, partial(_run_layers, kind, model), (rows, mask, read), room // rows.shape[1])
    states = kind.norm(model, states).unflatten(0, (clips, -1)).flatten(1, 2)
    return states.index_select(1, packing.places.flatten()).unflatten(1, packing.places.shape).flatten(0, 1)


def in_chunks(
    model: nn.Module, run: Callable[..., torch.Tensor], tensors: Sequence[torch.Tensor], size: int
) -> torch.Tensor:
    """Run a text model on slices of its inputs; several are run again in the backward pass, so that only one is kept.

    Args:
        model: the text model, in the mode that it is run in, also in the backward pass.
        run: function of slices of the tensors along their first axis.
        tensors: `[N, ...]`.
        size: longest slice.
    """
    if len(tensors[0]) <= size:
        return run(*tensors)
    slices = zip(*(tensor.split(size) for tensor in tensors), strict=True)
    run = partial(_run_in_mode, model, model.training, run)
    return torch.cat([checkpoint(run, *pieces, use_reentrant=False) for pieces in slices])


def _run_in_mode(
    model: nn.Module, training: bool, run: Callable[..., torch.Tensor], *pieces: torch.Tensor
) -> torch.Tensor:
    if model.training == training:
        return run(*pieces)
    # Encoders of "reference" mode are in training mode in the forward pass only.
    with in_mode(training, model):
        return run(*pieces)


def token_bytes(config: PreTrainedConfig, dtype: torch.dtype) -> int:
    """Bytes that the activations of one token take until the backward pass, in all layers of a text model."""
    return ACTIVATIONS_PER_TOKEN * config.hidden_size * config.num_hidden_layers * dtype.itemsize


def _run_layers(
    kind: type[TextLayers], model: nn.Module, rows: torch.Tensor, mask: torch.Tensor, read: torch.Tensor
) -> torch.Tensor:
    """Rows `[R, T, e]` through all layers; of the last one only the states that are read, `[R, K, e]`."""
    heads = model.config.num_attention_heads
    *layers, last = kind.layers(model)
    for layer in layers:
        attended = _attend(*kind.project(layer, rows), mask, heads, kind.scale(layer))
        rows = kind.finish(layer, rows, attended)
    query, key, value = kind.project(last, rows)
    query, rows, mask = (tensor.take_along_dim(read.unsqueeze(-1), dim=1) for tensor in (query, rows, mask))
    return kind.finish(last, rows, _attend(query, key, value, mask, heads, kind.scale(last)))


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, mask: torch.Tensor, heads: int, scale: float | None
) -> torch.Tensor:
    """Attention of `[R, K, e]` queries to `[R, T, e]` keys and values under a mask `[R, K, T]`.

    torch chooses the kernel, except on CPU in half precision: there the backward pass of its fused kernel takes
    several times as long for short rows as plain matrix products.
    """
    query, key, value = (tensor.unflatten(-1, (heads, -1)).transpose(1, 2) for tensor in (query, key, value))
    plain = query.device.type == "cpu" and query.dtype in (torch.bfloat16, torch.float16)
    with sdpa_kernel(SDPBackend.MATH) if plain else nullcontext():
        attended = scaled_dot_product_attention(query, key, value, attn_mask=mask.unsqueeze(1), scale=scale)
    return attended.transpose(1, 2).flatten(2)
