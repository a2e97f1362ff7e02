"""HTSAT audio tower (Chen et al. 2022) through the CLAP audio model of `transformers`."""

from __future__ import annotations

import torch
from torch import nn
from transformers import ClapAudioConfig, ClapAudioModel

from ...errors import AlmPromptError


class HtsatAudioTower(nn.Module):
    """Log-mel spectrogram to clip embedding with `ClapAudioModel`, held as `.model` under its own names."""

    def __init__(self, config: ClapAudioConfig) -> None:
        super().__init__()
        if config.enable_fusion:
            raise AlmPromptError(
                "audio_config.enable_fusion=True: fused CLAP checkpoints are not supported; use an unfused one such as"
                " laion/clap-htsat-unfused"
            )
        self.config = config
        self.hidden_size = config.hidden_size
        self.model = ClapAudioModel(config)

    @property
    def batch_norm(self) -> nn.BatchNorm2d:
        """Normalisation of the mel bins."""
        return self.model.audio_encoder.batch_norm

    def forward(self, input_features: torch.Tensor, feature_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Embed clips.

        Args:
            input_features: Log-mel spectrograms `[B, 1, T, num_mel_bins]`, T at most 4 x `spec_size`.
            feature_mask: Not used: every clip of this tower has the same length.

        Returns:
            Clip embeddings `[B, hidden_size]`, before the projection.
        """
        return self.model(input_features=input_features).pooler_output
