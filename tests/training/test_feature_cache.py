"""Cached audio features are the features, whatever happens to the files and the processes."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from peft import PeftModel, get_peft_model

from alm_prompt.data.sources import load_folder
from alm_prompt.errors import AlmPromptError
from alm_prompt.models import AlmForAudioClassification
from alm_prompt.models.processing import AlmFeatureExtractor, AlmProcessor
from alm_prompt.training import AudioFeatureCache, feature_cache

RATE = 8_000
FRONT_END = {"sampling_rate": RATE, "n_fft": 256, "win_length": 256, "hop_length": 80, "n_mels": 64, "f_max": 4_000}


class CountingProcessor:
    """A processor that counts the clips it is given, and can end its process at one of them."""

    def __init__(self, processor: AlmProcessor, kill_at: int | None = None) -> None:
        self.processor = processor
        self.feature_extractor = processor.feature_extractor
        self.kill_at = kill_at
        self.count = 0

    def __call__(self, audio: Any) -> Any:
        self.count += 1
        if self.count == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.processor(audio=audio)


def write_clip(path: Path, seed: int, seconds: float = 0.3) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(seed).normal(scale=0.1, size=int(seconds * RATE)).astype(np.float32)
    soundfile.write(path, noise, RATE)


def in_child(function: Callable[[], Any]) -> multiprocessing.Process:
    """Run a function in a forked process, which sees the tiny model as it is here."""

    def run() -> None:
        # The threads of the parent's pool do not exist in a fork.
        torch.set_num_threads(1)
        function()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A folder of five clips in two classes."""
    for seed in range(5):
        write_clip(tmp_path / "sounds" / ("dog" if seed % 2 else "rain") / f"{seed}.wav", seed, 0.2 + 0.05 * seed)
    return tmp_path / "sounds"


@pytest.fixture
def new_processor(tiny_alm: AlmForAudioClassification) -> Callable[..., CountingProcessor]:
    """Make a counting processor for the tiny model."""

    def make(kill_at: int | None = None, **settings: Any) -> CountingProcessor:
        extractor = AlmFeatureExtractor(**({"clip_seconds": 0.5} | FRONT_END | settings))
        return CountingProcessor(AlmProcessor(extractor, tiny_alm.tokenizer), kill_at)

    return make


@pytest.fixture
def cache(tmp_path: Path) -> AudioFeatureCache:
    return AudioFeatureCache(tmp_path / "cache")


@pytest.fixture
def shards(cache: AudioFeatureCache) -> Callable[[], list[Path]]:
    return lambda: sorted(cache.cache_dir.rglob("*.safetensors"))


NewProcessor = Callable[..., CountingProcessor]


def test_features_are_those_of_the_model_with_and_without_cache(
    tiny_alm: AlmForAudioClassification, new_processor: NewProcessor, sounds: Path, cache: AudioFeatureCache
) -> None:
    clips = load_folder(sounds)
    processor = new_processor()
    with torch.no_grad():
        rows = [tiny_alm.get_audio_features(**processor.processor(audio=clip.source)) for clip in clips]
    expected = torch.cat(rows)
    filled = cache.features(tiny_alm, processor, clips, progress=False)
    assert processor.count == len(clips)
    read = cache.features(tiny_alm, processor, clips, progress=False)
    assert processor.count == len(clips)
    uncached = AudioFeatureCache(enabled=False).features(tiny_alm, processor, clips, progress=False)
    assert processor.count == 2 * len(clips)
    assert expected.dtype == torch.float32
    assert all(torch.equal(expected, features) for features in (filled, read, uncached))


def test_no_cache_touches_no_disk(
    tiny_alm: AlmForAudioClassification, new_processor: NewProcessor, sounds: Path, tmp_path: Path
) -> None:
    AudioFeatureCache(tmp_path / "cache", enabled=False).features(tiny_alm, new_processor(), load_folder(sounds))
    assert not (tmp_path / "cache").exists()


