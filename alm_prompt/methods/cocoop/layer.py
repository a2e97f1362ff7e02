"""The computation of CoCoOp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import nn

from ...models import ClassBank
from ...outputs import ClassHeadOutput
from ..base import PromptInputs
from ..coop.layer import CoOpPrompt

if TYPE_CHECKING:
    from ...models import AlmModel
    from .config import CoCoOpPromptConfig


class CoCoOpPrompt(CoOpPrompt):
    """`V_m(a) = V_m + meta(a)` with `meta = Linear - ReLU - Linear` on the unit embedding of a clip (section 3.2).

    With feedback to text features: `t_c(a) = norm(norm(g(V, c)) + meta(a))`, named but not written out in PALM (arXiv
    2409.19806, table 4); on unit vectors, as all that PALM learns.
    """

    config: CoCoOpPromptConfig

    def initial_tensors(self, bank: ClassBank, alm: AlmModel) -> dict[str, torch.Tensor]:
        """`context` as in CoOp, and weights and biases of the two layers: `meta1_*` and `meta2_*`."""
        dim = alm.config.projection_dim
        hidden = max(dim // self.config.reduction, 1)
        width = alm.text_tower.hidden_size if self.config.feedback == "context" else dim
        # The layers only lend their initialisation, that of torch: learned tensors lie flat in the head.
        layers = {"meta1": nn.Linear(dim, hidden), "meta2": nn.Linear(hidden, width)}
        tensors = super().initial_tensors(bank, alm)
        for name, layer in layers.items():
            tensors |= {f"{name}_weight": layer.weight, f"{name}_bias": layer.bias}
        return tensors

    def forward(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> ClassHeadOutput:
        """Cosine of every clip with its own prompts, or with its own shift of the common ones."""
        shift = self._shift(tensors, inputs)
        if self.config.feedback == "text_features":
            return inputs.similarity(super().forward(tensors, inputs).text_embeds + shift[:, None])
        context = tensors["context"] + shift[:, None, None]
        return inputs.similarity(self.encode_classes(context, inputs.bank, inputs.alm))

    def mean_features(
        self, tensors: Mapping[str, torch.Tensor], bank: ClassBank, inputs: PromptInputs
    ) -> torch.Tensor:
        """Text features with the mean shift of the clips."""
        shift = self._shift(tensors, inputs).mean(dim=0)
        if self.config.feedback == "text_features":
            return nn.functional.normalize(self.static_features(tensors, bank, inputs.alm), dim=-1) + shift
        return self.encode_classes(tensors["context"] + shift, bank, inputs.alm)

    def _shift(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> torch.Tensor:
        """What the network makes of every clip: `[B, e]`, or `[B, d]` with feedback to text features."""
        audio_embeds = nn.functional.normalize(inputs.audio_features.to(tensors["meta1_weight"].dtype), dim=-1)
        hidden = nn.functional.linear(audio_embeds, tensors["meta1_weight"], tensors["meta1_bias"]).relu()
        return nn.functional.linear(hidden, tensors["meta2_weight"], tensors["meta2_bias"])
