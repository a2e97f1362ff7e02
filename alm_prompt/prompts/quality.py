"""How good neighbours are for a text tower: close to their own class, far from the others, and not all the same."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..errors import AlmPromptError


@dataclass(frozen=True)
class NeighborQuality:
    """Figures of SEPT's appendix (arXiv 2601.20867) for `K` classes.

    Attributes:
        own: `[K]` mean cosine of a class's neighbours to the class.
        others: `[K]` mean cosine of a class's neighbours to all other classes.
        diversity: `[K]` 1 - mean cosine of two different neighbours of a class; 0 where it has only one.
    """

    own: torch.Tensor
    others: torch.Tensor
    diversity: torch.Tensor


def neighbor_quality(class_embeds: torch.Tensor, neighbor_embeds: torch.Tensor) -> NeighborQuality:
    """Measure neighbours by the embeddings that a text tower gives them.

    Args:
        class_embeds: `[K, d]`, of any length; `K >= 2`.
        neighbor_embeds: `[K, N, d]`, of any length; row `j` holds the neighbours of class `j`.

    Raises:
        AlmPromptError: the shapes do not belong together, or there is only one class.
    """
    classes, dim = class_embeds.shape
    if classes < 2 or neighbor_embeds.dim() != 3 or neighbor_embeds.shape[::2] != (classes, dim):
        raise AlmPromptError(
            f"class_embeds {list(class_embeds.shape)} and neighbor_embeds {list(neighbor_embeds.shape)} do not belong "
            "together; give [K, d] and [K, N, d] with K of at least 2"
        )
    class_units = torch.nn.functional.normalize(class_embeds, dim=-1)
    units = torch.nn.functional.normalize(neighbor_embeds, dim=-1)
    to_classes = torch.einsum("jnd,id->jni", units, class_units).mean(dim=1)
    own = to_classes.diagonal()
    between = units @ units.transpose(1, 2)
    terms = units.shape[1]
    pairs = between.sum(dim=(1, 2)) - between.diagonal(dim1=1, dim2=2).sum(dim=-1)
    diversity = 1 - pairs / (terms * (terms - 1)) if terms > 1 else torch.zeros_like(own)
    return NeighborQuality(own, (to_classes.sum(dim=1) - own) / (classes - 1), diversity)
