"""How PEFT puts a prompt method into a model: one tuner for all methods."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import torch
from peft.tuners.tuners_utils import BaseTuner
from torch import nn

from ..errors import AlmPromptError
from ..models import AlmForAudioClassification
from ..registry import PARAMETER_PREFIX
from .config import PromptConfig
from .layer import PromptedClassHead

# No training comes near it, and from some size on the sums of the text tower overflow.
LARGEST_WEIGHT = 1e9


class PromptTuner(BaseTuner):
    """Replaces the class head of an [`AlmForAudioClassification`], and nothing else."""

    prefix = PARAMETER_PREFIX
    tuner_layer_cls = PromptedClassHead
    target_module_mapping: ClassVar[dict[str, list[str]]] = {}

    def train(self, mode: bool = True) -> PromptTuner:
        """Set training mode, but for the encoders: batch norm would drift and dropout make features random.

        An adapter with `encoder_mode="reference"` puts them into training mode itself, while it is at work.
        """
        # Trainers ask for it in every step, and the encoders have hundreds of modules: those are only told if need be.
        alm = self.model.alm
        if any(part.training for part in (alm, *alm.children())):
            alm.eval()
        self.model.class_head.train(mode)
        self.model.training = self.training = mode
        return self

    def unload(self) -> AlmForAudioClassification:
        """Give back the model without any adapter."""
        model = super().unload()
        # peft leaves it behind before 0.21, and would take the model for one with adapters.
        if hasattr(model, "peft_config"):
            del model.peft_config
        return model

    def add_weighted_adapter(self, *args: Any, **kwargs: Any) -> None:
        """Not possible.

        Raises:
            AlmPromptError: always.
        """
        raise AlmPromptError(
            "prompts do not add up, so adapters cannot be combined by weights; average the logits of both instead"
        )

    @contextmanager
    def _enable_peft_forward_hooks(self, *args: Any, **kwargs: Any) -> Iterator[None]:
        """Called by PEFT around a forward pass, with arguments that it takes out before the model sees them."""
        if kwargs.get("adapter_names") is not None:
            raise AlmPromptError(
                "adapter_names asks for several adapters in one batch, but a prompt belongs to the whole batch; call "
                "model.set_adapter(name) and give the clips of each adapter in a call of their own"
            )
        yield

    def _prepare_adapter_config(self, peft_config: PromptConfig, model_config: dict[str, Any]) -> PromptConfig:
        if not isinstance(self.model, AlmForAudioClassification):
            raise AlmPromptError(
                f"{type(peft_config).__name__} adapts an AlmForAudioClassification, not a {type(self.model).__name__}"
            )
        # From the start: the text signature must not be that of one draw of dropout.
        self.model.alm.eval()
        peft_config.bind(self.model)
        return peft_config

    @staticmethod
    def _check_target_module_exists(peft_config: PromptConfig, key: str) -> bool:
        return key == peft_config.target_modules

    def _create_and_replace(
        self,
        peft_config: PromptConfig,
        adapter_name: str,
        target: nn.Module,
        target_name: str,
        parent: nn.Module,
        current_key: str,
    ) -> None:
        head = target if isinstance(target, PromptedClassHead) else PromptedClassHead(target)
        head.add_adapter(adapter_name, peft_config, self.model)
        self._replace_module(parent, target_name, head, target)

    def _replace_module(self, parent: nn.Module, child_name: str, new_module: nn.Module, child: nn.Module) -> None:
        # PEFT's own way copies `weight`, which a class head does not have.
        setattr(parent, child_name, new_module)

    def _load_from_state_dict(self, state_dict: dict[str, torch.Tensor], prefix: str, *args: Any) -> None:
        """Check an adapter's tensors before any is copied: PEFT itself only warns, or not even that."""
        head_prefix = f"{prefix}model.class_head."
        expected = dict(self.model.class_head.state_dict(prefix=head_prefix))
        # A whole model may bring the backbone along; an adapter that brings some of it would change zero-shot, too.
        whole = self.state_dict(prefix=prefix).keys() <= state_dict.keys()
        for key, value in state_dict.items():
            if key not in expected and not whole:
                raise AlmPromptError(f"the adapter holds a tensor that its config does not ask for: {key!r}")
            if key in expected:
                _check_tensor(key.removeprefix(head_prefix), value, expected[key].shape)
        adapters = {key.rpartition(".")[2] for key in state_dict if key in expected} or set(self.active_adapters)
        missing = [key for key in expected if key.rpartition(".")[2] in adapters and key not in state_dict]
        if missing:
            raise AlmPromptError(
                f"the adapter lacks the tensor {missing[0].removeprefix(head_prefix)!r}; its file is incomplete"
            )
        super()._load_from_state_dict(state_dict, prefix, *args)


def can_be_loaded(value: torch.Tensor) -> bool:
    """Whether an adapter may hold these numbers: finite ones that are not absurdly large."""
    return bool((value.float().abs() <= LARGEST_WEIGHT).all())


def _check_tensor(name: str, value: torch.Tensor, shape: torch.Size) -> None:
    if value.shape != shape:
        raise AlmPromptError(
            f"the adapter's tensor {name!r} has shape {list(value.shape)}, its config asks for {list(shape)}"
        )
    if not can_be_loaded(value):
        raise AlmPromptError(
            f"the adapter's tensor {name!r} holds NaN or infinite numbers, or some beyond {LARGEST_WEIGHT:g}; train "
            "or fetch it again"
        )
