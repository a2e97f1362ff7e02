"""The computation of SEPT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from ...errors import AlmPromptError
from ...losses import LossHook, SeptLoss
from ...models import ClassBank
from ...outputs import ClassHeadOutput
from ...prompts import templates
from ..base import PromptInputs, WrapperMethod, is_training_list
from .margins import frozen_margins, grouped

if TYPE_CHECKING:
    from ...models import AlmModel
    from .config import SeptPromptConfig


class SeptPrompt(WrapperMethod):
    """The wrapped method, with a loss in training that places every class among its own and others' neighbours.

    Neighbours take the same learned context as classes, and pass gradients to it (arXiv 2601.20867, section 3).
    Inference is that of the wrapped method, at its cost.
    """

    config: SeptPromptConfig

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
        # Neighbours go where the classes go: one that is too long is met here, not in the first step.
        names = self._names(bank)
        self.prompt.check_bank(names)
        names.check_templates(self._templates())
        return tensors

    def forward(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> ClassHeadOutput:
        """The wrapped method's output; on the training classes also what the loss needs."""
        output = self.prompt.forward(tensors, inputs)
        if not is_training_list(inputs.bank, self.config.class_names):
            return output
        sept = {
            "neighbor_embeds": lambda: self._embeds(tensors, inputs),
            "margins": lambda: self._margins(inputs.bank, inputs.alm),
        }
        return replace(output, auxiliary=output.auxiliary | sept)

    @torch.compiler.disable
    def _names(self, bank: ClassBank) -> ClassBank:
        """Every training class followed by its neighbours."""
        neighbors = self.config.neighbors
        return bank.with_names([text for name in self.config.class_names for text in (name, *neighbors[name])])

    def _embeds(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> torch.Tensor:
        """`[K, 1 + N, d]` with the learned context."""
        config, names = self.config, self._names(inputs.bank)
        if config.neighbor_context == "batch_mean":
            features = self.prompt.mean_features(tensors, names, inputs)
        else:
            features = self.prompt.static_features(tensors, names, inputs.alm)
        return grouped(features, len(config.class_names), config.normalize)

    def _margins(self, bank: ClassBank, alm: AlmModel) -> torch.Tensor:
        """`[K, K, N]` of the frozen model."""
        config, names = self.config, self._names(bank)
        return frozen_margins(names, len(config.class_names), self._templates(), config.normalize, alm)

    def _templates(self) -> list[str]:
        """Sentences that margins are measured in."""
        return templates() if self.config.margin_templates == "ensemble" else [self.config.template]
