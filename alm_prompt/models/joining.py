"""Reading the two towers of a new dual encoder from models that exist."""

from __future__ import annotations

import copy
import os

import torch
from torch import nn
from transformers import AutoModel, PreTrainedConfig

from ..errors import AlmPromptError
from .audio_towers import AUDIO_TOWERS
from .configuration import open_config
from .text_families import FAMILIES

# Where a tower comes from: a folder or Hub id, a model with weights, or a configuration without any.
TowerSource = str | os.PathLike | nn.Module | PreTrainedConfig

# Under which names a model may hold a tower: our own models, those of `transformers`, a tower by itself.
AUDIO_PREFIXES = ("audio_tower.", "audio_tower.model.", "audio_model.", "model.", "")
TEXT_PREFIXES = ("text_tower.model.", "text_model.", "")
# Text models that were trained with one pooling, which their weights expect. The others are pooled over all tokens:
# that needs no token which a tokenizer may not write, and no layer which a checkpoint may not have.
TRAINED_POOLINGS = {"clip_text_model": "eos", "clap_text_model": "pooler"}


def audio_config_of(source: TowerSource) -> PreTrainedConfig:
    """Configuration of the audio tower in a source, or the error that there is none."""
    return _config_of(source, "audio", list(AUDIO_TOWERS))


def text_config_of(source: TowerSource) -> PreTrainedConfig:
    """Configuration of the text model in a source, or the error that there is none."""
    return _config_of(source, "text", list(FAMILIES))


def default_pooling(config: PreTrainedConfig) -> str:
    """Pooling of a text model where nobody asks for another."""
    return TRAINED_POOLINGS.get(config.model_type, "mean")


def copy_weights(target: nn.Module, source: TowerSource, prefixes: tuple[str, ...]) -> None:
    """Take over the weights of a tower; a configuration has none, and leaves the target as it is.

    Args:
        target: module of the tower, built after the source's configuration.
        source: where the weights are.
        prefixes: names under which the source may hold them.

    Raises:
        AlmPromptError: the source lacks a weight.
    """
    if isinstance(source, PreTrainedConfig):
        return
    weights = source.state_dict() if isinstance(source, nn.Module) else _read_weights(source, target)
    needed = target.state_dict().keys()
    lacking = {prefix: [name for name in needed if prefix + name not in weights] for prefix in prefixes}
    prefix = min(prefixes, key=lambda prefix: len(lacking[prefix]))
    if lacking[prefix]:
        raise AlmPromptError(
            f"{_name_of(source)} has no weight {lacking[prefix][0]!r} of a {type(target).__name__}; give a model that "
            "has all of them"
        )
    target.load_state_dict({name: weights[prefix + name] for name in needed})


def _config_of(source: TowerSource, side: str, supported: list[str]) -> PreTrainedConfig:
    if isinstance(source, (str, os.PathLike)):
        config = open_config(source)
    else:
        config = source if isinstance(source, PreTrainedConfig) else getattr(source, "config", None)
    # Models of two towers (CLAP, CLIP, our own) have a configuration for each.
    config = getattr(config, f"{side}_config", config)
    model_type = getattr(config, "model_type", None)
    if model_type not in supported:
        raise AlmPromptError(
            f"{side} is {_name_of(source)} of type {model_type!r}, which is not supported; choose one of "
            f"{', '.join(supported)}"
        )
    return copy.deepcopy(config)


def _read_weights(source: str | os.PathLike, target: nn.Module) -> dict[str, torch.Tensor]:
    """Weights that a folder or repository really holds, without those that are made up where it lacks some."""
    config = open_config(source)
    # The model that transformers has for a type is not always the encoder alone: T5's has a decoder.
    loader = type(target) if config.model_type == target.config.model_type else AutoModel
    model, report = loader.from_pretrained(
        source, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
    )
    return {name: weight for name, weight in model.state_dict().items() if name not in report["missing_keys"]}


def _name_of(source: TowerSource) -> str:
    return type(source).__name__ if isinstance(source, (nn.Module, PreTrainedConfig)) else repr(str(source))
