"""Synthetic checkpoints in the official layouts, written from the published key tables.

Every tensor that an official file has is there, with random values that all matter to the outputs; widths are small,
numbers of layers, windows and mel bands are the official ones.
"""

from __future__ import annotations

import torch
from transformers.audio_utils import mel_filter_bank

HTSAT_TINY = {"embed": 16, "depths": (2, 2, 6, 2), "heads": (2, 4, 8, 16)}
HTSAT_BASE = {"embed": 16, "depths": (2, 2, 12, 2), "heads": (2, 4, 8, 16)}
TEXT_WIDTH, JOINT = 128, 24


class Draw:
    """Random tensors by name."""

    def __init__(self, seed: int = 0) -> None:
        self.generator = torch.Generator().manual_seed(seed)
        self.weights: dict[str, torch.Tensor] = {}

    def normal(self, name: str, *shape: int, scale: float = 1.0, mean: float = 0.0) -> None:
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
        self.weights[f"{name}.running_var"] = spread**2 * (0.5 + torch.rand(width, generator=self.generator))
        self.weights[f"{name}.num_batches_tracked"] = torch.tensor(1234)


def mel_matrix(rate: int) -> torch.Tensor:
    """Slaney filters as torchlibrosa stores them, `[513, 64]`."""
    filters = mel_filter_bank(513, 64, 50.0, 14_000.0, rate, norm="slaney", mel_scale="slaney")
    return torch.from_numpy(filters).float()


def front_end(draw: Draw, prefix: str, mel_rate: int) -> None:
    for part in ("real", "imag"):
        draw.normal(f"{prefix}spectrogram_extractor.stft.conv_{part}.weight", 513, 1, 1024)
    draw.weights[f"{prefix}logmel_extractor.melW"] = mel_matrix(mel_rate)


def htsat(
    draw: Draw, prefix: str, mel_rate: int, embed: int, depths: tuple, heads: tuple, window: int = 8, gain: float = 1.0
) -> None:
    front_end(draw, prefix, mel_rate)
    draw.batch_norm(f"{prefix}bn0", 64, mean=-30.0, spread=10.0)
    draw.normal(f"{prefix}patch_embed.proj.weight", embed, 1, 4, 4, scale=0.25)
    draw.normal(f"{prefix}patch_embed.proj.bias", embed, scale=0.1)
    draw.norm(f"{prefix}patch_embed.norm", embed)
    offsets = torch.arange(window)
    rows = (offsets[:, None] - offsets + window - 1) * (2 * window - 1)
    columns = offsets[:, None] - offsets + window - 1
    index = (rows[:, None, :, None] + columns[None, :, None, :]).reshape(window**2, window**2)
    for stage, (depth, count) in enumerate(zip(depths, heads, strict=True)):
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


def fusion(draw: Draw, prefix: str, embed: int) -> None:
    draw.normal(f"{prefix}mel_conv2d.weight", embed, 1, 4, 12)
    draw.normal(f"{prefix}mel_conv2d.bias", embed)
    for branch, (first, norm, second, last) in {"local_att": (0, 1, 3, 4), "global_att": (1, 2, 4, 5)}.items():
        inner = embed // 4
        for layer, shape in ((first, (inner, embed, 1, 1)), (second, (embed, inner, 1, 1))):
            draw.normal(f"{prefix}fusion_model.{branch}.{layer}.weight", *shape)
            draw.normal(f"{prefix}fusion_model.{branch}.{layer}.bias", shape[0])
        draw.batch_norm(f"{prefix}fusion_model.{branch}.{norm}", inner)
        draw.batch_norm(f"{prefix}fusion_model.{branch}.{last}", embed)


def cnn14(draw: Draw, prefix: str, channels: tuple = (4, 6, 8, 10, 12, 16)) -> None:
    front_end(draw, prefix, 44_100)
    draw.batch_norm(f"{prefix}bn0", 64, mean=-30.0, spread=10.0)
    for number, (inputs, outputs) in enumerate(zip((1, *channels), channels, strict=False), start=1):
        for layer, before in ((1, inputs), (2, outputs)):
            scale = (2 / (9 * before)) ** 0.5
            draw.normal(f"{prefix}conv_block{number}.conv{layer}.weight", outputs, before, 3, 3, scale=scale)
            draw.batch_norm(f"{prefix}conv_block{number}.bn{layer}", outputs)
    draw.linear(f"{prefix}fc1", 20, channels[-1])
    draw.linear(f"{prefix}fc_audioset", 527, 20)


def residual(draw: Draw, prefix: str, inputs: int) -> None:
    draw.linear(f"{prefix}linear1", JOINT, inputs, bias=False)
    draw.linear(f"{prefix}linear2", JOINT, JOINT, bias=False)
    draw.norm(f"{prefix}layer_norm", JOINT)


