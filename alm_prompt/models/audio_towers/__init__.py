"""Audio towers, found by the `model_type` of their configuration."""

from __future__ import annotations

from torch import nn
from transformers import ClapAudioConfig, PreTrainedConfig

from ...errors import AlmPromptError
from .cnn import CnnAudioConfig, CnnAudioTower
from .htsat import HtsatAudioTower
from .yamnet import YamnetAudioTower, YamnetConfig

AUDIO_CONFIGS: dict[str, type[PreTrainedConfig]] = {
    config.model_type: config for config in (ClapAudioConfig, CnnAudioConfig, YamnetConfig)
}
AUDIO_TOWERS: dict[str, type[nn.Module]] = {
    ClapAudioConfig.model_type: HtsatAudioTower,
    CnnAudioConfig.model_type: CnnAudioTower,
    YamnetConfig.model_type: YamnetAudioTower,
}


def build_audio_tower(config: PreTrainedConfig) -> nn.Module:
    """Build the tower of a configuration, with random weights.

    A tower has `hidden_size` and maps `(input_features, feature_mask=None)` to clip embeddings `[B, hidden_size]`.

    Args:
        config: Configuration of one of `AUDIO_CONFIGS`.

    Raises:
        AlmPromptError: If no tower has the `model_type` of the configuration.
    """
    if config.model_type not in AUDIO_TOWERS:
        raise AlmPromptError(
            f"audio_config of model_type {config.model_type!r} has no audio tower; use one of {sorted(AUDIO_TOWERS)}"
        )
    return AUDIO_TOWERS[config.model_type](config)
