"""Cached audio features are right whatever happens to the files and the processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from alm_prompt.data import AudioClips
from alm_prompt.data.sources import load_folder
from alm_prompt.errors import AlmPromptError
from alm_prompt.models import AlmForAudioClassification
from alm_prompt.training import AudioFeatureCache, feature_cache

NewProcessor = Callable[..., Any]


def in_child(function: Callable[[], Any]) -> multiprocessing.Process:
    """Run a function in a forked process, which sees the tiny model as it is here."""

    def run() -> None:
        # The threads of the parent's pool do not exist in a fork.
        torch.set_num_threads(1)
        function()

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


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
        patch.setattr(os, "replace", die)
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


@pytest.mark.parametrize("enabled", [True, False])
def test_no_clips_are_one_line(
    enabled: bool, tiny_alm: AlmForAudioClassification, new_processor: NewProcessor, tmp_path: Path
) -> None:
    cache = AudioFeatureCache(tmp_path, enabled)
    with pytest.raises(AlmPromptError, match="no audio given: the list of clips is empty; give at least one"):
        cache.features(tiny_alm, new_processor(), AudioClips([]))


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_clip_is_named_and_the_work_before_it_kept(
    workers: int,
    tiny_alm: AlmForAudioClassification,
    new_processor: NewProcessor,
    sounds: Path,
    cache: AudioFeatureCache,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(feature_cache, "CLIPS_PER_WORKER", 1)
    cache.num_workers = workers
    clips = load_folder(sounds)
    last = Path(list(clips)[-1].source)
    good = last.read_bytes()
    last.write_text("this is not audio")
    with pytest.raises(AlmPromptError, match=last.name) as error:
        cache.features(tiny_alm, new_processor(), clips, progress=False)
    assert "\n" not in str(error.value)
    last.write_bytes(good)
    cache.num_workers = 0
    processor = new_processor()
    cache.features(tiny_alm, processor, clips, progress=False)
    assert processor.count == 1
