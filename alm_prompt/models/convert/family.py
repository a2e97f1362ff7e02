"""What the converter has to know about a family of official checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedConfig, PreTrainedModel

from ..modeling import AlmModel
from ..processing import AlmProcessor
from .mapping import Part, Weights


@dataclass(frozen=True)
class FrontEnd:
    """How a checkpoint's audio tower was fed.

    Attributes:
        settings: keyword arguments of [`AlmFeatureExtractor`].
        mel_filters: `[n_fft // 2 + 1, n_mels]`, that the checkpoint holds; `None` where it did not use them.
    """

    settings: Mapping[str, Any]
    mel_filters: torch.Tensor | None


@dataclass(frozen=True)
class Family:
    """One family of official checkpoints.

    Attributes:
        mark: name of a tensor that this family's checkpoints have, and no other family's.
        tokenizer: Hub id of the tokenizer that the model was trained with.
        parts: where the tensors go.
        config: reads the configuration from the shapes of the tensors.
        front_end: chooses the front end by the tensors.
        logit_scale: natural logarithm of the constant scale of a family that learned none.
        pad_token: token to pad with, for a tokenizer that names none.
        model: class of the converted model.
        processor: class of its processor.
        alm: name of the dual encoder inside the converted model; empty where it is the model itself.
        decoder_tokenizer: Hub id of the tokenizer of what the model writes, if it writes.
    """

    mark: str
    tokenizer: str
    parts: tuple[Part, ...]
    config: Callable[[Weights], PreTrainedConfig]
    front_end: Callable[[Weights], FrontEnd]
    logit_scale: float | None = None
    pad_token: str | None = None
    model: type[PreTrainedModel] = AlmModel
    processor: type[AlmProcessor] = AlmProcessor
    alm: str = ""
    decoder_tokenizer: str | None = None
