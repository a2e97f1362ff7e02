"""YAMNet audio tower: MobileNet-v1 over 0.96 s patches (Plakal & Ellis, AudioSet YAMNet; Howard et al. 2017)."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F
from transformers import PreTrainedConfig

from ...errors import AlmPromptError

# A one-hour clip has 7,500 patches: convolving them piece by piece keeps memory bounded.
PATCHES_PER_PASS = 256


class YamnetConfig(PreTrainedConfig):
    """Configuration of [`YamnetAudioTower`].

    Args:
        patch_frames: Frames of one patch.
        num_mel_bins: Mel bins of one patch.
        stem_channels: Output channels of the first convolution (stride 2).
        channels: Output channels of each depthwise-separable layer.
        strides: Stride of each depthwise-separable layer.
        hidden_size: Size of the clip embedding; the last of `channels`.
    """

    model_type = "alm_yamnet"
    base_config_key = "audio_config"

    patch_frames: int = 96
    num_mel_bins: int = 64
    stem_channels: int = 32
    channels: list[int] | tuple[int, ...] = (64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024)
    strides: list[int] | tuple[int, ...] = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1)
    hidden_size: int = 1024

    def __post_init__(self, **kwargs) -> None:
        super().__post_init__(**kwargs)
        if len(self.channels) != len(self.strides) or self.channels[-1] != self.hidden_size:
            raise AlmPromptError(
                f"YamnetConfig with {len(self.channels)} channels, {len(self.strides)} strides and hidden_size"
                f" {self.hidden_size}: give one stride per layer, and the last channel count as hidden_size"
            )


class SameConv2d(nn.Conv2d):
    """3x3 convolution with TensorFlow's SAME padding, which puts the odd row and column after, not before."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size=3, stride=stride, groups=groups)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        padding = []
        for size, stride in zip(reversed(hidden.shape[-2:]), reversed(self.stride), strict=True):
            total = max((-(-size // stride) - 1) * stride + 3 - size, 0)
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(hidden, padding))


class SeparableLayer(nn.Module):
    """Depthwise 3x3 and pointwise 1x1 convolution, a ReLU after each (batch norm is folded into the weights)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.depthwise = SameConv2d(in_channels, in_channels, stride, groups=in_channels)
        self.pointwise = nn.Conv2d(in_channels, out_channels, kernel_size=1)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        return F.relu(self.pointwise(F.relu(self.depthwise(hidden))))


class YamnetAudioTower(nn.Module):
    """Log-mel patches to clip embedding: each patch through MobileNet-v1, then the mean over the clip's patches."""

    def __init__(self, config: YamnetConfig) -> None:
        super().__init__()
        self.config = config
        self.hidden_size = config.hidden_size
        channels = [config.stem_channels, *config.channels]
        self.stem = SameConv2d(1, config.stem_channels, stride=2)
        self.layers = nn.ModuleList(
            SeparableLayer(before, after, stride)
            for before, after, stride in zip(channels[:-1], channels[1:], config.strides, strict=True)
        )

    def forward(self, input_features: torch.Tensor, feature_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Embed clips.

        Args:
            input_features: Log-mel patches `[B, P, patch_frames, num_mel_bins]`.
            feature_mask: `[B, P]`, 1 for a real patch and 0 for padding; all real when None.

        Returns:
            Clip embeddings `[B, hidden_size]`, before the projection.

        Raises:
            AlmPromptError: If the patches are not of the size the tower was built for.
        """
        size = (self.config.patch_frames, self.config.num_mel_bins)
        if input_features.dim() != 4 or tuple(input_features.shape[-2:]) != size:
            raise AlmPromptError(
                f"input_features of shape {list(input_features.shape)} do not fit this audio tower: it needs"
                f" [batch, patches, {size[0]}, {size[1]}]; use the model's own processor"
            )
        if feature_mask is None:
            feature_mask = input_features.new_ones(input_features.shape[:2])
        real = feature_mask.bool()
        embeddings = torch.cat([self._embed(chunk) for chunk in input_features[real].split(PATCHES_PER_PASS)])
        sums = embeddings.new_zeros(len(real), self.hidden_size)
        sums = sums.index_add(0, real.nonzero()[:, 0], embeddings)
        return sums / real.sum(dim=1, keepdim=True)

    def _embed(self, patches: torch.Tensor) -> torch.Tensor:
        hidden = F.relu(self.stem(patches.unsqueeze(1)))
        for layer in self.layers:
            hidden = layer(hidden)
        return hidden.mean(dim=(2, 3))
