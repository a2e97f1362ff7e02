"""Mel filters that a checkpoint brings along, kept beside the settings of its feature extractor."""

from __future__ import annotations

import hashlib
import os
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from transformers.utils import cached_file

from ..audio.features import LogMelSpec
from ..errors import AlmPromptError

MEL_FILTERS_FILE = "mel_filters.safetensors"
_TENSOR_NAME = "mel_filters"


def check_filters(filters: torch.Tensor, spec: LogMelSpec) -> torch.Tensor:
    """Return mel filters in float32, refused unless they are a finite `[n_fft // 2 + 1, n_mels]` of `spec`."""
    shape = (spec.n_fft // 2 + 1, spec.n_mels)
    if not isinstance(filters, torch.Tensor):
        raise AlmPromptError(
            f"mel_filters must be a tensor {list(shape)}, not {type(filters).__name__}; settings that name their "
            "filters by a hash open with AlmFeatureExtractor.from_pretrained"
        )
    if filters.shape != shape:
        raise AlmPromptError(f"mel_filters of shape {list(filters.shape)} do not fit: the settings need {list(shape)}")
    if not filters.isfinite().all():
        raise AlmPromptError("mel_filters hold NaN or infinite numbers: take them from the checkpoint again")
    return filters.detach().cpu().float().contiguous()


def filters_digest(filters: torch.Tensor) -> str:
    """Return the SHA-256 of mel filters."""
    return hashlib.sha256(filters.float().numpy().tobytes()).hexdigest()


def save_filters(filters: torch.Tensor, folder: str | os.PathLike) -> None:
    """Write mel filters to `mel_filters.safetensors` in a folder."""
    path = os.path.join(folder, MEL_FILTERS_FILE)
    save_file({_TENSOR_NAME: filters}, f"{path}.tmp")
    os.replace(f"{path}.tmp", path)


def load_filters(source: str | os.PathLike, digest: str, **hub: Any) -> torch.Tensor:
    """Read the mel filters beside the settings of a feature extractor.

    Args:
        source: folder, settings file in it, or Hub id.
        digest: SHA-256 that the settings give.
        **hub: options of the Hub download.

    Raises:
        AlmPromptError: the file is missing, unreadable or another one.
    """
    folder = os.path.dirname(source) if os.path.isfile(source) else source
    try:
        filters = load_file(cached_file(folder, MEL_FILTERS_FILE, **hub))[_TENSOR_NAME]
    except (OSError, SafetensorError, KeyError) as error:
        raise AlmPromptError(f"{source}: {MEL_FILTERS_FILE} is missing or cannot be read; copy it again") from error
    if filters_digest(filters) != digest:
        raise AlmPromptError(f"{source}: {MEL_FILTERS_FILE} is not the one that the settings name; copy both again")
    return filters
