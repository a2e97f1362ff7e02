"""The layers of text models, taken apart: what packed prompts need besides their own attention."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import nn


class TextLayers(ABC):
    """The parts of one kind of text model, in evaluation mode."""

    @staticmethod
    @abstractmethod
    def embed(model: nn.Module, prompts: torch.Tensor) -> torch.Tensor:
        """First hidden states `[N, L, e]` of prompt embeddings `[N, L, e]`."""

    @staticmethod
    @abstractmethod
    def layers(model: nn.Module) -> nn.ModuleList:
        """The layers in order."""

    @staticmethod
    @abstractmethod
    def project(layer: nn.Module, states: torch.Tensor) -> Sequence[torch.Tensor]:
        """Query, key and value `[R, T, e]` of a layer."""

    @staticmethod
    @abstractmethod
    def finish(layer: nn.Module, states: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        """What a layer makes of its input and the attended values."""

    @staticmethod
    def scale(layer: nn.Module) -> float | None:
        """Factor on the attention scores; default: `head_size ** -0.5`."""
        return None

    @staticmethod
    def norm(model: nn.Module, states: torch.Tensor) -> torch.Tensor:
        """What the model does after its last layer."""
        return states


class BertLayers(TextLayers):
    """BERT, RoBERTa and CLAP's text model."""

    @staticmethod
    def embed(model: nn.Module, prompts: torch.Tensor) -> torch.Tensor:
        return model.embeddings(inputs_embeds=prompts)

    @staticmethod
    def layers(model: nn.Module) -> nn.ModuleList:
        return model.encoder.layer

    @staticmethod
    def project(layer: nn.Module, states: torch.Tensor) -> Sequence[torch.Tensor]:
        attention = layer.attention.self
        return attention.query(states), attention.key(states), attention.value(states)

    @staticmethod
    def finish(layer: nn.Module, states: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        states = layer.attention.output(attended, states)
        return layer.output(layer.intermediate(states), states)


class ClipTextLayers(TextLayers):
    """CLIP's text model."""

    @staticmethod
    def embed(model: nn.Module, prompts: torch.Tensor) -> torch.Tensor:
        return model.embeddings(inputs_embeds=prompts)

    @staticmethod
    def layers(model: nn.Module) -> nn.ModuleList:
        return model.encoder.layers

    @staticmethod
    def project(layer: nn.Module, states: torch.Tensor) -> Sequence[torch.Tensor]:
        attention, states = layer.self_attn, layer.layer_norm1(states)
        return attention.q_proj(states), attention.k_proj(states), attention.v_proj(states)

    @staticmethod
    def finish(layer: nn.Module, states: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        states = states + layer.self_attn.out_proj(attended)
        return states + layer.mlp(layer.layer_norm2(states))

    @staticmethod
    def norm(model: nn.Module, states: torch.Tensor) -> torch.Tensor:
        return model.final_layer_norm(states)


class Gpt2Layers(TextLayers):
    """GPT-2."""

    @staticmethod
    def embed(model: nn.Module, prompts: torch.Tensor) -> torch.Tensor:
        return prompts + model.wpe(torch.arange(prompts.shape[1], device=prompts.device))

    @staticmethod
    def layers(model: nn.Module) -> nn.ModuleList:
        return model.h

    @staticmethod
    def project(layer: nn.Module, states: torch.Tensor) -> Sequence[torch.Tensor]:
        return layer.attn.c_attn(layer.ln_1(states)).chunk(3, dim=-1)

    @staticmethod
    def finish(layer: nn.Module, states: torch.Tensor, attended: torch.Tensor) -> torch.Tensor:
        states = states + layer.attn.c_proj(attended)
        return states + layer.mlp(layer.ln_2(states))

    @staticmethod
    def scale(layer: nn.Module) -> float | None:
        return layer.attn.scaling

    @staticmethod
    def norm(model: nn.Module, states: torch.Tensor) -> torch.Tensor:
        return model.ln_f(states)