def clip_text(draw: Draw, prefix: str, vocabulary: int, layers: int = 12) -> None:
    draw.weights[f"{prefix}embeddings.position_ids"] = torch.arange(77)[None]
    draw.normal(f"{prefix}embeddings.token_embedding.weight", vocabulary, TEXT_WIDTH, scale=0.5)
    draw.normal(f"{prefix}embeddings.position_embedding.weight", 77, TEXT_WIDTH, scale=0.5)
    for number in range(layers):
        layer = f"{prefix}encoder.layers.{number}."
        for part in ("k_proj", "v_proj", "q_proj", "out_proj"):
            draw.linear(f"{layer}self_attn.{part}", TEXT_WIDTH, TEXT_WIDTH)
        draw.norm(f"{layer}layer_norm1", TEXT_WIDTH)
        draw.linear(f"{layer}mlp.fc1", 2 * TEXT_WIDTH, TEXT_WIDTH)
        draw.linear(f"{layer}mlp.fc2", TEXT_WIDTH, 2 * TEXT_WIDTH)
        draw.norm(f"{layer}layer_norm2", TEXT_WIDTH)
    draw.norm(f"{prefix}final_layer_norm", TEXT_WIDTH)


def gpt2(draw: Draw, prefix: str, vocabulary: int, layers: int = 12, buffers: bool = False) -> None:
    draw.normal(f"{prefix}wte.weight", vocabulary, TEXT_WIDTH, scale=0.5)
    draw.normal(f"{prefix}wpe.weight", 100, TEXT_WIDTH, scale=0.5)
    for number in range(layers):
        layer = f"{prefix}h.{number}."
        draw.norm(f"{layer}ln_1", TEXT_WIDTH)
        if buffers:
            draw.weights[f"{layer}attn.bias"] = torch.ones(1, 1, 100, 100, dtype=torch.uint8).tril()
            draw.weights[f"{layer}attn.masked_bias"] = torch.tensor(-10000.0)
        # GPT-2 holds its linear layers the other way round.
        for part, inputs, outputs in (
            ("attn.c_attn", 1, 3),
            ("attn.c_proj", 1, 1),
            ("mlp.c_fc", 1, 2),
            ("mlp.c_proj", 2, 1),
        ):
            shape = inputs * TEXT_WIDTH, outputs * TEXT_WIDTH
            draw.normal(f"{layer}{part}.weight", *shape, scale=shape[0] ** -0.5)
            draw.normal(f"{layer}{part}.bias", shape[1], scale=0.1)
        draw.norm(f"{layer}ln_2", TEXT_WIDTH)
    draw.norm(f"{prefix}ln_f", TEXT_WIDTH)


def bert(draw: Draw, prefix: str, vocabulary: int, positions: int, types: int, layers: int = 12) -> None:
    draw.normal(f"{prefix}embeddings.word_embeddings.weight", vocabulary, TEXT_WIDTH)
    draw.normal(f"{prefix}embeddings.position_embeddings.weight", positions, TEXT_WIDTH)
    draw.normal(f"{prefix}embeddings.token_type_embeddings.weight", types, TEXT_WIDTH)
    draw.norm(f"{prefix}embeddings.LayerNorm", TEXT_WIDTH)
    for number in range(layers):
        layer = f"{prefix}encoder.layer.{number}."
        for part in ("self.query", "self.key", "self.value", "output.dense"):
            draw.linear(f"{layer}attention.{part}", TEXT_WIDTH, TEXT_WIDTH)
        draw.norm(f"{layer}attention.output.LayerNorm", TEXT_WIDTH)
        draw.linear(f"{layer}intermediate.dense", 2 * TEXT_WIDTH, TEXT_WIDTH)
        draw.linear(f"{layer}output.dense", TEXT_WIDTH, 2 * TEXT_WIDTH)
        draw.norm(f"{layer}output.LayerNorm", TEXT_WIDTH)
    draw.linear(f"{prefix}pooler.dense", TEXT_WIDTH, TEXT_WIDTH)


