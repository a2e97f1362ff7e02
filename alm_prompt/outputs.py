"""Typed outputs that pass between the parts of a model. `B` clips, `C` classes, `d` joint dimension."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from transformers.utils import ModelOutput


@dataclass
class ClassHeadOutput:
    """What a class head computes, with or without a prompt method in its place.

    Attributes:
        logits: `[B, C]`, float32 or wider.
        audio_embeds: `[B, d]` unit vectors.
        text_embeds: unit vectors, `[C, d]`, or `[B, C, d]` where the prompts depend on the audio.
        loss_logits: `[B, C]` logits that the loss is taken on, where a method predicts with others.
        auxiliary: what a method's loss hooks need beside these, by name; computed when a hook asks for it, so that
            inference pays nothing.
    """

    logits: torch.Tensor
    audio_embeds: torch.Tensor
    text_embeds: torch.Tensor
    loss_logits: torch.Tensor | None = None
    auxiliary: dict[str, Callable[..., torch.Tensor]] = field(default_factory=dict)


@dataclass
class AlmOutput(ModelOutput):
    """Output of [`AlmModel`] on pairs of audio and text.

    Attributes:
        loss: scalar symmetric cross-entropy over the pairs, with `return_loss=True`.
        logits_per_audio: `[B, N]` scaled cosines of every clip with every text.
        audio_embeds: `[B, d]` unit vectors.
        text_embeds: `[N, d]` unit vectors.
    """

    loss: torch.Tensor | None = None
    logits_per_audio: torch.Tensor | None = None
    audio_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None


@dataclass
class AlmClassificationOutput(ModelOutput):
    """Output of [`AlmForAudioClassification`].

    Attributes:
        loss: scalar, the whole objective: the sum of `losses`.
        losses: the named parts of the objective, each a weighted scalar.
        logits: `[B, C]`.
        audio_embeds: `[B, d]` unit vectors.
        text_embeds: `[C, d]` or `[B, C, d]` unit vectors.
    """

    loss: torch.Tensor | None = None
    losses: dict[str, torch.Tensor] | None = None
    logits: torch.Tensor | None = None
    audio_embeds: torch.Tensor | None = None
    text_embeds: torch.Tensor | None = None
