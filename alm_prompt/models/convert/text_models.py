"""Text models inside official checkpoints: their sizes, read from the shapes of their tensors."""

from __future__ import annotations

from transformers import BertConfig, CLIPTextConfig, GPT2Config, RobertaConfig, T5Config

from ...errors import AlmPromptError
from .mapping import Part, Weights, count, size

TARGET = "text_tower.model."
# No tensor tells the number of heads in these text models; all of them have heads of this width.
HEAD_SIZE = 64
POSITIONS_REASON = "positions and causal masks are computed, not stored"


def text_part(source: str, drops: dict[str, str] | None = None) -> Part:
    """Where the tensors of a text model under a prefix go: they keep their names.

    Args:
        source: prefix in the checkpoint.
        drops: more patterns to leave out, each with its reason.
    """
    return Part(source, TARGET, drops={r"embeddings\.position_ids": POSITIONS_REASON, **(drops or {})})


def clip_config(weights: Weights, source: str) -> CLIPTextConfig:
    """Configuration of CLIP's text model under a prefix."""
    table = f"{source}embeddings.token_embedding.weight"
    return CLIPTextConfig(
        vocab_size=size(weights, table),
        hidden_size=size(weights, table, 1),
        num_attention_heads=_heads(weights, table),
        num_hidden_layers=count(weights, f"{source}encoder.layers."),
        intermediate_size=size(weights, f"{source}encoder.layers.0.mlp.fc1.weight"),
        max_position_embeddings=size(weights, f"{source}embeddings.position_embedding.weight"),
    )


def gpt2_config(weights: Weights, source: str) -> GPT2Config:
    """Configuration of GPT-2 under a prefix."""
    table = f"{source}wte.weight"
    return GPT2Config(
        vocab_size=size(weights, table),
        n_embd=size(weights, table, 1),
        n_head=_heads(weights, table),
        n_layer=count(weights, f"{source}h."),
        n_inner=size(weights, f"{source}h.0.mlp.c_fc.bias"),
        n_positions=size(weights, f"{source}wpe.weight"),
    )


def bert_config(weights: Weights, source: str) -> BertConfig:
    """Configuration of BERT under a prefix."""
    return BertConfig(**_bert_sizes(weights, source))


def roberta_config(weights: Weights, source: str) -> RobertaConfig:
    """Configuration of RoBERTa under a prefix, with the values of roberta-base that no shape tells."""
    return RobertaConfig(**_bert_sizes(weights, source), type_vocab_size=1, layer_norm_eps=1e-5)


def t5_config(weights: Weights, source: str) -> T5Config:
    """Configuration of the encoder of a gated T5 (1.1, flan) under a prefix."""
    block = f"{source}encoder.block.0.layer."
    buckets = f"{block}0.SelfAttention.relative_attention_bias.weight"
    heads = size(weights, buckets, 1)
    return T5Config(
        vocab_size=size(weights, f"{source}shared.weight"),
        d_model=size(weights, f"{source}shared.weight", 1),
        d_kv=size(weights, f"{block}0.SelfAttention.q.weight") // heads,
        d_ff=size(weights, f"{block}1.DenseReluDense.wi_0.weight"),
        num_layers=count(weights, f"{source}encoder.block."),
        num_heads=heads,
        relative_attention_num_buckets=size(weights, buckets),
        feed_forward_proj="gated-gelu",
        is_encoder_decoder=False,
    )


def _heads(weights: Weights, table: str) -> int:
    width = size(weights, table, 1)
    if width % HEAD_SIZE:
        raise AlmPromptError(
            f"the text model is {width} wide, which is no multiple of {HEAD_SIZE}, the width of a head"
        )
    return width // HEAD_SIZE


def _bert_sizes(weights: Weights, source: str) -> dict[str, int]:
    table = f"{source}embeddings.word_embeddings.weight"
    return {
        "vocab_size": size(weights, table),
        "hidden_size": size(weights, table, 1),
        "num_attention_heads": _heads(weights, table),
        "num_hidden_layers": count(weights, f"{source}encoder.layer."),
        "intermediate_size": size(weights, f"{source}encoder.layer.0.intermediate.dense.weight"),
        "max_position_embeddings": size(weights, f"{source}embeddings.position_embeddings.weight"),
    }
