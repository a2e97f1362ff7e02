"""The computation of ZEBRA."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ...losses import LossHook, ZebraLoss
from ...outputs import ClassHeadOutput
from ..base import PromptInputs, WrapperMethod

if TYPE_CHECKING:
    from .config import ZebraPromptConfig


class ZebraPrompt(WrapperMethod):
    """`alpha * wrapped logits + (1 - alpha) * zero-shot logits`, in training and in inference (arXiv 2606.31587)."""

    config: ZebraPromptConfig

    @property
    def loss_hooks(self) -> tuple[LossHook, ...]:
        """Those of the wrapped method, and the entropy of the fused predictions."""
        return (*self.prompt.loss_hooks, ZebraLoss(self.config.entropy_weight))

    @property
    def cosine_logits(self) -> bool:
        """No: they are a blend."""
        return False

    def class_weights(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> torch.Tensor:
        """The blend of the wrapped method's vectors with the zero-shot embeddings."""
        bank = inputs.bank.with_template(self.config.template)
        prompted = self.prompt.class_weights(tensors, inputs)
        return self.config.alpha * prompted + (1 - self.config.alpha) * bank.zero_shot_embeds(inputs.alm)

    def forward(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> ClassHeadOutput:
        """Fuse the wrapped method's logits with those of the adapter's zero-shot template."""
        prompted = self.prompt.forward(tensors, inputs)
        bank = inputs.bank.with_template(self.config.template)
        zero_shot = inputs.similarity(bank.zero_shot_embeds(inputs.alm))

        def fused(logits: torch.Tensor) -> torch.Tensor:
            return self.config.alpha * logits + (1 - self.config.alpha) * zero_shot.logits

        loss_logits = None if prompted.loss_logits is None else fused(prompted.loss_logits)
        return replace(prompted, logits=fused(prompted.logits), loss_logits=loss_logits)
