"""Loss hooks: how a prompt method, or a user, adds named terms to a model's objective."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import nn

from ..errors import AlmPromptError
from ..outputs import ClassHeadOutput
from .classification import prediction_entropy


class LossHook(Protocol):
    """A term, or several, beside the cross-entropy.

    A hook is called in every forward pass with labels. Each value it returns is a weighted scalar and a mean over the
    clips of the batch (or independent of the batch); the model rescales all terms alike, so that gradient
    accumulation and several processes give the gradient of one big batch.
    """

    def __call__(self, outputs: ClassHeadOutput, labels: torch.Tensor, head: nn.Module) -> dict[str, torch.Tensor]:
        """Return the weighted terms by name.

        Args:
            outputs: what the class head computed for the batch.
            labels: `[B]` class indices.
            head: the class head itself, for terms that need more than its outputs.
        """
        ...


class ZebraLoss:
    """Entropy term of ZEBRA: `-entropy_weight * mean entropy of the predictions`, so that entropy is maximised.

    Source: ZEBRA (arXiv 2606.31587); the published weight is 0.05. [`ZebraPromptConfig`] brings this hook along; give
    it to [`AlmTrainer`] to put the same term on any other method.

    Args:
        entropy_weight: weight of the term, at least 0.

    Raises:
        AlmPromptError: the weight is negative.
    """

    def __init__(self, entropy_weight: float = 0.05) -> None:
        if entropy_weight < 0:
            raise AlmPromptError(f"entropy_weight is {entropy_weight}; give a weight of at least 0")
        self.entropy_weight = entropy_weight

    def __call__(self, outputs: ClassHeadOutput, labels: torch.Tensor, head: nn.Module) -> dict[str, torch.Tensor]:
        """Return `{"entropy": term}`."""
        return {"entropy": -self.entropy_weight * prediction_entropy(outputs.logits)}


class AnchorLoss:
    """KgCoOp's anchor: `weight * (1 - mean_c cos(t_c, t_c of the anchor))` (arXiv 2303.13283, equation 5).

    On unit vectors it equals `weight / 2` times the mean squared distance. It needs the method to give the auxiliary
    `anchor_embeds`.

    Args:
        weight: weight of the term, at least 0; 8 in the published code.

    Raises:
        AlmPromptError: the weight is negative.
    """

    def __init__(self, weight: float = 8.0) -> None:
        if weight < 0:
            raise AlmPromptError(f"the anchor's weight is {weight}; give a weight of at least 0")
        self.weight = weight

    def __call__(self, outputs: ClassHeadOutput, labels: torch.Tensor, head: nn.Module) -> dict[str, torch.Tensor]:
        """Return `{"anchor": term}`."""
        cosines = (outputs.text_embeds * outputs.auxiliary["anchor_embeds"]()).sum(dim=-1)
        return {"anchor": self.weight * (1 - cosines.mean())}
