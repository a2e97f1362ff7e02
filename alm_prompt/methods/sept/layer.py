"""The computation of SEPT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ...errors import AlmPromptError
from ...losses import LossHook, SeptLoss, pairwise_distances
from ...models import ClassBank
from ...models.class_bank import frozen_text
from ...outputs import ClassHeadOutput
from ...prompts import templates
from ..base import PromptInputs, WrapperMethod

if TYPE_CHECKING:
    from ...models import AlmModel
    from .config import SeptPromptConfig


class SeptPrompt(WrapperMethod):
    """The wrapped method, with a loss in training that places every class among its own and others' neighbours.

    Neighbours take the same learned context as classes, and pass gradients to it (arXiv 2601.20867, section 3).
    Inference is that of the wrapped method, at its cost.
    """

    config: SeptPromptConfig

    def __init__(self, config: SeptPromptConfig) -> None:
        super().__init__(config)
        self._margins: tuple[object, torch.Tensor] | None = None

    @property
    def loss_hooks(self) -> tuple[LossHook, ...]:
        """Those of the wrapped method, and the semantic expansion loss."""
        config = self.config
        sept = SeptLoss(config.weight, config.intra, config.inter, config.intra_margin, config.inter_margin)
        return (*self.prompt.loss_hooks, sept)

    def initial_tensors(self, bank: ClassBank, alm: AlmModel) -> dict[str, torch.Tensor]:
        """Those of the wrapped method."""
        tensors = self.prompt.initial_tensors(bank, alm)
        if tensors.get("context") is None or tensors["context"].dim() != 2:
            raise AlmPromptError(
                f"SEPT puts neighbours into a shared context, which {type(self.prompt.config).__name__} with these "
                "options does not learn; wrap for example CoOpPromptConfig()"
            )
        return tensors

    def forward(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> ClassHeadOutput:
        """The wrapped method's output; on the training classes also what the loss needs."""
        output = self.prompt.forward(tensors, inputs)
        bank, alm = inputs.bank, inputs.alm
        if bank.class_names != self.config.class_names:
            return output
        sept = {
            "neighbor_embeds": lambda: self._grouped(
                self.prompt.static_features(tensors, bank.with_names(self._names()), alm)
            ),
            "margins": lambda: self._frozen_margins(bank, alm),
        }
        return replace(output, auxiliary=output.auxiliary | sept)

    def _names(self) -> list[str]:
        """Every class followed by its neighbours."""
        return [text for name in self.config.class_names for text in (name, *self.config.neighbors[name])]

    def _grouped(self, features: torch.Tensor) -> torch.Tensor:
        """`[K * (1 + N), d]` features to `[K, 1 + N, d]`, float32 or wider, of unit length if so configured."""
        features = features.to(torch.promote_types(features.dtype, torch.float32))
        if self.config.normalize:
            features = torch.nn.functional.normalize(features, dim=-1)
        return features.unflatten(0, (len(self.config.class_names), -1))

    def _frozen_margins(self, bank: ClassBank, alm: AlmModel) -> torch.Tensor:
        """`[K, K, N]` mean distances over the templates; computed once while the text tower stays as it is."""
        state = alm.text_state()
        if self._margins is None or self._margins[0] != state:
            sentences = templates() if self.config.margin_templates == "ensemble" else [self.config.template]
            names = bank.with_names(self._names())
            with frozen_text(alm):
                total = sum(self._distances(names.with_template(sentence), alm) for sentence in sentences)
            self._margins = (state, total / len(sentences))
        return self._margins[1]

    def _distances(self, names: ClassBank, alm: AlmModel) -> torch.Tensor:
        features = alm.encode_token_ids([ids for sentences in names.sentence_ids for ids in sentences])
        embeds = self._grouped(features)
        return pairwise_distances(embeds[:, 0], embeds[:, 1:])
