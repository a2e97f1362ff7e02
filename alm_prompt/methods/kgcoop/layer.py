"""The computation of KgCoOp."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ...losses import AnchorLoss, LossHook
from ...models import ClassBank
from ...outputs import ClassHeadOutput
from ...prompts import templates
from ..base import PromptInputs, is_training_list
from ..coop.layer import CoOpPrompt

if TYPE_CHECKING:
    from ...models import AlmModel
    from .config import KgCoOpPromptConfig


class KgCoOpPrompt(CoOpPrompt):
    """CoOp, whose class embeddings are anchored to the frozen zero-shot ones (arXiv 2303.13283, section 3.2)."""

    config: KgCoOpPromptConfig

    @property
    def loss_hooks(self) -> tuple[LossHook, ...]:
        """The distance from the anchor."""
        return (AnchorLoss(self.config.weight),)

    def initial_tensors(self, bank: ClassBank, alm: AlmModel) -> dict[str, torch.Tensor]:
        """Those of CoOp."""
        # Met here, not in the first step. Other classes than those that are trained need no anchor.
        if self.config.anchor == "ensemble" and is_training_list(bank, self.config.class_names):
            bank.check_templates(templates())
        return super().initial_tensors(bank, alm)

    def forward(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> ClassHeadOutput:
        """CoOp's output, and the anchor for the loss."""
        output = super().forward(tensors, inputs)
        anchor = {"anchor_embeds": lambda: self._anchor(inputs.bank).zero_shot_embeds(inputs.alm)}
        return replace(output, auxiliary=output.auxiliary | anchor)

    def _anchor(self, bank: ClassBank) -> ClassBank:
        if self.config.anchor == "ensemble":
            return bank.with_templates(templates())
        return bank.with_template(self.config.template)
