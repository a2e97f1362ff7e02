"""The dual encoder of audio and text."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoModel, ClapConfig, ClapModel, PreTrainedModel

from ..distributed import world
from ..errors import AlmPromptError
from ..losses import contrastive_loss, gather_pairs
from ..outputs import AlmOutput
from .audio_towers import build_audio_tower
from .class_head import similarity_output
from .configuration import AlmConfig, open_config
from .convert.clap import config_from_clap, state_dict_from_clap
from .joining import (
    AUDIO_PREFIXES,
    TEXT_PREFIXES,
    TowerSource,
    audio_config_of,
    copy_weights,
    default_pooling,
    text_config_of,
)
from .projections import build_projection
from .text_tower import TextTower, pad_token_ids

# Thousands of sentences (templates times classes) are encoded piece by piece: memory stays bounded.
TEXTS_PER_PASS = 512

# What `from_pretrained` hands to the Hub and not to a model's constructor.
HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")
# What else a checkpoint of another class is opened with; the rest would act on that class and be lost with it.
CLAP_ARGUMENTS = (*HUB_ARGUMENTS, "device_map", "dtype", "use_safetensors", "variant", "weights_only")
# The way out where a checkpoint cannot be opened like this.
OWN_FORMAT = "save it with save_pretrained first and open that folder so"


class AlmPreTrainedModel(PreTrainedModel):
    """Loading and initialisation that both models share."""

    config_class = AlmConfig
    base_model_prefix = "alm"
    main_input_name = "input_features"
    input_modalities = ("audio", "text")
    _supports_sdpa = True

    @property
    def is_gradient_checkpointing(self) -> bool:
        """Whether activations are computed again in the backward pass.

        `peft` asks by this name, for which `transformers` has begun to print a warning.
        """
        return any(getattr(module, "gradient_checkpointing", False) for module in self.modules())

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        """Open a folder or Hub repository in our own format, or a LAION CLAP checkpoint of `transformers` as it is.

        Weights are loaded in float32 unless `dtype` says otherwise.

        Args:
            pretrained_model_name_or_path: folder or Hub id.
            *args: passed on to `PreTrainedModel.from_pretrained`.
            **kwargs: passed on to `PreTrainedModel.from_pretrained`. A LAION CLAP checkpoint takes those of the Hub
                download and of its weight files, `dtype`, `attn_implementation`, a `device_map` of one device and
                `output_loading_info`, whose names are those of `ClapModel`.

        Raises:
            AlmPromptError: the checkpoint is of another kind of model, or does not take an option.
        """
        # Code that a checkpoint brings along is never run, nor asked about.
        kwargs.pop("trust_remote_code", None)
        kwargs.setdefault("dtype", kwargs.pop("torch_dtype", torch.float32))
        config = kwargs.pop("config", None)
        if config is None:
            hub = {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}
            config = open_config(pretrained_model_name_or_path, **hub)
        if config.model_type == "clap":
            return cls._from_clap(str(pretrained_model_name_or_path), config, *args, **kwargs)
        if config.model_type != AlmConfig.model_type:
            raise AlmPromptError(
                f"{pretrained_model_name_or_path} holds a model of type {config.model_type!r}; give a folder of "
                "alm_prompt or a LAION CLAP checkpoint (type 'clap')"
            )
        return super().from_pretrained(pretrained_model_name_or_path, *args, config=config, **kwargs)

    @classmethod
    def _from_clap(
        cls,
        source: str,
        config: ClapConfig,
        *args: Any,
        attn_implementation: str | dict[str, str] | None = None,
        output_loading_info: bool = False,
        **kwargs: Any,
    ) -> Any:
        # Under names like `_from_pipeline` transformers passes on who opens the model.
        if refused := sorted(name for name in kwargs if name not in CLAP_ARGUMENTS and not name.startswith("_")):
            raise AlmPromptError(
                f"{refused[0]}={kwargs[refused[0]]!r} does not go with {source}, which is a LAION CLAP checkpoint; "
                f"{OWN_FORMAT}"
            )
        clap, report = ClapModel.from_pretrained(source, config=config, output_loading_info=True, **kwargs)
        # Of a model on one device there is no such map.
        if hasattr(clap, "hf_device_map"):
            raise AlmPromptError(
                f"device_map={kwargs['device_map']!r} spreads {source}, which is a LAION CLAP checkpoint, over "
                f"several devices; give one, or {OWN_FORMAT}"
            )
        own = config_from_clap(config)
        if attn_implementation is not None:
            own._attn_implementation = attn_implementation
        model = cls(own, *args).to(clap.device, clap.dtype)
        model.base_model.load_state_dict(state_dict_from_clap(clap.state_dict()))
        model.name_or_path = model.config.name_or_path = source
        return (model.eval(), report) if output_loading_info else model.eval()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, AlmModel):
            nn.init.constant_(module.logit_scale, self.config.logit_scale_init_value)


class AlmModel(AlmPreTrainedModel):
    """A dual encoder: an audio tower and a text tower, each with a projection into one joint space of dimension `d`.

    Args:
        config: sizes and kinds of all parts.
    """

    def __init__(self, config: AlmConfig) -> None:
        super().__init__(config)
        self.audio_tower = build_audio_tower(config.audio_config)
        self.audio_projection = build_projection(
            config.audio_projection, self.audio_tower.hidden_size, config.projection_dim
        )
        self.text_tower = TextTower(
            config.text_config, config.text_pooling, config.normalize_pooled_text, config.text_max_length
        )
        self.text_projection = build_projection(
            config.text_projection, self.text_tower.hidden_size, config.projection_dim
        )
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        self._casts = 0
        self.post_init()

    @classmethod
    def from_towers(cls, audio: TowerSource, text: TowerSource, projection_dim: int = 512, **options: Any) -> AlmModel:
        """Join an audio tower with a text encoder, to be aligned by contrastive training.

        The weights of both are taken over; the projections are new. Classifying before training is guessing.

        Args:
            audio: a LAION CLAP checkpoint, a `ClapAudioModel`, an [`AlmModel`] or a tower of one: a folder, a Hub id
                or the model itself. A configuration in its place gives a tower that has learned nothing.
            text: in the same ways, a text encoder of `transformers` of type `bert`, `roberta`, `clap_text_model`,
                `clip_text_model`, `gpt2` or `t5`, or a model with such an encoder (CLIP, CLAP, an [`AlmModel`]).
            projection_dim: joint dimension `d`.
            **options: other settings of [`AlmConfig`]. `text_pooling` is by default `"eos"` for CLIP, `"pooler"` for
                CLAP and `"mean"` for the others; `t5` needs a `text_max_length`.

        Returns:
            The model in evaluation mode, float32.

        Raises:
            AlmPromptError: a tower of another type, a pooling or length that does not go with the text encoder, or
                weights that are missing.
        """
        audio_config, text_config = audio_config_of(audio), text_config_of(text)
        options.setdefault("text_pooling", default_pooling(text_config))
        model = cls(AlmConfig(audio_config, text_config, projection_dim, **options))
        copy_weights(getattr(model.audio_tower, "model", model.audio_tower), audio, AUDIO_PREFIXES)
        copy_weights(model.text_tower.model, text, TEXT_PREFIXES)
        return model.eval()

    def get_input_embeddings(self) -> nn.Module:
        """Token embedding table of the text tower."""
        return self.text_tower.token_embedding

    def get_audio_features(
        self, input_features: torch.Tensor, feature_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Encode audio.

        Args:
            input_features: what the processor gives for the audio tower, `[B, ...]`.
            feature_mask: `[B, P]` for towers that read patches or views, 1 on those to read.

        Returns:
            `[B, d]`, projected, not normalised.
        """
        return self.audio_projection(self.audio_tower(input_features, feature_mask))

    def get_text_features(self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None) -> torch.Tensor:
        """Encode texts given as token ids.

        Args:
            input_ids: `[N, L]`, padded on the right.
            attention_mask: `[N, L]`, 1 on real tokens; default: all are real.

        Returns:
            `[N, d]`, projected, not normalised.
        """
        if attention_mask is None:
            attention_mask = torch.ones_like(input_ids)
        return self.encode_prompts(self.text_tower.token_embedding(input_ids), attention_mask)

    def encode_prompts(
        self, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor, shared: int = 0
    ) -> torch.Tensor:
        """Encode prompts given as embeddings.

        Args:
            inputs_embeds: `[N, L, e]`, or per clip `[B, N, L, e]`.
            attention_mask: `[N, L]`, 1 on real tokens, which come first.
            shared: number of leading tokens that are the same in all prompts (of a clip).

        Returns:
            `[N, d]`, or `[B, N, d]`, projected, not normalised.
        """
        plan = self.text_tower.plan(inputs_embeds, attention_mask, shared)
        return self.text_projection(self.text_tower(inputs_embeds, plan))

    def encode_token_ids(self, token_ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Encode `N` token lists of any lengths to `[N, d]`, not normalised."""
        starts = range(0, len(token_ids), TEXTS_PER_PASS)
        chunks = (token_ids[start : start + TEXTS_PER_PASS] for start in starts)
        return torch.cat([self.get_text_features(*pad_token_ids(chunk, self.device)) for chunk in chunks])

    def text_requires_grad(self) -> bool:
        """Whether anything on the text side is being trained."""
        return any(parameter.requires_grad for parameter in self._text_parameters())

    def text_state(self) -> tuple[object, ...]:
        """A value that changes with weights, device, type, autocast or way to compute, and so with text features.

        Weights are not read, for which the host would wait for the GPU in every step: a change through their `.data`
        (`peft` merges LoRA like that), or of layers that keep their weights (LoRA switched off), goes unseen.
        """
        device = self.device
        autocast = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type)
        versions = tuple((id(p), 0 if p.is_inference() else p._version) for p in self._text_parameters())
        return device, self.dtype, autocast, self.text_tower.fast, self._casts, versions

    def _apply(self, *args: Any, **kwargs: Any) -> AlmModel:
        before = self.device, self.dtype
        model = super()._apply(*args, **kwargs)
        # `half().float()` leaves rounded weights in the same parameters, of the same type and version.
        self._casts += (self.device, self.dtype) != before
        return model

    def _text_parameters(self) -> list[nn.Parameter]:
        # `parameters()` also makes up names, which takes as long as a step of PALM.
        modules = (*self.text_tower.modules(), *self.text_projection.modules())
        return [parameter for module in modules for parameter in module._parameters.values() if parameter is not None]

    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        input_features: torch.Tensor | None = None,
        feature_mask: torch.Tensor | None = None,
        return_loss: bool = False,
    ) -> AlmOutput:
        """Compare every clip with every text.

        Args:
            input_ids: `[N, L]` token ids.
            attention_mask: `[N, L]`.
            input_features: `[B, ...]`.
            feature_mask: `[B, P]`.
            return_loss: clip `i` and text `i` are a pair (`N == B`); return [`~losses.contrastive_loss`]. Where
                `torch.distributed` runs several processes, pairs are compared with those of all of them, so all must
                ask for the loss at the same time; the mean over the processes is the loss over all pairs.

        Raises:
            AlmPromptError: `return_loss` with another number of clips than of texts.
        """
        audio_features = self.get_audio_features(input_features, feature_mask)
        text_features = self.get_text_features(input_ids, attention_mask)
        output = similarity_output(audio_features, text_features, self.logit_scale.exp())
        return AlmOutput(
            loss=self._contrastive_loss(output.audio_embeds, output.text_embeds) if return_loss else None,
            logits_per_audio=output.logits,
            audio_embeds=output.audio_embeds,
            text_embeds=output.text_embeds,
        )

    def _contrastive_loss(self, audio_embeds: torch.Tensor, text_embeds: torch.Tensor) -> torch.Tensor:
        """Loss over the pairs of all processes; here, this process's share of it."""
        if len(audio_embeds) != len(text_embeds):
            raise AlmPromptError(
                f"return_loss=True with {len(audio_embeds)} clips and {len(text_embeds)} texts; give one text per clip"
            )
        _, processes = world()
        scale = self.logit_scale.exp()
        if processes == 1:
            return contrastive_loss(audio_embeds, text_embeds, scale)
        # Data-parallel training takes the mean of the processes' gradients, where their shares are a sum.
        audio_embeds, text_embeds, own = gather_pairs(audio_embeds, text_embeds)
        return processes * contrastive_loss(audio_embeds, text_embeds, scale, own)


AutoModel.register(AlmConfig, AlmModel)
