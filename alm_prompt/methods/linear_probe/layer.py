"""The computation of the linear probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from ...models import ClassBank
from ...outputs import ClassHeadOutput
from ..base import PromptInputs, PromptMethod, trained_rows, untrained_classes

if TYPE_CHECKING:
    from ...models import AlmModel
    from .config import LinearProbeConfig


class LinearProbe(PromptMethod):
    """`logits = s * (W a + b)` on the unit audio embedding `a`; the scale is that of the cosines beside it."""

    config: LinearProbeConfig

    def initial_tensors(self, bank: ClassBank, alm: AlmModel) -> dict[str, torch.Tensor]:
        """`probe_weight` `[K, d]` and `probe_bias` `[K]`, initialised as a linear layer of torch."""
        layer = nn.Linear(alm.config.projection_dim, len(self.config.class_names))
        return {"probe_weight": layer.weight, "probe_bias": layer.bias}

    def check_bank(self, bank: ClassBank) -> None:
        """Any classes: those without a learned row are classified zero-shot."""

    @property
    def cosine_logits(self) -> bool:
        """No: trained classes have a row of their own instead of an embedding."""
        return False

    def fallback_classes(self, bank: ClassBank) -> list[str]:
        """Classes without a learned row."""
        return untrained_classes(bank, self.config.class_names)

    def forward(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> ClassHeadOutput:
        """Linear logits for trained classes, scaled cosines for the others."""
        bank = inputs.bank.with_template(self.config.template)
        output = inputs.similarity(bank.zero_shot_embeds(inputs.alm))
        in_bank, learned = trained_rows(inputs.bank, self.config.class_names)
        # At least the float32 of the cosines beside them, also where the whole model is in half precision.
        dtype = torch.promote_types(output.logits.dtype, tensors["probe_weight"].dtype)
        weight, bias = (tensors[name][learned].to(dtype) for name in ("probe_weight", "probe_bias"))
        with torch.autocast(weight.device.type, enabled=False):
            probed = inputs.logit_scale * nn.functional.linear(output.audio_embeds.to(dtype), weight, bias)
        index = torch.tensor(in_bank, dtype=torch.long, device=probed.device)
        return replace(output, logits=output.logits.to(dtype).index_copy(1, index, probed))
