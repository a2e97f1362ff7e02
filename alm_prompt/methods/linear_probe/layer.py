"""The computation of the linear probe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from ...models import ClassBank, similarity_output
from ...outputs import ClassHeadOutput
from ..base import PromptMethod, trained_rows

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

    def forward(
        self,
        tensors: Mapping[str, torch.Tensor],
        bank: ClassBank,
        audio_features: torch.Tensor,
        alm: AlmModel,
        logit_scale: torch.Tensor | float,
    ) -> ClassHeadOutput:
        """Linear logits for trained classes, scaled cosines for the others."""
        output = similarity_output(audio_features, bank.zero_shot_embeds(alm), logit_scale)
        in_bank, learned = trained_rows(bank, self.config.class_names)
        weight, bias = tensors["probe_weight"][learned], tensors["probe_bias"][learned]
        with torch.autocast(audio_features.device.type, enabled=False):
            probed = logit_scale * nn.functional.linear(output.audio_embeds.to(weight.dtype), weight, bias)
        index = torch.tensor(in_bank, dtype=torch.long, device=probed.device)
        return replace(output, logits=output.logits.to(probed.dtype).index_copy(1, index, probed))
