"""From the tensors of a checkpoint to those of [`AlmModel`]: each is mapped, or dropped for a reason."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import torch

from ...errors import AlmPromptError

Weights = Mapping[str, torch.Tensor]

# Why what several families hold is left out.
FOURIER_REASON = "the Fourier transform is computed, not stored"
LABELS_REASON = "only for the AudioSet labels of the tower's own pre-training"
MEL_FILTERS_REASON = "mel filters belong to the processor"


@dataclass(frozen=True)
class Part:
    """The tensors of a checkpoint under one prefix, and where they go.

    Attributes:
        source: prefix in the checkpoint.
        target: prefix in [`AlmModel`].
        rename: from a name without the source prefix to one without the target prefix.
        drops: patterns of names without the source prefix that are left out, each with its reason.
    """

    source: str
    target: str = ""
    rename: Callable[[str], str] = str
    drops: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class MappedWeights:
    """Weights under our names, and the names in the checkpoint that were dropped, by reason."""

    weights: dict[str, torch.Tensor]
    dropped: dict[str, list[str]]


def map_weights(weights: Weights, parts: Sequence[Part]) -> MappedWeights:
    """Give every tensor its name in [`AlmModel`].

    Args:
        weights: tensors of the checkpoint.
        parts: what belongs where; the first part that a name starts with decides.

    Raises:
        AlmPromptError: a tensor belongs to no part, or two have the same place.
    """
    mapped, dropped, unknown = {}, {}, []
    for name, tensor in weights.items():
        part = next((part for part in parts if name.startswith(part.source)), None)
        if part is None:
            unknown.append(name)
            continue
        inner = name.removeprefix(part.source)
        reason = next((reason for pattern, reason in part.drops.items() if re.fullmatch(pattern, inner)), None)
        target = part.target + part.rename(inner)
        if reason is not None:
            dropped.setdefault(reason, []).append(name)
        elif target in mapped:
            raise AlmPromptError(f"the checkpoint holds {target} (name as in the converted model) twice")
        else:
            mapped[target] = tensor
    if unknown:
        raise AlmPromptError(f"the checkpoint holds {_and_more(unknown)}, which no part of the model takes")
    return MappedWeights(mapped, dropped)


def check_weights(weights: Weights, expected: Weights) -> None:
    """Check that the weights are exactly those of a model.

    Args:
        weights: tensors under our names.
        expected: the model's state dict; only names and shapes are read.

    Raises:
        AlmPromptError: a tensor is missing, left over, of another shape, or not finite.
    """
    if missing := sorted(expected.keys() - weights.keys()):
        raise AlmPromptError(f"the checkpoint lacks {_and_more(missing)} (names as in the converted model)")
    if left_over := sorted(weights.keys() - expected.keys()):
        raise AlmPromptError(f"the model has no place for {_and_more(left_over)} (names as in the converted model)")
    for name, tensor in weights.items():
        if tensor.shape != expected[name].shape:
            raise AlmPromptError(
                f"tensor {name} has shape {list(tensor.shape)} where the model needs {list(expected[name].shape)}"
            )
        if not tensor.isfinite().all():
            raise AlmPromptError(f"tensor {name} of the checkpoint holds NaN or infinite values")


def size(weights: Weights, name: str, axis: int = 0) -> int:
    """Length of one axis of a tensor of the checkpoint.

    Raises:
        AlmPromptError: there is no such tensor, or it has no such axis.
    """
    if name not in weights or weights[name].dim() <= axis:
        raise AlmPromptError(f"the checkpoint lacks the tensor {name}, which the size of the model is read from")
    return weights[name].shape[axis]


def count(weights: Weights, prefix: str) -> int:
    """How many numbered modules stand under a prefix.

    Args:
        weights: tensors of the checkpoint.
        prefix: what comes before the number, such as `"encoder.layers."`.
    """
    numbers = [re.match(rf"{re.escape(prefix)}(\d+)\.", name) for name in weights]
    return 1 + max((int(match[1]) for match in numbers if match), default=-1)


def _and_more(names: Sequence[str]) -> str:
    return f"the tensor {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
