"""The computation of PALM."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import torch
from torch.nn.functional import normalize

from ...models import ClassBank
from ...outputs import ClassHeadOutput
from ..base import PromptInputs, PromptMethod, WrapperMethod, trained_rows, untrained_classes

if TYPE_CHECKING:
    from ...models import AlmModel
    from .config import PalmPromptConfig

VECTOR_STD = 0.02
BARE_NAME = "{}"


class BareNames(PromptMethod):
    """Frozen embeddings of the class names, without a template: what PALM mixes where it wraps no method."""

    def initial_tensors(self, bank: ClassBank, alm: AlmModel) -> dict[str, torch.Tensor]:
        """None."""
        return {}

    def check_bank(self, bank: ClassBank) -> None:
        """Any classes."""

    def forward(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> ClassHeadOutput:
        """Zero-shot; the text tower works once per class list."""
        return inputs.similarity(inputs.bank.with_template(BARE_NAME).zero_shot_embeds(inputs.alm))


class PalmPrompt(WrapperMethod):
    """`t_c = norm((1 - sigma(l_c)) * norm(g(c)) + sigma(l_c) * z_c)` (PALM, arXiv 2409.19806, section 3.3).

    `g(c)` are the text features of the wrapped method (the paper's table 4), or of the bare name.
    """

    config: PalmPromptConfig
    default_prompt: ClassVar[type[PromptMethod]] = BareNames

    def fallback_classes(self, bank: ClassBank) -> list[str]:
        """Classes without a learned vector."""
        return untrained_classes(bank, self.config.class_names)

    def initial_tensors(self, bank: ClassBank, alm: AlmModel) -> dict[str, torch.Tensor]:
        """Those of the wrapped method; `class_vectors` `[K, d]`, from N(0, 0.02^2); `mixing` `[K]`, uniform in [0, 1).

        `mixing` is the share of the vectors before the sigmoid; without text features there is none.
        """
        classes = len(self.config.class_names)
        tensors = super().initial_tensors(bank, alm)
        tensors["class_vectors"] = torch.randn(classes, alm.config.projection_dim) * VECTOR_STD
        if self.config.text_features:
            tensors["mixing"] = torch.rand(classes)
        return tensors

    def class_weights(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> torch.Tensor:
        """The mixed class embeddings."""
        return PromptMethod.class_weights(self, tensors, inputs)

    def forward(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> ClassHeadOutput:
        """Cosine of the audio with the mixed class embeddings."""
        wrapped = self.prompt.forward(tensors, inputs)
        in_bank, learned = trained_rows(inputs.bank, self.config.class_names)
        text_embeds = wrapped.text_embeds
        # At least the float32 of the embeddings, also where the whole model is in half precision.
        embeds = tensors["class_vectors"][learned].to(text_embeds.dtype)
        if self.config.text_features:
            share = tensors["mixing"][learned].to(text_embeds.dtype).sigmoid().unsqueeze(-1)
            embeds = (1 - share) * text_embeds[..., in_bank, :] + share * embeds
        index = torch.tensor(in_bank, dtype=torch.long, device=embeds.device)
        output = inputs.similarity(text_embeds.index_copy(-2, index, normalize(embeds, dim=-1)))
        return replace(output, auxiliary=wrapped.auxiliary | output.auxiliary)
