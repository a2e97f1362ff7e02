"""The class head: from a class bank and audio features to logits. Prompt methods stand in for this module."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

import torch
from torch import nn

from ..losses import LossHook
from ..outputs import ClassHeadOutput
from .encoder_modes import FROZEN

if TYPE_CHECKING:
    from .class_bank import ClassBank
    from .modeling import AlmModel


class ClassHead(nn.Module):
    """Zero-shot classification: the scaled cosine of audio and class sentences. It has no parameters."""

    cross_entropy_weight = 1.0
    encoder_mode = FROZEN

    @property
    def loss_hooks(self) -> tuple[LossHook, ...]:
        """Loss hooks that belong to the head; the plain head has none."""
        return ()

    def check_bank(self, bank: ClassBank) -> None:
        """Refuse classes that the head cannot tell apart; the plain head takes any."""

    def fallback_classes(self, bank: ClassBank) -> list[str]:
        """Classes that something learned does not reach; the plain head has learned nothing."""
        return []

    def encoders(self, alm: AlmModel) -> AbstractContextManager[None]:
        """Encoders as the head wants them while it is at work; the plain head takes them as they are."""
        return nullcontext()

    def class_weights(self, bank: ClassBank, alm: AlmModel) -> tuple[torch.Tensor, torch.Tensor | float]:
        """Vectors that stand for the classes: `logits = factor * unit audio embedding @ vectors.T`.

        Args:
            bank: the classes.
            alm: the model that encodes text.

        Returns:
            The vectors `[C, d]` and the factor.
        """
        return bank.zero_shot_embeds(alm), alm.logit_scale.exp()

    def forward(self, bank: ClassBank, audio_features: torch.Tensor, alm: AlmModel) -> ClassHeadOutput:
        """Classify.

        Args:
            bank: the classes.
            audio_features: `[B, d]`, projected, not normalised.
            alm: the model that encodes text.
        """
        return similarity_output(audio_features, bank.zero_shot_embeds(alm), alm.logit_scale.exp())


def similarity_output(
    audio_features: torch.Tensor, text_features: torch.Tensor, logit_scale: torch.Tensor | float
) -> ClassHeadOutput:
    """Scaled cosines of audio with class texts, in float32 or wider whatever the autocast.

    Args:
        audio_features: `[B, d]`.
        text_features: `[C, d]`, or `[B, C, d]` where every clip has its own prompts.
        logit_scale: factor on the cosines.
    """
    dtype = torch.promote_types(torch.promote_types(audio_features.dtype, text_features.dtype), torch.float32)
    with torch.autocast(audio_features.device.type, enabled=False):
        audio_embeds = nn.functional.normalize(audio_features.to(dtype), dim=-1)
        text_embeds = nn.functional.normalize(text_features.to(dtype), dim=-1)
        per_clip = "bd,bcd->bc" if text_embeds.dim() == 3 else "bd,cd->bc"
        logits = logit_scale * torch.einsum(per_clip, audio_embeds, text_embeds)
    features = {"audio_features": lambda: audio_features, "text_features": lambda: text_features}
    return ClassHeadOutput(logits, audio_embeds, text_embeds, auxiliary=features)
