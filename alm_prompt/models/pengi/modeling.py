"""Pengi: a dual encoder whose two embeddings become the prefix of a language model."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from transformers import GenerationMixin, GPT2LMHeadModel, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutputWithCrossAttentions

from ...errors import AlmPromptError
from ..configuration import open_config
from ..modeling import HUB_ARGUMENTS, AlmModel
from .beam_search import official_beam_search
from .configuration import PengiConfig
from .mapper import PrefixMapper

BEAM_RULES = ("transformers", "official")
# What the official beam search can be told.
OFFICIAL_OPTIONS = ("num_beams", "max_new_tokens", "temperature")
# Label of positions that no loss is taken at.
IGNORED = -100


class PengiForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """Writes text about clips, as text prompts ask: captions, answers, labels (Pengi, arXiv 2305.11834).

    The decoder, GPT-2, reads `prefix_length` vectors made from the audio embedding, as many made from the prompt's,
    then text.

    Args:
        config: sizes and kinds of all parts.
    """

    config_class = PengiConfig
    main_input_name = "input_features"
    input_modalities = ("audio", "text")
    _supports_sdpa = True
    # The loss is computed inside forward from `num_items_in_batch`: Trainer then leaves it as it is.
    accepts_loss_kwargs = True

    def __init__(self, config: PengiConfig) -> None:
        super().__init__(config)
        self.alm = AlmModel(config.alm_config)
        self.audio_mapper = self._build_mapper()
        self.text_mapper = self._build_mapper()
        self.decoder = GPT2LMHeadModel(config.decoder_config)
        # `transformers` cannot tell it from the name of GPT-2's class, and says so at the first loss.
        self.decoder.loss_type = "ForCausalLM"
        # Those of the published example; a folder brings its own in generation_config.json.
        self.generation_config.update(num_beams=3, max_new_tokens=30)
        self.post_init()

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str | os.PathLike, *args: Any, **kwargs: Any
    ) -> PengiForConditionalGeneration:
        """Open a folder or Hub repository in our own format, in float32 unless `dtype` says otherwise.

        Args:
            pretrained_model_name_or_path: folder or Hub id.
            *args: passed on to `PreTrainedModel.from_pretrained`.
            **kwargs: passed on to `PreTrainedModel.from_pretrained`.

        Raises:
            AlmPromptError: the checkpoint is of another kind of model.
        """
        # Code that a checkpoint brings along is never run, nor asked about.
        kwargs.pop("trust_remote_code", None)
        kwargs.setdefault("dtype", kwargs.pop("torch_dtype", torch.float32))
        config = kwargs.pop("config", None)
        if config is None:
            hub = {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}
            config = open_config(pretrained_model_name_or_path, **hub)
        if config.model_type != PengiConfig.model_type:
            raise AlmPromptError(
                f"{pretrained_model_name_or_path} holds a model of type {config.model_type!r}, which writes no text; "
                "convert Pengi's checkpoint with alm-prompt convert pengi --generation"
            )
        return super().from_pretrained(pretrained_model_name_or_path, *args, config=config, **kwargs)

    def get_input_embeddings(self) -> nn.Module:
        """Token embedding table of the decoder."""
        return self.decoder.get_input_embeddings()

    def get_prefix(
        self,
        input_features: torch.Tensor | None,
        input_ids: torch.Tensor | None,
        attention_mask: torch.Tensor | None = None,
        feature_mask: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """What the decoder reads about clips and prompts.

        Args:
            input_features: what the processor gives for the audio tower, `[B, ...]`.
            input_ids: prompts, `[B, L]`, or `[1, L]` for the same prompt to every clip; padded on the right.
            attention_mask: `[B, L]` or `[1, L]`, 1 on real tokens; default: all are real.
            feature_mask: `[B, P]` for towers that read patches.

        Returns:
            `[B, 2 * prefix_length, width]`, audio first.

        Raises:
            AlmPromptError: no audio, no prompt, a prompt that is too long, or another number of prompts than clips.
        """
        if input_features is None:
            raise AlmPromptError("no audio: give input_features, as the processor makes them from clips")
        if input_ids is None:
            raise AlmPromptError(
                "no prompt: give input_ids, as the processor makes them from text='generate metadata'"
            )
        clips, prompts = len(input_features), len(input_ids)
        if prompts not in (1, clips):
            raise AlmPromptError(f"{prompts} prompts for {clips} clips; give one prompt, or one per clip")
        longest = self.alm.text_tower.max_length
        if input_ids.shape[1] > longest:
            raise AlmPromptError(
                f"the prompt has {input_ids.shape[1]} tokens, Pengi reads {longest}, its start and end included; "
                "shorten it, or give the rest as decoder_text of the processor"
            )
        audio = nn.functional.normalize(self.alm.get_audio_features(input_features, feature_mask), dim=-1)
        text = nn.functional.normalize(self.alm.get_text_features(input_ids, attention_mask), dim=-1)
        text_prefix = self.text_mapper(text).expand(clips, -1, -1)
        return torch.cat([self.audio_mapper(audio), text_prefix], dim=1)

    def forward(
        self,
        input_features: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        feature_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> CausalLMOutputWithCrossAttentions:
        """Predict the text after the prefix.

        Args:
            input_features: `[B, ...]`, see [`get_prefix`].
            input_ids: `[B, L]` or `[1, L]`.
            attention_mask: `[B, L]` or `[1, L]`.
            feature_mask: `[B, P]`.
            decoder_input_ids: `[B, T]` ids of the decoder's own tokenizer.
            decoder_attention_mask: `[B, T]`, 1 on real tokens.
            labels: `[B, T]`, the ids that should be written, at the places of `decoder_input_ids`; -100 where no loss
                is taken. Each is predicted from what stands before it, the first one from the prefix: any padding
                is on the right.
            num_items_in_batch: labels that count in the whole batch; default: the mean over these.

        Returns:
            `logits` `[B, 2 * prefix_length + T, vocabulary]`, and `loss`, the mean cross-entropy, with `labels`.

        Raises:
            AlmPromptError: labels of another shape than `decoder_input_ids`, or after padding on the left; what
                [`get_prefix`] refuses.
        """
        if labels is not None:
            _check_labels(labels, decoder_input_ids, decoder_attention_mask)
        inputs = self._decoder_inputs(
            self.get_prefix(input_features, input_ids, attention_mask, feature_mask),
            decoder_input_ids,
            decoder_attention_mask,
        )
        if labels is not None:
            labels = nn.functional.pad(labels, (2 * self.config.prefix_length, 0), value=IGNORED)
        mask = inputs["attention_mask"]
        # Padding, wherever it stands, takes no position: the same as `generate` counts.
        positions = (mask.cumsum(dim=1) - 1).masked_fill(mask == 0, 0)
        return self.decoder(**inputs, position_ids=positions, labels=labels, num_items_in_batch=num_items_in_batch)

    @torch.no_grad()
    def generate(
        self,
        input_features: torch.Tensor | None = None,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        feature_mask: torch.Tensor | None = None,
        decoder_input_ids: torch.Tensor | None = None,
        decoder_attention_mask: torch.Tensor | None = None,
        beam_rule: str = "transformers",
        **options: Any,
    ) -> Any:
        """Write a text about every clip.

        Args:
            input_features: `[B, ...]`, see [`get_prefix`].
            input_ids: `[B, L]` or `[1, L]`.
            attention_mask: `[B, L]` or `[1, L]`.
            feature_mask: `[B, P]`.
            decoder_input_ids: `[B, T]` text after the prefix that is continued, padded on the left.
            decoder_attention_mask: `[B, T]`, 1 on real tokens.
            beam_rule: `"transformers"`, or `"official"`: the beam search of the official code, see
                [`~models.pengi.beam_search.beam_search`].
            **options: options of `GenerationMixin.generate`, by default those in `generation_config` (as published:
                `num_beams` 3, `max_new_tokens` 30); with the official rule only `num_beams`, `max_new_tokens` and
                `temperature` (1.0).

        Returns:
            Token ids `[B, L]` of what was written, without prefix and `decoder_input_ids`.

        Raises:
            AlmPromptError: an unknown rule or option of the official rule, padding on the right, a text that would
                exceed the decoder's positions; what [`get_prefix`] refuses.
        """
        _check_options(beam_rule, options)
        if decoder_attention_mask is not None and not decoder_attention_mask[:, -1].all():
            raise AlmPromptError(
                "decoder_input_ids are padded on the right, where they are continued; pad them on the left"
            )
        # Without sampling, temperature means nothing to `transformers`.
        temperature = options.pop("temperature", 1.0) if beam_rule == "official" else None
        settings = copy.deepcopy(options.pop("generation_config", self.generation_config))
        options = settings.update(**options)
        self._check_length(decoder_input_ids, settings.max_new_tokens or 0)
        inputs = self._decoder_inputs(
            self.get_prefix(input_features, input_ids, attention_mask, feature_mask),
            decoder_input_ids,
            decoder_attention_mask,
        )
        if beam_rule == "official":
            return official_beam_search(self.decoder, **inputs, settings=settings, temperature=temperature)
        return self.decoder.generate(**inputs, generation_config=settings, **options)

    def _build_mapper(self) -> PrefixMapper:
        config = self.config
        width = config.decoder_config.n_embd
        dim = config.alm_config.projection_dim
        return PrefixMapper(dim, width, config.prefix_length, config.mapper_layers, config.mapper_heads)

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, PrefixMapper):
            nn.init.normal_(module.prefix_const)

    def _decoder_inputs(
        self, prefix: torch.Tensor, token_ids: torch.Tensor | None, token_mask: torch.Tensor | None
    ) -> dict[str, torch.Tensor]:
        mask = torch.ones(prefix.shape[:2], dtype=torch.long, device=prefix.device)
        if token_ids is None:
            return {"inputs_embeds": prefix, "attention_mask": mask}
        if len(token_ids) != len(prefix):
            raise AlmPromptError(f"{len(token_ids)} texts in decoder_input_ids for {len(prefix)} clips; give one each")
        token_mask = torch.ones_like(token_ids) if token_mask is None else token_mask
        embeds = torch.cat([prefix, self.get_input_embeddings()(token_ids)], dim=1)
        return {"inputs_embeds": embeds, "attention_mask": torch.cat([mask, token_mask], dim=1)}

    def _check_length(self, token_ids: torch.Tensor | None, new_tokens: int) -> None:
        given = 0 if token_ids is None else token_ids.shape[1]
        limit = self.config.decoder_config.n_positions - 2 * self.config.prefix_length
        if given + new_tokens > limit:
            raise AlmPromptError(
                f"decoder_input_ids of {given} tokens and max_new_tokens={new_tokens} exceed the {limit} positions "
                "that the decoder has left after the prefix; lower max_new_tokens or shorten decoder_input_ids"
            )


def _check_labels(labels: torch.Tensor, token_ids: torch.Tensor | None, mask: torch.Tensor | None) -> None:
    if token_ids is None or labels.shape != token_ids.shape:
        given = None if token_ids is None else list(token_ids.shape)
        raise AlmPromptError(
            f"labels have shape {list(labels.shape)}, decoder_input_ids {given}; give both in the same shape"
        )
    if mask is not None and (mask.diff(dim=1) > 0).any():
        raise AlmPromptError(
            "decoder_input_ids are padded on the left, where labels are predicted from; pad them on the right, as "
            "text_target of the processor does"
        )


def _check_options(beam_rule: str, options: Mapping[str, Any]) -> None:
    if beam_rule not in BEAM_RULES:
        raise AlmPromptError(f"beam_rule is {beam_rule!r}; choose one of {', '.join(BEAM_RULES)}")
    unknown = sorted(options.keys() - set(OFFICIAL_OPTIONS))
    if beam_rule == "official" and unknown:
        raise AlmPromptError(
            f"beam_rule='official' has no option {unknown[0]!r}; it takes {', '.join(OFFICIAL_OPTIONS)}"
        )
    for name in OFFICIAL_OPTIONS:
        if not options.get(name, 1) > 0:
            raise AlmPromptError(f"{name} is {options[name]}; give a number above 0")
