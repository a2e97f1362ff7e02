"""The official models written down once more in plain torch, from the papers and the published layouts.

Weights come under their official names, without prefixes: `within(weights, "audio_encoder.base.")`.
"""

from __future__ import annotations

import math

import torch
from torch.nn import functional as F

Weights = dict[str, torch.Tensor]


def within(weights: Weights, prefix: str) -> Weights:
    return {name.removeprefix(prefix): tensor for name, tensor in weights.items() if name.startswith(prefix)}


def linear(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
    out = x @ w[f"{name}.weight"].T
    return out + w[f"{name}.bias"] if f"{name}.bias" in w else out


def layer_norm(w: Weights, name: str, x: torch.Tensor, eps: float = 1e-5) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scale = (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return centred / scale * w[f"{name}.weight"] + w[f"{name}.bias"]


def batch_norm(w: Weights, name: str, x: torch.Tensor, axis: int) -> torch.Tensor:
    shape = [-1 if dim == axis else 1 for dim in range(x.dim())]
    mean, var, weight, bias = (
        w[f"{name}.{part}"].reshape(shape) for part in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-5).sqrt() * weight + bias


def attend(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, scale: float, bias: torch.Tensor
) -> torch.Tensor:
    """Attention over `[..., L, width]`, head by head; `bias` is `[heads or 1, L, L]`."""
    size, pieces = q.shape[-1] // heads, []
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        scores = scale * (q[..., part] @ k[..., part].transpose(-1, -2)) + bias[head % len(bias)]
        pieces.append(scores.softmax(-1) @ v[..., part])
    return torch.cat(pieces, -1)


def causal(length: int, dtype: torch.dtype) -> torch.Tensor:
    return torch.full((1, length, length), -math.inf, dtype=dtype).triu(1)


# HTSAT


def bicubic_matrix(before: int, after: int, dtype: torch.dtype) -> torch.Tensor:
    """`[after, before]` weights of bicubic resizing (a = -0.75) with aligned corners."""
    matrix = torch.zeros(after, before, dtype=dtype)
    for row in range(after):
        position = row * (before - 1) / (after - 1)
        for tap in range(math.floor(position) - 1, math.floor(position) + 3):
            distance = abs(position - tap)
            if distance <= 1:
                weight = 1.25 * distance**3 - 2.25 * distance**2 + 1
            else:
                weight = -0.75 * (distance**3 - 5 * distance**2 + 8 * distance - 4)
            matrix[row, min(max(tap, 0), before - 1)] += weight
    return matrix


def relative_bias(table: torch.Tensor, window: int) -> torch.Tensor:
    """`[heads, window**2, window**2]`."""
    cells = [(row, column) for row in range(window) for column in range(window)]
    index = [[(r - r2 + window - 1) * (2 * window - 1) + c - c2 + window - 1 for r2, c2 in cells] for r, c in cells]
    return table[torch.tensor(index)].permute(2, 0, 1)


def windows_of(x: torch.Tensor, window: int) -> torch.Tensor:
    """`[B, H, W, C]` to `[windows, B, window**2, C]`, row by row."""
    rows = [band for band in x.split(window, dim=1)]
    return torch.stack([square.flatten(1, 2) for band in rows for square in band.split(window, dim=2)])


def swin_block(w: Weights, x: torch.Tensor, window: int, shift: int) -> torch.Tensor:
    grid, width = x.shape[1], x.shape[-1]
    normed = layer_norm(w, "norm1", x).roll((-shift, -shift), (1, 2))
    q, k, v = linear(w, "attn.qkv", windows_of(normed, window)).split(width, -1)
    table = w["attn.relative_position_bias_table"]
    bias = relative_bias(table, window)[:, None]
    if shift:
        # After rolling, a window at the rim holds pixels from opposite sides, which must not see each other.
        side = torch.arange(grid)
        side = torch.where(side < grid - window, 0, torch.where(side < grid - shift, 1, 2))
        region = windows_of((3 * side[:, None] + side)[None, :, :, None], window)[:, 0, :, 0]
        apart = region[:, :, None] != region[:, None, :]
        bias = bias + apart.to(x.dtype) * -100.0
    out = torch.stack(
        [
            attend(q[i], k[i], v[i], table.shape[1], (width / table.shape[1]) ** -0.5, bias[:, i % bias.shape[1]])
            for i in range(len(q))
        ]
    )
    per_row = grid // window
    bands = [
        torch.cat([square.unflatten(1, (window, window)) for square in out[start : start + per_row]], dim=2)
        for start in range(0, len(out), per_row)
    ]
    x = x + linear(w, "attn.proj", torch.cat(bands, dim=1).roll((shift, shift), (1, 2)))
    return x + linear(w, "mlp.fc2", F.gelu(linear(w, "mlp.fc1", layer_norm(w, "norm2", x))))


def htsat_image(w: Weights, mel: torch.Tensor, spec_size: int) -> torch.Tensor:
    """`[B, 1, spec_size, spec_size]` of log-mel spectrograms `[B, T, mels]`."""
    ratio = spec_size // mel.shape[-1]
    mel = batch_norm(w, "bn0", mel, 2)
    if mel.shape[1] < spec_size * ratio:
        mel = bicubic_matrix(mel.shape[1], spec_size * ratio, mel.dtype) @ mel
    # Four stretches of time, one above the other along frequency.
    return torch.cat([chunk.transpose(1, 2) for chunk in mel.split(spec_size, dim=1)], dim=1)[:, None]


def fused(w: Weights, whole: torch.Tensor, parts: torch.Tensor) -> torch.Tensor:
    """Attentional feature fusion (2D) of two maps `[B, width, H, W]`."""

    def branch(x: torch.Tensor, name: str, first: int) -> torch.Tensor:
        for conv in (first, first + 3):
            x = F.conv2d(x, w[f"{name}.{conv}.weight"], w[f"{name}.{conv}.bias"])
            x = batch_norm(w, f"{name}.{conv + 1}", x, 1)
            x = x.clamp(min=0) if conv == first else x
        return x

    total = whole + parts
    share = torch.sigmoid(branch(total, "local_att", 0) + branch(total.mean((2, 3), keepdim=True), "global_att", 1))
    return 2 * whole * share + 2 * parts * (1 - share)


def htsat(
    w: Weights,
    mel: torch.Tensor,
    depths: tuple[int, ...],
    window: int = 8,
    spec_size: int = 256,
    parts: tuple[torch.Tensor, ...] = (),
) -> torch.Tensor:
    """Clip embedding `[B, width]` of log-mel spectrograms `[B, T, mels]`; `parts` are fused with these."""
    image = htsat_image(w, mel, spec_size)
    patches = F.conv2d(image, w["patch_embed.proj.weight"], w["patch_embed.proj.bias"], stride=4)
    if parts:
        conv = (w["patch_embed.mel_conv2d.weight"], w["patch_embed.mel_conv2d.bias"])
        columns = [F.conv2d(htsat_image(w, part, spec_size), *conv, stride=(4, 12)) for part in parts]
        missing = patches.shape[-1] - sum(column.shape[-1] for column in columns)
        columns.append(patches.new_zeros(*patches.shape[:-1], missing))
        patches = fused(within(w, "patch_embed.fusion_model."), patches, torch.cat(columns, dim=-1))
    x = layer_norm(w, "patch_embed.norm", patches.permute(0, 2, 3, 1))
    for stage, depth in enumerate(depths):
        for number in range(depth):
            shift = window // 2 if number % 2 and x.shape[1] > window else 0
            x = swin_block(within(w, f"layers.{stage}.blocks.{number}."), x, window, shift)
        if stage < len(depths) - 1:
            corners = [x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]]
            down = within(w, f"layers.{stage}.downsample.")
            x = linear(down, "reduction", layer_norm(down, "norm", torch.cat(corners, -1)))
    return layer_norm(w, "norm", x).mean((1, 2))


def cnn14(w: Weights, mel: torch.Tensor) -> torch.Tensor:
    """Clip embedding `[B, width]` of log-mel spectrograms `[B, T, mels]`."""
    x = batch_norm(w, "bn0", mel, 2)[:, None]
    for block in range(1, 7):
        for layer in (1, 2):
            x = F.conv2d(x, w[f"conv_block{block}.conv{layer}.weight"], padding=1)
            x = batch_norm(w, f"conv_block{block}.bn{layer}", x, 1).clamp(min=0)
        if block < 6:
            x = x[..., : x.shape[2] // 2 * 2, : x.shape[3] // 2 * 2]
            x = (x[..., 0::2, 0::2] + x[..., 1::2, 0::2] + x[..., 0::2, 1::2] + x[..., 1::2, 1::2]) / 4
    x = x.mean(3)
    return linear(w, "fc1", x.max(2).values + x.mean(2)).clamp(min=0)


# Text models, one text of ids `[L]` at a time; each returns the pooled feature.


def clip_text(w: Weights, ids: torch.Tensor, heads: int = 2) -> torch.Tensor:
    x = w["embeddings.token_embedding.weight"][ids] + w["embeddings.position_embedding.weight"][: len(ids)]
    for number in range(12):
        layer = within(w, f"encoder.layers.{number}.")
        normed = layer_norm(layer, "layer_norm1", x)
        q, k, v = (linear(layer, f"self_attn.{part}_proj", normed) for part in "qkv")
        attended = attend(q, k, v, heads, (x.shape[-1] / heads) ** -0.5, causal(len(ids), x.dtype))
        x = x + linear(layer, "self_attn.out_proj", attended)
        inner = linear(layer, "mlp.fc1", layer_norm(layer, "layer_norm2", x))
        x = x + linear(layer, "mlp.fc2", inner * torch.sigmoid(1.702 * inner))
    return layer_norm(w, "final_layer_norm", x)[-1]


def gelu_tanh(x: torch.Tensor) -> torch.Tensor:
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def gpt2(w: Weights, ids: torch.Tensor, heads: int = 2) -> torch.Tensor:
    def conv1d(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
        return x @ w[f"{name}.weight"] + w[f"{name}.bias"]

    x = w["wte.weight"][ids] + w["wpe.weight"][: len(ids)]
    for number in range(12):
        layer = within(w, f"h.{number}.")
        q, k, v = conv1d(layer, "attn.c_attn", layer_norm(layer, "ln_1", x)).split(x.shape[-1], -1)
        attended = attend(q, k, v, heads, (x.shape[-1] / heads) ** -0.5, causal(len(ids), x.dtype))
        x = x + conv1d(layer, "attn.c_proj", attended)
        inner = gelu_tanh(conv1d(layer, "mlp.c_fc", layer_norm(layer, "ln_2", x)))
        x = x + conv1d(layer, "mlp.c_proj", inner)
    return layer_norm(w, "ln_f", x)[-1]


def bert(w: Weights, ids: torch.Tensor, eps: float, first_position: int = 0, heads: int = 2) -> torch.Tensor:
    """State of the first token."""
    x = w["embeddings.word_embeddings.weight"][ids] + w["embeddings.token_type_embeddings.weight"][0]
    x = x + w["embeddings.position_embeddings.weight"][first_position : first_position + len(ids)]
    x = layer_norm(w, "embeddings.LayerNorm", x, eps)
    for number in range(12):
        layer = within(w, f"encoder.layer.{number}.")
        q, k, v = (linear(layer, f"attention.self.{part}", x) for part in ("query", "key", "value"))
        free = torch.zeros(1, len(ids), len(ids), dtype=x.dtype)
        attended = attend(q, k, v, heads, (x.shape[-1] / heads) ** -0.5, free)
        x = layer_norm(layer, "attention.output.LayerNorm", x + linear(layer, "attention.output.dense", attended), eps)
        inner = F.gelu(linear(layer, "intermediate.dense", x))
        x = layer_norm(layer, "output.LayerNorm", x + linear(layer, "output.dense", inner), eps)
    return x[0]


def roberta_pooled(w: Weights, ids: torch.Tensor) -> torch.Tensor:
    # Positions count from behind the padding token's id, 1.
    return torch.tanh(linear(w, "pooler.dense", bert(w, ids, eps=1e-5, first_position=2)))


def t5_mean(w: Weights, ids: torch.Tensor, length: int = 77, heads: int = 2) -> torch.Tensor:
    """Mean over all positions of the text padded to `length`, as ReCLAP takes it."""

    def rms(w: Weights, name: str, x: torch.Tensor) -> torch.Tensor:
        # T5 takes the mean square in float32, whatever the type of the model.
        mean_square = x.float().square().mean(-1, keepdim=True)
        return x * torch.rsqrt(mean_square + 1e-6) * w[f"{name}.weight"]

    def bucket(offset: int) -> int:
        half, exact, distance = (16 if offset > 0 else 0), 8, abs(offset)
        if distance < exact:
            return half + distance
        return half + min(15, exact + int(math.log(distance / exact) / math.log(128 / exact) * (16 - exact)))

    padded = torch.cat([ids, torch.zeros(length - len(ids), dtype=ids.dtype)])
    x = w["shared.weight"][padded]
    table = w["encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"]
    buckets = torch.tensor([[bucket(key - query) for key in range(length)] for query in range(length)])
    bias = table[buckets].permute(2, 0, 1).clone()
    bias[:, :, len(ids) :] = -math.inf
    for number in range(24):
        layer = within(w, f"encoder.block.{number}.layer.")
        normed = rms(layer, "0.layer_norm", x)
        q, k, v = (linear(layer, f"0.SelfAttention.{part}", normed) for part in "qkv")
        x = x + linear(layer, "0.SelfAttention.o", attend(q, k, v, heads, 1.0, bias))
        normed = rms(layer, "1.layer_norm", x)
        gate = gelu_tanh(linear(layer, "1.DenseReluDense.wi_0", normed))
        x = x + linear(layer, "1.DenseReluDense.wo", gate * linear(layer, "1.DenseReluDense.wi_1", normed))
    return rms(w, "encoder.final_layer_norm", x).mean(0)


# Projections


def residual(w: Weights, x: torch.Tensor) -> torch.Tensor:
    first = linear(w, "linear1", x)
    return layer_norm(w, "layer_norm", first + linear(w, "linear2", F.gelu(first)))


def mlp(w: Weights, x: torch.Tensor) -> torch.Tensor:
    return linear(w, "2", linear(w, "0", x).clamp(min=0))


def pengi_prefix(w: Weights, embed: torch.Tensor, heads: int = 8) -> torch.Tensor:
    """What Pengi's decoder reads `[40, width]` for one embedding `[d]`."""
    constants, width = w["prefix_const"], w["prefix_const"].shape[1]
    spread = linear(w, "linear", embed / embed.square().sum().sqrt())
    x = torch.cat([spread.reshape(constants.shape), constants])
    free = torch.zeros(1, len(x), len(x), dtype=x.dtype)
    for number in range(sum(name.endswith("norm1.weight") for name in w)):
        layer = within(w, f"transformer.layers.{number}.")
        normed = layer_norm(layer, "norm1", x)
        keys, values = linear(layer, "attn.to_keys_values", normed).split(width, -1)
        attended = attend(linear(layer, "attn.to_queries", normed), keys, values, heads, (width / heads) ** -0.5, free)
        x = x + linear(layer, "attn.project", attended)
        x = x + linear(layer, "mlp.fc2", linear(layer, "mlp.fc1", layer_norm(layer, "norm2", x)).clamp(min=0))
    return x[len(constants) :]


# Whole models


def audio_features(family: str, w: Weights, mel: torch.Tensor) -> torch.Tensor:
    """Projected audio `[B, d]` of log-mel spectrograms `[B, T, mels]`."""
    if family in ("pengi", "msclap-2023"):
        pooled = htsat(within(w, "audio_encoder.base.htsat."), mel, (2, 2, 6, 2))
    elif family == "msclap-2022":
        pooled = cnn14(within(w, "audio_encoder.base."), mel)
    else:
        return mlp(within(w, "audio_projection."), clap_audio(family, w, mel))
    return residual(within(w, "audio_encoder.projection."), pooled)


def clap_audio(family: str, w: Weights, mel: torch.Tensor) -> torch.Tensor:
    return htsat(within(w, "audio_branch."), mel, (2, 2, 12 if family == "reclap" else 6, 2))


def text_features(family: str, w: Weights, ids: torch.Tensor) -> torch.Tensor:
    """Projected text `[d]` of one unpadded text."""
    if family == "laion":
        return mlp(within(w, "text_projection."), roberta_pooled(within(w, "text_branch."), ids))
    if family == "reclap":
        return mlp(within(w, "text_projection."), t5_mean(within(w, "text_branch."), ids))
    base = within(w, "caption_encoder.base.")
    if family == "pengi":
        pooled = linear(within(w, "caption_encoder."), "clip_text_projection", clip_text(base, ids))
    elif family == "msclap-2022":
        pooled = bert(base, ids, eps=1e-12)
    else:
        pooled = gpt2(base, ids)
    return residual(within(w, "caption_encoder.projection."), pooled)
