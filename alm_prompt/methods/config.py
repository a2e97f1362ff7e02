"""What the config of every prompt method carries, and how it binds an adapter to its model."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from peft import PeftConfig
from peft.utils import SAFETENSORS_WEIGHTS_NAME, WEIGHTS_NAME

from ..errors import AlmPromptError
from ..hub import (
    LARGEST_WEIGHTS,
    TINY,
    TINY_FOLDER,
    AdapterResults,
    check_weights,
    earlier_results,
    fetch_file,
    file_sha256,
    hub_failures,
    lasting_name,
    recorded_name,
    write_card,
)
from ..models import ClassBank
from ..models.encoder_modes import ENCODER_MODES, FROZEN, REFERENCE
from ..prompts import checked_descriptions
from ..prompts.checks import shortened
from ..registry import METHODS, method_name
from .saved_fields import check_fields

if TYPE_CHECKING:
    from ..models import AlmForAudioClassification
    from .base import PromptMethod

SIGNATURE_PROBE = "rain"
SIGNATURE_LENGTH = 16
# Entries of a unit vector. Half precision moves them by less than a hundredth of this, another backbone by far more.
SIGNATURE_TOLERANCE = 0.02


@dataclass
class PromptConfig(PeftConfig):
    """What the config of every prompt method carries beside its own options.

    The fields below are filled in when the adapter is put on a model, and compared when a saved adapter is.
    """

    # PEFT asks for the name of the module to replace. Not a field: a file must not be able to choose another.
    target_modules: ClassVar[str] = "class_head"
    method_class: ClassVar[type[PromptMethod]]

    class_names: list[str] | None = field(default=None, metadata={"help": "Classes the adapter was trained on."})
    template: str | None = field(
        default=None, metadata={"help": "Zero-shot template beside the adapter, with one {} for the class name."}
    )
    descriptions: dict[str, list[str]] | None = field(
        default=None, metadata={"help": "Sentences that stand for a class in place of its name and template."}
    )
    logit_scale: float | None = field(
        default=None, metadata={"help": "Factor on the cosines; default: the backbone's own."}
    )
    encoder_mode: str = field(
        default=FROZEN,
        metadata={
            "help": "'frozen': encoders as they are; 'reference': as in the published training loops, with dropout, "
            "DropPath, SpecAugment and drifting batch norm."
        },
    )
    text_signature: list[float] | None = field(
        default=None, metadata={"help": "First entries of the text tower's embedding of a fixed sentence."}
    )
    weights_sha256: str | None = field(
        default=None, metadata={"help": "SHA-256 of the file of weights; written on saving, checked on loading."}
    )

    # Classes, template and descriptions of the model that filled in the fields above; not a field either.
    filled_from: ClassVar[tuple[Any, ...] | None] = None
    # What is known about the learned numbers. Not a field: it is saved in a file of its own.
    results: ClassVar[AdapterResults | None] = None
    # Where that file lies which was not read on loading; not a field either.
    opened_from: ClassVar[Path | None] = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.base_model_name_or_path == TINY:
            # PEFT looks for the backbone's files under this name.
            self.base_model_name_or_path = str(TINY_FOLDER)
        for name, value in vars(self).items():
            if isinstance(value, float) and not math.isfinite(value):
                raise AlmPromptError(f"{name} is {value}; give a finite number")
        if self.logit_scale is not None and not self.logit_scale > 0:
            raise AlmPromptError(f"logit_scale is {self.logit_scale}; give a number above 0 or leave it out")
        if self.descriptions is not None:
            self.descriptions = checked_descriptions(self.descriptions, list(self.descriptions))
        if self.encoder_mode not in ENCODER_MODES:
            raise AlmPromptError(f"encoder_mode is {self.encoder_mode!r}; give one of {', '.join(ENCODER_MODES)}")

    @classmethod
    def from_pretrained(
        cls, pretrained_model_name_or_path: str, subfolder: str | None = None, **kwargs: Any
    ) -> PromptConfig:
        """Read the config of a saved adapter, as `peft` does, and check the weights beside it.

        Raises:
            AlmPromptError: there are no weights in safetensors (`peft` would go on to a pickle), or they are not those
                that the config was saved with.
        """
        config = super().from_pretrained(pretrained_model_name_or_path, subfolder=subfolder, **kwargs)
        folder = Path(pretrained_model_name_or_path, subfolder or "")
        weights = folder / SAFETENSORS_WEIGHTS_NAME
        if not folder.is_dir():
            options = cls._split_kwargs(kwargs)[0]
            with hub_failures(f"adapter {pretrained_model_name_or_path!r} cannot be opened"):
                weights = fetch_file(
                    pretrained_model_name_or_path,
                    SAFETENSORS_WEIGHTS_NAME,
                    LARGEST_WEIGHTS,
                    subfolder=subfolder,
                    **options,
                )
        elif (folder / WEIGHTS_NAME).is_file() and not weights.is_file():
            raise AlmPromptError(
                f"{folder} holds {WEIGHTS_NAME} and no {SAFETENSORS_WEIGHTS_NAME}; no other format is read"
            )
        if weights.is_file():
            check_weights(weights, config.weights_sha256)
        config.opened_from = weights.parent
        return config

    @classmethod
    def check_kwargs(cls, **kwargs: Any) -> dict[str, Any]:
        """Check what stands in a file; `peft` calls this before it makes a config.

        Raises:
            AlmPromptError: a field is unknown or of another type.
        """
        check_fields(cls, kwargs)
        if kwargs.get("task_type") is not None:
            raise AlmPromptError(f"task_type is {kwargs['task_type'][:60]!r}, but prompt methods have none; remove it")
        return super().check_kwargs(**kwargs)

    def save_pretrained(self, save_directory: str, **kwargs: Any) -> None:
        """Write the config beside the weights, as `peft` does; without it they are not an adapter.

        Results and model card are written with it, in place of the empty form that `peft` has just laid there. What
        was recorded of the same adapter, here or where it was opened from, is kept.

        Raises:
            AlmPromptError: `peft` has just written the weights as a pickle, one lies there already, or what was
                recorded cannot be read.
        """
        folder = Path(save_directory)
        if (folder / WEIGHTS_NAME).is_file():
            raise AlmPromptError(
                f"{folder / WEIGHTS_NAME} is a pickle, which is not read again; remove it and save with "
                "safe_serialization=True"
            )
        weights = folder / SAFETENSORS_WEIGHTS_NAME
        self.weights_sha256 = file_sha256(weights) if weights.is_file() else None
        # Before the config of the folder is that of this adapter in any case.
        results = self._known_results(folder)
        super().save_pretrained(save_directory, **kwargs)
        if weights.is_file():
            write_card(folder, results=results)

    def _known_results(self, folder: Path) -> AdapterResults:
        """Results in memory, in the folder to save into and in the one that the adapter was opened from."""
        settings = self.to_dict()
        shared = PromptConfig.__dataclass_fields__.keys() - {"peft_type", "weights_sha256"}
        options = {name: value for name, value in settings.items() if name not in shared}
        results = self.results or AdapterResults()
        for place in (folder, self.opened_from):
            results = results if place is None else results.after(earlier_results(place, options))
        return results

    def to_dict(self) -> dict[str, Any]:
        """Settings as a dict, with the backbone under a name that holds from every folder."""
        return super().to_dict() | {"base_model_name_or_path": lasting_name(self.base_model_name_or_path)}

    def build(self) -> PromptMethod:
        """The computation with these settings."""
        return self.method_class(self)

    def bind(self, model: AlmForAudioClassification) -> None:
        """Fill in what the adapter takes from its model, or check that a saved adapter belongs to it.

        Args:
            model: the model to adapt.

        Raises:
            AlmPromptError: the model has no classes or describes one otherwise than the config, the adapter was made
                for another backbone, or the config is that of another new adapter.
        """
        if model.class_bank is None:
            if self.class_names is None:
                raise AlmPromptError(
                    "the model has no classes; call model.set_classes([...]) before adding an adapter"
                )
            model.set_classes(self.class_names, template=self.template)
            # Not through `set_classes`, which wants some for every class: an adapter may describe a few of its own.
            model.class_bank = model.class_bank.with_descriptions(self.descriptions)
        source = (model.class_names, model.class_bank.template, model.class_bank.descriptions)
        if self.filled_from not in (None, source):
            # It would be trained for those, without a word.
            raise AlmPromptError(
                f"this {type(self).__name__} is that of an adapter for the classes {shortened(self.class_names)}, and "
                "this model has other classes, descriptions or another template; make a new config"
            )
        if self.class_names is None:
            self.class_names, self.filled_from = model.class_names, source
        elif self.text_signature is None and self.class_names != model.class_names:
            # It would be trained for the model's and saved as one for its own.
            raise AlmPromptError(
                f"class_names of this new {type(self).__name__} are {shortened(self.class_names)}, those of the model "
                f"{shortened(model.class_names)}; leave them out of the config"
            )
        if self.text_signature is None:
            self._take_over_descriptions(model.class_bank)
            self.revision = model.revision or self.revision
        if self.template is None:
            self.template = model.class_bank.template
        # Some methods read it in the first training step, which is too late for a template that cannot be used.
        model.class_bank.with_template(self.template)
        signature = _text_signature(model)
        if self.text_signature is None:
            self.text_signature = signature
        elif not _same_signature(signature, self.text_signature):
            own = recorded_name(self.base_model_name_or_path) or "unnamed"
            raise AlmPromptError(
                f"the adapter was made for another backbone ({own}) than "
                f"{model.config.name_or_path or 'this model'}: their text towers differ; load it on its own backbone"
            )

    def _take_over_descriptions(self, bank: ClassBank) -> None:
        """Record all that a new adapter is trained with: another model may have none of it."""
        own = self.descriptions or {}
        for name, sentences in bank.descriptions.items():
            if own.get(name, sentences) != sentences:
                raise AlmPromptError(
                    f"class {name!r} is described by {shortened(own[name])} in this {type(self).__name__} and by "
                    f"{shortened(sentences)} in the model; describe it in one of them"
                )
        self.descriptions = {**own, **bank.descriptions} or None


@dataclass
class WrapperPromptConfig(PromptConfig):
    """Config of a method that wraps another one."""

    prompt: PromptConfig | dict[str, Any] | None = field(
        default=None, metadata={"help": "Config of the wrapped prompt method."}
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.prompt is None and self.stands_alone():
            return
        self.prompt = _wrapped_config(self.prompt, type(self).__name__)
        if any(isinstance(inner, type(self)) for inner in self._stack()):
            raise AlmPromptError(f"{type(self).__name__} stands twice in one stack; wrap another method")
        for name in ("class_names", "template", "descriptions", "logit_scale"):
            self._take_over(name)
        if self.prompt.encoder_mode == REFERENCE:
            self.encoder_mode = REFERENCE

    @classmethod
    def stands_alone(cls) -> bool:
        """Whether the method also works without a wrapped one."""
        return cls.method_class.default_prompt is not None

    def _take_over(self, name: str) -> None:
        """Take what the wrapped config says of the whole stack, where this one says nothing."""
        own, wrapped = getattr(self, name), getattr(self.prompt, name)
        if own is None:
            setattr(self, name, wrapped)
        # One that was bound says what its model or its last wrapper did.
        elif self.prompt.text_signature is None and wrapped not in (None, own):
            raise AlmPromptError(
                f"{name} is {repr(own)[:60]} in {type(self).__name__} and {repr(wrapped)[:60]} in the "
                f"{type(self.prompt).__name__} that it wraps; give it once"
            )

    def _stack(self) -> Iterator[PromptConfig]:
        """The wrapped configs, outermost first."""
        inner = self.prompt
        while inner is not None:
            yield inner
            inner = getattr(inner, "prompt", None)

    def bind(self, model: AlmForAudioClassification) -> None:
        """Bind the wrapper, hand what it carries to the wrapped method, and bind that."""
        super().bind(model)
        if self.prompt is None:
            return
        for name in ("class_names", "template", "descriptions", "logit_scale", "text_signature"):
            setattr(self.prompt, name, getattr(self, name))
        self.prompt.bind(model)

    def to_dict(self) -> dict[str, Any]:
        """Settings as a dict; the wrapped config is reduced to its own options, the wrapper carries the rest."""
        settings = super().to_dict()
        if self.prompt is None:
            return settings
        carried = PromptConfig.__dataclass_fields__.keys() - {"peft_type"}
        settings["prompt"] = {name: value for name, value in self.prompt.to_dict().items() if name not in carried}
        return settings


def _wrapped_config(prompt: Any, wrapper: str) -> PromptConfig:
    """The wrapped config, built from its dict where it comes from a file.

    A copy: it will be filled in with what its wrapper is, and may be wrapped again.
    """
    if isinstance(prompt, PromptConfig):
        return copy.deepcopy(prompt)
    if not isinstance(prompt, dict) or "peft_type" not in prompt:
        given = None if prompt is None else f"of type {type(prompt).__name__}"
        raise AlmPromptError(
            f"{wrapper} wraps a prompt method, but prompt is {given}; give a config such as CoOpPromptConfig()"
        )
    _check_depth(prompt, wrapper)
    settings = {name: value for name, value in prompt.items() if name != "peft_type"}
    config_class = METHODS[method_name(prompt["peft_type"])]
    return config_class(**config_class.check_kwargs(**settings))


def _check_depth(prompt: dict[str, Any], wrapper: str) -> None:
    """Refuse a stranger's file that nests without end, before anything follows it down."""
    depth, inner = 0, prompt
    while isinstance(inner, dict):
        depth, inner = depth + 1, inner.get("prompt")
    if depth > len(METHODS):
        raise AlmPromptError(
            f"{wrapper} wraps {depth} methods in each other; a stack holds each of the {len(METHODS)} methods once"
        )


def _text_signature(model: AlmForAudioClassification) -> list[float]:
    """A few numbers that tell one text tower (with its tokenizer) from another, whatever the precision."""
    bank = ClassBank(
        [SIGNATURE_PROBE], model.tokenizer, model.alm.text_tower.max_length, "{}", text_suffix=model.config.text_suffix
    )
    embedding = bank.zero_shot_embeds(model.alm)[0, :SIGNATURE_LENGTH]
    return [round(value, 4) for value in embedding.tolist()]


def _same_signature(first: list[float], second: list[float]) -> bool:
    if len(first) != len(second):
        return False
    return all(abs(a - b) <= SIGNATURE_TOLERANCE for a, b in zip(first, second, strict=True))
