"""Importer of yamnet-minilm, a small pre-trained audio-language model: YAMNet joined with all-MiniLM-L6-v2."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from transformers import BertConfig, BertTokenizer

from ...errors import AlmPromptError
from ..audio_towers.yamnet import YamnetConfig
from ..configuration import AlmConfig
from ..modeling import AlmModel
from ..processing import AlmFeatureExtractor, AlmProcessor

WEIGHT_FILES = ("model.safetensors", "text_tower.safetensors")
FILES = ("config.json", *WEIGHT_FILES, "tokenizer.json", "tokenizer_config.json", "vocab.txt")
# The model itself takes clips of any length; the centre minute keeps the memory of an hour-long file bounded.
LONGEST_CLIP_SECONDS = 60.0


def import_yamnet_minilm(folder: str | Path) -> tuple[AlmModel, AlmProcessor]:
    """Read a yamnet-minilm folder; `save_pretrained` of both results writes it in our own format.

    The stored float16 weights run in float32. Clips longer than a minute are read by their centre minute.

    Args:
        folder: Folder with `config.json`, the two weight files and the tokenizer.

    Returns:
        The model, in eval mode, and its processor.

    Raises:
        AlmPromptError: If a file is missing or unreadable, or a tensor is missing, unknown or of another shape.
    """
    folder = Path(folder)
    for name in FILES:
        if not (folder / name).is_file():
            raise AlmPromptError(f"{folder} is not a yamnet-minilm folder: {name} is missing")
    settings = _read_settings(folder / "config.json")
    model = AlmModel(_config(settings))
    _load_strictly(model, _read_weights(folder))
    tokenizer = BertTokenizer.from_pretrained(folder, model_input_names=["input_ids", "attention_mask"])
    return model.eval(), AlmProcessor(_feature_extractor(settings["feature_extractor"]), tokenizer)


def _read_settings(path: Path) -> dict[str, Any]:
    settings = json.loads(path.read_text(encoding="utf-8"))
    if settings.get("model_type") != "yamnet_minilm_alm":
        raise AlmPromptError(f"{path} has model_type {settings.get('model_type')!r}, not 'yamnet_minilm_alm'")
    return settings


def _config(settings: dict[str, Any]) -> AlmConfig:
    audio, text = settings["audio_tower"], settings["text_tower"]
    shared = set(BertConfig().to_dict()) & set(text) - {"hidden_act"}
    return AlmConfig(
        audio_config=YamnetConfig(
            stem_channels=audio["stem"]["out"],
            channels=[layer["out"] for layer in audio["separable"]],
            strides=[layer["stride"] for layer in audio["separable"]],
            hidden_size=audio["hidden_size"],
        ),
        text_config=BertConfig(hidden_act="gelu", **{name: text[name] for name in shared}),
        projection_dim=settings["projection_dim"],
        audio_projection={"kind": "linear", "bias": settings["audio_projection"]["bias"]},
        text_projection={
            "kind": "mlp",
            "hidden_size": settings["text_projection"]["linear1"][1],
            "activation": "gelu",
            "bias": settings["text_projection"]["bias"],
        },
        text_pooling="mean",
        normalize_pooled_text=True,
        logit_scale_init_value=settings["logit_scale_init_value"],
    )


def _feature_extractor(settings: dict[str, Any]) -> AlmFeatureExtractor:
    return AlmFeatureExtractor(
        sampling_rate=settings["sampling_rate"],
        n_fft=settings["fft_length"],
        win_length=settings["frame_length"],
        hop_length=settings["hop_length"],
        n_mels=settings["num_mel_bins"],
        f_min=settings["mel_min_hz"],
        f_max=settings["mel_max_hz"],
        mel_scale=settings["mel_scale"],
        mel_norm=settings["mel_norm"],
        triangles_in_mel_space=True,
        power=1.0,
        center=settings["center"],
        log="ln",
        log_floor=0.0,
        log_offset=settings["log_offset"],
        clip_seconds=LONGEST_CLIP_SECONDS,
        pad="patch",
        patch_frames=settings["patch_frames"],
        patch_hop=settings["patch_hop_frames"],
    )


def _read_weights(folder: Path) -> dict[str, torch.Tensor]:
    weights = {}
    for name in WEIGHT_FILES:
        try:
            weights.update(load_file(folder / name))
        except Exception as error:
            raise AlmPromptError(f"{folder / name} cannot be read as safetensors ({error}); copy it again") from error
    return {_our_name(name): tensor.float() for name, tensor in weights.items()}


def _our_name(name: str) -> str:
    """The folder counts all layers from `layer1`; we hold the first one as the stem."""
    name = name.replace("audio_tower.layer1.conv.", "audio_tower.stem.")
    name = re.sub(r"^audio_tower\.layer(\d+)\.", lambda match: f"audio_tower.layers.{int(match[1]) - 2}.", name)
    return re.sub(r"^text_tower\.", "text_tower.model.", name)


def _load_strictly(model: AlmModel, weights: dict[str, torch.Tensor]) -> None:
    expected = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    for name in sorted(expected.keys() | weights.keys()):
        if name not in weights:
            raise AlmPromptError(f"yamnet-minilm weights lack the tensor {name}; copy the folder again")
        if name not in expected:
            raise AlmPromptError(f"yamnet-minilm weights hold the unknown tensor {name}; copy the folder again")
        if tuple(weights[name].shape) != expected[name]:
            raise AlmPromptError(
                f"tensor {name} has shape {list(weights[name].shape)} where the model needs {list(expected[name])};"
                " config.json and the weights do not belong together"
            )
    model.load_state_dict(weights)
