"""The computation of PALM."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch.nn.functional import normalize

from ...models import ClassBank
from ...outputs import ClassHeadOutput
from ..base import PromptInputs, PromptMethod, trained_rows

if TYPE_CHECKING:
    from ...models import AlmModel
    from .config import PalmPromptConfig

VECTOR_STD = 0.02
BARE_NAME = "{}"


class PalmPrompt(PromptMethod):
    """`t_c = norm((1 - sigma(l_c)) * norm(g(c)) + sigma(l_c) * z_c)` (PALM, arXiv 2409.19806, section 3.3)."""

    config: PalmPromptConfig

    def initial_tensors(self, bank: ClassBank, alm: AlmModel) -> dict[str, torch.Tensor]:
        """`class_vectors` `[K, d]`, from N(0, 0.02^2), and `mixing` `[K]`, uniform in [0, 1) before the sigmoid."""
        classes = len(self.config.class_names)
        vectors = torch.randn(classes, alm.config.projection_dim) * VECTOR_STD
        return {"class_vectors": vectors, "mixing": torch.rand(classes)}

    def check_bank(self, bank: ClassBank) -> None:
        """Any classes: those without a learned vector fall back on their names."""

    def forward(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> ClassHeadOutput:
        """Cosine of the audio with the mixed class embeddings; the text tower works once per class list."""
        text_embeds = inputs.bank.with_template(BARE_NAME).zero_shot_embeds(inputs.alm)
        in_bank, learned = trained_rows(inputs.bank, self.config.class_names)
        share = tensors["mixing"][learned].sigmoid().unsqueeze(-1)
        mixed = (1 - share) * text_embeds[in_bank] + share * tensors["class_vectors"][learned]
        index = torch.tensor(in_bank, dtype=torch.long, device=text_embeds.device)
        text_embeds = text_embeds.to(mixed.dtype).index_copy(0, index, normalize(mixed, dim=-1))
        return inputs.similarity(text_embeds)
