"""Audio features of frozen encoders, computed once and kept on disk.

Layout: `<cache_dir>/audio_features/<encoder>/<sha256>.safetensors`. The folder is named after everything a feature
depends on besides the sound: the settings of the feature extractor, the exact bytes of the audio tower and its
projection, the device and the library that computes. A file holds features by the hash of their sound, see
[`TensorStore`].
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.utils.data import DataLoader, Dataset
from transformers import BatchFeature
from transformers.utils.logging import tqdm

from ..audio.waveform import content_hash
from ..cache import TensorStore, default_cache_folder, store_folder
from ..errors import AlmPromptError
from ..models.encoder_modes import REFERENCE
from ..models.fingerprint import audio_fingerprint
from ..models.frozen import in_eval_mode

if TYPE_CHECKING:
    from ..data.clips import AudioClips
    from ..models import AlmForAudioClassification, AlmModel, AlmProcessor

# Few enough that a killed run loses seconds of work, many enough that a large dataset is not a million files.
CLIPS_PER_SHARD = 64
# Fewer clips than this are read sooner than a process for them is started.
CLIPS_PER_WORKER = 32


class AudioFeatureCache:
    """Audio features `[N, d]` of clips, each clip encoded alone, so that its feature never depends on a batch.

    Args:
        cache_dir: where to keep the features; by default `$ALM_PROMPT_CACHE`, else `~/.cache/alm_prompt`.
        enabled: `False` neither reads nor writes the disk. The features are the same, bit for bit.
        num_workers: processes that read clips and make the tower's input of them, while the tower encodes others;
            fewer where there is little to read, 0: none. The features are the same.
    """

    def __init__(self, cache_dir: str | Path | None = None, enabled: bool = True, num_workers: int = 0) -> None:
        self.cache_dir = Path(cache_dir or default_cache_folder())
        self.enabled = enabled
        self.num_workers = num_workers

    @property
    def folder(self) -> Path | None:
        """Where things are kept, or `None`: what [`caching_in`] takes."""
        return self.cache_dir if self.enabled else None

    def features(
        self,
        model: AlmForAudioClassification,
        processor: AlmProcessor,
        clips: AudioClips,
        progress: bool = True,
    ) -> torch.Tensor:
        """Return what `model.get_audio_features` gives for every clip, from the disk where it is there.

        Args:
            model: the model, with or without an adapter: adapters do not change the audio tower, but for those whose
                `encoder_mode` is "reference".
            processor: turns a clip into the input of the audio tower.
            clips: the clips to encode. Equal sounds are encoded once.
            progress: show a progress bar over the clips that have to be encoded.

        Returns:
            `[N, d]` float32 on the CPU, projected and not normalised, in the order of `clips`.

        Raises:
            AlmPromptError: if there is no clip, one cannot be read (what was encoded before it is kept), or `model`
                has an adapter whose `encoder_mode` is "reference" and features are to be kept.
        """
        if not len(clips):
            raise AlmPromptError("no audio given: the list of clips is empty; give at least one")
        if self.enabled and model.class_head.encoder_mode == REFERENCE:
            raise AlmPromptError(
                "encoder_mode='reference': its audio features change in training and are not cached; train on "
                "input_features (ClipDataset), and encode test clips with AudioFeatureCache(enabled=False)"
            )
        keys = [content_hash(clip.source) for clip in clips]
        sources = {key: clip.source for key, clip in zip(keys, clips, strict=True)}
        shards = TensorStore(self._folder(model.alm, processor), "audio features") if self.enabled else None
        features = shards.read(sources) if shards else {}
        missing = [key for key in sources if key not in features]
        pending: dict[str, torch.Tensor] = {}
        try:
            with in_eval_mode(model.alm.audio_tower, model.alm.audio_projection, model.class_head):
                inputs = self._inputs(processor, [sources[key] for key in missing])
                bar = tqdm(missing, desc="Encoding audio", unit="clip", disable=not (progress and missing))
                for key, clip_inputs in zip(bar, inputs, strict=True):
                    pending[key] = _encode(model, clip_inputs)
                    if len(pending) == CLIPS_PER_SHARD:
                        features.update(self._keep(shards, pending))
                        pending = {}
        finally:
            features.update(self._keep(shards, pending))
        return torch.stack([features[key] for key in keys])

    def _inputs(self, processor: AlmProcessor, sources: Sequence[Any]) -> Iterator[BatchFeature]:
        """What the audio tower reads of every clip, in order.

        Raises:
            AlmPromptError: a clip cannot be read.
        """
        workers = min(self.num_workers, len(sources) // CLIPS_PER_WORKER)
        # With a generator of its own, the loader leaves the random state of the run alone.
        loader = DataLoader(
            _Inputs(processor, sources), batch_size=None, num_workers=workers, generator=torch.Generator()
        )
        for inputs in loader:
            if isinstance(inputs, AlmPromptError):
                raise inputs
            yield BatchFeature(inputs)

    def _folder(self, alm: AlmModel, processor: AlmProcessor) -> Path:
        return store_folder(
            self.cache_dir,
            "audio_features",
            processor.feature_extractor.fingerprint,
            audio_fingerprint(alm),
            # The same weights give other last bits on another kind of device or in another release.
            alm.device.type,
            torch.__version__,
        )

    @staticmethod
    def _keep(shards: TensorStore | None, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if shards and features:
            shards.write(features)
        return features


class _Inputs(Dataset):
    """Inputs of the audio tower by clip, or why there are none.

    The loader would put an error that is raised in another process into a page of traceback.
    """

    def __init__(self, processor: AlmProcessor, sources: Sequence[Any]) -> None:
        self.processor = processor
        self.sources = sources

    def __len__(self) -> int:
        return len(self.sources)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor] | AlmPromptError:
        try:
            return dict(self.processor(audio=self.sources[index]))
        except AlmPromptError as error:
            return error


@torch.no_grad()
def _encode(model: AlmForAudioClassification, inputs: BatchFeature) -> torch.Tensor:
    inputs = inputs.to(device=model.device, dtype=model.dtype)
    # What is kept must not depend on the autocast of whoever asked first.
    with torch.autocast(model.device.type, enabled=False):
        return model.get_audio_features(**inputs)[0].float().cpu()
