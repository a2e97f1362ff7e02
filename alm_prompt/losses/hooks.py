"""Loss hooks: how a prompt method, or a user, adds named terms to a model's objective."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import nn

from ..errors import AlmPromptError
from ..outputs import ClassHeadOutput
from .classification import prediction_entropy
from .geometry import pairwise_distances, semantic_expansion


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
        AlmPromptError: the weight is negative or not finite.
    """

    def __init__(self, entropy_weight: float = 0.05) -> None:
        self.entropy_weight = _checked("entropy_weight", entropy_weight)

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
        AlmPromptError: the weight is negative or not finite.
    """

    def __init__(self, weight: float = 8.0) -> None:
        self.weight = _checked("the anchor's weight", weight)

    def __call__(self, outputs: ClassHeadOutput, labels: torch.Tensor, head: nn.Module) -> dict[str, torch.Tensor]:
        """Return `{"anchor": term}`."""
        anchor = _auxiliary(self, outputs, "anchor_embeds", head)
        if anchor is None:
            return {}
        cosines = (outputs.text_embeds * anchor()).sum(dim=-1)
        return {"anchor": self.weight * (1 - cosines.mean())}


class SeptLoss:
    """SEPT's semantic expansion loss (arXiv 2601.20867) as two terms, `intra` and `inter`.

    It needs the method to give two auxiliaries, as [`SeptPromptConfig`] does on its training classes:
    `neighbor_embeds` `[K, 1 + N, d]`, every class followed by its neighbours, and `margins` `[K, K, N]`. Where they
    are not given, evaluation goes without it, and training is refused.

    Args:
        weight: weight of both terms, at least 0; 3 in the paper.
        intra: whether classes are pulled towards their own neighbours.
        inter: whether classes are pushed from the neighbours of others.
        intra_margin: whether the pull ends at the margin.
        inter_margin: whether the push ends at the margin.

    Raises:
        AlmPromptError: the weight is negative or not finite.
    """

    def __init__(
        self,
        weight: float = 3.0,
        intra: bool = True,
        inter: bool = True,
        intra_margin: bool = True,
        inter_margin: bool = True,
    ) -> None:
        self.weight = _checked("SEPT's weight", weight)
        self.intra = intra
        self.inter = inter
        self.intra_margin = intra_margin
        self.inter_margin = inter_margin

    def __call__(self, outputs: ClassHeadOutput, labels: torch.Tensor, head: nn.Module) -> dict[str, torch.Tensor]:
        """Return `{"intra": term, "inter": term}`, or those of them that are switched on."""
        neighbor_embeds = _auxiliary(self, outputs, "neighbor_embeds", head)
        if neighbor_embeds is None:
            return {}
        embeds = neighbor_embeds()
        distances = pairwise_distances(embeds[:, 0], embeds[:, 1:])
        intra, inter = semantic_expansion(
            distances, outputs.auxiliary["margins"](), self.intra_margin, self.inter_margin
        )
        terms = {"intra": intra if self.intra else None, "inter": inter if self.inter else None}
        return {name: self.weight * term for name, term in terms.items() if term is not None}


class TransferLoss:
    """Cross-entropy of DePT's transfer head (arXiv 2309.07439) over the text and the audio rows of the batch.

    It needs the method to give the auxiliary `transfer_logits(labels)` `[n * B, K]`, the whole batch `n` times, as
    [`DePTPromptConfig`] does on its training classes. Where it is not given, evaluation goes without it, and training
    is refused.

    Args:
        weight: weight of the term, at least 0; 0.7 in the published code.

    Raises:
        AlmPromptError: the weight is negative or not finite.
    """

    def __init__(self, weight: float = 0.7) -> None:
        self.weight = _checked("the transfer head's weight", weight)

    def __call__(self, outputs: ClassHeadOutput, labels: torch.Tensor, head: nn.Module) -> dict[str, torch.Tensor]:
        """Return `{"transfer": term}`."""
        transfer_logits = _auxiliary(self, outputs, "transfer_logits", head)
        if transfer_logits is None:
            return {}
        logits = transfer_logits(labels)
        rows_per_clip = len(logits) // len(labels)
        return {"transfer": self.weight * nn.functional.cross_entropy(logits, labels.repeat(rows_per_clip))}


def _auxiliary(
    hook: LossHook, outputs: ClassHeadOutput, name: str, head: nn.Module
) -> Callable[..., torch.Tensor] | None:
    """What a hook needs of the method; `None` in evaluation where it is not given, as on other classes.

    Raises:
        AlmPromptError: it is not given in training, where the term would be missed without a word.
    """
    if name not in outputs.auxiliary and head.training:
        raise AlmPromptError(
            f"{type(hook).__name__} needs {name!r}, which the model gives only with an adapter of the method that "
            "brings this loss, and on its classes; take that method and those classes, or leave the hook out"
        )
    return outputs.auxiliary.get(name)


def _checked(name: str, weight: float) -> float:
    if not 0 <= weight < math.inf:
        raise AlmPromptError(f"{name} is {weight}; give a finite weight of at least 0")
    return weight
