"""What tells one frozen encoder from another, to the last bit."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from torch import nn
from transformers import PreTrainedConfig

from ..cache import update_digest

if TYPE_CHECKING:
    from .modeling import AlmModel


def audio_fingerprint(alm: AlmModel) -> str:
    """Return the sha256 of configuration, dtypes and bytes of the audio tower and its projection."""
    settings = [_settings(alm.config.audio_config), alm.config.audio_projection]
    return _fingerprint(settings, alm.audio_tower, alm.audio_projection)


def text_fingerprint(alm: AlmModel) -> str:
    """Return the sha256 of configuration, dtypes and bytes of the text tower and its projection."""
    tower = alm.text_tower
    pooling = [tower.pooling, tower.normalize, tower.max_length]
    settings = [_settings(alm.config.text_config), alm.config.text_projection, pooling]
    return _fingerprint(settings, tower, alm.text_projection)


def _settings(config: PreTrainedConfig) -> dict[str, Any]:
    # Where a model came from is no property of it, and its dtype is that of its tensors.
    return {key: value for key, value in config.to_dict().items() if not key.startswith("_") and key != "dtype"}


def _fingerprint(settings: list[Any], *parts: nn.Module) -> str:
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True, default=str).encode())
    for part in parts:
        update_digest(digest, part.state_dict())
    return digest.hexdigest()
