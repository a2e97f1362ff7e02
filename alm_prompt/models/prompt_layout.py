"""Where the pieces of a prompt go: special tokens, learned context vectors, class name, full stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from ..errors import AlmPromptError
from .text_tower import pad_token_ids

CLASS_POSITIONS = ("end", "middle", "front")


@dataclass(frozen=True)
class PromptLayout:
    """Prompts of one class list around a learned context.

    Attributes:
        ids: `[C, L]` token ids; whatever stands in a slot is overwritten.
        mask: `[C, L]`, 1 on real tokens and slots, which come first; on CPU, where a text tower plans with it.
        slots: `[C, M]` columns of the context vectors.
        before: number of special tokens before the text.
        leading: number of context vectors that come right after them in every prompt.
    """

    ids: torch.Tensor
    mask: torch.Tensor
    slots: torch.Tensor
    before: int
    leading: int

    def splice(self, context: torch.Tensor, token_embedding: torch.nn.Embedding) -> torch.Tensor:
        """Put context vectors into their slots.

        Args:
            context: `[M, e]` shared by all classes, `[C, M, e]`, or either per clip: `[B, 1 or C, M, e]`.
            token_embedding: the text tower's table.

        Returns:
            `[C, L, e]` prompt embeddings, or `[B, C, L, e]`.
        """
        embeds = token_embedding(self.ids)
        embeds = embeds.expand(*context.shape[:-3], *embeds.shape)
        index = self.slots.unsqueeze(-1).expand(*embeds.shape[:-2], self.slots.shape[1], embeds.shape[-1])
        return embeds.scatter(-2, index, context.to(embeds.dtype).expand_as(index))

    def shared(self, context: torch.Tensor) -> int:
        """Number of leading tokens that all prompts (of a clip) have in common around this context.

        Args:
            context: as in [`splice`].
        """
        per_class = context.dim() > 2 and context.shape[-3] > 1
        return self.before + (0 if per_class else self.leading)


def layout_prompts(
    prefix_ids: Sequence[int],
    name_ids: Sequence[Sequence[int]],
    stop_ids: Sequence[Sequence[int]],
    suffix_ids: Sequence[int],
    n_context: int,
    class_position: str,
    device: torch.device,
) -> PromptLayout:
    """Lay out `[SOS] context name . [EOS]`, or the name in front of or amid the context (CoOp, arXiv 2109.01134).

    Args:
        prefix_ids: special tokens before a text.
        name_ids: per class, tokens of its name.
        stop_ids: per class, tokens of the full stop.
        suffix_ids: special tokens after a text.
        n_context: number `M` of context vectors.
        class_position: `"end"`, `"middle"` (after the first `M // 2` vectors) or `"front"`.
        device: where the tensors go.

    Raises:
        AlmPromptError: unknown position.
    """
    if class_position not in CLASS_POSITIONS:
        raise AlmPromptError(f"class_position is {class_position!r}; choose one of {', '.join(CLASS_POSITIONS)}")
    leading = {"end": n_context, "middle": n_context // 2, "front": 0}[class_position]
    rows, slots = [], []
    for name, stop in zip(name_ids, stop_ids, strict=True):
        start = len(prefix_ids)
        after = start + leading + len(name)
        slots.append([*range(start, start + leading), *range(after, after + n_context - leading)])
        rows.append([*prefix_ids, *[0] * leading, *name, *[0] * (n_context - leading), *stop, *suffix_ids])
    ids, mask = pad_token_ids(rows, torch.device("cpu"))
    return PromptLayout(ids.to(device), mask, torch.tensor(slots, device=device), len(prefix_ids), leading)
