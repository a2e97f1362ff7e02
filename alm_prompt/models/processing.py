"""From audio files and class names to the tensors that a model takes."""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, fields
from os import PathLike
from typing import Any

import torch
from transformers import (
    AutoFeatureExtractor,
    AutoProcessor,
    AutoTokenizer,
    BatchFeature,
    FeatureExtractionMixin,
    PreTrainedTokenizerBase,
    ProcessorMixin,
)

from ..audio.features import LogMelSpec, fit_length, fusion_views, log_mel, pad_to_patches, patches
from ..audio.reference import read_reference
from ..audio.waveform import read_waveform
from ..errors import AlmPromptError
from .configuration import AlmConfig
from .convert.clap import feature_settings_from_clap
from .mel_filters import check_filters, filters_digest, load_filters, save_filters
from .modeling import HUB_ARGUMENTS

# Part of every fingerprint: raise it when the front end gives other numbers for the same settings.
FRONT_END_VERSION = 1
FUSION_VIEWS = 4
FIXED_LENGTH_PADS = ("repeatpad", "tile", "zero")
# Keys that `transformers` writes beside the settings.
BOOKKEEPING_KEYS = ("feature_extractor_type", "processor_class")


class AlmFeatureExtractor(FeatureExtractionMixin):
    """Log-mel front end of an audio tower: one clip gives the same features alone, in any batch and on any day.

    Every clip is decoded, mixed down to mono, resampled, cropped around its centre or padded, and turned into a
    log-mel spectrogram by itself.

    Args:
        clip_seconds: Length that every clip is cropped or padded to. With `pad="patch"` it is only the longest stretch
            of a clip that is read, None for the whole clip.
        pad: What fills a short clip. `"repeatpad"`: whole repetitions, then zeros (LAION CLAP); `"tile"`: repetitions,
            the last one cut; `"zero"`: zeros; `"patch"`: zeros up to a whole number of patches (YAMNet).
        patch_frames: Frames of one patch, with `pad="patch"`.
        patch_hop: Frames from one patch to the next, with `pad="patch"`.
        fusion: Whether a clip longer than `clip_seconds` is read whole, as four views of that length for an audio
            tower with feature fusion, and not cropped: see [`~alm_prompt.audio.features.fusion_views`].
        mel_filters: `[n_fft // 2 + 1, n_mels]` mel filters of a checkpoint, in place of those that the settings
            describe. They are saved beside the settings, in `mel_filters.safetensors`.
        **settings: Fields of [`~alm_prompt.audio.features.LogMelSpec`].

    Raises:
        AlmPromptError: If a setting is unknown, the filters are not a finite matrix of this shape, or the settings do
            not go together.
    """

    model_input_names = ["input_features"]  # noqa: RUF012 (the name and type that transformers reads)

    def __init__(
        self,
        clip_seconds: float | None = 10.0,
        pad: str = "repeatpad",
        patch_frames: int | None = None,
        patch_hop: int | None = None,
        fusion: bool = False,
        mel_filters: torch.Tensor | None = None,
        **settings: Any,
    ) -> None:
        super().__init__()
        for key in BOOKKEEPING_KEYS:
            settings.pop(key, None)
        known = {field.name for field in fields(LogMelSpec)}
        if unknown := sorted(settings.keys() - known):
            raise AlmPromptError(f"feature extractor setting {unknown[0]!r} is unknown; known are {sorted(known)}")
        if pad not in (*FIXED_LENGTH_PADS, "patch"):
            raise AlmPromptError(f"pad={pad!r} is unknown; choose one of {[*FIXED_LENGTH_PADS, 'patch']}")
        if pad == "patch" and not (patch_frames and patch_hop):
            raise AlmPromptError("pad='patch' needs patch_frames and patch_hop")
        if pad == "patch" and fusion:
            raise AlmPromptError("pad='patch' reads clips of any length; leave out fusion")
        if pad != "patch" and not clip_seconds:
            raise AlmPromptError(f"pad={pad!r} needs clip_seconds, the length that every clip is brought to")
        self.spec = LogMelSpec(**settings)
        self.clip_seconds = clip_seconds
        self.pad = pad
        self.patch_frames = patch_frames
        self.patch_hop = patch_hop
        self.fusion = fusion
        self.mel_filters = None if mel_filters is None else check_filters(mel_filters, self.spec)

    @property
    def sampling_rate(self) -> int:
        """Samples per second that the features are computed at."""
        return self.spec.sampling_rate

    @property
    def max_seconds(self) -> float | None:
        """Longest stretch of a clip that is read, around its centre; `None`: clips are read whole."""
        return None if self.fusion else self.clip_seconds

    @property
    def fingerprint(self) -> str:
        """SHA-256 of everything that the features depend on besides the audio."""
        settings = json.dumps({**self.to_dict(), "version": FRONT_END_VERSION}, sort_keys=True)
        return hashlib.sha256(settings.encode()).hexdigest()

    def to_dict(self) -> dict[str, Any]:
        """Return the settings as they are written to JSON; mel filters of a checkpoint by their SHA-256."""
        settings = {
            **asdict(self.spec),
            "clip_seconds": self.clip_seconds,
            "pad": self.pad,
            "patch_frames": self.patch_frames,
            "patch_hop": self.patch_hop,
            "feature_extractor_type": type(self).__name__,
        }
        # Only where there are any: front ends without them keep the fingerprints that features are cached under.
        if self.fusion:
            settings["fusion"] = True
        return settings if self.mel_filters is None else {**settings, "mel_filters": filters_digest(self.mel_filters)}

    def to_json_file(self, json_file_path: str | PathLike) -> None:
        """Write the settings, and beside them the mel filters of a checkpoint where there are any."""
        if self.mel_filters is not None:
            save_filters(self.mel_filters, os.path.dirname(json_file_path))
        super().to_json_file(json_file_path)

    @classmethod
    def get_feature_extractor_dict(
        cls, pretrained_model_name_or_path: str | PathLike, **kwargs: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Read the settings of a folder or Hub repository, with its mel filters where the settings name any."""
        settings, unused = super().get_feature_extractor_dict(pretrained_model_name_or_path, **kwargs)
        if isinstance(settings.get("mel_filters"), str):
            hub = {name: kwargs[name] for name in HUB_ARGUMENTS if name in kwargs}
            settings["mel_filters"] = load_filters(pretrained_model_name_or_path, settings["mel_filters"], **hub)
        return settings, unused

    @classmethod
    def from_dict(cls, feature_extractor_dict: dict[str, Any], **kwargs: Any) -> AlmFeatureExtractor:
        """Build from the content of a JSON file, ours or that of a `ClapFeatureExtractor`."""
        if feature_extractor_dict.get("feature_extractor_type") == "ClapFeatureExtractor":
            feature_extractor_dict = feature_settings_from_clap(feature_extractor_dict)
        return super().from_dict(feature_extractor_dict, **kwargs)

    def __call__(
        self,
        audio: Any,
        sampling_rate: int | None = None,
        return_tensors: str | None = "pt",
        reference: bool = False,
    ) -> BatchFeature:
        """Compute features.

        Args:
            audio: One clip or a list of clips; a clip is anything that
                [`~alm_prompt.audio.waveform.read_waveform`] reads: a path, bytes, an array, a `datasets` audio dict.
                An array `[channels, n]` is one clip of several channels, which are averaged; a batch `[clips, n]` of
                mono clips is given as `list(array)`.
            sampling_rate: Rate of clips given as arrays, in Hz; files carry their own.
            return_tensors: `"pt"` or `"np"`.
            reference: Read clips as the published loader of this front end does, cropped at random: see
                [`~alm_prompt.audio.reference.read_reference`].

        Returns:
            `input_features` `[B, 1, T, n_mels]`; with `pad="patch"` `[B, P, patch_frames, n_mels]` and `feature_mask`
            `[B, P]`, 1 for a patch of the clip and 0 for padding up to the longest clip; with `fusion`
            `[B, 4, T, n_mels]` and `feature_mask` `[B, 4]`, 1 for what is read: all views of a long clip, the first
            of a short one, whose others are copies of it.

        Raises:
            AlmPromptError: If there is no clip, a clip cannot be read, or `reference` with `pad="patch"`, whose
                published loader has no other rules than these, or with `fusion`, whose random views are not offered.
        """
        if reference and (self.pad == "patch" or self.fusion):
            front_end = "fusion" if self.fusion else "pad='patch'"
            raise AlmPromptError(f"reference=True: a front end with {front_end} has no random crop; leave it out")
        clips = list(audio) if isinstance(audio, (list, tuple)) else [audio]
        if not clips:
            raise AlmPromptError("no audio given: the list of clips is empty")
        features = [self._clip_features(clip, sampling_rate, reference) for clip in clips]
        if self.fusion:
            mask = torch.stack([torch.arange(FUSION_VIEWS) < len(views) for views in features]).long()
            views = torch.stack([views.expand(FUSION_VIEWS, -1, -1) for views in features])
            return BatchFeature({"input_features": views, "feature_mask": mask}, tensor_type=return_tensors)
        if self.pad != "patch":
            return BatchFeature({"input_features": torch.stack(features)}, tensor_type=return_tensors)
        mask = torch.nn.utils.rnn.pad_sequence([torch.ones(len(clip), dtype=torch.long) for clip in features], True)
        batch = {"input_features": torch.nn.utils.rnn.pad_sequence(features, True), "feature_mask": mask}
        return BatchFeature(batch, tensor_type=return_tensors)

    def _clip_features(self, clip: Any, sampling_rate: int | None, reference: bool) -> torch.Tensor:
        spec, rate = self.spec, self.spec.sampling_rate
        length = round(self.clip_seconds * rate) if self.clip_seconds else None
        if reference:
            wave = read_reference(clip, sampling_rate, target_rate=rate, length=length, pad=self.pad)
        else:
            wave = read_waveform(clip, sampling_rate, target_rate=rate, max_seconds=self.max_seconds)
        if self.pad == "patch":
            wave = pad_to_patches(wave, spec, self.patch_frames, self.patch_hop)
            return patches(log_mel(wave, spec, self.mel_filters), self.patch_frames, self.patch_hop)
        if self.fusion and len(wave) > length:
            mel, frames = log_mel(wave, spec, self.mel_filters), spec.num_frames(length)
            return fusion_views(mel, frames) if len(mel) > frames else mel.unsqueeze(0)
        return log_mel(fit_length(wave, length, self.pad), spec, self.mel_filters).unsqueeze(0)


class AlmProcessor(ProcessorMixin):
    """Feature extractor and tokenizer of one audio-language model.

    Args:
        feature_extractor: Turns audio into features.
        tokenizer: Turns text into token ids.
        text_suffix: What is written after every text; that of the model's configuration.
    """

    def __init__(
        self, feature_extractor: AlmFeatureExtractor, tokenizer: PreTrainedTokenizerBase, text_suffix: str = ""
    ) -> None:
        super().__init__(feature_extractor, tokenizer)
        self.text_suffix = text_suffix
        # GPT-2's has none; which token pads is all the same, as the attention mask hides it.
        if tokenizer.pad_token is None:
            tokenizer.pad_token = tokenizer.eos_token

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | PathLike, **kwargs: Any) -> AlmProcessor:
        """Load from our own format or from a LAION CLAP checkpoint.

        Args:
            pretrained_model_name_or_path: Folder or Hub id.
            **kwargs: Options of the Hub download, such as `revision`.

        Raises:
            AlmPromptError: If the front end of the checkpoint has a setting that is unknown.
        """
        # Code that a checkpoint brings along is never run, nor asked about.
        kwargs.pop("trust_remote_code", None)
        settings, _ = cls.get_processor_dict(pretrained_model_name_or_path, **kwargs)
        return cls(
            AlmFeatureExtractor.from_pretrained(pretrained_model_name_or_path, **kwargs),
            AutoTokenizer.from_pretrained(pretrained_model_name_or_path, trust_remote_code=False, **kwargs),
            settings.get("text_suffix", ""),
        )

    def to_json_file(self, json_file_path: str | PathLike) -> None:
        """Write the settings, and beside them the mel filters of a checkpoint where there are any."""
        filters = self.feature_extractor.mel_filters
        if filters is not None:
            save_filters(filters, os.path.dirname(json_file_path))
        super().to_json_file(json_file_path)

    def __call__(
        self,
        audio: Any = None,
        text: str | list[str] | None = None,
        sampling_rate: int | None = None,
        return_tensors: str | None = "pt",
        reference: bool = False,
        **text_kwargs: Any,
    ) -> BatchFeature:
        """Compute features of audio, token ids of text, or both.

        Args:
            audio: One clip or a list of clips, see [`AlmFeatureExtractor`].
            text: One text or a list of texts, padded on the right to the longest.
            sampling_rate: Rate of clips given as arrays, in Hz.
            return_tensors: `"pt"` or `"np"`.
            reference: Read clips as the published loader does, see [`AlmFeatureExtractor`].
            **text_kwargs: Options of the tokenizer, but for `padding_side`: text towers read it on the right.

        Returns:
            The inputs of [`AlmModel`] for what was given.

        Raises:
            AlmPromptError: If neither audio nor text is given, or a clip cannot be read.
        """
        if audio is None and text is None:
            raise AlmPromptError("nothing to process: give audio, text or both")
        batch = BatchFeature()
        if text is not None:
            text = [f"{one}{self.text_suffix}" for one in ([text] if isinstance(text, str) else text)]
            options = {"padding": True, **text_kwargs, "padding_side": "right"}
            tokens = self.tokenizer(text, return_tensors=return_tensors, **options)
            # Some tokenizers give more, such as BERT's token types, which no text tower takes.
            batch.update({name: tokens[name] for name in ("input_ids", "attention_mask") if name in tokens})
        if audio is not None:
            batch.update(self.feature_extractor(audio, sampling_rate, return_tensors, reference))
        return batch


AutoFeatureExtractor.register(AlmConfig, AlmFeatureExtractor)
AutoProcessor.register(AlmConfig, AlmProcessor)
