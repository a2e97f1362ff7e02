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
            input_features: Log-mel spectrograms `[B, 1, T, num_mel_bins]`, T at most 4 x `spec_size`; with feature
                fusion `[B, 4, T, num_mel_bins]`, see [`~alm_prompt.audio.features.fusion_views`].
            feature_mask: With feature fusion `[B, 4]`, 1 on the views that are read: all of a long clip, the first of
                a short one. Default: all. Else not used: every clip of this tower has the same length.

        Returns:
            Clip embeddings `[B, hidden_size]`, before the projection.

        Raises:
            AlmPromptError: In training mode, a batch with a single long clip, which batch norm cannot fuse.
        """
        if not self.config.enable_fusion:
            return self.model(input_features=input_features).pooler_output
        views = input_features.new_ones(input_features.shape[:2]) if feature_mask is None else feature_mask
        is_longer = views.sum(dim=1) > 1
        if self.training and is_longer.sum() == 1:
            raise AlmPromptError(
                "a batch with a single clip that is long enough for feature fusion cannot train this audio tower: its "
                "batch norm needs two; train with encoder_mode='frozen', or on shorter clips"
            )
        return self.model(input_features=input_features, is_longer=is_longer[:, None]).pooler_output
