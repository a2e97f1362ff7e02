"""Configuration of Pengi."""

from __future__ import annotations

from typing import Any, ClassVar

from transformers import AutoConfig, GPT2Config, PreTrainedConfig

from ..configuration import AlmConfig


class PengiConfig(PreTrainedConfig):
    """Configuration of a dual encoder of audio and text with a decoder that writes text.

    Args:
        alm_config: configuration of the dual encoder, or its dict.
        decoder_config: configuration of GPT-2, or its dict.
        prefix_length: vectors that the decoder reads for the audio, and again for the prompt.
        mapper_layers: transformer layers between an embedding and its vectors.
        mapper_heads: attention heads in each of them.
        eos_token_id: id at which writing stops. Pengi's texts end in `" <|endoftext|>"`, of which GPT-2's tokenizer
            makes two tokens; the first one, a bare space, is where the official code stops.
        pad_token_id: id that fills up texts which stopped before others.
    """

    model_type = "alm_pengi"
    sub_configs: ClassVar[dict[str, type]] = {"alm_config": AlmConfig, "decoder_config": GPT2Config}
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["past_key_values"]

    def __init__(
        self,
        alm_config: AlmConfig | dict[str, Any] | None = None,
        decoder_config: GPT2Config | dict[str, Any] | None = None,
        prefix_length: int = 40,
        mapper_layers: int = 4,
        mapper_heads: int = 8,
        eos_token_id: int = 220,
        pad_token_id: int = 50256,
        **kwargs: Any,
    ) -> None:
        self.alm_config = alm_config if isinstance(alm_config, AlmConfig) else AlmConfig.from_dict(alm_config or {})
        self.decoder_config = (
            decoder_config if isinstance(decoder_config, GPT2Config) else GPT2Config.from_dict(decoder_config or {})
        )
        self.prefix_length = prefix_length
        self.mapper_layers = mapper_layers
        self.mapper_heads = mapper_heads
        self.eos_token_id = eos_token_id
        self.pad_token_id = pad_token_id
        super().__init__(**kwargs)


AutoConfig.register(PengiConfig.model_type, PengiConfig)
