"""The computation of CoOp."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from ...errors import AlmPromptError
from ...models import ClassBank
from ...models.prompt_shares import encode_in_shares
from ...outputs import ClassHeadOutput
from ..base import PromptInputs, PromptMethod, is_training_list

if TYPE_CHECKING:
    from ...models import AlmModel
    from .config import CoOpPromptConfig

CONTEXT_STD = 0.02


class CoOpPrompt(PromptMethod):
    """Context vectors in the token-embedding space of the text tower (CoOp, arXiv 2109.01134, section 3.2)."""

    config: CoOpPromptConfig

    def initial_tensors(self, bank: ClassBank, alm: AlmModel) -> dict[str, torch.Tensor]:
        """`context`: `[M, e]`, or `[K, M, e]` where class-specific."""
        table = alm.text_tower.token_embedding
        if self.config.ctx_init is None:
            # Before anything of that size is made: n_ctx may come from a stranger's file.
            bank.check_length(self.config.n_ctx)
            shape = [self.config.n_ctx, table.embedding_dim]
            if self.config.class_specific:
                shape.insert(0, len(self.config.class_names))
            return {"context": torch.randn(shape) * CONTEXT_STD}
        ids = torch.tensor(bank.text_ids(self.config.ctx_init), device=table.weight.device)
        bank.check_length(len(ids))
        context = table(ids).detach().float()
        if self.config.class_specific:
            context = context.expand(len(self.config.class_names), -1, -1)
        return {"context": context}

    def check_bank(self, bank: ClassBank) -> None:
        """Class-specific contexts belong to the classes they were learned for; a shared one fits any."""
        self._check_trained_on(bank)
        n_context = self.config.n_ctx if self.config.ctx_init is None else len(bank.text_ids(self.config.ctx_init))
        bank.check_length(n_context)

    def forward(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> ClassHeadOutput:
        """Cosine of the audio with the prompts around the learned context."""
        return inputs.similarity(self.static_features(tensors, inputs.bank, inputs.alm))

    def static_features(self, tensors: Mapping[str, torch.Tensor], bank: ClassBank, alm: AlmModel) -> torch.Tensor:
        """Text features around the context as it is learned, before any shift by the audio."""
        context = tensors["context"]
        return bank.learned_features(
            context, self.config.class_position, alm, lambda: self.encode_classes(context, bank, alm, common=True)
        )

    def encode_classes(
        self, context: torch.Tensor, bank: ClassBank, alm: AlmModel, common: bool = False
    ) -> torch.Tensor:
        """Text features of the prompts around a context.

        Args:
            context: `[M, e]`, `[C, M, e]`, or either per clip: `[B, 1 or C, M, e]`. A class with several descriptions
                reads each of them around its context.
            bank: the classes.
            alm: the model that encodes text.
            common: whether the context is the same in every process of a training, whatever its clips.

        Returns:
            `[C, d]`, or `[B, C, d]`, not normalised.
        """
        # Classes may have been set while another adapter was at work, or none.
        self._check_trained_on(bank)
        layout = bank.layout(context.shape[-2], self.config.class_position, context.device)
        several = len(layout.ids) > len(bank)
        if several and context.dim() > 2 and context.shape[-3] > 1:
            context = context.repeat_interleave(torch.tensor(bank.texts_per_class, device=context.device), dim=-3)
        prompts = layout.splice(context, alm.text_tower.token_embedding)
        arguments = (prompts, layout.mask, layout.shared(context))
        features = encode_in_shares(alm, *arguments) if common else alm.encode_prompts(*arguments)
        return bank.class_means(features) if several else features

    def _check_trained_on(self, bank: ClassBank) -> None:
        if self.config.class_specific and not is_training_list(bank, self.config.class_names):
            raise AlmPromptError(
                f"class-specific context was learned for {self.config.class_names} and cannot classify "
                f"{bank.class_names}; set those classes or train with class_specific=False"
            )
