"""Losses on distances between embeddings."""

from __future__ import annotations

import torch


def pairwise_distances(class_embeds: torch.Tensor, neighbor_embeds: torch.Tensor) -> torch.Tensor:
    """Euclidean distance of every class to every neighbour of every class.

    Args:
        class_embeds: `[K, d]`, float32 or wider.
        neighbor_embeds: `[K, N, d]`; row `j` holds the neighbours of class `j`.

    Returns:
        `[K, K, N]`: entry `[i, j, n]` is the distance of class `i` to neighbour `n` of class `j`.
    """
    # Not by way of products, whose rounding is as large as a small distance.
    distances = torch.cdist(class_embeds, neighbor_embeds.flatten(0, 1), compute_mode="donot_use_mm_for_euclid_dist")
    return distances.unflatten(1, neighbor_embeds.shape[:2])


def semantic_expansion(
    distances: torch.Tensor, margins: torch.Tensor, intra_margin: bool = True, inter_margin: bool = True
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two parts of SEPT's loss (arXiv 2601.20867, section 3).

    `intra_i = mean_n relu(D[i,i,n] - m[i,i,n])` pulls a class towards its own neighbours, down to the distance that
    the frozen model gives them; `inter_i = 1/(K-1) * sum_{j != i} mean_n relu(m[i,j,n] - D[i,j,n])` pushes it away
    from the neighbours of others, up to that distance. Both are means over the classes.

    Args:
        distances: `[K, K, N]` with the learned prompts, see [`pairwise_distances`]; `K >= 2`.
        margins: `[K, K, N]` of the frozen model.
        intra_margin: without it the own neighbours are pulled in all the way: `mean_n D[i,i,n]`.
        inter_margin: without it the others' are pushed without end: `mean_n -D[i,j,n]`.

    Returns:
        The scalars (intra, inter).
    """
    classes = len(distances)
    gaps = distances - margins
    own = gaps.relu() if intra_margin else distances
    others = (-gaps).relu() if inter_margin else -distances
    intra = own.diagonal(dim1=0, dim2=1).mean()
    same = torch.eye(classes, dtype=torch.bool, device=distances.device)
    # Picked by the mask they would have to be counted first, and the host would wait for the device.
    inter = others.mean(dim=-1).masked_fill(same, 0.0).sum() / (classes * (classes - 1))
    return intra, inter
