"""HTSAT (Chen et al. 2022) in the layout of its authors, which Pengi, MS-CLAP 2023, LAION CLAP and ReCLAP share."""

from __future__ import annotations

import math

import torch
from transformers import ClapAudioConfig

from .mapping import FOURIER_REASON, LABELS_REASON, MEL_FILTERS_REASON, Part, Weights, count, size

MEL_FILTERS = "logmel_extractor.melW"
# Only an HTSAT with feature fusion has it.
FUSION = "patch_embed.mel_conv2d.weight"
TARGET = "audio_tower.model.audio_encoder."
# In this order. `norm1` and `norm2` occur inside blocks only; all other norms keep their names.
RENAMES = {
    "bn0.": "batch_norm.",
    ".norm1.": ".layernorm_before.",
    ".norm2.": ".layernorm_after.",
    ".attn.proj.": ".attention.output.dense.",
    ".attn.": ".attention.self.",
    ".mlp.fc1.": ".intermediate.dense.",
    ".mlp.fc2.": ".output.dense.",
}
DROPS = {
    r"logmel_extractor\.melW": MEL_FILTERS_REASON,
    r"spectrogram_extractor\..*": FOURIER_REASON,
    r"layers\..*\.attn_mask": "the mask of shifted windows is computed, not stored",
    r"(tscam_conv|head)\..*": LABELS_REASON,
}


def htsat_part(source: str) -> Part:
    """Where the tensors of an HTSAT under a prefix go; its `qkv` must be [split][`split_qkv`] before.

    Args:
        source: prefix in the checkpoint.
    """
    return Part(source, TARGET, _rename, DROPS)


def htsat_config(weights: Weights, source: str) -> ClapAudioConfig:
    """Read the sizes of an HTSAT from the shapes of its tensors.

    Args:
        weights: tensors of the checkpoint.
        source: prefix of the tower.
    """
    stages = range(count(weights, f"{source}layers."))
    blocks = [f"{source}layers.{stage}.blocks." for stage in stages]
    embed, patch = (
        size(weights, f"{source}patch_embed.proj.weight"),
        size(weights, f"{source}patch_embed.proj.weight", 3),
    )
    # A table of relative positions has (2 * window - 1) ** 2 rows, a mask one row per window of the image.
    tables = [f"{block}0.attn.relative_position_bias_table" for block in blocks]
    window = (math.isqrt(size(weights, f"{source}layers.0.blocks.0.attn.relative_position_bias_table")) + 1) // 2
    grid = math.isqrt(size(weights, f"{source}layers.0.blocks.1.attn_mask")) * window
    return ClapAudioConfig(
        num_mel_bins=size(weights, f"{source}bn0.weight"),
        spec_size=grid * patch,
        patch_size=patch,
        patch_stride=[patch, patch],
        patch_embeds_hidden_size=embed,
        hidden_size=embed * 2 ** (len(blocks) - 1),
        window_size=window,
        depths=[count(weights, block) for block in blocks],
        num_attention_heads=[size(weights, table, 1) for table in tables],
        mlp_ratio=size(weights, f"{source}layers.0.blocks.0.mlp.fc1.weight") / embed,
        enable_fusion=f"{source}{FUSION}" in weights,
        hidden_dropout_prob=0.0,
        # HTSAT's own; it is at work in training mode only.
        drop_path_rate=0.1,
    )


def split_qkv(weights: Weights) -> dict[str, torch.Tensor]:
    """Split each joint tensor of queries, keys and values into three, as `ClapAudioModel` holds them."""
    split = {}
    for name, tensor in weights.items():
        if ".attn.qkv." not in name:
            split[name] = tensor
            continue
        for part, piece in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
            # A piece of its own: safetensors refuses views into one storage.
            split[name.replace(".qkv.", f".{part}.")] = piece.clone()
    return split


def _rename(name: str) -> str:
    for theirs, ours in RENAMES.items():
        name = name.replace(theirs, ours)
    return name
