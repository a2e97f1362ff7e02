"""Synthetic checkpoints in the official layouts, written from the published key tables.

Every tensor that an official file has is there, with random values that all matter to the outputs. Numbers of layers,
windows and mel bands are the official ones, widths are those of a [`Sizes`].
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from transformers.audio_utils import mel_filter_bank

TINY_DEPTHS, BASE_DEPTHS = (2, 2, 6, 2), (2, 2, 12, 2)


@dataclass(frozen=True)
class Sizes:
    """Widths of a checkpoint."""

    embed: int = 16
    heads: tuple[int, ...] = (2, 4, 8, 16)
    channels: tuple[int, ...] = (4, 6, 8, 10, 12, 16)
    cnn_width: int = 20
    text_width: int = 128
    feed_forward: int = 256
    positions: int = 120
    joint: int = 24
    decoder_width: int = 64
    decoder_vocabulary: int = 257
    decoder_layers: int = 2
    mapper_layers: int = 1


class Draw:
    """Random tensors by name, or, where `empty`, tensors that have a shape only."""

    def __init__(self, seed: int = 0, sizes: Sizes | None = None, empty: bool = False) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.weights: dict[str, torch.Tensor] = {}
        self.sizes = sizes or Sizes()
        self.empty = empty

    def normal(self, name: str, *shape: int, scale: float = 1.0, mean: float = 0.0) -> None:
        if self.empty:
            self.weights[name] = torch.empty(shape, device="meta")
        else:
            self.weights[name] = mean + scale * torch.randn(shape, generator=self.generator)

    def linear(self, name: str, outputs: int, inputs: int, bias: bool = True, gain: float = 1.0) -> None:
        self.normal(f"{name}.weight", outputs, inputs, scale=gain * inputs**-0.5)
        if bias:
            self.normal(f"{name}.bias", outputs, scale=0.1)

    def norm(self, name: str, width: int) -> None:
        self.normal(f"{name}.weight", width, scale=0.2, mean=1.0)
        self.normal(f"{name}.bias", width, scale=0.1)

    def batch_norm(self, name: str, width: int, mean: float = 0.0, spread: float = 1.0) -> None:
        self.norm(name, width)
        self.normal(f"{name}.running_mean", width, scale=spread / 2, mean=mean)
        variance = 0.5 + torch.rand(width, generator=self.generator)
        self.weights[f"{name}.running_var"] = spread**2 * variance
        self.weights[f"{name}.num_batches_tracked"] = torch.tensor(1234)


def mel_matrix(rate: int) -> torch.Tensor:
    """Slaney filters as torchlibrosa stores them, `[513, 64]`."""
    filters = mel_filter_bank(513, 64, 50.0, 14_000.0, rate, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(filters).float()


def front_end(draw: Draw, prefix: str, mel_rate: int) -> None:
    for part in ("real", "imag"):
        draw.normal(f"{prefix}spectrogram_extractor.stft.conv_{part}.weight", 513, 1, 1024)
    draw.weights[f"{prefix}logmel_extractor.melW"] = mel_matrix(mel_rate)


def htsat(draw: Draw, prefix: str, mel_rate: int, depths: tuple[int, ...], gain: float = 1.0) -> None:
    embed, window = draw.sizes.embed, 8
    front_end(draw, prefix, mel_rate)
    draw.batch_norm(f"{prefix}bn0", 64, mean=-30.0, spread=10.0)
    draw.normal(f"{prefix}patch_embed.proj.weight", embed, 1, 4, 4, scale=0.25)
    draw.normal(f"{prefix}patch_embed.proj.bias", embed, scale=0.1)
    draw.norm(f"{prefix}patch_embed.norm", embed)
    offsets = torch.arange(window)
    rows = (offsets[:, None] - offsets + window - 1) * (2 * window - 1)
    columns = offsets[:, None] - offsets + window - 1
    index = (rows[:, None, :, None] + columns[None, :, None, :]).reshape(window**2, window**2)
    for stage, (depth, count) in enumerate(zip(depths, draw.sizes.heads, strict=True)):
        width, grid = embed * 2**stage, 64 // 2**stage
        for number in range(depth):
            block = f"{prefix}layers.{stage}.blocks.{number}."
            if number % 2 and grid > window:
                draw.normal(f"{block}attn_mask", (grid // window) ** 2, window**2, window**2)
            draw.norm(f"{block}norm1", width)
            draw.normal(f"{block}attn.relative_position_bias_table", (2 * window - 1) ** 2, count)
            draw.weights[f"{block}attn.relative_position_index"] = index.clone()
            draw.linear(f"{block}attn.qkv", 3 * width, width, gain=gain)
            draw.linear(f"{block}attn.proj", width, width)
            draw.norm(f"{block}norm2", width)
            draw.linear(f"{block}mlp.fc1", 4 * width, width)
            draw.linear(f"{block}mlp.fc2", width, 4 * width)
        if stage < len(depths) - 1:
            draw.linear(f"{prefix}layers.{stage}.downsample.reduction", 2 * width, 4 * width, bias=False)
            draw.norm(f"{prefix}layers.{stage}.downsample.norm", 4 * width)
    draw.norm(f"{prefix}norm", embed * 8)
    draw.normal(f"{prefix}tscam_conv.weight", 527, embed * 8, 2, 3)
    draw.normal(f"{prefix}tscam_conv.bias", 527)
    draw.linear(f"{prefix}head", 527, 527)


def fusion(draw: Draw, prefix: str) -> None:
    embed = draw.sizes.embed
    draw.normal(f"{prefix}mel_conv2d.weight", embed, 1, 4, 12)
    draw.normal(f"{prefix}mel_conv2d.bias", embed)
    for branch, (first, norm, second, last) in {"local_att": (0, 1, 3, 4), "global_att": (1, 2, 4, 5)}.items():
        inner = embed // 4
        for layer, shape in ((first, (inner, embed, 1, 1)), (second, (embed, inner, 1, 1))):
            draw.normal(f"{prefix}fusion_model.{branch}.{layer}.weight", *shape)
            draw.normal(f"{prefix}fusion_model.{branch}.{layer}.bias", shape[0])
        draw.batch_norm(f"{prefix}fusion_model.{branch}.{norm}", inner)
        draw.batch_norm(f"{prefix}fusion_model.{branch}.{last}", embed)


def cnn14(draw: Draw, prefix: str) -> None:
    channels, width = draw.sizes.channels, draw.sizes.cnn_width
    front_end(draw, prefix, 44_100)
    draw.batch_norm(f"{prefix}bn0", 64, mean=-30.0, spread=10.0)
    for number, (inputs, outputs) in enumerate(zip((1, *channels), channels, strict=False), start=1):
        for layer, before in ((1, inputs), (2, outputs)):
            scale = (2 / (9 * before)) ** 0.5
            draw.normal(f"{prefix}conv_block{number}.conv{layer}.weight", outputs, before, 3, 3, scale=scale)
            draw.batch_norm(f"{prefix}conv_block{number}.bn{layer}", outputs)
    draw.linear(f"{prefix}fc1", width, channels[-1])
    draw.linear(f"{prefix}fc_audioset", 527, width)


def residual(draw: Draw, prefix: str, inputs: int) -> None:
    joint = draw.sizes.joint
    draw.linear(f"{prefix}linear1", joint, inputs, bias=False)
    draw.linear(f"{prefix}linear2", joint, joint, bias=False)
    draw.norm(f"{prefix}layer_norm", joint)


def clip_text(draw: Draw, prefix: str, vocabulary: int, layers: int = 12) -> None:
    width, inner = draw.sizes.text_width, draw.sizes.feed_forward
    draw.weights[f"{prefix}embeddings.position_ids"] = torch.arange(77)[None]
    draw.normal(f"{prefix}embeddings.token_embedding.weight", vocabulary, width, scale=0.5)
    draw.normal(f"{prefix}embeddings.position_embedding.weight", 77, width, scale=0.5)
    for number in range(layers):
        layer = f"{prefix}encoder.layers.{number}."
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            draw.linear(f"{layer}self_attn.{part}", width, width)
        draw.norm(f"{layer}layer_norm1", width)
        draw.linear(f"{layer}mlp.fc1", inner, width)
        draw.linear(f"{layer}mlp.fc2", width, inner)
        draw.norm(f"{layer}layer_norm2", width)
    draw.norm(f"{prefix}final_layer_norm", width)


def gpt2(draw: Draw, prefix: str, vocabulary: int, layers: int = 12, buffers: bool = False) -> None:
    width, inner = draw.sizes.text_width, draw.sizes.feed_forward
    draw.normal(f"{prefix}wte.weight", vocabulary, width, scale=0.5)
    draw.normal(f"{prefix}wpe.weight", draw.sizes.positions, width, scale=0.5)
    for number in range(layers):
        layer = f"{prefix}h.{number}."
        draw.norm(f"{layer}ln_1", width)
        if buffers:
            draw.weights[f"{layer}attn.bias"] = torch.ones(1, 1, 9, 9, dtype=torch.uint8).tril()
            draw.weights[f"{layer}attn.masked_bias"] = torch.tensor(-10000.0)
        # GPT-2 holds its linear layers the other way round.
        shapes = {"attn.c_attn": (width, 3 * width), "attn.c_proj": (width, width)}
        for part, shape in (shapes | {"mlp.c_fc": (width, inner), "mlp.c_proj": (inner, width)}).items():
            draw.normal(f"{layer}{part}.weight", *shape, scale=shape[0] ** -0.5)
            draw.normal(f"{layer}{part}.bias", shape[1], scale=0.1)
        draw.norm(f"{layer}ln_2", width)
    draw.norm(f"{prefix}ln_f", width)


def bert(draw: Draw, prefix: str, vocabulary: int, types: int, layers: int = 12) -> None:
    width, inner = draw.sizes.text_width, draw.sizes.feed_forward
    draw.normal(f"{prefix}embeddings.word_embeddings.weight", vocabulary, width)
    draw.normal(f"{prefix}embeddings.position_embeddings.weight", draw.sizes.positions, width)
    draw.normal(f"{prefix}embeddings.token_type_embeddings.weight", types, width)
    draw.norm(f"{prefix}embeddings.LayerNorm", width)
    for number in range(layers):
        layer = f"{prefix}encoder.layer.{number}."
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            draw.linear(f"{layer}attention.{part}", width, width)
        draw.norm(f"{layer}attention.output.LayerNorm", width)
        draw.linear(f"{layer}intermediate.dense", inner, width)
        draw.linear(f"{layer}output.dense", width, inner)
        draw.norm(f"{layer}output.LayerNorm", width)
    draw.linear(f"{prefix}pooler.dense", width, width)


def t5_encoder(draw: Draw, prefix: str, vocabulary: int, layers: int = 24) -> None:
    width, inner = draw.sizes.text_width, draw.sizes.feed_forward
    draw.normal(f"{prefix}shared.weight", vocabulary, width)
    draw.weights[f"{prefix}encoder.embed_tokens.weight"] = draw.weights[f"{prefix}shared.weight"]
    for number in range(layers):
        layer = f"{prefix}encoder.block.{number}.layer."
        for part in "qkvo":
            # T5 does not divide scores by the root of the head size; its queries are small instead.
            scale = width**-0.5 * (0.2 if part == "q" else 1.0)
            draw.normal(f"{layer}0.SelfAttention.{part}.weight", width, width, scale=scale)
        if number == 0:
            draw.normal(f"{layer}0.SelfAttention.relative_attention_bias.weight", 32, width // 64)
        draw.normal(f"{layer}0.layer_norm.weight", width, scale=0.2, mean=1.0)
        for part in ("wi_0", "wi_1"):
            draw.linear(f"{layer}1.DenseReluDense.{part}", inner, width, bias=False)
        draw.linear(f"{layer}1.DenseReluDense.wo", width, inner, bias=False)
        draw.normal(f"{layer}1.layer_norm.weight", width, scale=0.2, mean=1.0)
    draw.normal(f"{prefix}encoder.final_layer_norm.weight", width, scale=0.2, mean=1.0)


def pengi_decoder(draw: Draw) -> None:
    """Two mappers and GPT-2, which has a width of its own."""
    sizes, width = draw.sizes, draw.sizes.decoder_width
    draw.sizes = replace(sizes, text_width=width, feed_forward=4 * width)
    gpt2(draw, "caption_decoder.gpt.transformer.", sizes.decoder_vocabulary, sizes.decoder_layers, buffers=True)
    draw.sizes = sizes
    draw.weights["caption_decoder.gpt.lm_head.weight"] = draw.weights["caption_decoder.gpt.transformer.wte.weight"]
    for mapper in ("caption_decoder.audio_project.", "caption_decoder.text_project."):
        draw.normal(f"{mapper}prefix_const", 40, width)
        draw.linear(f"{mapper}linear", 40 * width, sizes.joint)
        for number in range(sizes.mapper_layers):
            layer = f"{mapper}transformer.layers.{number}."
            draw.norm(f"{layer}norm1", width)
            draw.linear(f"{layer}attn.to_queries", width, width, bias=False)
            draw.linear(f"{layer}attn.to_keys_values", 2 * width, width, bias=False)
            draw.linear(f"{layer}attn.project", width, width)
            draw.norm(f"{layer}norm2", width)
            draw.linear(f"{layer}mlp.fc1", 2 * width, width)
            draw.linear(f"{layer}mlp.fc2", width, 2 * width)


def pengi(draw: Draw, vocabulary: int) -> None:
    htsat(draw, "audio_encoder.base.htsat.", 32_000, TINY_DEPTHS)
    residual(draw, "audio_encoder.projection.", 8 * draw.sizes.embed)
    width = draw.sizes.text_width
    clip_text(draw, "caption_encoder.base.", vocabulary)
    draw.linear("caption_encoder.clip_text_projection", width, width, bias=False)
    residual(draw, "caption_encoder.projection.", width)
    pengi_decoder(draw)


def msclap_2022(draw: Draw, vocabulary: int) -> None:
    cnn14(draw, "audio_encoder.base.")
    residual(draw, "audio_encoder.projection.", draw.sizes.cnn_width)
    bert(draw, "caption_encoder.base.", vocabulary, types=2)
    residual(draw, "caption_encoder.projection.", draw.sizes.text_width)
    draw.weights["logit_scale"] = torch.tensor(3.7)


def msclap_2023(draw: Draw, vocabulary: int) -> None:
    htsat(draw, "audio_encoder.base.htsat.", 32_000, TINY_DEPTHS)
    residual(draw, "audio_encoder.projection.", 8 * draw.sizes.embed)
    gpt2(draw, "caption_encoder.base.", vocabulary)
    residual(draw, "caption_encoder.projection.", draw.sizes.text_width)
    draw.weights["logit_scale"] = torch.tensor(3.3)


def clap_heads(draw: Draw) -> None:
    """Projections and scales of LAION CLAP and ReCLAP."""
    joint = draw.sizes.joint
    for side, width in (("text", draw.sizes.text_width), ("audio", 8 * draw.sizes.embed)):
        for layer in (0, 3):
            draw.linear(f"{side}_transform.sequential.{layer}", joint, joint)
        draw.linear(f"{side}_projection.0", joint, width)
        draw.linear(f"{side}_projection.2", joint, joint)
    draw.weights["logit_scale_a"], draw.weights["logit_scale_t"] = torch.tensor(3.1), torch.tensor(1.7)


def laion(draw: Draw, vocabulary: int) -> None:
    htsat(draw, "audio_branch.", 48_000, TINY_DEPTHS)
    bert(draw, "text_branch.", vocabulary, types=1)
    draw.weights["text_branch.embeddings.position_ids"] = torch.arange(draw.sizes.positions)[None]
    clap_heads(draw)


def reclap(draw: Draw, vocabulary: int) -> None:
    htsat(draw, "audio_branch.", 48_000, BASE_DEPTHS)
    fusion(draw, "audio_branch.patch_embed.")
    # The embedding table of T5 has more rows than its tokenizer has tokens.
    t5_encoder(draw, "text_branch.", vocabulary + 28)
    clap_heads(draw)


LAYOUTS = {
    "pengi": pengi,
    "msclap-2022": msclap_2022,
    "msclap-2023": msclap_2023,
    "laion": laion,
    "reclap": reclap,
}


def official_weights(
    family: str, vocabulary: int, sizes: Sizes | None = None, empty: bool = False
) -> dict[str, torch.Tensor]:
    """Weights of a family's checkpoint under their official names."""
    draw = Draw(seed=sorted(LAYOUTS).index(family), sizes=sizes, empty=empty)
    LAYOUTS[family](draw, vocabulary)
    return draw.weights


# How the official files hold their weights.
WRAPPERS = {
    "pengi": lambda weights: {"model": {f"module.{name}": tensor for name, tensor in weights.items()}, "epoch": 9},
    "msclap-2022": lambda weights: {"model": weights},
    "msclap-2023": lambda weights: {"model": weights},
    "laion": lambda weights: {
        "epoch": 3,
        "name": "run",
        "state_dict": {f"module.{name}": tensor for name, tensor in weights.items()},
        "optimizer": {"state": {0: {"step": torch.tensor(5.0)}}},
    },
    "reclap": lambda weights: {"state_dict": {f"module.{name}": tensor for name, tensor in weights.items()}},
}
