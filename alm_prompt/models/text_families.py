"""The kinds of text models that a text tower can hold, and how it computes with them."""

from __future__ import annotations

from dataclasses import dataclass

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

from ..errors import AlmPromptError
from .text_layers import BertLayers, ClipTextLayers, Gpt2Layers, TextLayers

FAST = ("auto", "off")
TRAINING_MODE = "the text tower is in training mode, where its dropout counts"


@dataclass(frozen=True)
class TextPath:
    """How a text tower computes.

    Attributes:
        name: `"packed"` (see [`~models.text_packing`]) or `"plain"`, the text model's own forward.
        reason: why, in words.
    """

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name}: {self.reason}"


@dataclass(frozen=True)
class TextFamily:
    """One kind of text model.

    Attributes:
        model_class: its class in `transformers`.
        poolings: where its feature can be read.
        layers: how it is taken apart to run packed prompts, if it can be.
    """

    model_class: type[PreTrainedModel]
    poolings: tuple[str, ...]
    layers: type[TextLayers] | None

    @property
    def causal(self) -> bool:
        """Whether a token sees only the tokens before it."""
        return "eos" in self.poolings

    @property
    def path(self) -> TextPath:
        """How such a text model computes in evaluation mode where nothing else is asked for."""
        if self.layers is None:
            return TextPath("plain", f"a {self.model_class.config_class.model_type} text model cannot be packed")
        shared = ", and what they have in common at their start" if self.causal else ""
        return TextPath("packed", f"prompts share rows{shared}")


CAUSAL_POOLINGS = ("eos", "mean")
BERT_POOLINGS = ("cls", "pooler", "mean")
FAMILIES = {
    "bert": TextFamily(BertModel, BERT_POOLINGS, BertLayers),
    "clap_text_model": TextFamily(ClapTextModel, BERT_POOLINGS, BertLayers),
    "clip_text_model": TextFamily(CLIPTextModel, CAUSAL_POOLINGS, ClipTextLayers),
    "gpt2": TextFamily(GPT2Model, CAUSAL_POOLINGS, Gpt2Layers),
    "roberta": TextFamily(RobertaModel, BERT_POOLINGS, BertLayers),
    "t5": TextFamily(T5EncoderModel, ("mean", "mean_padded"), None),
}
# Which tokens of a prompt are pooled.
POOLED_TOKENS = {"eos": "last", "cls": "first", "pooler": "first", "mean": "all"}


def longest_prompt(config: PreTrainedConfig, wanted: int | None) -> int:
    """Longest prompt in tokens that a text model takes.

    RoBERTa-like models count positions from `pad_token_id + 1`, T5 has no limit.

    Args:
        config: config of the text model.
        wanted: what is asked for; `None`: as much as it can.

    Raises:
        AlmPromptError: the model does not take so much, or has no limit and none is asked for.
    """
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
