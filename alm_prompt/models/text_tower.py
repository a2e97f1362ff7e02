"""The text tower: token embeddings in, one feature vector per prompt out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn
from transformers import (
    BertModel,
    ClapTextModel,
    CLIPTextModel,
    GPT2Model,
    PreTrainedConfig,
    PreTrainedModel,
    RobertaModel,
    T5EncoderModel,
)
from transformers.masking_utils import create_causal_mask

from ..errors import AlmPromptError


@dataclass(frozen=True)
class TextFamily:
    """One kind of text model.

    Attributes:
        model_class: its class in `transformers`.
        poolings: where its feature can be read.
    """

    model_class: type[PreTrainedModel]
    poolings: tuple[str, ...]

    @property
    def causal(self) -> bool:
        """Whether a token sees only the tokens before it."""
        return "eos" in self.poolings


CAUSAL_POOLINGS = ("eos", "mean")
BERT_POOLINGS = ("cls", "pooler", "mean")
FAMILIES = {
    "bert": TextFamily(BertModel, BERT_POOLINGS),
    "clap_text_model": TextFamily(ClapTextModel, BERT_POOLINGS),
    "clip_text_model": TextFamily(CLIPTextModel, CAUSAL_POOLINGS),
    "gpt2": TextFamily(GPT2Model, CAUSAL_POOLINGS),
    "roberta": TextFamily(RobertaModel, BERT_POOLINGS),
    "t5": TextFamily(T5EncoderModel, ("mean", "mean_padded")),
}


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
        self.causal = family.causal
        self.pooling = pooling
        self.normalize = normalize
        self.hidden_size: int = config.hidden_size
        self.max_length = _max_length(config, max_length)

    @property
    def token_embedding(self) -> nn.Embedding:
        """Embedding table of the tokens; prompts are spliced in its space."""
        return self.model.get_input_embeddings()

    @property
    def all_tied_weights_keys(self) -> dict[str, str]:
        """Names of weights that are one tensor (T5's embedding table): a `PreTrainedModel` asks its parts for them."""
        return {f"model.{name}": f"model.{source}" for name, source in self.model.all_tied_weights_keys.items()}

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

    def forward(self, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode prompts given as embeddings.

        Args:
            inputs_embeds: `[N, L, e]` token embeddings, before position embeddings.
            attention_mask: `[N, L]`, 1 on real tokens, which come first.

        Returns:
            `[N, hidden_size]`.

        Raises:
            AlmPromptError: the prompts are longer than `max_length`.
        """
        if inputs_embeds.shape[1] > self.max_length:
            raise AlmPromptError(
                f"the text has {inputs_embeds.shape[1]} tokens, the text tower takes {self.max_length}; shorten it"
            )
        if self.pooling == "mean_padded":
            inputs_embeds, attention_mask = self._pad(inputs_embeds, attention_mask)
        features = self._pool(self._states(inputs_embeds, attention_mask), attention_mask)
        return nn.functional.normalize(features, dim=-1) if self.normalize else features

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
        if not self.causal:
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


def _max_length(config: PreTrainedConfig, wanted: int | None) -> int:
    """Longest prompt in tokens. RoBERTa-like models count positions from `pad_token_id + 1`, T5 has no limit."""
    if config.model_type == "t5":
        if wanted is None:
            raise AlmPromptError("a t5 text model has no longest text of its own; set text_max_length (ReCLAP: 77)")
        return wanted
    limit = config.max_position_embeddings
    if config.model_type in ("roberta", "clap_text_model"):
        limit -= config.pad_token_id + 1
    if wanted is not None and not 0 < wanted <= limit:
        raise AlmPromptError(f"text_max_length is {wanted}; the text model takes 1 to {limit} tokens")
    return limit if wanted is None else wanted
