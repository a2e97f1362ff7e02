"""The models: a dual encoder of audio and text, and the sound classifier built on it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForAudioClassification,
    AutoTokenizer,
    ClapModel,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ..errors import AlmPromptError
from ..losses import LossHook
from ..outputs import AlmClassificationOutput, AlmOutput, ClassHeadOutput
from .audio_towers import build_audio_tower
from .class_bank import ClassBank
from .class_head import ClassHead, similarity_output
from .configuration import AlmConfig
from .convert.clap import config_from_clap, state_dict_from_clap
from .projections import build_projection
from .text_tower import TextTower, pad_token_ids


# What `from_pretrained` hands to the Hub and not to a model's constructor.
_HUB_ARGUMENTS = ("cache_dir", "force_download", "local_files_only", "token", "revision", "subfolder")


class AlmPreTrainedModel(PreTrainedModel):
    """Loading and initialisation that both models share."""

    config_class = AlmConfig
    base_model_prefix = "alm"
    main_input_name = "input_features"
    input_modalities = ("audio", "text")
    _supports_sdpa = True

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, *args: Any, **kwargs: Any) -> Any:
        """Open a folder or Hub repository in our own format, or a LAION CLAP checkpoint of `transformers` as it is.

        Weights are loaded in float32 unless `dtype` says otherwise.

        Args:
            pretrained_model_name_or_path: folder or Hub id.
            *args: passed on to `PreTrainedModel.from_pretrained`.
            **kwargs: passed on to `PreTrainedModel.from_pretrained`.

        Raises:
            AlmPromptError: the checkpoint is of another kind of model.
        """
        kwargs.setdefault("dtype", torch.float32)
        config = kwargs.pop("config", None)
        if config is None:
            hub = {name: kwargs[name] for name in _HUB_ARGUMENTS if name in kwargs}
            config = AutoConfig.from_pretrained(pretrained_model_name_or_path, **hub)
        if config.model_type == "clap":
            clap = ClapModel.from_pretrained(pretrained_model_name_or_path, *args, config=config, **kwargs)
            model = cls(config_from_clap(config)).to(clap.dtype)
            model.base_model.load_state_dict(state_dict_from_clap(clap.state_dict()))
            model.name_or_path = model.config.name_or_path = str(pretrained_model_name_or_path)
            return model.eval()
        if config.model_type != AlmConfig.model_type:
            raise AlmPromptError(
                f"{pretrained_model_name_or_path} holds a model of type {config.model_type!r}; give a folder of "
                "alm_prompt or a LAION CLAP checkpoint (type 'clap')"
            )
        return super().from_pretrained(pretrained_model_name_or_path, *args, config=config, **kwargs)

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
        self.text_tower = TextTower(config.text_config, config.text_pooling, config.normalize_pooled_text)
        self.text_projection = build_projection(
            config.text_projection, self.text_tower.hidden_size, config.projection_dim
        )
        self.logit_scale = nn.Parameter(torch.tensor(float(config.logit_scale_init_value)))
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        """Token embedding table of the text tower."""
        return self.text_tower.token_embedding

    def get_audio_features(
        self, input_features: torch.Tensor, feature_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Encode audio.

        Args:
            input_features: what the processor gives for the audio tower, `[B, ...]`.
            feature_mask: `[B, P]` for towers that read patches, 1 on real ones.

        Returns:
            `[B, d]`, projected, not normalised.
        """
        return self.audio_projection(self.audio_tower(input_features, feature_mask))

    def get_text_features(
        self, input_ids: torch.Tensor, attention_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
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

    def encode_prompts(self, inputs_embeds: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """Encode prompts given as embeddings: `[N, L, e]` and mask `[N, L]` to `[N, d]`, not normalised."""
        return self.text_projection(self.text_tower(inputs_embeds, attention_mask))

    def encode_token_ids(self, token_ids: Sequence[Sequence[int]]) -> torch.Tensor:
        """Encode `N` token lists of any lengths to `[N, d]`, not normalised."""
        return self.get_text_features(*pad_token_ids(token_ids, self.device))

    def text_requires_grad(self) -> bool:
        """Whether anything on the text side is being trained."""
        return any(parameter.requires_grad for parameter in self._text_parameters())

    def text_state(self) -> tuple[object, ...]:
        """A value that changes whenever text features could: weights, device, type or autocast."""
        device = self.device
        autocast = torch.is_autocast_enabled(device.type) and torch.get_autocast_dtype(device.type)
        versions = tuple((id(p), 0 if p.is_inference() else p._version) for p in self._text_parameters())
        return device, self.dtype, autocast, versions

    def _text_parameters(self) -> list[nn.Parameter]:
        return [*self.text_tower.parameters(), *self.text_projection.parameters()]

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
            return_loss: clip `i` and text `i` are a pair (`N == B`); return the symmetric cross-entropy (CLIP, arXiv
                2103.00020, section 2.3).
        """
        audio_features = self.get_audio_features(input_features, feature_mask)
        text_features = self.get_text_features(input_ids, attention_mask)
        output = similarity_output(audio_features, text_features, self.logit_scale.exp())
        loss = None
        if return_loss:
            pairs = torch.arange(len(output.logits), device=output.logits.device)
            cross_entropy = nn.functional.cross_entropy
            loss = (cross_entropy(output.logits, pairs) + cross_entropy(output.logits.T, pairs)) / 2
        return AlmOutput(
            loss=loss,
            logits_per_audio=output.logits,
            audio_embeds=output.audio_embeds,
            text_embeds=output.text_embeds,
        )


class AlmForAudioClassification(AlmPreTrainedModel):
    """Sound classification by comparing audio with text prompts for the classes.

    The class list belongs to the model and can be changed at any time with [`set_classes`]. Prompt methods come in by
    `peft.get_peft_model`, in place of [`class_head`].

    Args:
        config: configuration of the dual encoder.
        tokenizer: tokenizer of the text tower; [`from_pretrained`] finds it by itself.
    """

    # The loss is computed inside forward from `num_items_in_batch`: Trainer then leaves it as it is.
    accepts_loss_kwargs = True

    def __init__(self, config: AlmConfig, tokenizer: PreTrainedTokenizerBase | None = None) -> None:
        super().__init__(config)
        self.alm = AlmModel(config)
        self.class_head = ClassHead()
        self.tokenizer = tokenizer
        self.class_bank: ClassBank | None = None
        self.loss_hooks: list[LossHook] = []
        self.post_init()

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *args: Any,
        class_names: Sequence[str] | None = None,
        template: str | None = None,
        **kwargs: Any,
    ) -> AlmForAudioClassification:
        """Open a model together with its tokenizer, and set its classes.

        Args:
            pretrained_model_name_or_path: folder or Hub id, in our format or a LAION CLAP checkpoint.
            *args: passed on to `PreTrainedModel.from_pretrained`.
            class_names: the classes; they can also be set later.
            template: sentence with one `{}` for the class name; default: the model's own.
            **kwargs: passed on to `PreTrainedModel.from_pretrained`.

        Raises:
            AlmPromptError: another kind of model, or a class list that cannot be used.
        """
        model = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        hub = {name: kwargs[name] for name in _HUB_ARGUMENTS if name in kwargs}
        model.tokenizer = AutoTokenizer.from_pretrained(pretrained_model_name_or_path, **hub)
        if class_names is not None:
            model.set_classes(class_names, template=template)
        return model

    def save_pretrained(self, save_directory: str | os.PathLike, *args: Any, **kwargs: Any) -> None:
        """Write weights, configuration and tokenizer: what [`from_pretrained`] needs."""
        super().save_pretrained(save_directory, *args, **kwargs)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(save_directory)

    def get_input_embeddings(self) -> nn.Module:
        """Token embedding table of the text tower."""
        return self.alm.get_input_embeddings()

    @property
    def class_names(self) -> list[str] | None:
        """Names of the classes in the order of the logits, or `None` before they are set."""
        return None if self.class_bank is None else list(self.class_bank.class_names)

    def set_classes(
        self,
        class_names: Sequence[str],
        template: str | None = None,
        descriptions: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Set the classes to tell apart. Any list will do: nothing learned belongs to the old one.

        Args:
            class_names: at least one name.
            template: sentence with one `{}` for the class name; default: that of the configuration.
            descriptions: sentences per class name to use in place of the template.

        Raises:
            AlmPromptError: the list cannot be used, with the name at fault.
        """
        if self.tokenizer is None:
            raise AlmPromptError("the model has no tokenizer; load it with from_pretrained or set model.tokenizer")
        max_length = self.alm.text_tower.max_length
        bank = ClassBank(class_names, self.tokenizer, max_length, template or self.config.template, descriptions)
        self.class_head.check_bank(bank)
        self.class_bank = bank

    def get_audio_features(
        self, input_features: torch.Tensor, feature_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Encode audio to `[B, d]`, projected, not normalised: what `forward(audio_features=...)` takes."""
        return self.alm.get_audio_features(input_features, feature_mask)

    def forward(
        self,
        input_features: torch.Tensor | None = None,
        feature_mask: torch.Tensor | None = None,
        audio_features: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        num_items_in_batch: torch.Tensor | int | None = None,
    ) -> AlmClassificationOutput:
        """Classify clips.

        Args:
            input_features: `[B, ...]` from the processor; not needed with `audio_features`.
            feature_mask: `[B, P]` for towers that read patches.
            audio_features: `[B, d]` from [`get_audio_features`]; skips the audio tower.
            labels: `[B]` indices into `class_names`; asks for the loss.
            num_items_in_batch: number of labels over all micro-batches and processes of a step, from Trainer.

        Raises:
            AlmPromptError: no classes are set, or neither kind of audio input is given.
        """
        if self.class_bank is None:
            raise AlmPromptError("the model has no classes; call model.set_classes([...]) first")
        if audio_features is None:
            if input_features is None:
                raise AlmPromptError("the model got no audio; give input_features or audio_features")
            audio_features = self.get_audio_features(input_features, feature_mask)
        output = self.class_head(self.class_bank, audio_features, self.alm)
        losses = None if labels is None else self._objective(output, labels, num_items_in_batch)
        return AlmClassificationOutput(
            loss=None if losses is None else torch.stack(list(losses.values())).sum(),
            losses=losses,
            logits=output.logits,
            audio_embeds=output.audio_embeds,
            text_embeds=output.text_embeds,
        )

    def _objective(
        self, output: ClassHeadOutput, labels: torch.Tensor, num_items_in_batch: torch.Tensor | int | None
    ) -> dict[str, torch.Tensor]:
        """Named parts of the objective: the cross-entropy and what the loss hooks add.

        Each part is a mean over the local batch. Rescaled by the local share of the step's labels, the parts of all
        micro-batches and processes add up to the mean over one big batch.
        """
        losses = {"cross_entropy": nn.functional.cross_entropy(output.logits, labels)}
        for hook in (*self.class_head.loss_hooks, *self.loss_hooks):
            terms = hook(output, labels, self.class_head)
            doubled = losses.keys() & terms.keys()
            if doubled:
                raise AlmPromptError(f"two loss hooks give the term {min(doubled)!r}; remove one of them")
            losses.update(terms)
        if num_items_in_batch is None:
            return losses
        return {name: term * (len(labels) / num_items_in_batch) for name, term in losses.items()}


AutoModel.register(AlmConfig, AlmModel)
AutoModelForAudioClassification.register(AlmConfig, AlmForAudioClassification)
