"""What flags become: the cache where none are given, and options of methods."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from alm_prompt import data
from alm_prompt.cli import loading
from alm_prompt.cli.options import CachedModelOptions, TrainingDataOptions, TrainingOptions
from alm_prompt.cli.training_data import TrainingClips
from alm_prompt.data import AudioClips, Clip


@pytest.mark.parametrize(("gpu", "cpus", "workers"), [(False, 16, 0), (True, 4, 3), (True, 64, 8), (True, 1, 0)])
def test_clips_are_read_in_processes_where_the_tower_leaves_the_cpus_free(
    monkeypatch: pytest.MonkeyPatch, gpu: bool, cpus: int, workers: int
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpu)
    monkeypatch.setattr(loading.os, "cpu_count", lambda: cpus)
    assert loading.open_cache(CachedModelOptions()).num_workers == workers
    assert loading.open_cache(CachedModelOptions(num_workers=2)).num_workers == 2


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("5E-1", 0.5),
        ("-.5", -0.5),
        ("16", 16),
        ("010", 10),
        ("-1", -1),
        ("0o17", 15),
        ("0x1F", 31),
        ("1:30", "1:30"),
        ("1_000", "1_000"),
        ("2024-01-01", "2024-01-01"),
        ("2024-13-45", "2024-13-45"),
        ("true", True),
        ("off", "off"),
        ("no", "no"),
        ("null", None),
        ("[1, 2]", [1, 2]),
        ("{a: 1}", {"a": 1}),
        ("'tis a sound of", "'tis a sound of"),
        ("sound: a", "sound: a"),
        ("- a sound", "- a sound"),
        (3000 * "[", 3000 * "["),
    ],
)
def test_options_of_methods_are_read_as_they_look(text: str, value: object) -> None:
    [read] = loading.method_settings([f"coop.option={text}"]).values()
    assert (read, type(read)) == (value, type(value))


def test_a_data_set_is_opened_once_for_its_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    clips = AudioClips(Clip(f"{name}.wav", label, f"{name}.wav", fold) for name, label, fold in ["ax1", "by1", "cx2"])
    opened = []

    def load_clips(name: str, **columns: Any) -> AudioClips:
        opened.append(name)
        return clips

    monkeypatch.setattr(data, "load_clips", load_clips)
    training = TrainingClips(TrainingDataOptions(data="sounds", folds=["1"]), TrainingOptions(), seed=0)
    assert ([clip.label for clip in training.clips], training.other_folds) == (["x", "y"], ["2"])
    assert opened == ["sounds"]
