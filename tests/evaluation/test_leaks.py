"""Planted leaks: whatever would let a method see what it is measured on is refused before anything is trained."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from alm_prompt import (
    AlmFeatureExtractor,
    AlmForAudioClassification,
    CoOpPromptConfig,
    SeptPromptConfig,
    run_benchmark,
)
from alm_prompt.data import AudioClips, AudioDataset, divide_classes, few_shot_split, open_dataset
from alm_prompt.errors import AlmPromptError
from alm_prompt.prompts import checked_neighbors

NAME = "Beijing-Opera"
BASE = ["bangu", "daluo"]
FRONT_END = SimpleNamespace(feature_extractor=AlmFeatureExtractor())
FAST = {"num_train_epochs": 1, "per_device_train_batch_size": 4}


class RandomFeatures:
    """Stands in for the feature cache."""

    folder = None

    def features(self, model: Any, processor: Any, clips: AudioClips, progress: bool = True) -> torch.Tensor:
        return torch.randn(len(clips), 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def folder(standins: Path, tmp_path: Path) -> Path:
    """A copy of a data set with folds, to plant leaks in."""
    return Path(shutil.copytree(standins / NAME, tmp_path / NAME))


def listed(table: Path) -> list[list[str]]:
    with table.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def add_row(table: Path, path: str, label: str) -> None:
    with table.open("a", encoding="utf-8", newline="") as file:
        csv.writer(file).writerow([path, label])


def refusal(call, *args, **kwargs) -> str:
    with pytest.raises(AlmPromptError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def measure(model: AlmForAudioClassification, dataset: AudioDataset, config: Any, **training: Any) -> Any:
    options = {"seeds": (0,), "folds": ("1",), "shots": 2, "cache": RandomFeatures(), "progress": False}
    return run_benchmark(model, FRONT_END, dataset, {"method": config}, training_args=FAST | training, **options)


def split_of_fold_1(dataset: AudioDataset) -> Any:
    halves = divide_classes("alphabetical-halves", dataset.class_names, dataset.name)
    # More shots than clips: every clip of the train list is used.
    return few_shot_split(dataset.folds[0], *halves, shots=99, seed=0, allow_fewer=True)


def test_nothing_is_refused_without_a_leak(tiny_alm: AlmForAudioClassification, folder: Path) -> None:
    dataset = open_dataset(folder)
    assert len(split_of_fold_1(dataset).train) == 16
    assert len(measure(tiny_alm, dataset, CoOpPromptConfig(n_ctx=1)).rows) == 1


def test_test_clip_among_the_train_clips(folder: Path) -> None:
    path, label = listed(folder / "csv_files" / "test_1.csv")[1]
    add_row(folder / "csv_files" / "train_1.csv", path, label)
    assert f"clip {path!r} is in both train and test" in refusal(open_dataset, folder)


def test_test_clip_among_the_train_clips_under_another_name(tiny_alm: AlmForAudioClassification, folder: Path) -> None:
    path, label = listed(folder / "csv_files" / "test_1.csv")[1]
    assert label in BASE
    shutil.copy(folder / path, folder / "audios" / "copy.wav")
    add_row(folder / "csv_files" / "train_1.csv", "audios/copy.wav", label)
    dataset = open_dataset(folder)
    expected = f"fold 1: test clip {path!r} is the same audio as train clip 'audios/copy.wav'"
    assert expected in refusal(split_of_fold_1, dataset)
    settings = {"shots": 99, "allow_fewer": True, "progress": False}
    message = refusal(run_benchmark, tiny_alm, FRONT_END, dataset, {"zero-shot": None}, **settings)
    assert f"{NAME}: {expected}" in message


def test_novel_class_among_the_neighbours(tiny_alm: AlmForAudioClassification, folder: Path) -> None:
    dataset = open_dataset(folder)
    neighbors = {"bangu": ["drum roll", "NAOBO!"], "daluo": ["gong", "bell"]}
    assert "naobo" in refusal(checked_neighbors, neighbors, BASE, held_out=["naobo", "xiaoluo"]).lower()
    config = SeptPromptConfig(prompt=CoOpPromptConfig(n_ctx=1), neighbors=neighbors)
    assert "'NAOBO!' of class 'bangu' is a novel class" in refusal(measure, tiny_alm, dataset, config)


@pytest.mark.parametrize("argument", [{"load_best_model_at_end": True}, {"eval_strategy": "epoch"}])
def test_test_labels_for_choosing_among_epochs(
    tiny_alm: AlmForAudioClassification, folder: Path, argument: dict[str, Any]
) -> None:
    message = refusal(measure, tiny_alm, open_dataset(folder), CoOpPromptConfig(n_ctx=1), **argument)
    assert "choosing among epochs" in message
