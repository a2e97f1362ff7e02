"""The text tower: token embeddings in, one feature vector per prompt out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import CLIPTextModel, PreTrainedConfig
from transformers.masking_utils import create_causal_mask

from ..errors import AlmPromptError
from .text_families import FAMILIES, FAST, POOLED_TOKENS, TRAINING_MODE, TextPath, longest_prompt
from .text_packing import Packing, encode_packed, in_chunks, pack_prompts, token_bytes

# Activations of the text tower kept for the backward pass; with more prompts, parts of them are computed again there.
ACTIVATION_BYTES = 4 * 2**30


@dataclass(frozen=True)
class TextPlan:
    """How a text tower computes a list of prompts; see [`TextTower.plan`].

    Attributes:
        packing: where tokens lie in rows; `None` on the plain path.
        mask: `[N, L]`, 1 on real tokens, on the device of the prompts; `None` where they are packed.
        room: number of tokens to run at a time; with more, the backward pass runs them again. `None`: all at once.
    """

    packing: Packing | None
    mask: torch.Tensor | None
    room: int | None


class TextTower(nn.Module):
    """A text model of `transformers` that takes prompt embeddings and pools the actual prompt.

    Prompts are padded on the right, so the last real token of a prompt is where its attention mask ends: pooling never
    looks for token ids, which a learned context does not have.

    Args:
        config: config of the text model; its `model_type` is one of [`FAMILIES`].
        pooling: `"eos"` (last real token), `"mean"` (over real tokens), `"mean_padded"` (over `max_length` positions,
            padding included: ReCLAP, arXiv 2409.09213), `"cls"` (first token) or `"pooler"` (the text model's own
            dense + tanh on the first token).
        normalize: whether the pooled feature is scaled to unit length.
        max_length: longest prompt in tokens; default: what the text model takes.

    Attributes:
        fast: `"auto"` computes the same function in less time and memory where that can be done; `"off"` is the text
            model's own forward, always.
        memory: bytes of activations to keep for the backward pass. With more prompts, parts of them are computed one
            after the other, and again in the backward pass. `fast="off"` keeps all.
        paths_taken: how prompts have been computed so far.

    Raises:
        AlmPromptError: unknown text model, or a pooling or length that does not go with it.
    """

    def __init__(
        self, config: PreTrainedConfig, pooling: str, normalize: bool = False, max_length: int | None = None
    ) -> None:
        super().__init__()
        if config.model_type not in FAMILIES:
            raise AlmPromptError(
                f"text model type {config.model_type!r} is not supported; choose one of {', '.join(FAMILIES)}"
            )
        family = FAMILIES[config.model_type]
        if pooling not in family.poolings:
            raise AlmPromptError(
                f"text_pooling is {pooling!r}; with a {config.model_type} text model choose one of "
                f"{', '.join(family.poolings)}"
            )
        options = {"add_pooling_layer": pooling == "pooler"} if "pooler" in family.poolings else {}
        self.model = family.model_class(config, **options)
        self.family = family
        self.fast = "auto"
        self.memory = ACTIVATION_BYTES
        self.paths_taken: set[TextPath] = set()
        self.pooling = pooling
        self.normalize = normalize
        self.hidden_size: int = config.hidden_size
        self.max_length = longest_prompt(config, max_length)

    @property
    def token_embedding(self) -> nn.Embedding:
        """Embedding table of the tokens; prompts are spliced in its space."""
        return self.model.get_input_embeddings()

    @property
    def all_tied_weights_keys(self) -> dict[str, str]:
        """Names of weights that are one tensor (T5's embedding table): a `PreTrainedModel` asks its parts for them."""
        return {f"model.{name}": f"model.{source}" for name, source in self.model.all_tied_weights_keys.items()}

    @property
    def fast(self) -> str:
        """`"auto"` or `"off"`."""
        return self._fast

    @fast.setter
    def fast(self, value: str) -> None:
        if value not in FAST:
            raise AlmPromptError(f"fast is {value!r}; choose one of {', '.join(FAST)}")
        self._fast = value

    @property
    def path(self) -> TextPath:
        """How the next prompts will be computed, and why."""
        if self.fast == "off":
            return TextPath("plain", "fast is off")
        if self.training and self.family.layers is not None:
            return TextPath("plain", TRAINING_MODE)
        return self.family.path

    def check_special_tokens(self, before: Sequence[int], after: Sequence[int]) -> None:
        """Check that prompts will have the token that the feature is read from.

        Args:
            before: ids that the tokenizer puts before a text.
            after: ids that the tokenizer puts after a text.

        Raises:
            AlmPromptError: the token is missing.
        """
        if self.pooling == "eos" and not after:
            raise AlmPromptError(
                "text_pooling 'eos' reads an end-of-text token, but the tokenizer adds none; set text_suffix in the "
                "model's config, such as ' <|endoftext|>'"
            )
        if self.pooling in ("cls", "pooler") and not before:
            raise AlmPromptError(
                f"text_pooling {self.pooling!r} reads a token before the text, but the tokenizer adds none; use the "
                "tokenizer that belongs to the text model"
            )

    # Ordinary Python over lists: a compiled graph begins after it.
    @torch.compiler.disable
    def plan(self, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor, shared: int = 0) -> TextPlan:
        """Decide how prompts are computed, before anything is computed with their numbers.

        Args:
            inputs_embeds: as in [`forward`].
            attention_mask: `[N, L]`, 1 on real tokens, which come first; the same for every clip. On CPU, wherever
                the prompts are, it can be read without waiting for the device.
            shared: number of leading tokens that are the same in all prompts (of a clip).

        Raises:
            AlmPromptError: the prompts are longer than `max_length`, or `memory` does not hold one of them.
        """
        length, dtype, device = inputs_embeds.shape[-2], inputs_embeds.dtype, inputs_embeds.device
        if length > self.max_length:
            raise AlmPromptError(f"the text has {length} tokens, the text tower takes {self.max_length}; shorten it")
        path = self.path
        self.paths_taken.add(path)
        if path.name == "packed":
            lengths = tuple(attention_mask.sum(dim=1).tolist())
            room = self._room(dtype, max(lengths))
            causal, pooled = self.family.causal, POOLED_TOKENS[self.pooling]
            packing = pack_prompts(lengths, shared if causal else 0, causal, pooled, room, device)
            return TextPlan(packing, None, room)
        longest = self.max_length if self.pooling == "mean_padded" else length
        room = None if self.fast == "off" else self._room(dtype, longest)
        return TextPlan(None, attention_mask.to(device), room)

    def forward(self, inputs_embeds: torch.Tensor, plan: TextPlan) -> torch.Tensor:
        """Encode prompts given as embeddings.

        Args:
            inputs_embeds: `[N, L, e]` token embeddings, before position embeddings, or such prompts per clip:
                `[B, N, L, e]`.
            plan: what [`plan`] makes of them.

        Returns:
            `[N, hidden_size]`, or `[B, N, hidden_size]`.
        """
        *clips, count, length, width = inputs_embeds.shape
        prompts = inputs_embeds.reshape(-1, count, length, width)
        encode = self._plain_features if plan.packing is None else self._packed_features
        features = encode(prompts, plan).unflatten(0, (*clips, count))
        return nn.functional.normalize(features, dim=-1) if self.normalize else features

    def _room(self, dtype: torch.dtype, longest: int) -> int:
        """Number of tokens whose activations fit into memory; the longest prompt has to."""
        per_token = token_bytes(self.model.config, dtype)
        if self.memory < per_token * longest:
            raise AlmPromptError(
                f"text_tower.memory is {_mebibytes(self.memory)} MiB, but the activations of one prompt of {longest} "
                f"tokens take {_mebibytes(per_token * longest)} MiB; give it that or more"
            )
        return self.memory // per_token

    def _packed_features(self, prompts: torch.Tensor, plan: TextPlan) -> torch.Tensor:
        packing = plan.packing
        states = encode_packed(self.family.layers, self.model, prompts[:, :, : packing.length], packing, plan.room)
        return self._pool(states, packing.pooled.repeat(len(prompts), 1))

    def _plain_features(self, prompts: torch.Tensor, plan: TextPlan) -> torch.Tensor:
        embeds, mask = prompts.flatten(0, 1), plan.mask.repeat(len(prompts), 1)
        if self.pooling == "mean_padded":
            embeds, mask = self._pad(embeds, mask)
        if plan.room is None:
            return self._pooled_states(embeds, mask)
        return in_chunks(self.model, self._pooled_states, (embeds, mask), plan.room // embeds.shape[1])

    def _pooled_states(self, embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return self._pool(self._states(embeds, mask), mask)

    def _pad(self, embeds: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Bring prompts to `max_length` with the embedding of the padding token, as reading padded ids would."""
        padding = self.token_embedding.weight[self.model.config.pad_token_id]
        missing = self.max_length - embeds.shape[1]
        embeds = torch.where(mask.bool().unsqueeze(-1), embeds, padding)
        embeds = torch.cat([embeds, padding.expand(len(embeds), missing, -1)], dim=1)
        return embeds, nn.functional.pad(mask, (0, missing))

    def _states(self, embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Last hidden states.

        Padding comes after every real token, where a causal tower cannot see it: it needs no padding mask.
        """
        if not self.family.causal:
            return self.model(inputs_embeds=embeds, attention_mask=mask).last_hidden_state
        if not isinstance(self.model, CLIPTextModel):
            return self.model(inputs_embeds=embeds, use_cache=False).last_hidden_state
        # The forward of CLIP's text model refuses embeddings.
        states = self.model.embeddings(inputs_embeds=embeds)
        causal_mask = create_causal_mask(
            config=self.model.config, inputs_embeds=states, attention_mask=None, past_key_values=None
        )
        states = self.model.encoder(inputs_embeds=states, attention_mask=causal_mask, is_causal=True)
        return self.model.final_layer_norm(states.last_hidden_state)

    def _pool(self, states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        if self.pooling == "pooler":
            return self.model.pooler(states)
        if self.pooling == "cls":
            return states[:, 0]
        if self.pooling == "mean_padded":
            return states.mean(dim=1)
        if self.pooling == "eos":
            rows = torch.arange(len(states), device=states.device)
            return states[rows, mask.sum(dim=1) - 1]
        weights = mask.unsqueeze(-1).to(states.dtype)
        return (states * weights).sum(dim=1) / weights.sum(dim=1)


def pad_token_ids(token_ids: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad lists of token ids on the right to the longest of them.

    Args:
        token_ids: `N` lists of ids.
        device: where the tensors go.

    Returns:
        Ids and attention mask, both `[N, L]`. Padding repeats id 0, which the mask hides.
    """
    length = max(len(ids) for ids in token_ids)
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in token_ids], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in token_ids], device=device)
    return ids, mask


def _mebibytes(count: int) -> str:
    """Bytes in MiB, rounded up: what is enough."""
    return f"{math.ceil(10 * count / 2**20) / 10:.1f}"
