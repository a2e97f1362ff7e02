"""The computation of DePT."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import nn

from ...errors import AlmPromptError
from ...losses import LossHook, TransferLoss
from ...models import ClassBank
from ...outputs import ClassHeadOutput
from ..base import PromptInputs, PromptMethod, WrapperMethod, is_training_list, trained_rows, untrained_classes

if TYPE_CHECKING:
    from ...models import AlmModel
    from .config import DePTPromptConfig

MODALITIES = ("text", "audio")
# What one row of the head is.
STACKED, CONCATENATED = HEAD_INPUTS = ("stacked", "concatenated")


class DePTPrompt(WrapperMethod):
    """The wrapped method, and a channel-adjusted transfer head on its features (arXiv 2309.07439, section 3).

    Each modality has its own scale and bias per channel, on features before normalisation; one linear layer then
    classifies both. The head sees text features of the true class and audio features as one batch of `2B` rows or,
    as SEPT's parameter count suggests (arXiv 2601.20867, table 4), as `B` rows of twice the width.
    """

    config: DePTPromptConfig

    @property
    def loss_hooks(self) -> tuple[LossHook, ...]:
        """Those of the wrapped method, and the cross-entropy of the head."""
        return (*self.prompt.loss_hooks, TransferLoss(1 - self.config.similarity_weight))

    @property
    def cross_entropy_weight(self) -> float:
        """The wrapped method's share of the objective."""
        return self.config.similarity_weight * self.prompt.cross_entropy_weight

    @property
    def cosine_logits(self) -> bool:
        """As with the wrapped method, unless the head votes."""
        return self.prompt.cosine_logits and not self.config.fusion

    def fallback_classes(self, bank: ClassBank) -> list[str]:
        """Where the head votes, the classes that it has no vote on; else those of the wrapped method."""
        if self.config.fusion:
            return untrained_classes(bank, self.config.class_names)
        return self.prompt.fallback_classes(bank)

    def initial_tensors(self, bank: ClassBank, alm: AlmModel) -> dict[str, torch.Tensor]:
        """Those of the wrapped method, then `<modality>_scale`, `<modality>_bias` and the layer `transfer_*`."""
        tensors = super().initial_tensors(bank, alm)
        dim = alm.config.projection_dim
        trained = len(self.config.class_names)
        outputs = trained if self.config.head_classes is None else self.config.head_classes
        if outputs < trained:
            raise AlmPromptError(f"head_classes is {outputs}, fewer than the {trained} training classes; leave it out")
        layer = nn.Linear(dim * (1 if self.config.head_in == STACKED else len(MODALITIES)), outputs)
        for modality in MODALITIES:
            tensors |= {f"{modality}_scale": torch.ones(dim), f"{modality}_bias": torch.zeros(dim)}
        return tensors | {"transfer_weight": layer.weight, "transfer_bias": layer.bias}

    def class_weights(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> torch.Tensor:
        """Those of the wrapped method; none where the head votes."""
        if self.config.fusion:
            return PromptMethod.class_weights(self, tensors, inputs)
        return super().class_weights(tensors, inputs)

    def forward(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> ClassHeadOutput:
        """The wrapped method's output, with the head for the loss and, if so configured, in the prediction."""
        output = self.prompt.forward(tensors, inputs)
        if is_training_list(inputs.bank, self.config.class_names):
            head = {"transfer_logits": lambda labels: self._transfer_logits(tensors, output, labels)}
            output = replace(output, auxiliary=output.auxiliary | head)
        if not self.config.fusion:
            return output
        in_bank, learned = trained_rows(inputs.bank, self.config.class_names)
        audio = self._adjust(tensors, "audio", output.auxiliary["audio_features"]())
        votes = self._classify(tensors, audio)[:, learned]
        share = self.config.similarity_weight
        fused = share * output.logits[:, in_bank] + (1 - share) * votes
        index = torch.tensor(in_bank, dtype=torch.long, device=fused.device)
        loss_logits = output.logits if output.loss_logits is None else output.loss_logits
        return replace(output, logits=output.logits.index_copy(1, index, fused), loss_logits=loss_logits)

    def _transfer_logits(
        self, tensors: Mapping[str, torch.Tensor], output: ClassHeadOutput, labels: torch.Tensor
    ) -> torch.Tensor:
        """`[2B, K]`, the text of the true classes and then the audio, or `[B, K]` of both at once."""
        text_features = output.auxiliary["text_features"]()
        own = text_features[labels] if text_features.dim() == 2 else text_features[range(len(labels)), labels]
        text = self._adjust(tensors, "text", own)
        audio = self._adjust(tensors, "audio", output.auxiliary["audio_features"]())
        return self._classify(tensors, torch.cat([text, audio], dim=0 if self.config.head_in == STACKED else 1))

    def _adjust(self, tensors: Mapping[str, torch.Tensor], modality: str, features: torch.Tensor) -> torch.Tensor:
        """`[B, d]` features of a modality with its scale and bias per channel."""
        scale, bias = (self._faster(tensors[f"{modality}_{name}"]) for name in ("scale", "bias"))
        return features.to(scale.dtype) * scale + bias

    def _classify(self, tensors: Mapping[str, torch.Tensor], features: torch.Tensor) -> torch.Tensor:
        """Adjusted features to logits of the head, in the precision of its tensors."""
        weight, bias = (self._faster(tensors[f"transfer_{name}"]) for name in ("weight", "bias"))
        with torch.autocast(features.device.type, enabled=False):
            return nn.functional.linear(features, weight, bias)

    def _faster(self, tensor: torch.Tensor) -> torch.Tensor:
        """The same value with a larger gradient.

        Under SGD without decay that is exactly a larger learning rate, and holds in every trainer.
        """
        fixed = tensor.detach()
        return fixed + (tensor - fixed) * self.config.head_learning_rate_factor
