"""Test-time adaptation: an adapter's learned tensors moved on audio without labels.

The audio is encoded once, as views ([`view_features`]); what follows works on these features alone, so that nothing is
differentiated through the audio tower.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from transformers.utils.logging import tqdm

from ..audio.augment import audio_views
from ..audio.waveform import read_waveform
from ..errors import AlmPromptError
from ..losses import confident_views, view_entropy
from ..methods import TtaPromptConfig
from ..models.frozen import frozen, in_eval_mode

if TYPE_CHECKING:
    from torch import nn

    from ..models import AlmProcessor


def view_features(
    model: nn.Module,
    processor: AlmProcessor,
    clips: Sequence[Any],
    sampling_rate: int | None = None,
    seed: int = 0,
    progress: bool = True,
) -> torch.Tensor:
    """Encode views of clips: what [`adapt`] and [`predict_adapted`] take.

    Args:
        model: a model whose active adapter was made by [`TtaPromptConfig`], which says how many views.
        processor: turns audio into the input of the audio tower.
        clips: the clips, each anything that [`~alm_prompt.audio.read_waveform`] reads.
        sampling_rate: rate of clips given as arrays, in Hz.
        seed: seed of the views, see [`~alm_prompt.audio.audio_views`].
        progress: show a progress bar over the clips.

    Returns:
        `[N, V, d]` projected, not normalised; the first view of each clip is the clip itself.

    Raises:
        AlmPromptError: no clip is given, one cannot be read, or the adapter is another.
    """
    config, _ = _active(model)
    if not len(clips):
        raise AlmPromptError("no audio given: the list of clips is empty")
    extractor = processor.feature_extractor
    rate = extractor.sampling_rate
    features = []
    with frozen(model):
        for clip in tqdm(clips, desc="Encoding views", unit="clip", disable=not progress):
            wave = read_waveform(clip, sampling_rate, target_rate=rate, max_seconds=extractor.max_seconds)
            inputs = processor(audio=audio_views(wave, config.views, seed), sampling_rate=rate)
            features.append(model.get_audio_features(**inputs.to(device=model.device, dtype=model.dtype)))
    return torch.stack(features)


def adapt(model: nn.Module, features: torch.Tensor) -> None:
    """Adapt the active adapter to unlabelled clips, in place (arXiv 2402.09585; constants of arXiv 2209.07511).

    AdamW with PyTorch's own weight decay of 0.01 lowers the mean over the clips of [`~alm_prompt.losses.view_entropy`]
    on each clip's confident views, which are chosen once, before the first step. The adapter can be saved, switched
    off and trained as before.

    Args:
        model: a model whose active adapter was made by [`TtaPromptConfig`], which gives all settings.
        features: `[clips, V, d]` from [`view_features`], as many clips as the config says.

    Raises:
        AlmPromptError: another number of clips, or the adapter is another.
    """
    config, tensors = _active(model)
    if len(features) != config.clips:
        raise AlmPromptError(
            f"the adapter's config says clips={config.clips}, but {len(features)} are given; give {config.clips}, or "
            f"make it with TtaPromptConfig(clips={len(features)})"
        )
    # What was measured was measured with other numbers.
    config.results = None
    with in_eval_mode(model), _learning(tensors):
        chosen = _confident(model, features, config.confident_share)
        copies = [_precise(tensor) for tensor in tensors]
        optimizer = torch.optim.AdamW(copies, lr=config.learning_rate)
        for _ in range(config.steps):
            # Some may have no part in predictions, such as a head that has no vote there.
            gradients = torch.autograd.grad(view_entropy(_logits(model, chosen)), tensors, allow_unused=True)
            for copied, gradient in zip(copies, gradients, strict=True):
                copied.grad = None if gradient is None else gradient.to(copied.dtype)
            optimizer.step()
            _set_values(tensors, copies)


def predict_adapted(
    model: nn.Module, features: torch.Tensor, keep: bool = False, seed: int | None = None
) -> torch.Tensor:
    """Classify every clip after adapting to it, and to others with it where the config adapts to several at once.

    Groups are consecutive clips, or drawn; the last one is filled up with clips before it.

    Args:
        model: as in [`adapt`].
        features: `[N, V, d]` from [`view_features`].
        keep: go on from clip to clip and leave the adapter adapted. Otherwise every adaptation starts from the adapter
            as it is now, and leaves it so, bit for bit.
        seed: draws the order of the clips, so that a group is no neighbourhood in a list sorted by class; `None` takes
            them as they come.

    Returns:
        `[N, C]` logits.

    Raises:
        AlmPromptError: fewer clips than one adaptation takes, or the adapter is another.
    """
    config, tensors = _active(model)
    count, size = len(features), config.clips
    if count < size:
        raise AlmPromptError(
            f"the adapter's config says clips={size}, but only {count} are given; give more, or make it with "
            "TtaPromptConfig(clips=1)"
        )
    if seed is not None:
        order = torch.randperm(count, generator=torch.Generator().manual_seed(seed)).to(features.device)
        return predict_adapted(model, features[order], keep)[order.argsort()]
    before, results = [tensor.detach().clone() for tensor in tensors], config.results
    logits = []
    try:
        for start in range(0, count, size):
            first = min(start, count - size)
            group = features[first : first + size]
            if not keep:
                _set_values(tensors, before)
            adapt(model, group)
            with in_eval_mode(model), torch.no_grad():
                logits.append(model(audio_features=group[start - first :, 0]).logits)
    finally:
        if not keep:
            _set_values(tensors, before)
            config.results = results
    return torch.cat(logits)


def _active(model: nn.Module) -> tuple[TtaPromptConfig, list[torch.Tensor]]:
    """Config and learned tensors of the active adapter."""
    head = getattr(model, "class_head", None)
    config = getattr(getattr(head, "active_method", None), "config", None)
    if not isinstance(config, TtaPromptConfig):
        found = type(config).__name__ if config else "none"
        raise AlmPromptError(
            f"the active adapter's config is {found}; to adapt, put TtaPromptConfig(prompt=...) outermost in its stack"
        )
    return config, list(head.tensors(head.active_adapters[0]).values())


def _confident(model: nn.Module, features: torch.Tensor, share: float) -> torch.Tensor:
    """`[N, k, d]` features of the confident views of each clip."""
    with torch.no_grad():
        index = confident_views(_logits(model, features), share)
    return torch.take_along_dim(features, index[..., None], dim=1)


def _logits(model: nn.Module, features: torch.Tensor) -> torch.Tensor:
    """`[N, V, d]` features to `[N, V, C]` logits."""
    return model(audio_features=features.flatten(0, 1)).logits.unflatten(0, features.shape[:2])


@contextmanager
def _learning(tensors: list[torch.Tensor]) -> Iterator[None]:
    """Let these tensors learn, whatever the caller has set: a loaded adapter is frozen, a prediction has no graph."""
    learned = [tensor.requires_grad for tensor in tensors]
    try:
        with torch.inference_mode(False), torch.enable_grad():
            for tensor in tensors:
                tensor.requires_grad_(True)
            yield
    finally:
        for tensor, learns in zip(tensors, learned, strict=True):
            tensor.requires_grad_(learns)


def _precise(tensor: torch.Tensor) -> torch.Tensor:
    """A copy to step on: in half precision the squares of gradients, which AdamW divides by, would be zero."""
    return tensor.detach().to(torch.promote_types(tensor.dtype, torch.float32), copy=True)


@torch.no_grad()
def _set_values(tensors: list[torch.Tensor], values: list[torch.Tensor]) -> None:
    for tensor, value in zip(tensors, values, strict=True):
        tensor.copy_(value)
