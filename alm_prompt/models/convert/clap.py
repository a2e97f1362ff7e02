"""LAION CLAP (Wu et al. 2023) as `transformers` stores it: configuration, weights and front end in our terms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from transformers import ClapConfig

from ...errors import AlmPromptError
from ..configuration import AlmConfig

RENAMED_PREFIXES = {
    "audio_model.": "audio_tower.model.",
    "text_model.": "text_tower.model.",
    "audio_projection.": "audio_projection.",
    "text_projection.": "text_projection.",
}
TRUNCATIONS: dict[str, dict[str, Any]] = {
    "rand_trunc": {"mel_scale": "slaney", "mel_norm": "slaney"},
    "fusion": {"mel_scale": "htk", "mel_norm": None, "fusion": True},
}
PADDINGS = {"repeatpad": "repeatpad", "repeat": "tile", "pad": "zero"}


def config_from_clap(config: ClapConfig) -> AlmConfig:
    """Say in an [`AlmConfig`] what a `ClapConfig` says.

    Args:
        config: Configuration of a `ClapModel`.

    Returns:
        Configuration of the same dual encoder.
    """
    projection = {
        "kind": "mlp",
        "hidden_size": config.projection_dim,
        "activation": config.projection_hidden_act,
        "bias": True,
    }
    return AlmConfig(
        audio_config=config.audio_config,
        text_config=config.text_config,
        projection_dim=config.projection_dim,
        audio_projection=projection,
        text_projection=dict(projection),
        text_pooling="pooler",
        logit_scale_init_value=math.log(config.logit_scale_init_value),
    )


def state_dict_from_clap(state_dict: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Rename the weights of a `ClapModel` to those of [`AlmModel`].

    CLAP learned one logit scale per direction; classifying audio uses `logit_scale_a`.

    Args:
        state_dict: Weights under the names of `ClapModel`.

    Returns:
        The same tensors under the names of `AlmModel`.

    Raises:
        AlmPromptError: If a tensor does not belong to a `ClapModel`.
    """
    renamed = {}
    for name, tensor in state_dict.items():
        prefix = next((prefix for prefix in RENAMED_PREFIXES if name.startswith(prefix)), None)
        if prefix is not None:
            renamed[RENAMED_PREFIXES[prefix] + name.removeprefix(prefix)] = tensor
        elif name == "logit_scale_a":
            renamed["logit_scale"] = tensor
        elif name != "logit_scale_t":
            raise AlmPromptError(f"tensor {name!r} is not part of a ClapModel; save the model with ClapModel's names")
    return renamed


def feature_settings_from_clap(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Translate the settings of a `ClapFeatureExtractor` to those of [`AlmFeatureExtractor`].

    Unfused CLAP was trained on slaney filters (the `rand_trunc` path of `transformers`); its random crop becomes our
    deterministic centre crop. Fused CLAP was trained on torchaudio's (the `fusion` path); its random parts of a long
    clip become those at fixed places.

    Args:
        settings: Content of a CLAP `preprocessor_config.json`.

    Returns:
        Keyword arguments of `AlmFeatureExtractor`.

    Raises:
        AlmPromptError: If the settings name an unknown truncation or padding.
    """
    if settings["truncation"] not in TRUNCATIONS:
        raise AlmPromptError(
            f"feature extractor truncation {settings['truncation']!r} is unknown; use {sorted(TRUNCATIONS)}"
        )
    if settings["padding"] not in PADDINGS:
        raise AlmPromptError(f"feature extractor padding {settings['padding']!r} is unknown; use {sorted(PADDINGS)}")
    return {
        "sampling_rate": settings["sampling_rate"],
        "n_fft": settings["fft_window_size"],
        "win_length": settings["fft_window_size"],
        "hop_length": settings["hop_length"],
        "n_mels": settings["feature_size"],
        "f_min": float(settings["frequency_min"]),
        "f_max": float(settings["frequency_max"]),
        **TRUNCATIONS[settings["truncation"]],
        "power": 2.0,
        "center": True,
        "log": "db",
        "clip_seconds": float(settings["max_length_s"]),
        "pad": PADDINGS[settings["padding"]],
    }
