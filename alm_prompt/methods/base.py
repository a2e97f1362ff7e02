"""What every prompt method computes; its settings are in `config.py`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import torch

from ..errors import AlmPromptError
from ..losses import LossHook
from ..models import ClassBank, similarity_output
from ..models.class_text import name_key
from ..outputs import ClassHeadOutput

if TYPE_CHECKING:
    from ..models import AlmModel
    from .config import PromptConfig, WrapperPromptConfig


@dataclass(frozen=True)
class PromptInputs:
    """What a prompt method classifies.

    Attributes:
        bank: the classes, trained on or not.
        audio_features: `[B, d]`, projected, not normalised.
        alm: the model that encodes text.
        logit_scale: factor on the cosines.
    """

    bank: ClassBank
    audio_features: torch.Tensor
    alm: AlmModel
    logit_scale: torch.Tensor | float

    def similarity(self, text_features: torch.Tensor) -> ClassHeadOutput:
        """Scaled cosines of the audio with text features `[C, d]`, or `[B, C, d]`: see [`similarity_output`]."""
        return similarity_output(self.audio_features, text_features, self.logit_scale)


class PromptMethod(ABC):
    """The computation of a prompt method; its learned tensors are handed to it, flat and by name.

    Args:
        config: settings of the method.
    """

    def __init__(self, config: PromptConfig) -> None:
        self.config = config

    @property
    def loss_hooks(self) -> tuple[LossHook, ...]:
        """Terms that the method adds to the cross-entropy."""
        return ()

    @property
    def cross_entropy_weight(self) -> float:
        """Weight of the cross-entropy in the method's objective."""
        return 1.0

    @property
    def cosine_logits(self) -> bool:
        """Whether the logits are the scaled cosines with `text_embeds`, and nothing else."""
        return True

    def fallback_classes(self, bank: ClassBank) -> list[str]:
        """Classes that fall back on a prediction without what was learned, because that was learned per class.

        Args:
            bank: the classes to tell apart.
        """
        return []

    @abstractmethod
    def initial_tensors(self, bank: ClassBank, alm: AlmModel) -> dict[str, torch.Tensor]:
        """Names and initial values of the learned tensors, float32.

        Args:
            bank: the training classes.
            alm: the model to adapt.
        """

    @abstractmethod
    def check_bank(self, bank: ClassBank) -> None:
        """Refuse a class list that the method cannot classify.

        Raises:
            AlmPromptError: with the class at fault and the way out.
        """

    def static_features(self, tensors: Mapping[str, torch.Tensor], bank: ClassBank, alm: AlmModel) -> torch.Tensor:
        """Text features of any names around the learned context, whatever the audio.

        Args:
            tensors: the learned tensors by name.
            bank: the names.
            alm: the model that encodes text.

        Returns:
            `[C, d]`, not normalised.

        Raises:
            AlmPromptError: the method learns nothing that could be put around another name.
        """
        raise AlmPromptError(
            f"{type(self.config).__name__} learns no context that other names could take; wrap a method that does, "
            "such as CoOpPromptConfig()"
        )

    def mean_features(
        self, tensors: Mapping[str, torch.Tensor], bank: ClassBank, inputs: PromptInputs
    ) -> torch.Tensor:
        """Text features of any names as the clips of a batch have them on the whole.

        Those are the static ones, unless the method shifts them by the audio: then with the mean shift of the clips.

        Args:
            tensors: the learned tensors by name.
            bank: the names; the classes of `inputs` play no part.
            inputs: audio features and model.

        Returns:
            `[C, d]`, not normalised.
        """
        return self.static_features(tensors, bank, inputs.alm)

    def class_weights(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> torch.Tensor:
        """One vector per class, whose dot products with unit audio embeddings are the logits before scaling.

        Args:
            tensors: the learned tensors by name.
            inputs: classes and model; the audio features are any.

        Returns:
            `[C, d]`, of unit length where the logits are cosines.

        Raises:
            AlmPromptError: the logits are more than such products, or every clip has prompts of its own.
        """
        text_embeds = self.forward(tensors, inputs).text_embeds
        if self.cosine_logits and text_embeds.dim() == 2:
            return text_embeds
        does = "reads the classes anew for every clip" if self.cosine_logits else "classifies by more than cosines"
        raise AlmPromptError(
            f"{type(self.config).__name__} with these options {does}, so no vectors stand for its classes; use the "
            "adapter itself"
        )

    @abstractmethod
    def forward(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> ClassHeadOutput:
        """Classify.

        Args:
            tensors: the learned tensors by name.
            inputs: audio features and classes.
        """


class WrapperMethod(PromptMethod):
    """A method around another one, to which it leaves all that it does not change.

    Args:
        config: settings of the wrapper, with those of the wrapped method.
    """

    config: WrapperPromptConfig

    # What it wraps where no method is given, built with the wrapper's own config; `None`: one must be given.
    default_prompt: ClassVar[type[PromptMethod] | None] = None

    def __init__(self, config: WrapperPromptConfig) -> None:
        super().__init__(config)
        self.prompt = self.default_prompt(config) if config.prompt is None else config.prompt.build()

    @property
    def loss_hooks(self) -> tuple[LossHook, ...]:
        """Those of the wrapped method."""
        return self.prompt.loss_hooks

    @property
    def cross_entropy_weight(self) -> float:
        """That of the wrapped method."""
        return self.prompt.cross_entropy_weight

    @property
    def cosine_logits(self) -> bool:
        """As with the wrapped method."""
        return self.prompt.cosine_logits

    def fallback_classes(self, bank: ClassBank) -> list[str]:
        """Those of the wrapped method."""
        return self.prompt.fallback_classes(bank)

    def initial_tensors(self, bank: ClassBank, alm: AlmModel) -> dict[str, torch.Tensor]:
        """Those of the wrapped method."""
        return self.prompt.initial_tensors(bank, alm)

    def check_bank(self, bank: ClassBank) -> None:
        """The wrapped method decides."""
        self.prompt.check_bank(bank)

    def static_features(self, tensors: Mapping[str, torch.Tensor], bank: ClassBank, alm: AlmModel) -> torch.Tensor:
        """Those of the wrapped method."""
        return self.prompt.static_features(tensors, bank, alm)

    def mean_features(
        self, tensors: Mapping[str, torch.Tensor], bank: ClassBank, inputs: PromptInputs
    ) -> torch.Tensor:
        """Those of the wrapped method."""
        return self.prompt.mean_features(tensors, bank, inputs)

    def class_weights(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> torch.Tensor:
        """Those of the wrapped method."""
        return self.prompt.class_weights(tensors, inputs)


def trained_rows(bank: ClassBank, trained_on: list[str]) -> tuple[list[int], list[int]]:
    """Where the classes of a bank stand in the training list, for methods that learn something per class.

    Args:
        bank: the classes to tell apart.
        trained_on: the training classes.

    Returns:
        Rows in the bank and rows in the training list, of the classes that are in both.
    """
    position = {key: row for row, key in enumerate(map(name_key, trained_on))}
    in_both = [(row, position[key]) for row, key in enumerate(map(name_key, bank.class_names)) if key in position]
    return [row for row, _ in in_both], [row for _, row in in_both]


def untrained_classes(bank: ClassBank, trained_on: list[str]) -> list[str]:
    """Classes of a bank that are not in the training list, in the order of the bank.

    Args:
        bank: the classes to tell apart.
        trained_on: the training classes.
    """
    known = {name_key(name) for name in trained_on}
    return [name for name in bank.class_names if name_key(name) not in known]


def has_same_classes(bank: ClassBank, trained_on: list[str]) -> bool:
    """Whether the classes of a bank are those of the training list, in any order.

    Args:
        bank: the classes to tell apart.
        trained_on: the training classes.
    """
    return len(bank) == len(trained_on) and not untrained_classes(bank, trained_on)


def is_training_list(bank: ClassBank, trained_on: list[str]) -> bool:
    """Whether the classes of a bank are those of the training list, in their order.

    Args:
        bank: the classes to tell apart.
        trained_on: the training classes.
    """
    return list(map(name_key, bank.class_names)) == list(map(name_key, trained_on))