def t5_encoder(draw: Draw, prefix: str, vocabulary: int, layers: int = 24) -> None:
    draw.normal(f"{prefix}shared.weight", vocabulary, TEXT_WIDTH)
    draw.weights[f"{prefix}encoder.embed_tokens.weight"] = draw.weights[f"{prefix}shared.weight"]
    for number in range(layers):
        layer = f"{prefix}encoder.block.{number}.layer."
        for part in "qkvo":
            # T5 does not divide scores by the root of the head size; its queries are small instead.
            scale = TEXT_WIDTH**-0.5 * (0.2 if part == "q" else 1.0)
            draw.normal(f"{layer}0.SelfAttention.{part}.weight", TEXT_WIDTH, TEXT_WIDTH, scale=scale)
        if number == 0:
            draw.normal(f"{layer}0.SelfAttention.relative_attention_bias.weight", 32, 2)
        draw.normal(f"{layer}0.layer_norm.weight", TEXT_WIDTH, scale=0.2, mean=1.0)
        for part in ("wi_0", "wi_1"):
            draw.linear(f"{layer}1.DenseReluDense.{part}", 2 * TEXT_WIDTH, TEXT_WIDTH, bias=False)
        draw.linear(f"{layer}1.DenseReluDense.wo", TEXT_WIDTH, 2 * TEXT_WIDTH, bias=False)
        draw.normal(f"{layer}1.layer_norm.weight", TEXT_WIDTH, scale=0.2, mean=1.0)
    draw.normal(f"{prefix}encoder.final_layer_norm.weight", TEXT_WIDTH, scale=0.2, mean=1.0)


def pengi(vocabulary: int) -> dict[str, torch.Tensor]:
    draw = Draw(1)
    htsat(draw, "audio_encoder.base.htsat.", 32_000, **HTSAT_TINY)
    residual(draw, "audio_encoder.projection.", 128)
    clip_text(draw, "caption_encoder.base.", vocabulary)
    draw.linear("caption_encoder.clip_text_projection", TEXT_WIDTH, TEXT_WIDTH, bias=False)
    residual(draw, "caption_encoder.projection.", TEXT_WIDTH)
    gpt2(draw, "caption_decoder.gpt.transformer.", 60, layers=1, buffers=True)
    draw.weights["caption_decoder.gpt.lm_head.weight"] = draw.weights["caption_decoder.gpt.transformer.wte.weight"]
    for mapper in ("audio_project", "text_project"):
        draw.normal(f"caption_decoder.{mapper}.prefix_const", 40, TEXT_WIDTH)
        draw.linear(f"caption_decoder.{mapper}.linear", 40 * 4, JOINT)
        draw.linear(f"caption_decoder.{mapper}.transformer.layers.0.attn.to_queries", 8, 8, bias=False)
    return draw.weights


def msclap_2022(vocabulary: int) -> dict[str, torch.Tensor]:
    draw = Draw(2)
    cnn14(draw, "audio_encoder.base.")
    residual(draw, "audio_encoder.projection.", 20)
    bert(draw, "caption_encoder.base.", vocabulary, positions=120, types=2)
    residual(draw, "caption_encoder.projection.", TEXT_WIDTH)
    draw.weights["logit_scale"] = torch.tensor(3.7)
    return draw.weights


def msclap_2023(vocabulary: int) -> dict[str, torch.Tensor]:
    draw = Draw(3)
    htsat(draw, "audio_encoder.base.htsat.", 32_000, **HTSAT_TINY)
    residual(draw, "audio_encoder.projection.", 128)
    gpt2(draw, "caption_encoder.base.", vocabulary)
    residual(draw, "caption_encoder.projection.", TEXT_WIDTH)
    draw.weights["logit_scale"] = torch.tensor(3.3)
    return draw.weights


def clap_head(draw: Draw) -> dict[str, torch.Tensor]:
    """Projections and scales of LAION CLAP and ReCLAP, whose projections are as wide between as behind."""
    for side in ("text", "audio"):
        for layer in (0, 3):
            draw.linear(f"{side}_transform.sequential.{layer}", JOINT, JOINT)
        draw.linear(f"{side}_projection.0", JOINT, 128)
        draw.linear(f"{side}_projection.2", JOINT, JOINT)
    draw.weights["logit_scale_a"], draw.weights["logit_scale_t"] = torch.tensor(3.1), torch.tensor(1.7)
    return draw.weights


def laion(vocabulary: int) -> dict[str, torch.Tensor]:
    draw = Draw(4)
    htsat(draw, "audio_branch.", 48_000, **HTSAT_TINY)
    bert(draw, "text_branch.", vocabulary, positions=100, types=1)
    draw.weights["text_branch.embeddings.position_ids"] = torch.arange(100)[None]
    return clap_head(draw)


def reclap(vocabulary: int) -> dict[str, torch.Tensor]:
    draw = Draw(5)
    htsat(draw, "audio_branch.", 48_000, **HTSAT_BASE)
    fusion(draw, "audio_branch.patch_embed.", HTSAT_BASE["embed"])
    # The embedding table of T5 has more rows than its tokenizer has tokens.
    t5_encoder(draw, "text_branch.", vocabulary + 28)
    return clap_head(draw)


LAYOUTS = {
    "pengi": pengi,
    "msclap-2022": msclap_2022,
    "msclap-2023": msclap_2023,
    "laion": laion,
    "reclap": reclap,
}
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
