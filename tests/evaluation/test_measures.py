"""Figures of a run against counts by hand, and the grid that a recipe becomes."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from alm_prompt import AlmFeatureExtractor
from alm_prompt.data import AudioClips, AudioDataset, Clip, Fold, Split
from alm_prompt.errors import AlmPromptError
from alm_prompt.evaluation.contestant import Contestant
from alm_prompt.evaluation.grid import plan_runs
from alm_prompt.evaluation.measures import MEASURES
from alm_prompt.evaluation.protocols import Recipe
from alm_prompt.evaluation.ranks import Rank
from alm_prompt.evaluation.rows import RowStore, failed_row
from alm_prompt.evaluation.runner import Runner
from alm_prompt.training import AudioFeatureCache

BASE, NOVEL = ("bell", "cat", "dog"), ("rain", "siren")
FRONT_END = SimpleNamespace(feature_extractor=AlmFeatureExtractor())
FAST = {"num_train_epochs": 1, "per_device_train_batch_size": 4, "use_cpu": True}


def clips(names: tuple[str, ...], each: int, prefix: str = "", folds: int = 0) -> AudioClips:
    return AudioClips(
        Clip(
            {"array": [float(number), *map(float, name.encode())], "sampling_rate": 8000},
            name,
            f"{prefix}{name}{number}",
            str(number % folds + 1) if folds else None,
        )
        for name in names
        for number in range(each)
    )


class Guesses:
    """Predictions drawn once for every clip and class list, and kept to count by hand."""

    def __init__(self) -> None:
        self.made: dict[tuple[str, int], str] = {}

    def __call__(self, tested: AudioClips, classes: tuple[str, ...]) -> list[int]:
        random.seed(len(classes))
        guesses = [random.randrange(len(classes)) for _ in tested]
        for clip, guess in zip(tested, guesses, strict=True):
            self.made[clip.clip_id, len(classes)] = classes[guess]
        return guesses


def share(tested: AudioClips, guesses: Guesses, classes: int, labels: tuple[str, ...]) -> float:
    own = [clip for clip in tested if clip.label in labels]
    return sum(guesses.made[clip.clip_id, classes] == clip.label for clip in own) / len(own)


def f1(tested: AudioClips, guesses: Guesses, name: str) -> float:
    pairs = [(clip.label, guesses.made[clip.clip_id, len(BASE)]) for clip in tested]
    hits = sum(true == guess == name for true, guess in pairs)
    wrong = sum((true == name) != (guess == name) for true, guess in pairs)
    return 2 * hits / (2 * hits + wrong)


def test_figures_are_those_counted_by_hand() -> None:
    test = clips(BASE + NOVEL, 7)
    halves = Split(clips(BASE, 1, "t"), test, BASE, NOVEL, None, 0, 1)
    guesses = Guesses()
    found = MEASURES["base-to-novel"](guesses, halves, None)
    assert found["base"] == pytest.approx(share(test, guesses, 3, BASE))
    assert found["novel"] == pytest.approx(share(test, guesses, 2, NOVEL))
    assert found["base_g"] == pytest.approx(share(test, guesses, 5, BASE))
    assert found["novel_g"] == pytest.approx(share(test, guesses, 5, NOVEL))
    taken = [guesses.made[clip.clip_id, 5] in BASE for clip in test if clip.label in NOVEL]
    assert found["novel_to_base"] == pytest.approx(sum(taken) / 14)
    assert found["h_g"] == pytest.approx(2 / (1 / found["base_g"] + 1 / found["novel_g"]))

    whole = Split(halves.train, test.select(labels=BASE), BASE, (), None, 0, 1)
    guesses = Guesses()
    for measure in ("all-classes", "test-time"):
        found = MEASURES[measure](guesses, whole, None)
        assert found["accuracy"] == pytest.approx(share(whole.test, guesses, 3, BASE))
        assert found["macro_f1"] == pytest.approx(sum(f1(whole.test, guesses, name) for name in BASE) / 3)

    target = clips(NOVEL, 4, "other")
    found = MEASURES["cross-dataset"](guesses, whole, target)
    assert found == pytest.approx(
        {"source": share(whole.test, guesses, 3, BASE), "target": share(target, guesses, 2, NOVEL)}
    )


def recipe(**changes) -> Recipe:
    settings = {"title": "", "source": "", "measure": "all-classes", "datasets": ["a"], "template": "{}"}
    return Recipe(name="mine", methods=[Contestant("zero-shot"), Contestant("coop")], **settings | changes)


def test_grid_holds_every_cell_once() -> None:
    datasets = {"a": AudioDataset.from_clips("a", clips(BASE, 6, folds=3))}
    runs, impossible = plan_runs(recipe(shots=[1, 2], seeds=[0, 1], folds=["1", 3]), datasets, "{}")
    assert impossible == []
    assert [(run.split.shots, run.label, run.split.seed, run.split.fold) for run in runs] == [
        (shots, method, seed, fold)
        for shots in (1, 2)
        for method in ("zero-shot", "coop")
        for seed in (0, 1)
        for fold in ("1", "3")
    ]
    rows = [run.row({"model_hash": "a"}) for run in runs]
    assert len({row["settings"] for row in rows}) == len(rows)
    other, _ = plan_runs(recipe(shots=[1], seeds=[0], folds=["1"], template="a {}"), datasets, "{}")
    assert other[0].row({"model_hash": "a"})["settings"] not in {row["settings"] for row in rows}
    assert runs[0].row({"model_hash": "b"})["settings"] != rows[0]["settings"]
    with pytest.raises(AlmPromptError, match="no data set 'b' is given"):
        plan_runs(recipe(datasets=["b"]), datasets, "{}")
    with pytest.raises(AlmPromptError, match="x/a and y/a would both be 'a' in results"):
        plan_runs(recipe(datasets=["x/a", "y/a"]), {name: datasets["a"] for name in ("x/a", "y/a")}, "{}")
    with pytest.raises(AlmPromptError, match=r"^a: fold 1: class .* has .* clips, fewer than 9 shots"):
        plan_runs(recipe(shots=[9], allow_fewer=False), datasets, "{}")


class Features:
    """Stands in for the feature cache: features of clips, but for data sets that cannot be encoded."""

    folder, enabled = None, False

    def __init__(self, broken: str = "", on_call=lambda: None) -> None:
        self.broken, self.on_call = broken, on_call

    def features(self, model, processor, clips: AudioClips, progress: bool = True) -> torch.Tensor:
        self.on_call()
        if any(clip.clip_id.startswith(self.broken) for clip in clips) and self.broken:
            raise RuntimeError("out of memory")
        return torch.randn(len(clips), 32, generator=torch.Generator().manual_seed(0))


def test_a_data_set_that_cannot_be_encoded_does_not_stop_the_others(tiny_alm) -> None:
    datasets = {name: AudioDataset.from_clips(name, clips(BASE, 4, prefix=name)) for name in "ab"}
    runs, _ = plan_runs(recipe(datasets=["a", "b"], shots=[1], seeds=[0], training=FAST), datasets, "{}")
    runner = Runner(tiny_alm, FRONT_END, runs, RowStore(None), Features(broken="a"))
    runner.run(progress=False)
    assert [(row["dataset"], row["method"]) for row in runner.rows()] == [("b", "zero-shot"), ("b", "coop")]
    assert [(row["dataset"], row["error"]) for row in runner.failures()] == [("a", "RuntimeError: out of memory")] * 2


def test_failures_of_an_earlier_attempt_are_forgotten_when_they_are_tried_again(tiny_alm, tmp_path: Path) -> None:
    """Else one of several processes would take a run that another is at for finished, and report too early."""
    datasets = {"a": AudioDataset.from_clips("a", clips(BASE, 4))}
    runs, _ = plan_runs(recipe(shots=[1], seeds=[0], training=FAST), datasets, "{}")
    seen: list[int] = []
    cache = Features(on_call=lambda: seen.append(len(RowStore(tmp_path).failed)))
    ranks = [Runner(tiny_alm, FRONT_END, runs, RowStore(tmp_path), cache, Rank(index, 2)) for index in (0, 1)]
    for _, row in ranks[0].begun:
        ranks[0].store.fail(failed_row(row, AlmPromptError("earlier")))
    for runner in ranks:
        runner.run(progress=False)
    assert seen == [1, 0]
    assert len(runner.rows()) == 2


def test_split_hash_tells_the_clips_of_a_target_too() -> None:
    source = AudioDataset.from_clips("a", clips(BASE, 4))
    cross = recipe(measure="cross-dataset", datasets=["a:b"], shots=[2])
    hashes = []
    for names, per_class in ((["x", "y"], 4), (["x", "y"], 3), (["x", "z"], 4)):
        target = AudioDataset.from_clips("b", clips(names, per_class))
        runs, _ = plan_runs(cross, {"a": source, "b": target}, "{}")
        hashes.append(runs[0].row({})["split_hash"])
    assert len(set(hashes)) == 3


def test_clips_of_a_target_that_are_learned_are_a_leak(tiny_alm) -> None:
    source = AudioDataset.from_clips("a", clips(BASE, 4))
    stolen = AudioClips((Clip(clip.source, "x", f"{clip.clip_id}.wav") for clip in source.folds[0].train), ["x", "y"])
    target = AudioDataset("b", ("x", "y"), (Fold(None, AudioClips([], ["x", "y"]), stolen),))
    cross = recipe(measure="cross-dataset", datasets=["a:b"], shots=[2])
    runs, _ = plan_runs(cross, {"a": source, "b": target}, "{}")
    runner = Runner(tiny_alm, FRONT_END, runs, RowStore(None), AudioFeatureCache(enabled=False))
    with pytest.raises(AlmPromptError, match=r"test clip 'b/.*' is the same audio as train clip"):
        runner.run(progress=False)
    assert runner.rows() == runner.failures() == []
