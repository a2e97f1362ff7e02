"""Cached audio features are the features of the model, and nobody else's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel, get_peft_model

from alm_prompt.data.sources import load_folder
from alm_prompt.models import AlmForAudioClassification
from alm_prompt.training import AudioFeatureCache, feature_cache

NewProcessor = Callable[..., Any]


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


def test_workers_give_the_same_features_and_leave_the_random_state_alone(
    tiny_alm: AlmForAudioClassification, new_processor: NewProcessor, sounds: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr(feature_cache, "CLIPS_PER_WORKER", 1)
    clips, state = load_folder(sounds), torch.get_rng_state()
    expected = AudioFeatureCache(enabled=False).features(tiny_alm, new_processor(), clips, progress=False)
    processor = new_processor()
    cache = AudioFeatureCache(enabled=False, num_workers=2)
    assert torch.equal(cache.features(tiny_alm, processor, clips, progress=False), expected)
    assert processor.count == 0  # In this process.
    assert torch.equal(torch.get_rng_state(), state)


def test_few_clips_are_read_without_workers(
    tiny_alm: AlmForAudioClassification, new_processor: NewProcessor, sounds: Path
) -> None:
    processor = new_processor()
    AudioFeatureCache(enabled=False, num_workers=2).features(tiny_alm, processor, load_folder(sounds), progress=False)
    assert processor.count == 5


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
    tiny_alm: AlmForAudioClassification,
    new_processor: NewProcessor,
    sounds: Path,
    cache: AudioFeatureCache,
    write_clip: Any,
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


def test_what_is_kept_does_not_depend_on_the_callers_autocast(
    tiny_alm: AlmForAudioClassification, new_processor: NewProcessor, sounds: Path, cache: AudioFeatureCache
) -> None:
    clips = load_folder(sounds)
    with torch.autocast("cpu", torch.bfloat16):
        kept = cache.features(tiny_alm, new_processor(), clips, progress=False)
    off = AudioFeatureCache(enabled=False)
    assert torch.equal(kept, off.features(tiny_alm, new_processor(), clips, progress=False))


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