def test_default_folder_is_that_of_the_environment(
    tiny_alm: AlmForAudioClassification, new_processor: NewProcessor, sounds: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    monkeypatch.setenv("ALM_PROMPT_CACHE", str(tmp_path / "mine"))
    AudioFeatureCache().features(tiny_alm, new_processor(), load_folder(sounds), progress=False)
    assert list((tmp_path / "mine").rglob("*.safetensors"))


def test_value_does_not_depend_on_the_training_mode(
    tiny_alm: AlmForAudioClassification, new_processor: NewProcessor, sounds: Path
) -> None:
    clips = load_folder(sounds)
    encode = AudioFeatureCache(enabled=False).features
    expected = encode(tiny_alm, new_processor(), clips, progress=False)
    tiny_alm.train()
    before = {name: buffer.clone() for name, buffer in tiny_alm.named_buffers()}
    assert torch.equal(encode(tiny_alm, new_processor(), clips, progress=False), expected)
    assert all(torch.equal(before[name], buffer) for name, buffer in tiny_alm.named_buffers())
    assert all(module.training for module in tiny_alm.modules())


def test_adapters_share_the_features_of_their_base_model(
    tiny_alm: AlmForAudioClassification,
    method_config: Callable[..., Any],
    new_processor: NewProcessor,
    sounds: Path,
    cache: AudioFeatureCache,
) -> None:
    clips, processor = load_folder(sounds), new_processor()
    expected = cache.features(tiny_alm, processor, clips, progress=False)
    model = get_peft_model(tiny_alm, method_config())
    assert isinstance(model, PeftModel)
    assert torch.equal(cache.features(model, processor, clips, progress=False), expected)
    assert processor.count == len(clips)


def test_the_sound_counts_and_not_its_name(
    tiny_alm: AlmForAudioClassification, new_processor: NewProcessor, sounds: Path, cache: AudioFeatureCache
) -> None:
    processor = new_processor()
    before = cache.features(tiny_alm, processor, load_folder(sounds), progress=False)
    (sounds / "rain" / "0.wav").rename(sounds / "rain" / "01.wav")
    shutil.copy(sounds / "rain" / "2.wav", sounds / "dog" / "again.wav")
    processor.count = 0
    after = cache.features(tiny_alm, processor, load_folder(sounds), progress=False)
    assert processor.count == 0
    assert {row.numpy().tobytes() for row in before} == {row.numpy().tobytes() for row in after}
    write_clip(sounds / "rain" / "2.wav", seed=99)
    cache.features(tiny_alm, processor, load_folder(sounds), progress=False)
    assert processor.count == 1


@pytest.mark.parametrize("change", ["front end", "tower", "projection", "dtype"])
def test_another_encoder_has_its_own_features(
    change: str,
    make_tiny_alm: Callable[..., AlmForAudioClassification],
    new_processor: NewProcessor,
    sounds: Path,
    cache: AudioFeatureCache,
) -> None:
    clips = load_folder(sounds)
    model = make_tiny_alm()
    first = cache.features(model, new_processor(), clips, progress=False)
    processor = new_processor(f_min=100) if change == "front end" else new_processor()
    if change == "tower":
        # One unit in the last place of one number.
        weight = next(model.alm.audio_tower.parameters()).data.view(-1)
        weight[0] = torch.nextafter(weight[0], weight.new_tensor(torch.inf))
    elif change == "projection":
        next(model.alm.audio_projection.parameters()).data.mul_(2)
    elif change == "dtype":
        model.double()
    second = cache.features(model, processor, clips, progress=False)
    assert processor.count == len(clips)
    if change in ("front end", "projection"):
        assert not torch.allclose(first, second)


@pytest.mark.parametrize("damage", ["flipped", "cut", "empty", "text"])
def test_damaged_shard_is_announced_once_and_encoded_again(
    damage: str,
    tiny_alm: AlmForAudioClassification,
    new_processor: NewProcessor,
    sounds: Path,
    cache: AudioFeatureCache,
    shards: Callable[[], list[Path]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    clips, processor = load_folder(sounds), new_processor()
    expected = cache.features(tiny_alm, processor, clips, progress=False)
    (shard,) = shards()
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    damaged = {"flipped": bytes(content), "cut": bytes(content[:-8]), "empty": b"", "text": b"not a shard"}
    shard.write_bytes(damaged[damage])
    processor.count = 0
    assert torch.equal(cache.features(tiny_alm, processor, clips, progress=False), expected)
    assert processor.count == len(clips)
    assert len(caplog.messages) == 1
    assert shard.name in caplog.messages[0]
    caplog.clear()
    assert torch.equal(cache.features(tiny_alm, processor, clips, progress=False), expected)
    assert processor.count == len(clips)
    assert not caplog.records


def test_killed_filling_goes_on_where_it_was(
    tiny_alm: AlmForAudioClassification,
    new_processor: NewProcessor,
    sounds: Path,
    cache: AudioFeatureCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feature_cache, "CLIPS_PER_SHARD", 2)
    clips = load_folder(sounds)
    doomed = new_processor(kill_at=4)
    process = in_child(lambda: cache.features(tiny_alm, doomed, clips, progress=False))
    process.join(timeout=60)
    assert process.exitcode == -signal.SIGKILL
    processor = new_processor()
    features = cache.features(tiny_alm, processor, clips, progress=False)
    assert processor.count == len(clips) - 2
    uncached = AudioFeatureCache(enabled=False).features(tiny_alm, processor, clips, progress=False)
    assert torch.equal(features, uncached)


def test_half_written_shard_is_not_read(
    tiny_alm: AlmForAudioClassification,
    new_processor: NewProcessor,
    sounds: Path,
    cache: AudioFeatureCache,
    shards: Callable[[], list[Path]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The process ends before the complete shard gets its name."""

    def die(*_: Any) -> None:
        raise KeyboardInterrupt

    clips, processor = load_folder(sounds), new_processor()
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(feature_cache.os, "replace", die)
        cache.features(tiny_alm, processor, clips, progress=False)
    assert not shards()
    cache.features(tiny_alm, processor, clips, progress=False)
    assert processor.count == 2 * len(clips)
    assert not caplog.records


def test_two_processes_fill_one_cache(
    tiny_alm: AlmForAudioClassification,
    new_processor: NewProcessor,
    sounds: Path,
    cache: AudioFeatureCache,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(feature_cache, "CLIPS_PER_SHARD", 1)
    clips = load_folder(sounds)
    barrier = multiprocessing.get_context("fork").Barrier(2)

    def fill(order: int) -> None:
        barrier.wait(timeout=60)
        cache.features(tiny_alm, new_processor(), list(clips)[::order], progress=False)

    processes = [in_child(lambda order=order: fill(order)) for order in (1, -1)]
    for process in processes:
        process.join(timeout=60)
        assert process.exitcode == 0
    processor = new_processor()
    features = cache.features(tiny_alm, processor, clips, progress=False)
    assert processor.count == 0
    uncached = AudioFeatureCache(enabled=False).features(tiny_alm, processor, clips, progress=False)
    assert torch.equal(features, uncached)
    assert not caplog.records


def test_cache_that_cannot_be_written_is_announced_once_and_done_without(
    tiny_alm: AlmForAudioClassification,
    new_processor: NewProcessor,
    sounds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(feature_cache, "CLIPS_PER_SHARD", 1)
    (tmp_path / "occupied").write_text("")
    clips = load_folder(sounds)
    features = AudioFeatureCache(tmp_path / "occupied").features(tiny_alm, new_processor(), clips, progress=False)
    uncached = AudioFeatureCache(enabled=False).features(tiny_alm, new_processor(), clips, progress=False)
    assert torch.equal(features, uncached)
    assert len(caplog.messages) == 1
    assert "audio features are not cached" in caplog.messages[0]


@pytest.mark.skipif(os.geteuid() == 0, reason="no folder is read-only for the superuser")
def test_read_only_cache_is_read(
    tiny_alm: AlmForAudioClassification,
    new_processor: NewProcessor,
    sounds: Path,
    cache: AudioFeatureCache,
    shards: Callable[[], list[Path]],
) -> None:
    clips, processor = load_folder(sounds), new_processor()
    expected = cache.features(tiny_alm, processor, clips, progress=False)
    shards()[0].parent.chmod(0o500)
    assert torch.equal(cache.features(tiny_alm, processor, clips, progress=False), expected)
    assert processor.count == len(clips)


def test_unreadable_clip_is_named_and_the_work_before_it_kept(
    tiny_alm: AlmForAudioClassification, new_processor: NewProcessor, sounds: Path, cache: AudioFeatureCache
) -> None:
    clips = load_folder(sounds)
    last = Path(list(clips)[-1].source)
    good = last.read_bytes()
    last.write_text("this is not audio")
    with pytest.raises(AlmPromptError, match=last.name):
        cache.features(tiny_alm, new_processor(), clips, progress=False)
    last.write_bytes(good)
    processor = new_processor()
    cache.features(tiny_alm, processor, clips, progress=False)
    assert processor.count == 1


def test_progress_is_shown_only_where_there_is_work(
    tiny_alm: AlmForAudioClassification,
    new_processor: NewProcessor,
    sounds: Path,
    cache: AudioFeatureCache,
    capsys: pytest.CaptureFixture,
) -> None:
    clips = load_folder(sounds)
    cache.features(tiny_alm, new_processor(), clips)
    assert "Encoding audio" in capsys.readouterr().err
    cache.features(tiny_alm, new_processor(), clips)
    assert "Encoding audio" not in capsys.readouterr().err
