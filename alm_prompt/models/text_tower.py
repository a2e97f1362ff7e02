"""The text tower: token embeddings in, one feature vector per prompt out."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn
from transformers import BertModel, ClapTextModel, CLIPTextModel, PreTrainedConfig, RobertaModel
from transformers.masking_utils import create_causal_mask

from ..errors import AlmPromptError

BIDIRECTIONAL_MODELS: dict[str, type[nn.Module]] = {
    "bert": BertModel,
    "clap_text_model": ClapTextModel,
    "roberta": RobertaModel,
}
POOLINGS = ("eos", "mean", "cls", "pooler")


class TextTower(nn.Module):
    """A text model of `transformers` that takes prompt embeddings and pools the actual prompt.

    Prompts are padded on the right, so the last real token of a prompt is where its attention mask ends: pooling never
    looks for token ids, which a learned context does not have.

    Args:
        config: config of the text model (`bert`, `roberta`, `clap_text_model` or `clip_text_model`).
        pooling: `"eos"` (last real token), `"mean"` (over real tokens), `"cls"` (first token) or `"pooler"` (the text
            model's own dense + tanh on the first token).
        normalize: whether the pooled feature is scaled to unit length.

    Raises:
        AlmPromptError: unknown text model or pooling.
    """

    def __init__(self, config: PreTrainedConfig, pooling: str, normalize: bool = False) -> None:
        super().__init__()
        if pooling not in POOLINGS:
            raise AlmPromptError(f"text_pooling is {pooling!r}; choose one of {', '.join(POOLINGS)}")
        self.causal = config.model_type == "clip_text_model"
        if self.causal:
            self.model = CLIPTextModel(config)
        elif config.model_type in BIDIRECTIONAL_MODELS:
            model_class = BIDIRECTIONAL_MODELS[config.model_type]
            self.model = model_class(config, add_pooling_layer=pooling == "pooler")
        else:
            known = ", ".join((*BIDIRECTIONAL_MODELS, "clip_text_model"))
            raise AlmPromptError(f"text model type {config.model_type!r} is not supported; choose one of {known}")
        self.pooling = pooling
        self.normalize = normalize
        self.hidden_size: int = config.hidden_size
        self.max_length: int = _max_length(config)

    @property
    def token_embedding(self) -> nn.Embedding:
        """Embedding table of the tokens; prompts are spliced in its space."""
        return self.model.get_input_embeddings()

    def forward(self, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode prompts given as embeddings.

        Args:
            inputs_embeds: `[N, L, e]` token embeddings, before position embeddings.
            attention_mask: `[N, L]`, 1 on real tokens, which come first.

        Returns:
            `[N, hidden_size]`.
        """
        if self.causal:
            hidden_states, pooled = self._causal_states(inputs_embeds), None
        else:
            output = self.model(inputs_embeds=inputs_embeds, attention_mask=attention_mask)
            hidden_states, pooled = output.last_hidden_state, output.pooler_output
        features = self._pool(hidden_states, pooled, attention_mask)
        return nn.functional.normalize(features, dim=-1) if self.normalize else features

    def _causal_states(self, inputs_embeds: torch.Tensor) -> torch.Tensor:
        """Hidden states of CLIP's text model, whose own forward refuses embeddings.

        Padding comes after every real token, where a causal tower cannot see it: no padding mask is needed.
        """
        hidden_states = self.model.embeddings(inputs_embeds=inputs_embeds)
        mask = create_causal_mask(
            config=self.model.config, inputs_embeds=hidden_states, attention_mask=None, past_key_values=None
        )
        states = self.model.encoder(inputs_embeds=hidden_states, attention_mask=mask, is_causal=True)
        return self.model.final_layer_norm(states.last_hidden_state)

    def _pool(
        self, hidden_states: torch.Tensor, pooled: torch.Tensor | None, attention_mask: torch.Tensor
    ) -> torch.Tensor:
        if self.pooling == "pooler":
            return pooled
        if self.pooling == "cls":
            return hidden_states[:, 0]
        if self.pooling == "eos":
            rows = torch.arange(len(hidden_states), device=hidden_states.device)
            return hidden_states[rows, attention_mask.sum(dim=1) - 1]
        weights = attention_mask.unsqueeze(-1).to(hidden_states.dtype)
        return (hidden_states * weights).sum(dim=1) / weights.sum(dim=1)


def pad_token_ids(token_ids: Sequence[Sequence[int]], device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Pad lists of token ids on the right to the longest of them.

    Args:
        token_ids: `N` lists of ids.
        device: where the tensors go.

    Returns:
        Ids and attention mask, both `[N, L]`. Padding repeats id 0, which the mask hides from every tower.
    """
    length = max(len(ids) for ids in token_ids)
    ids = torch.tensor([[*row, *[0] * (length - len(row))] for row in token_ids], device=device)
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in token_ids], device=device)
    return ids, mask


def _max_length(config: PreTrainedConfig) -> int:
    """Longest prompt in tokens. RoBERTa-like models count positions from `pad_token_id + 1`."""
    if config.model_type in ("roberta", "clap_text_model"):
        return config.max_position_embeddings - config.pad_token_id - 1
    return config.max_position_embeddings
