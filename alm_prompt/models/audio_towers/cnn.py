"""PANN-style convolutional audio tower (Kong et al. 2020, "PANNs"; Cnn14 is the default configuration)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedConfig

from ...errors import AlmPromptError


class CnnAudioConfig(PreTrainedConfig):
    """Configuration of [`CnnAudioTower`]; the defaults are PANN Cnn14, the audio tower of MS-CLAP 2022.

    Args:
        num_mel_bins: Mel bins of the input spectrogram.
        channels: Output channels of each convolution block; every block but the last halves time and frequency.
        hidden_size: Size of the clip embedding.
        block_dropout: Dropout after each block, in training only.
        embedding_dropout: Dropout before the last linear layer, in training only.
    """

    model_type = "alm_cnn"
    base_config_key = "audio_config"

    num_mel_bins: int = 64
    channels: list[int] | tuple[int, ...] = (64, 128, 256, 512, 1024, 2048)
    hidden_size: int = 2048
    block_dropout: float | int = 0.2
    embedding_dropout: float | int = 0.5


class ConvBlock(nn.Module):
    """Two 3x3 convolutions, each with BatchNorm and ReLU, then average pooling by `pool` in both directions."""

    def __init__(self, in_channels: int, out_channels: int, pool: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = nn.Conv2d(out_channels, out_channels, kernel_size=3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.pool = pool

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.bn1(self.conv1(hidden)))
        hidden = F.relu(self.bn2(self.conv2(hidden)))
        return F.avg_pool2d(hidden, self.pool) if self.pool > 1 else hidden


class CnnAudioTower(nn.Module):
    """Log-mel spectrogram to clip embedding.

    BatchNorm over the mel bins, convolution blocks, mean over frequency, max plus mean over time, Linear and ReLU.
    """

    def __init__(self, config: CnnAudioConfig) -> None:
        super().__init__()
        self.config = config
        self.hidden_size = config.hidden_size
        channels = list(config.channels)
        pools = [2] * (len(channels) - 1) + [1]
        self.batch_norm = nn.BatchNorm2d(config.num_mel_bins)
        self.blocks = nn.ModuleList(
            ConvBlock(before, after, pool)
            for before, after, pool in zip([1, *channels[:-1]], channels, pools, strict=True)
        )
        self.block_dropout = nn.Dropout(config.block_dropout)
        self.embedding_dropout = nn.Dropout(config.embedding_dropout)
        self.fc = nn.Linear(channels[-1], config.hidden_size)
        self.min_size = 2 ** (len(channels) - 1)

    def forward(self, input_features: torch.Tensor, feature_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Embed clips.

        Args:
            input_features: Log-mel spectrograms `[B, 1, T, num_mel_bins]`.
            feature_mask: Not used: every clip of this tower has the same length.

        Returns:
            Clip embeddings `[B, hidden_size]`, before the projection.

        Raises:
            AlmPromptError: If the spectrogram is too small for the pooling, or has other mel bins than the tower.
        """
        frames, mels = input_features.shape[-2:]
        if mels != self.config.num_mel_bins or min(frames, mels) < self.min_size:
            raise AlmPromptError(
                f"spectrogram of {frames} frames x {mels} mel bins does not fit this audio tower, which needs"
                f" {self.config.num_mel_bins} mel bins and {self.min_size} frames or more; use its own processor"
            )
        hidden = self.batch_norm(input_features.transpose(1, 3)).transpose(1, 3)
        for block in self.blocks:
            hidden = self.block_dropout(block(hidden))
        hidden = hidden.mean(dim=3)
        hidden = hidden.amax(dim=2) + hidden.mean(dim=2)
        return F.relu(self.fc(self.embedding_dropout(hidden)))
