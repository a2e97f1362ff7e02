"""The computation of test-time adaptation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from ...outputs import ClassHeadOutput
from ..base import PromptInputs, WrapperMethod

if TYPE_CHECKING:
    from .config import TtaPromptConfig


class TtaPrompt(WrapperMethod):
    """The wrapped method as it is, in prediction and in training with labels.

    What is new happens between two predictions: [`~alm_prompt.adapt`] moves the learned tensors by the settings that
    travel with the adapter. Its objective needs views of a clip and no labels, so it is no loss of `forward`.
    """

    config: TtaPromptConfig

    def forward(self, tensors: Mapping[str, torch.Tensor], inputs: PromptInputs) -> ClassHeadOutput:
        """The wrapped method's output."""
        return self.prompt.forward(tensors, inputs)
