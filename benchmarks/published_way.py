"""Prompt learning the way it is published, in plain torch and transformers, to measure `alm_prompt` against.

Written from the papers' descriptions (CoOp arXiv 2109.01134, CoCoOp 2203.05557, PALM 2409.19806, SEPT 2601.20867):
prompts are padded to the full length of the text tower and go through the forward of transformers, every step encodes
its audio and its prompts anew (PALM its class names), CoCoOp makes one text pass per clip, and the projections are
left unfrozen, so that their gradients are computed as well. The public code of PALM leaves the towers unfrozen, too,
although no optimizer has their weights; `unfrozen="everything"` does so.

It takes its modules from a model of `alm_prompt` and its learned tensors by their names there, so that both ways can
be compared number by number (`tests/benchmarks/test_published_way.py`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache

import torch
from torch.nn.functional import cross_entropy, linear, normalize
from transformers import PreTrainedTokenizerBase

from alm_prompt.models import AlmModel

Tensors = Mapping[str, torch.Tensor]


class PublishedWay:
    """Losses of the published methods on a model with CLIP's text tower.

    Args:
        alm: the model, for this way alone: its projections are unfrozen.
        tokenizer: tokenizer with a start and an end-of-text token.
        length: number of tokens that every prompt is padded to.
        unfrozen: `"projections"` or `"everything"`.
    """

    def __init__(
        self, alm: AlmModel, tokenizer: PreTrainedTokenizerBase, length: int, unfrozen: str = "projections"
    ) -> None:
        self.alm = alm.eval().requires_grad_(unfrozen == "everything")
        self.alm.text_projection.requires_grad_(True)
        self.alm.audio_projection.requires_grad_(True)
        self.text_model = alm.text_tower.model
        self.embedding = alm.text_tower.token_embedding
        self.tokenizer = tokenizer
        self.length = length
        self.scale = alm.logit_scale.exp().detach()
        # The public code tokenizes once, too.
        self.padded_ids = lru_cache(maxsize=8)(self._padded_ids)

    def coop(self, learned: Tensors, names: Sequence[str], audio: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Loss of CoOp: `learned["context"]` `[M, e]`, audio features `[B, d]`, labels `[B]`."""
        text = self.text_features(learned["context"], _stopped(names))
        return cross_entropy(self.logits(audio, text), labels)

    def cocoop(
        self, learned: Tensors, names: Sequence[str], audio: torch.Tensor, labels: torch.Tensor
    ) -> torch.Tensor:
        """Loss of CoCoOp: clip after clip, each with a context shifted by its own embedding."""
        hidden = linear(normalize(audio, dim=-1), learned["meta1_weight"], learned["meta1_bias"]).relu()
        shifts = linear(hidden, learned["meta2_weight"], learned["meta2_bias"])
        logits = [
            self.logits(clip, self.text_features(learned["context"] + shift, _stopped(names)))
            for clip, shift in zip(audio, shifts, strict=True)
        ]
        return cross_entropy(torch.stack(logits), labels)

    def palm(self, learned: Tensors, names: Sequence[str], audio: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """Loss of PALM: class features mixed with learned vectors, on the bare names."""
        share = learned["mixing"].sigmoid().unsqueeze(-1)
        features = normalize(self.text_features(None, names), dim=-1)
        text = (1 - share) * features + share * learned["class_vectors"]
        return cross_entropy(self.logits(audio, text), labels)

    def sept(
        self,
        learned: Tensors,
        names: Sequence[str],
        neighbors: Mapping[str, Sequence[str]],
        margins: torch.Tensor,
        audio: torch.Tensor,
        labels: torch.Tensor,
        weight: float = 3.0,
    ) -> torch.Tensor:
        """Loss of SEPT over CoOp, with the margins `[K, K, N]` of the frozen model."""
        prompts = [*names, *(term for name in names for term in neighbors[name])]
        features = self.text_features(learned["context"], _stopped(prompts))
        classes = len(names)
        distances = _distances(features[:classes], features[classes:].unflatten(0, (classes, -1)))
        own = torch.eye(classes, dtype=torch.bool, device=audio.device)
        intra = (distances - margins).relu().mean(dim=-1)[own].mean()
        inter = (margins - distances).relu().mean(dim=-1)[~own].mean()
        return cross_entropy(self.logits(audio, features[:classes]), labels) + weight * (intra + inter)

    @torch.no_grad()
    def margins(
        self, names: Sequence[str], neighbors: Mapping[str, Sequence[str]], templates: Sequence[str]
    ) -> torch.Tensor:
        """SEPT's margins `[K, K, N]`: mean over templates of the distance of class `i` to neighbour `n` of `j`."""
        texts = [*names, *(term for name in names for term in neighbors[name])]
        found = []
        for template in templates:
            features = self.text_features(None, [template.format(text) for text in texts])
            own, others = features[: len(names)], features[len(names) :]
            found.append(_distances(own, others.unflatten(0, (len(names), -1))))
        return torch.stack(found).mean(dim=0)

    def text_features(self, context: torch.Tensor | None, texts: Sequence[str]) -> torch.Tensor:
        """Features `[N, d]` of the prompts `[SOS] context text [EOS]`, each padded to the full length.

        The text model takes ids; a hook puts the context vectors in place of the embeddings of placeholders.
        """
        n_context = 0 if context is None else len(context)
        ids, ends = self.padded_ids(n_context, tuple(texts))

        def splice(module: torch.nn.Module, inputs: object, embeds: torch.Tensor) -> torch.Tensor:
            repeated = context.to(embeds.dtype).expand(len(embeds), -1, -1)
            return torch.cat([embeds[:, :1], repeated, embeds[:, 1 + n_context :]], dim=1)

        hook = self.embedding.register_forward_hook(splice) if n_context else None
        try:
            states = self.text_model(input_ids=ids).last_hidden_state
        finally:
            if hook is not None:
                hook.remove()
        return self.alm.text_projection(states[torch.arange(len(ends), device=ends.device), ends])

    def _padded_ids(self, n_context: int, texts: tuple[str, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids `[N, length]` of the prompts, and where the last token of each stands."""
        start, end = self.tokenizer.bos_token_id, self.tokenizer.eos_token_id
        tokens = [self.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]
        rows = [[start, *[0] * n_context, *ids, end] for ids in tokens]
        device = self.embedding.weight.device
        ids = torch.tensor([row + [end] * (self.length - len(row)) for row in rows], device=device)
        return ids, torch.tensor([len(row) - 1 for row in rows], device=device)

    def logits(self, audio: torch.Tensor, text: torch.Tensor) -> torch.Tensor:
        """Scaled cosines of audio `[..., d]` with texts `[C, d]`."""
        return self.scale * normalize(audio, dim=-1) @ normalize(text, dim=-1).T


def _stopped(texts: Sequence[str]) -> list[str]:
    """Texts as they stand in a prompt, with a full stop."""
    return [f"{text}." for text in texts]


def _distances(classes: torch.Tensor, neighbors: torch.Tensor) -> torch.Tensor:
    """Distances `[K, K, N]` between the unit vectors of classes `[K, d]` and neighbours `[K, N, d]`."""
    return (normalize(classes, dim=-1)[:, None, None] - normalize(neighbors, dim=-1)).norm(dim=-1)
