"""The sound classifier built on the dual encoder."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForAudioClassification, AutoTokenizer, PreTrainedTokenizerBase

from ..errors import AlmPromptError
from ..losses import LossHook
from ..outputs import AlmClassificationOutput, ClassHeadOutput
from ..prompts import checked_descriptions
from .class_bank import ClassBank
from .class_head import ClassHead
from .configuration import AlmConfig
from .encoder_modes import REFERENCE
from .modeling import HUB_ARGUMENTS, AlmModel, AlmPreTrainedModel

# PyTorch would leave out -100 without a word, and the rest would be scaled as if it counted.
NO_LABEL = torch.iinfo(torch.int64).min


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
    # As it was given to `from_pretrained`, beside `name_or_path`: an adapter names its backbone by both.
    revision: str | None = None

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
            template: sentence with one `{}` for the class name, of these classes and of those set later without one;
                default: the model's own.
            **kwargs: passed on to `PreTrainedModel.from_pretrained`.

        Raises:
            AlmPromptError: another kind of model, or a class list that cannot be used.
        """
        opened = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = opened[0] if kwargs.get("output_loading_info") else opened
        hub = {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}
        model.tokenizer = AutoTokenizer.from_pretrained(pretrained_model_name_or_path, trust_remote_code=False, **hub)
        model.revision = kwargs.get("revision")
        if template is not None:
            model.config.template = template
        if class_names is not None:
            model.set_classes(class_names)
        return opened

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

    @property
    def fallback_classes(self) -> list[str]:
        """Those of the classes that the active adapter has learned nothing for and predicts without it.

        Only methods that learn something per class have such; the others use all that they learned on every class.
        """
        return [] if self.class_bank is None else self.class_head.fallback_classes(self.class_bank)

    def set_classes(
        self,
        class_names: Sequence[str],
        template: str | None = None,
        descriptions: Mapping[str, Sequence[str]] | None = None,
    ) -> None:
        """Set the classes to tell apart.

        Any list will do without an adapter, and with one whose prompt is shared by all classes. What was learned per
        class serves the classes of training only: [`fallback_classes`] names the others, and a class-specific prompt
        refuses them.

        Args:
            class_names: at least one name.
            template: sentence with one `{}` for the class name, for zero-shot predictions; default: that of the
                configuration. An adapter has prompts of its own, and the template that it was trained beside.
            descriptions: sentences per class name to use in place of the template, and in prompts in place of the
                name; more classes than are set do no harm.

        Raises:
            AlmPromptError: the list cannot be used, with the name at fault.
        """
        if self.tokenizer is None:
            raise AlmPromptError("the model has no tokenizer; load it with from_pretrained or set model.tokenizer")
        tower, config = self.alm.text_tower, self.config
        if descriptions is not None:
            descriptions = checked_descriptions(descriptions, class_names)
        template = template or config.template
        bank = ClassBank(class_names, self.tokenizer, tower.max_length, template, descriptions, config.text_suffix)
        tower.check_special_tokens(bank.prefix_ids, bank.suffix_ids)
        self.class_head.check_bank(bank)
        self.class_bank = bank

    def get_audio_features(
        self, input_features: torch.Tensor, feature_mask: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Encode audio to `[B, d]`, projected, not normalised: what `forward(audio_features=...)` takes."""
        with self.class_head.encoders(self.alm):
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
            feature_mask: `[B, P]` for towers that read patches or views.
            audio_features: `[B, d]` from [`get_audio_features`]; skips the audio tower.
            labels: `[B]` indices into `class_names`; asks for the loss.
            num_items_in_batch: number of labels over all micro-batches and processes of a step, from Trainer.

        Raises:
            AlmPromptError: no classes are set, neither kind of audio input is given, a label on the CPU is the index
                of no class, or features are given in training an adapter whose `encoder_mode` is "reference".
        """
        if self.class_bank is None:
            raise AlmPromptError("the model has no classes; call model.set_classes([...]) first")
        if input_features is None and audio_features is None:
            raise AlmPromptError("the model got no audio; give input_features or audio_features")
        if audio_features is not None and self.class_head.encoder_mode == REFERENCE and self.class_head.training:
            raise AlmPromptError(
                "encoder_mode='reference' trains with encoders whose output changes from step to step; give "
                "input_features (ClipDataset) in place of audio_features, or train with encoder_mode='frozen'"
            )
        # On another device the host would wait for them in every step; there the cross-entropy stops at them.
        if labels is not None and labels.device.type == "cpu" and not torch.compiler.is_compiling():
            self.class_bank.check_labels(labels)
        with self.class_head.encoders(self.alm):
            if audio_features is None:
                audio_features = self.alm.get_audio_features(input_features, feature_mask)
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
        if output.loss_logits is not None:
            output = replace(output, logits=output.loss_logits)
        cross_entropy = nn.functional.cross_entropy(output.logits, labels, ignore_index=NO_LABEL)
        losses = {"cross_entropy": self.class_head.cross_entropy_weight * cross_entropy}
        for hook in (*self.class_head.loss_hooks, *self.loss_hooks):
            terms = hook(output, labels, self.class_head)
            doubled = losses.keys() & terms.keys()
            if doubled:
                raise AlmPromptError(f"two loss hooks give the term {min(doubled)!r}; remove one of them")
            losses.update(terms)
        if num_items_in_batch is None:
            return losses
        return {name: term * (len(labels) / num_items_in_batch) for name, term in losses.items()}


AutoModelForAudioClassification.register(AlmConfig, AlmForAudioClassification)
