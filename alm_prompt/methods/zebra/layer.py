"""The computation of ZEBRA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ...losses import LossHook, ZebraLoss
from ...models import ClassBank, similarity_output
from ...outputs import ClassHeadOutput
from ..base import WrapperMethod

if TYPE_CHECKING:
    from ...models import AlmModel
    from .config import ZebraPromptConfig


class ZebraPrompt(WrapperMethod):
    """`alpha * wrapped logits + (1 - alpha) * zero-shot logits`, in training and in inference (arXiv 2606.31587)."""

    config: ZebraPromptConfig

    @property
    def loss_hooks(self) -> tuple[LossHook, ...]:
        """Those of the wrapped method, and the entropy of the fused predictions."""
        return (*self.prompt.loss_hooks, ZebraLoss(self.config.entropy_weight))

    def forward(
        self,
        tensors: Mapping[str, torch.Tensor],
        bank: ClassBank,
        audio_features: torch.Tensor,
        alm: AlmModel,
        logit_scale: torch.Tensor | float,
    ) -> ClassHeadOutput:
        """Fuse the wrapped method's logits with those of the adapter's zero-shot template."""
        prompted = self.prompt.forward(tensors, bank, audio_features, alm, logit_scale)
        class_embeds = bank.with_template(self.config.template).zero_shot_embeds(alm)
        zero_shot = similarity_output(audio_features, class_embeds, logit_scale)

        def fused(logits: torch.Tensor) -> torch.Tensor:
            return self.config.alpha * logits + (1 - self.config.alpha) * zero_shot.logits

        loss_logits = None if prompted.loss_logits is None else fused(prompted.loss_logits)
        return replace(prompted, logits=fused(prompted.logits), loss_logits=loss_logits)
