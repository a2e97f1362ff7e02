"""Audio-free prompt tuning: sentences about a class stand in for audio of it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import torch

from ..data.collate import FeatureDataset
from ..errors import AlmPromptError
from ..models import ClassBank
from ..models.frozen import frozen
from ..prompts import checked_sentences

if TYPE_CHECKING:
    from peft import PeftModel

    from ..models import AlmForAudioClassification


def audio_free_dataset(
    model: AlmForAudioClassification | PeftModel,
    sentences: Mapping[str, Sequence[str]],
    noise_std: float = 0.0,
    seed: int = 0,
) -> FeatureDataset:
    """Text features of sentences in the place of audio features (PT-Text, arXiv 2309.08357).

    Audio and text of a dual encoder share one space, so every prompt method and every trainer takes this data set as
    if it held encoded clips. The sentences are encoded once, by the plain text tower.

    The paper's constants are not published. `noise_std` is our option, after arXiv 2309.07372: text features lie apart
    from audio features and closer together, and noise makes them a less easy stand-in.

    Args:
        model: the classifier with its classes set, with or without an adapter.
        sentences: sentences per class of the model, such as [`~alm_prompt.prompts.class_sentences`] makes.
        noise_std: standard deviation, per coordinate, of Gaussian noise on the unit vector of a sentence. A sentence
            has the same noise in every epoch and beside any other sentences.
        seed: seed of the noise.

    Returns:
        One item per sentence; labels are indices into the model's class names.

    Raises:
        AlmPromptError: no classes are set, noise that is negative, sentences for another class, a class without any,
            or one that is blank or too long for the text tower.
    """
    bank = model.class_bank
    if bank is None:
        raise AlmPromptError("the model has no classes; call model.set_classes([...]) first")
    if not 0 <= noise_std < math.inf:
        raise AlmPromptError(f"noise_std is {noise_std}; give a number of at least 0")
    sentences = checked_sentences(sentences, bank.class_names)
    texts = ClassBank(bank.class_names, bank.tokenizer, bank.max_length, bank.template, sentences, bank.text_suffix)
    with frozen(model.alm):
        features = model.alm.encode_token_ids([ids for of_class in texts.sentence_ids for ids in of_class])
    features = features.float().cpu()
    if noise_std:
        keys = [(seed, name, text) for name in bank.class_names for text in sentences[name]]
        noise = torch.stack([_noise(key, features.shape[1]) for key in keys])
        features = features + noise_std * features.norm(dim=-1, keepdim=True) * noise
    return FeatureDataset(features, [label for label, count in enumerate(texts.texts_per_class) for _ in range(count)])


def _noise(key: tuple[int, str, str], size: int) -> torch.Tensor:
    """`[size]` standard Gaussian noise that depends on nothing but the key."""
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:8], "little"))
    return torch.randn(size, generator=generator)
