"""The downstream task: fixed by its seed, shifted from pre-training, written and read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from alm_prompt import AlmPromptError
from alm_prompt.audio import read_waveform
from alm_prompt.data.world import WORLD_CLASSES, pretraining_sounds, world_clips, world_example, write_world
from alm_prompt.data.world.grammar import EVERYDAY_NAMES, all_sounds
from alm_prompt.data.world.task import class_sounds, is_held_out, world_clip


def floor_to_peak_db(wave: np.ndarray) -> float:
    """Level of the quietest tenth of 10 ms frames below the loudest frame."""
    frames = np.sqrt(np.square(wave.reshape(-1, 160)).mean(axis=1))
    return float(20 * np.log10(np.quantile(frames, 0.1) / frames.max()))


def test_clips_are_decided_by_name_seed_and_index():
    clip = world_clip("church bell", 0, 1)
    assert np.array_equal(clip, world_clip("church bell", 0, 1))
    for other in (("church bell", 0, 2), ("church bell", 1, 1), ("hand drum", 0, 1)):
        assert not np.array_equal(clip, world_clip(*other))


def test_clips_of_a_larger_task_begin_with_those_of_a_smaller_one():
    small, large = world_clips(seed=4, per_class=1), world_clips(seed=4, per_class=2)
    by_id = {clip.clip_id: clip.source["array"] for clip in large}
    assert len(small) == len(WORLD_CLASSES) and len(large) == 2 * len(WORLD_CLASSES)
    assert small.class_names == sorted(WORLD_CLASSES)
    assert all(np.array_equal(clip.source["array"], by_id[clip.clip_id]) for clip in small)


def test_pretraining_never_plays_what_the_task_is_made_of():
    task = {sound for name in WORLD_CLASSES for sound in class_sounds(name)}
    assert task.isdisjoint(pretraining_sounds())
    assert task | set(pretraining_sounds()) == set(all_sounds())
    assert not any(is_held_out(world_example(0, index)[2]) for index in range(60))


def test_classes_are_disjoint_and_never_outside_their_everyday_name():
    for name in WORLD_CLASSES:
        sounds = class_sounds(name)
        assert sounds and all(EVERYDAY_NAMES[name].fits(sound) for sound in sounds)
        assert any(EVERYDAY_NAMES[name].fits(sound) for sound in pretraining_sounds())
        for other in WORLD_CLASSES:
            assert other == name or not set(sounds) & set(class_sounds(other))


def test_stream_is_decided_by_seed_and_index():
    wave, caption, sound = world_example(7, 3)
    again = world_example(7, 3)
    assert np.array_equal(wave, again[0]) and (caption, sound) == again[1:]
    assert not np.array_equal(wave, world_example(7, 4)[0])


def test_the_task_is_noisier_and_quieter_than_pretraining():
    task = [world_clip("church bell", 0, index) for index in range(12)]
    stream = [wave for wave, _, sound in (world_example(0, index) for index in range(120)) if sound.source == "bell"]
    assert np.median([floor_to_peak_db(wave) for wave in task]) > np.median([floor_to_peak_db(w) for w in stream])
    assert np.ptp([20 * np.log10(np.abs(wave).max()) for wave in task]) > 12


def test_written_world_reads_back(tmp_path: Path):
    written = write_world(tmp_path / "new" / "world", seed=2, per_class=1)
    expected = world_clips(seed=2, per_class=1).by_label()
    assert written.class_names == sorted(WORLD_CLASSES) and len(written) == len(WORLD_CLASSES)
    for clip in written:
        wave = read_waveform(clip.source, target_rate=16_000).numpy()
        assert np.abs(wave - expected[clip.label][0].source["array"]).max() < 1 / 32767
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["world"]


def test_an_existing_folder_is_not_written_into(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(AlmPromptError, match="not an empty folder"):
        write_world(tmp_path, per_class=1)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_bad_requests_are_named():
    with pytest.raises(AlmPromptError, match="no class 'dog'"):
        world_clip("dog", 0, 0)
    with pytest.raises(AlmPromptError, match="per_class is 0"):
        world_clips(per_class=0)
