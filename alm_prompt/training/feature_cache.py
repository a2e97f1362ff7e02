"""Audio features of frozen encoders, computed once and kept on disk.

Layout: `<cache_dir>/audio_features/<encoder>/<sha256>.safetensors`. The folder is named after everything a feature
depends on besides the sound: the settings of the feature extractor, the exact bytes of the audio tower and its
projection, the device and the library that computes. A file ("shard") holds features by the hash of their sound and is
named after the hash of its own content, so damage is found when it is read and several processes can fill one
cache: they never write the same name with different bytes.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import nn
from transformers.utils.logging import tqdm

from ..audio.waveform import content_hash

if TYPE_CHECKING:
    from ..data.clips import AudioClips
    from ..models import AlmForAudioClassification, AlmModel, AlmProcessor

logger = logging.getLogger(__name__)

CACHE_VARIABLE = "ALM_PROMPT_CACHE"
# Few enough that a killed run loses seconds of work, many enough that a large dataset is not a million files.
CLIPS_PER_SHARD = 64


class AudioFeatureCache:
    """Audio features `[N, d]` of clips, each clip encoded alone, so that its feature never depends on a batch.

    Args:
        cache_dir: where to keep the features; by default `$ALM_PROMPT_CACHE`, else `~/.cache/alm_prompt`.
        enabled: `False` neither reads nor writes the disk. The features are the same, bit for bit.
    """

    def __init__(self, cache_dir: str | Path | None = None, enabled: bool = True) -> None:
        self.cache_dir = Path(cache_dir or os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "alm_prompt")
        self.enabled = enabled

    def features(
        self,
        model: AlmForAudioClassification,
        processor: AlmProcessor,
        clips: AudioClips,
        progress: bool = True,
    ) -> torch.Tensor:
        """Return what `model.get_audio_features` gives for every clip, from the disk where it is there.

        Args:
            model: the model, with or without an adapter: adapters do not change the audio tower.
            processor: turns a clip into the input of the audio tower.
            clips: the clips to encode. Equal sounds are encoded once.
            progress: show a progress bar over the clips that have to be encoded.

        Returns:
            `[N, d]` float32 on the CPU, projected and not normalised, in the order of `clips`.

        Raises:
            AlmPromptError: if a clip cannot be read. What was encoded before it is kept.
        """
        keys = [content_hash(clip.source) for clip in clips]
        sources = {key: clip.source for key, clip in zip(keys, clips, strict=True)}
        shards = _Shards(self._folder(model.alm, processor)) if self.enabled else None
        features = shards.read(sources) if shards else {}
        missing = [key for key in sources if key not in features]
        pending: dict[str, torch.Tensor] = {}
        try:
            with _in_eval_mode(model.alm.audio_tower, model.alm.audio_projection):
                for key in tqdm(missing, desc="Encoding audio", unit="clip", disable=not (progress and missing)):
                    pending[key] = _encode(model.alm, processor, sources[key])
                    if len(pending) == CLIPS_PER_SHARD:
                        features.update(self._keep(shards, pending))
                        pending = {}
        finally:
            features.update(self._keep(shards, pending))
        return torch.stack([features[key] for key in keys])

    def _folder(self, alm: AlmModel, processor: AlmProcessor) -> Path:
        identity = [
            processor.feature_extractor.fingerprint,
            encoder_fingerprint(alm),
            # The same weights give other last bits on another kind of device or in another release.
            alm.device.type,
            torch.__version__,
        ]
        return self.cache_dir / "audio_features" / hashlib.sha256(json.dumps(identity).encode()).hexdigest()

    @staticmethod
    def _keep(shards: _Shards | None, features: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        if shards and features:
            shards.write(features)
        return features


class _Shards:
    """The shards of one encoder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.writable = True

    def read(self, keys: Iterable[str]) -> dict[str, torch.Tensor]:
        """Return the features that are there of those asked for; say so and delete where a shard is damaged."""
        wanted = set(keys)
        found: dict[str, torch.Tensor] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            try:
                shard = self._read_shard(path, wanted - found.keys())
            except FileNotFoundError:
                continue  # Another process has found it damaged in the meantime.
            except (SafetensorError, OSError, ValueError) as error:
                logger.warning("%s: damaged (%s); its clips are encoded again", path, error)
                self._delete(path)
                continue
            found |= {key: feature for key, feature in shard.items() if key in wanted}
        return found

    def write(self, features: dict[str, torch.Tensor]) -> None:
        """Write one shard; where the disk refuses, say so once and go on without."""
        if not self.writable:
            return
        path = self.folder / f"{_content_digest(features)}.safetensors"
        temporary = path.with_suffix(f".{os.getpid()}.tmp")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            save_file(features, temporary)
            os.replace(temporary, path)
        except (SafetensorError, OSError) as error:
            self.writable = False
            logger.warning("%s: cannot be written (%s); audio features are not cached", self.folder, error)

    @staticmethod
    def _read_shard(path: Path, wanted: set[str]) -> dict[str, torch.Tensor]:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            if wanted.isdisjoint(names):
                return {}
            shard = {name: file.get_tensor(name) for name in names}
        if _content_digest(shard) != path.stem:
            raise ValueError("its content does not match its name")
        return shard

    @staticmethod
    def _delete(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError:
            # A read-only cache keeps its damaged shard; it is never used, only announced again by the next run.
            logger.warning("%s: damaged and cannot be deleted", path)


def encoder_fingerprint(alm: AlmModel) -> str:
    """Return the sha256 of configuration, dtypes and bytes of the audio tower and its projection."""
    digest = hashlib.sha256()
    config = alm.config.audio_config.to_dict()
    # Where a model came from is no property of it, and its dtype is that of its tensors.
    settings = {key: value for key, value in config.items() if not key.startswith("_") and key != "dtype"}
    digest.update(json.dumps([settings, alm.config.audio_projection], sort_keys=True, default=str).encode())
    for part in (alm.audio_tower, alm.audio_projection):
        _update_digest(digest, part.state_dict())
    return digest.hexdigest()


def _content_digest(tensors: dict[str, torch.Tensor]) -> str:
    digest = hashlib.sha256()
    _update_digest(digest, tensors)
    return digest.hexdigest()


def _update_digest(digest: Any, tensors: dict[str, torch.Tensor]) -> None:
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name}:{tensor.dtype}:{list(tensor.shape)}:".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())


@torch.no_grad()
def _encode(alm: AlmModel, processor: AlmProcessor, source: Any) -> torch.Tensor:
    inputs = processor(audio=source).to(device=alm.device, dtype=alm.dtype)
    return alm.get_audio_features(**inputs)[0].float().cpu()


@contextmanager
def _in_eval_mode(*modules: nn.Module) -> Iterator[None]:
    """Switch off dropout and the update of running statistics, also where a trainer has switched them on."""
    states = [(module, module.training) for part in modules for module in part.modules()]
    for module in modules:
        module.eval()
    try:
        yield
    finally:
        for module, training in states:
            module.training = training
