"""The contrastive loss of dual encoders, and its negatives from other processes."""

from __future__ import annotations

import torch
import torch.distributed
from torch import nn

from ..distributed import gather_rows, world


def contrastive_loss(
    audio_embeds: torch.Tensor,
    text_embeds: torch.Tensor,
    logit_scale: torch.Tensor | float,
    share: slice = slice(None),
) -> torch.Tensor:
    """Symmetric cross-entropy over N pairs of audio and text (CLIP, arXiv 2103.00020, section 2.3).

    `1/(2N) * sum_i [-log softmax_j(s * a_i.t_j)[i] - log softmax_j(s * t_i.a_j)[i]]`: every pair is told from the
    other texts and from the other clips. Computed in float32 or wider whatever the autocast.

    Args:
        audio_embeds: `[N, d]` unit vectors `a`.
        text_embeds: `[N, d]` unit vectors `t`; clip `i` and text `i` are a pair.
        logit_scale: factor `s` on the cosines.
        share: pairs `i` whose terms are summed; the others are then only compared with. What shares that do not
            overlap give adds up to the loss over all of them.

    Returns:
        Scalar.
    """
    dtype = torch.promote_types(torch.promote_types(audio_embeds.dtype, text_embeds.dtype), torch.float32)
    pairs = torch.arange(len(audio_embeds), device=audio_embeds.device)[share]
    with torch.autocast(audio_embeds.device.type, enabled=False):
        audio, text = audio_embeds.to(dtype), text_embeds.to(dtype)
        terms = [
            nn.functional.cross_entropy(logit_scale * (rows[share] @ columns.T), pairs, reduction="sum")
            for rows, columns in ((audio, text), (text, audio))
        ]
    return (terms[0] + terms[1]) / (2 * len(audio_embeds))


def gather_pairs(audio_embeds: torch.Tensor, text_embeds: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, slice]:
    """Bring together the pairs of all processes; gradients go back to the process that each pair came from.

    Every process must call it, in training and in evaluation alike. Processes may hold different numbers of pairs.

    Args:
        audio_embeds: `[B, d]` of this process.
        text_embeds: `[B, d]` of this process.

    Returns:
        Both `[N, d]`, in the order of the processes, and which of the N are those of this process.
    """
    own = torch.tensor(len(audio_embeds), device=audio_embeds.device)
    rank, processes = world()
    counts = [torch.empty_like(own) for _ in range(processes)]
    torch.distributed.all_gather(counts, own)
    sizes = torch.stack(counts).tolist()
    start = sum(sizes[:rank])
    gathered = gather_rows(torch.stack([audio_embeds, text_embeds], dim=1), sizes)
    return gathered[:, 0], gathered[:, 1], slice(start, start + sizes[rank])
