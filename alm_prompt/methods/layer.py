"""The PEFT layer of all prompt methods: it stands in for a model's class head."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import nn

from ..errors import AlmPromptError
from ..losses import LossHook
from ..models import AlmForAudioClassification, AlmModel, ClassBank, ClassHead
from ..models.encoder_modes import FROZEN, REFERENCE, reference_encoders, running_statistics
from ..outputs import ClassHeadOutput
from ..registry import PARAMETER_PREFIX
from .base import PromptInputs, PromptMethod
from .config import PromptConfig


class AdapterBuffers(nn.Module):
    """One buffer per adapter. PEFT casts its own `BufferDict` to float32; batch norm wants the backbone's type."""

    def __contains__(self, adapter_name: str) -> bool:
        return adapter_name in self._buffers

    def __getitem__(self, adapter_name: str) -> torch.Tensor:
        return self._buffers[adapter_name]

    def __setitem__(self, adapter_name: str, value: torch.Tensor) -> None:
        self.register_buffer(adapter_name, value)

    def __delitem__(self, adapter_name: str) -> None:
        del self._buffers[adapter_name]


class PromptedClassHead(nn.Module, BaseTunerLayer):
    """Stands in for the class head and keeps it as `base_layer`: without an active adapter it is zero-shot, bitwise.

    Learned tensors lie flat at `learned_<name>.<adapter>`, whatever the method or stack of methods; beside them, where
    the encoder mode is "reference", the running statistics of the encoders' batch norms.

    Args:
        base_layer: the plain class head.
    """

    other_param_names = ("prompt_methods",)

    def __init__(self, base_layer: ClassHead) -> None:
        super().__init__()
        self.base_layer = base_layer
        self.adapter_layer_names: tuple[str, ...] = ()
        self.prompt_methods: dict[str, PromptMethod] = {}
        self.statistics_names: dict[str, str] = {}

    def add_adapter(self, adapter_name: str, config: PromptConfig, model: AlmForAudioClassification) -> None:
        """Add an adapter with freshly initialised tensors on the model's device.

        Args:
            adapter_name: name of the adapter.
            config: its settings, bound to the model.
            model: the model that is adapted.

        Raises:
            AlmPromptError: the method cannot tell the model's classes apart.
        """
        method = config.build()
        bank = model.class_bank.with_descriptions(config.descriptions)
        method.check_bank(bank)
        for name, value in method.initial_tensors(bank, model.alm).items():
            # Under PEFT's low-memory loading new tensors have no data yet, and get it from the file.
            device = value.device if value.is_meta else model.alm.device
            container = f"{PARAMETER_PREFIX}{name}"
            if container not in self.adapter_layer_names:
                setattr(self, container, nn.ParameterDict())
                self.adapter_layer_names = (*self.adapter_layer_names, container)
            getattr(self, container)[adapter_name] = nn.Parameter(value.detach().clone().to(device))
        if config.encoder_mode == REFERENCE:
            self._add_statistics(adapter_name, model.alm)
        self.prompt_methods[adapter_name] = method

    def _add_statistics(self, adapter_name: str, alm: AlmModel) -> None:
        """Give an adapter its own copy of the backbone's running statistics, to move in training."""
        for name, value in running_statistics(alm).items():
            container = f"{PARAMETER_PREFIX}{name.replace('.', '__')}"
            if name not in self.statistics_names:
                setattr(self, container, AdapterBuffers())
                self.statistics_names[name] = container
                self.other_param_names = (*self.other_param_names, container)
            getattr(self, container)[adapter_name] = value.clone()

    @property
    def active_method(self) -> PromptMethod | None:
        """The method at work, or `None` when adapters are disabled or none is left."""
        if self.disable_adapters or not self.active_adapters:
            return None
        if len(self.active_adapters) > 1:
            raise AlmPromptError(
                f"{len(self.active_adapters)} adapters are active at once; prompts do not add up, set one"
            )
        return self.prompt_methods[self.active_adapters[0]]

    @property
    def loss_hooks(self) -> tuple[LossHook, ...]:
        """Loss hooks of the active method."""
        return () if self.active_method is None else self.active_method.loss_hooks

    @property
    def cross_entropy_weight(self) -> float:
        """Share of the cross-entropy in the active method's objective."""
        return 1.0 if self.active_method is None else self.active_method.cross_entropy_weight

    @property
    def encoder_mode(self) -> str:
        """Encoder mode of the active adapter."""
        return FROZEN if self.active_method is None else self.active_method.config.encoder_mode

    def encoders(self, alm: AlmModel) -> AbstractContextManager[None]:
        """Encoders as the active adapter wants them while it is at work."""
        if self.encoder_mode == FROZEN:
            return nullcontext()
        buffers = {name: getattr(self, container) for name, container in self.statistics_names.items()}
        statistics = {name: adapters[self.active_adapters[0]] for name, adapters in buffers.items()}
        return reference_encoders(alm, statistics, self.training)

    def tensors(self, adapter_name: str) -> dict[str, torch.Tensor]:
        """Learned tensors of an adapter by name, without the prefix."""
        containers = {name: getattr(self, name) for name in self.adapter_layer_names}
        return {
            name.removeprefix(PARAMETER_PREFIX): container[adapter_name]
            for name, container in containers.items()
            if adapter_name in container
        }

    def merge(self, safe_merge: bool = False, adapter_names: list[str] | None = None) -> None:
        """Not possible.

        Raises:
            AlmPromptError: always.
        """
        raise AlmPromptError(
            "prompts are no change of the model's weights and cannot be merged into them; keep the adapter beside the "
            "model, or take it off with model.unload()"
        )

    def unmerge(self) -> None:
        """Nothing to do: nothing is ever merged."""

    def check_bank(self, bank: ClassBank) -> None:
        """Refuse classes that the active method cannot tell apart."""
        if self.active_method is not None:
            self.active_method.check_bank(bank.with_descriptions(self.active_method.config.descriptions))

    def fallback_classes(self, bank: ClassBank) -> list[str]:
        """Classes that the active method has learned nothing for and predicts without it."""
        return [] if self.active_method is None else self.active_method.fallback_classes(bank)

    def class_weights(self, bank: ClassBank, alm: AlmModel) -> tuple[torch.Tensor, torch.Tensor | float]:
        """Vectors that stand for the classes and the factor on their products, see [`ClassHead.class_weights`].

        Raises:
            AlmPromptError: the active method does not classify by such products.
        """
        method = self.active_method
        if method is None:
            return self.base_layer.class_weights(bank, alm)
        inputs = self._inputs(bank, torch.zeros(1, alm.config.projection_dim, device=alm.device), alm)
        return method.class_weights(self.tensors(self.active_adapters[0]), inputs), inputs.logit_scale

    def forward(self, bank: ClassBank, audio_features: torch.Tensor, alm: AlmModel) -> ClassHeadOutput:
        """Classify with the active adapter, or zero-shot without one. Arguments as in [`ClassHead`]."""
        method = self.active_method
        if method is None:
            return self.base_layer(bank, audio_features, alm)
        inputs = self._inputs(bank, audio_features, alm)
        return method.forward(self.tensors(self.active_adapters[0]), inputs)

    def _inputs(self, bank: ClassBank, audio_features: torch.Tensor, alm: AlmModel) -> PromptInputs:
        """What the active method classifies, with its own descriptions and scale."""
        config = self.active_method.config
        scale = config.logit_scale or alm.logit_scale.exp()
        return PromptInputs(bank.with_descriptions(config.descriptions), audio_features, alm, scale)
