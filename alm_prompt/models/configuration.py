"""Configuration of an audio-language model."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from transformers import CONFIG_MAPPING, AutoConfig, PreTrainedConfig

from ..errors import AlmPromptError
from .audio_towers import AUDIO_CONFIGS

DEFAULT_TEMPLATE = "This is a sound of {}."


class AlmConfig(PreTrainedConfig):
    """Configuration of a dual encoder of audio and text.

    Args:
        audio_config: config of the audio tower, or its dict with a `model_type` (`clap_audio_model`, `alm_yamnet`,
            `alm_cnn`).
        text_config: config of the text model, or its dict with a `model_type` (`bert`, `roberta`, `clap_text_model`,
            `clip_text_model`, `gpt2`, `t5`).
        projection_dim: joint dimension `d` of both embeddings.
        audio_projection: settings of the audio projection, see [`~models.projections.build_projection`].
        text_projection: the same for the text side.
        text_pooling: where the text feature is read: `"eos"`, `"mean"`, `"mean_padded"`, `"cls"` or `"pooler"`, see
            [`~models.text_tower.TextTower`].
        normalize_pooled_text: whether the pooled text feature has unit length before it is projected.
        text_max_length: longest text in tokens; default: what the text model takes. With `"mean_padded"` the length
            that every text is padded to.
        text_suffix: what is written after every text, for a tokenizer that adds no end-of-text token itself, such as
            `" <|endoftext|>"` with GPT-2.
        logit_scale_init_value: natural logarithm of the initial logit scale.
        template: sentence around a class name for zero-shot classification, with one `{}`.
    """

    model_type = "alm"
    sub_configs: ClassVar[dict[str, type]] = {"audio_config": AutoConfig, "text_config": AutoConfig}
    # Trainer gathers all other outputs as predictions, clip by clip; text embeddings have no row per clip.
    keys_to_ignore_at_inference: ClassVar[list[str]] = ["losses", "audio_embeds", "text_embeds"]

    def __init__(
        self,
        audio_config: PreTrainedConfig | dict[str, Any] | None = None,
        text_config: PreTrainedConfig | dict[str, Any] | None = None,
        projection_dim: int = 512,
        audio_projection: dict[str, Any] | None = None,
        text_projection: dict[str, Any] | None = None,
        text_pooling: str = "eos",
        normalize_pooled_text: bool = False,
        text_max_length: int | None = None,
        text_suffix: str = "",
        logit_scale_init_value: float = 2.6592,
        template: str = DEFAULT_TEMPLATE,
        **kwargs: Any,
    ) -> None:
        self.audio_config = _sub_config(audio_config, "alm_cnn", "audio_config")
        self.text_config = _sub_config(text_config, "clip_text_model", "text_config")
        self.projection_dim = projection_dim
        self.audio_projection = audio_projection or {"kind": "linear", "bias": False}
        self.text_projection = text_projection or {"kind": "linear", "bias": False}
        self.text_pooling = text_pooling
        self.normalize_pooled_text = normalize_pooled_text
        self.text_max_length = text_max_length
        self.text_suffix = text_suffix
        self.logit_scale_init_value = logit_scale_init_value
        self.template = template
        super().__init__(**kwargs)


def open_config(source: str | os.PathLike, **hub: Any) -> PreTrainedConfig:
    """Configuration in a folder or Hub repository, whose code is never run, nor asked about.

    Args:
        source: folder or Hub id.
        **hub: options of the Hub download, such as `revision`.

    Returns:
        The configuration; of a type that `transformers` does not know, its settings alone.
    """
    try:
        return AutoConfig.from_pretrained(source, trust_remote_code=False, **hub)
    except ValueError:
        config = PreTrainedConfig.from_dict(PreTrainedConfig.get_config_dict(source, **hub)[0])
        if not config.model_type or config.model_type in CONFIG_MAPPING:
            raise
        return config


def _sub_config(value: PreTrainedConfig | dict[str, Any] | None, default_type: str, name: str) -> PreTrainedConfig:
    if isinstance(value, PreTrainedConfig):
        return value
    settings = dict(value or {})
    model_type = settings.pop("model_type", default_type)
    if model_type in AUDIO_CONFIGS:
        return AUDIO_CONFIGS[model_type](**settings)
    if model_type in CONFIG_MAPPING:
        return CONFIG_MAPPING[model_type](**settings)
    raise AlmPromptError(f"{name} has the unknown model_type {model_type!r}; check the model's config.json")


AutoConfig.register(AlmConfig.model_type, AlmConfig)
