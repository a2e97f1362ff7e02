"""A few-shot task in hand: its clips, the adapters trained on it, and its accuracy."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from alm_prompt import AlmPromptError, CoOpPromptConfig, LinearProbeConfig, PalmPromptConfig, load_adapter
from alm_prompt.data import AudioClips
from alm_prompt.data.world import WORLD_CLASSES, world_clips, write_world
from alm_prompt.evaluation import few_shot_task, open_task

FAST = {"num_train_epochs": 2, "learning_rate": 1.0}


@pytest.fixture(scope="module")
def opened():
    return open_task(clips_per_class=3)


@pytest.fixture
def task(opened):
    return few_shot_task(*opened, shots=2)


def test_shots_are_trained_and_all_other_clips_are_tested(opened, task):
    _, _, clips = opened
    assert task.class_names == sorted(WORLD_CLASSES) == task.trained_classes
    assert sorted(task.train.labels) == sorted(2 * list(range(12)))
    assert sorted(task.test.labels) == list(range(12))
    both = torch.cat([task.train.features, task.test.features])
    assert len(both) == len(clips) == len(both.unique(dim=0))


def test_classes_that_are_not_trained_come_last_and_are_tested_only(opened):
    trained = ["police siren", "bird song"]
    task = few_shot_task(*opened, shots=1, trained_classes=trained)
    assert task.class_names[:2] == trained == task.trained_classes
    assert sorted(task.train.labels) == [0, 1]
    assert sorted(task.test.labels) == sorted([0, 0, 1, 1] + 3 * list(range(2, 12)))
    model = task.fit(PalmPromptConfig(), **FAST)
    assert model.class_names == trained
    task.accuracy(model)
    assert model.fallback_classes == task.class_names[2:]
    model.unload()


def test_adapters_follow_the_seed_and_leave_the_model_as_it_was(task):
    task.model.set_classes(task.class_names)
    zero_shot = task.model(audio_features=task.test.features).logits
    found = []
    for seed in (0, 0, 1):
        model = task.fit(CoOpPromptConfig(n_ctx=2), seed=seed, **FAST)
        assert not model.training
        found.append(model(audio_features=task.test.features).logits)
        predicted = found[-1].argmax(dim=1).tolist()
        right = sum(index == label for index, label in zip(predicted, task.test.labels, strict=True))
        assert task.accuracy(model) == right / 12
        model.unload()
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])
    assert torch.equal(task.model(audio_features=task.test.features).logits, zero_shot)


@pytest.mark.parametrize("config_class", [CoOpPromptConfig, LinearProbeConfig])
def test_mixed_precision_is_for_training_only(task, config_class, tmp_path):
    """An adapter is measured in the precision of zero-shot, as the same adapter is when it is opened again."""
    model = task.fit(config_class(), bf16=True, **FAST)
    measured = model(audio_features=task.test.features).logits
    model.save_pretrained(tmp_path)
    again = load_adapter(tmp_path, backbone=model.unload())
    assert torch.equal(measured, again(audio_features=task.test.features).logits)
    again.unload()


def test_own_data_and_model_are_opened(tmp_path: Path, opened):
    write_world(tmp_path / "sounds", per_class=1)
    opened[0].save_pretrained(tmp_path / "alm")
    opened[1].save_pretrained(tmp_path / "alm")
    model, _, clips = open_task(tmp_path / "alm", tmp_path / "sounds")
    assert model.name_or_path == str(tmp_path / "alm")
    assert [Path(clip.source).parent.name for clip in clips] == [clip.label for clip in world_clips(per_class=1)]


def test_test_clip_that_is_trained_on_under_another_name_is_refused(opened):
    model, processor, clips = opened
    twins = [replace(clip, clip_id=f"{clip.clip_id} again") for clip in clips]
    with pytest.raises(AlmPromptError, match="is the same audio as train clip"):
        few_shot_task(model, processor, AudioClips([*clips, *twins]), shots=2)


def test_task_without_test_clips_is_refused(opened):
    with pytest.raises(AlmPromptError, match="3 shots take all 36 clips"):
        few_shot_task(*opened, shots=3)
