"""Scores from prompts alone, without training: the quality of audio, and whether a sentence follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from ..audio.waveform import read_waveform
from ..errors import AlmPromptError
from .class_head import similarity_output
from .frozen import frozen

if TYPE_CHECKING:
    from .classification import AlmForAudioClassification
    from .modeling import AlmModel
    from .processing import AlmProcessor

QUALITY_PROMPTS = ("the sound is clear and clean.", "the sound is noisy and with artifacts.")
QUALITY_CHUNK_SECONDS = 7.0
ENTAILMENT_LABELS = ("contradiction", "neutral", "entailment")


def audio_quality(
    model: AlmModel | AlmForAudioClassification,
    processor: AlmProcessor,
    audio: Any,
    sampling_rate: int | None = None,
    *,
    prompts: Sequence[str] = QUALITY_PROMPTS,
    chunk_seconds: float = QUALITY_CHUNK_SECONDS,
) -> torch.Tensor:
    """Quality of audio without a reference: PAM (arXiv 2402.00282, section 3, and its code).

    A clip is cut into chunks from its start. What is left over at the end is heard as a chunk of full length that ends
    with the clip and so overlaps the one before. A clip shorter than a chunk is one chunk, filled up as the model's
    feature extractor fills short clips. Each chunk is encoded by itself; the score is the mean over the chunks of
    `softmax(exp(logit_scale) * cosines)[0]`.

    Args:
        model: the dual encoder, or a classifier built on it; its classes and adapters play no part.
        processor: its processor.
        audio: one clip or a list of clips, as the processor takes them.
        sampling_rate: rate of clips given as arrays, in Hz.
        prompts: two sentences, for good and for bad quality.
        chunk_seconds: length of a chunk; never more than the feature extractor reads (`clip_seconds`), so that nothing
            is cropped away.

    Returns:
        `[B]` probabilities of the first prompt, one per clip.

    Raises:
        AlmPromptError: no audio, a clip that cannot be read, not two prompts, or a length that is not positive.
    """
    if isinstance(prompts, str) or len(prompts) != 2:
        raise AlmPromptError(f"prompts are {prompts!r}; give two sentences, for good and for bad quality")
    if not chunk_seconds > 0:
        raise AlmPromptError(f"chunk_seconds={chunk_seconds} must be greater than 0")
    alm, clips, extractor = _dual_encoder(model), _clips(audio), processor.feature_extractor
    chunk_size = max(round(min(chunk_seconds, extractor.clip_seconds or math.inf) * extractor.sampling_rate), 1)
    scale = alm.logit_scale.detach().exp()
    scores = []
    with frozen(alm):
        text_features = _text_features(alm, processor, list(prompts))
        for clip in clips:
            wave = read_waveform(clip, sampling_rate, target_rate=extractor.sampling_rate)
            chunks = _chunks(wave, chunk_size)
            features = [_audio_features(alm, processor, chunk, extractor.sampling_rate) for chunk in chunks]
            logits = similarity_output(torch.cat(features), text_features, scale).logits
            scores.append(logits.softmax(dim=-1)[:, 0].mean())
    return torch.stack(scores)


def audio_text_cosines(
    model: AlmModel | AlmForAudioClassification,
    processor: AlmProcessor,
    audio: Any,
    texts: str | Sequence[str],
    sampling_rate: int | None = None,
) -> torch.Tensor:
    """Cosine of every clip with its text.

    Args:
        model: the dual encoder, or a classifier built on it; its classes and adapters play no part.
        processor: its processor; of a long clip it reads as much as it always does.
        audio: one clip or a list of clips, as the processor takes them.
        texts: one text for all clips, or one per clip.
        sampling_rate: rate of clips given as arrays, in Hz.

    Returns:
        `[B]` cosines.

    Raises:
        AlmPromptError: no audio, a clip that cannot be read, or another number of texts than of clips.
    """
    alm, clips = _dual_encoder(model), _clips(audio)
    if not isinstance(texts, str) and len(texts) != len(clips):
        raise AlmPromptError(f"{len(clips)} clips but {len(texts)} texts: give one text, or one per clip")
    texts = [texts] if isinstance(texts, str) else list(texts)
    with frozen(alm):
        text_features = _text_features(alm, processor, texts).expand(len(clips), -1)
        audio_features = torch.cat([_audio_features(alm, processor, clip, sampling_rate) for clip in clips])
        return similarity_output(audio_features, text_features.unsqueeze(1), 1.0).logits.squeeze(1)


def audio_entailment(cosines: torch.Tensor | Sequence[float], thresholds: tuple[float, float]) -> list[str]:
    """Whether a sentence follows from a clip, from their cosine (zero-shot form of arXiv 2407.18062).

    Args:
        cosines: `[N]`, from [`audio_text_cosines`].
        thresholds: `(low, high)`. A cosine below `low` is a contradiction, one of at least `high` an entailment, and
            what lies between is neutral; equal thresholds leave nothing neutral.

    Returns:
        `N` of "contradiction", "neutral" and "entailment".

    Raises:
        AlmPromptError: thresholds that are not two increasing numbers, or a cosine that is no finite number.
    """
    low, high = _checked_thresholds(thresholds)
    return [ENTAILMENT_LABELS[(cosine >= low) + (cosine >= high)] for cosine in _checked_cosines(cosines)]


def fit_entailment_thresholds(cosines: torch.Tensor | Sequence[float], labels: Sequence[str]) -> tuple[float, float]:
    """The thresholds with the highest accuracy on labelled pairs; found exactly, in `O(N log N)`.

    A threshold lies half-way between two neighbouring cosines, or at minus or plus infinity where no pair is to lie
    below or above it. Of equally good pairs of thresholds the one with the lowest `high` is taken, and among those the
    one with the lowest `low`.

    Args:
        cosines: `[N]`, from [`audio_text_cosines`].
        labels: `N` of "contradiction", "neutral" and "entailment".

    Returns:
        `(low, high)` for [`audio_entailment`].

    Raises:
        AlmPromptError: no pairs, another number of labels than of cosines, an unknown label, or a cosine that is no
            finite number.
    """
    values = _checked_cosines(cosines)
    if not values or len(values) != len(labels):
        raise AlmPromptError(f"{len(values)} cosines and {len(labels)} labels; give one label for each cosine")
    unknown = next((label for label in labels if label not in ENTAILMENT_LABELS), None)
    if unknown is not None:
        raise AlmPromptError(f"label {unknown!r} is unknown; labels are {', '.join(ENTAILMENT_LABELS)}")
    pairs = sorted(zip(values, labels, strict=True))
    # Hits won by moving the pairs so far from above `high` to between the thresholds, and from there to below `low`.
    below = between = 0
    best_below, low = 0, -math.inf
    best, chosen = 0, (-math.inf, -math.inf)
    contradiction, neutral, entailment = ENTAILMENT_LABELS
    for position, (value, label) in enumerate(pairs):
        below += (label == contradiction) - (label == neutral)
        between += (label == neutral) - (label == entailment)
        following = pairs[position + 1][0] if position + 1 < len(pairs) else math.inf
        if value == following:
            continue  # Equal cosines cannot be told apart.
        cut = (value + following) / 2
        if below > best_below:
            best_below, low = below, cut
        if best_below + between > best:
            best, chosen = best_below + between, (low, cut)
    return chosen


def _dual_encoder(model: AlmModel | AlmForAudioClassification) -> AlmModel:
    return getattr(model, "alm", model)


def _clips(audio: Any) -> list[Any]:
    clips = list(audio) if isinstance(audio, (list, tuple)) else [audio]
    if not clips or audio is None:
        raise AlmPromptError("no audio given: give a clip or a list of clips")
    return clips


def _chunks(wave: torch.Tensor, size: int) -> list[torch.Tensor]:
    chunks = list(wave.split(size))
    if len(chunks) > 1:
        chunks[-1] = wave[-size:]
    return chunks


def _audio_features(alm: AlmModel, processor: AlmProcessor, clip: Any, sampling_rate: int | None) -> torch.Tensor:
    """`[1, d]`; a clip encoded by itself has the same score in every batch, and memory is that of one clip."""
    inputs = processor(audio=[clip], sampling_rate=sampling_rate).to(device=alm.device, dtype=alm.dtype)
    return alm.get_audio_features(**inputs)


def _text_features(alm: AlmModel, processor: AlmProcessor, texts: list[str]) -> torch.Tensor:
    """`[N, d]`, with blank and overlong texts refused."""
    token_ids = []
    for text in texts:
        if not isinstance(text, str) or not text.strip():
            raise AlmPromptError(f"text {text!r} is blank; write a sentence")
        token_ids += processor(text=text, return_tensors=None)["input_ids"]
        if len(token_ids[-1]) > alm.text_tower.max_length:
            raise AlmPromptError(
                f"text {text[:60]!r} has {len(token_ids[-1])} tokens, the text tower takes {alm.text_tower.max_length}"
                "; shorten it"
            )
    return alm.encode_token_ids(token_ids)


def _checked_thresholds(thresholds: tuple[float, float]) -> tuple[float, float]:
    if len(thresholds) != 2 or not thresholds[0] <= thresholds[1]:
        raise AlmPromptError(f"thresholds {thresholds!r} do not increase; give two numbers (low, high)")
    return thresholds[0], thresholds[1]


def _checked_cosines(cosines: torch.Tensor | Sequence[float]) -> list[float]:
    values = torch.as_tensor(cosines, dtype=torch.float64).tolist()
    broken = next((value for value in values if not math.isfinite(value)), None)
    if broken is not None:
        raise AlmPromptError(f"a cosine is {broken}; check the audio and the model that it came from")
    return values
