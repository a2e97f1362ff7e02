"""The computation of ZEBRA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ...losses import LossHook, ZebraLoss
from ...models import ClassBank, similarity_output
from ...outputs import ClassHeadOutput
from ..base import PromptMethod

if TYPE_CHECKING:
    from ...models import AlmModel
    from .config import ZebraPromptConfig


class ZebraPrompt(PromptMethod):
    """`alpha * wrapped logits + (1 - alpha) * zero-shot logits`, in training and in inference (arXiv 2606.31587)."""

    config: ZebraPromptConfig

    def __init__(self, config: ZebraPromptConfig) -> None:
        super().__init__(config)
        self.prompt = config.prompt.build()

    @property
    def loss_hooks(self) -> tuple[LossHook, ...]:
        """Those of the wrapped method, and the entropy of the fused predictions."""
        return (*self.prompt.loss_hooks, ZebraLoss(self.config.entropy_weight))

    def initial_tensors(self, bank: ClassBank, alm: AlmModel) -> dict[str, torch.Tensor]:
        """Those of the wrapped method."""
        return self.prompt.initial_tensors(bank, alm)

    def check_bank(self, bank: ClassBank) -> None:
        """The wrapped method decides."""
        self.prompt.check_bank(bank)

    def static_features(self, tensors: Mapping[str, torch.Tensor], bank: ClassBank, alm: AlmModel) -> torch.Tensor:
        """Those of the wrapped method."""
        return self.prompt.static_features(tensors, bank, alm)

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
        alpha = self.config.alpha
        return replace(prompted, logits=alpha * prompted.logits + (1 - alpha) * zero_shot.logits)
