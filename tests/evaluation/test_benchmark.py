"""The benchmark: both forms against a hand-written loop, one shared frozen model, and rows that survive a kill."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from alm_prompt import (
    AlmFeatureExtractor,
    AlmForAudioClassification,
    CoOpPromptConfig,
    ZebraPromptConfig,
    run_benchmark,
)
from alm_prompt.data import AudioClips, Clip, base_to_novel_split
from alm_prompt.errors import AlmPromptError
from alm_prompt.evaluation import run as one_run
from alm_prompt.evaluation.rows import read_rows

CLASSES = ["bell", "cat", "dog", "rain", "siren"]
PER_CLASS = 8
FRONT_END = SimpleNamespace(feature_extractor=AlmFeatureExtractor())
FAST = {"num_train_epochs": 2, "per_device_train_batch_size": 4}


class FixedFeatures:
    """Stands in for the feature cache: noisy features around one centre per class."""

    folder = None

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(3)
        self.centres = torch.randn(len(CLASSES), 32, generator=generator)
        self.calls = 0

    def features(self, model: Any, processor: Any, clips: AudioClips, progress: bool = True) -> torch.Tensor:
        self.calls += 1
        rows = []
        for clip in clips:
            generator = torch.Generator().manual_seed(int(clip.clip_id.split("-")[1]))
            rows.append(self.centres[CLASSES.index(clip.label)] + torch.randn(32, generator=generator))
        return torch.stack(rows)


@pytest.fixture
def clips() -> AudioClips:
    return AudioClips(
        Clip(
            source={"array": torch.full((4,), label + number / 100).numpy(), "sampling_rate": 8000},
            label=name,
            clip_id=f"clip-{label * PER_CLASS + number}",
            fold=str(number % 2 + 1),
        )
        for label, name in enumerate(CLASSES)
        for number in range(PER_CLASS)
    )


def run(model: AlmForAudioClassification, clips: AudioClips, methods: dict[str, Any], **options: Any) -> Any:
    settings = {"seeds": (0, 1), "shots": 2, "training_args": FAST, "cache": FixedFeatures(), "progress": False}
    return run_benchmark(model, FRONT_END, clips, methods, **{**settings, **options})


def scores(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


def hand_logits(model: AlmForAudioClassification, features: torch.Tensor, names: list[str]) -> torch.Tensor:
    texts = [model.tokenizer(f"This is a sound of {name}.", return_tensors="pt") for name in names]
    text = torch.cat([model.alm.get_text_features(t["input_ids"], t["attention_mask"]) for t in texts])
    cosine = (features / features.norm(dim=1, keepdim=True)) @ (text / text.norm(dim=1, keepdim=True)).T
    return model.alm.logit_scale.exp() * cosine


@torch.no_grad()
def test_zero_shot_row_matches_a_hand_loop(tiny_alm: AlmForAudioClassification, clips: AudioClips) -> None:
    [row] = run(tiny_alm, clips, {"zero-shot": None}, seeds=(0,), folds=("2",)).rows
    base, novel = CLASSES[:3], CLASSES[3:]
    counts = dict.fromkeys(("base", "novel", "base_g", "novel_g", "novel_to_base"), 0)
    held_out = [clip for clip in clips if clip.fold == "2"]
    for clip in held_out:
        feature = FixedFeatures().features(None, None, [clip])
        everywhere = CLASSES[hand_logits(tiny_alm, feature, CLASSES).argmax()]
        own = base if clip.label in base else novel
        kind = "base" if clip.label in base else "novel"
        counts[kind] += own[hand_logits(tiny_alm, feature, own).argmax()] == clip.label
        counts[f"{kind}_g"] += everywhere == clip.label
        counts["novel_to_base"] += kind == "novel" and everywhere in base
    sizes = {"base": 12, "base_g": 12, "novel": 8, "novel_g": 8, "novel_to_base": 8}
    for name, count in counts.items():
        assert row[name] == pytest.approx(count / sizes[name]), name
    assert row["trainable_parameters"] == 0
    assert (row["base_classes"], row["novel_classes"]) == (base, novel)
    assert row["split_hash"] == base_to_novel_split(clips, "2", shots=2, seed=0).hash


def test_methods_share_one_model_that_comes_back_unchanged(
    tiny_alm: AlmForAudioClassification, clips: AudioClips
) -> None:
    before = {name: value.clone() for name, value in tiny_alm.state_dict().items()}
    head, cache = tiny_alm.class_head, FixedFeatures()
    coop = CoOpPromptConfig(n_ctx=3)
    result = run(tiny_alm, clips, {"CoOp": coop, "with ZEBRA": ZebraPromptConfig(prompt=coop)}, cache=cache)
    assert cache.calls == 1
    assert tiny_alm.class_head is head
    after = tiny_alm.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert coop.class_names is None
    assert [(row["method"], row["seed"], row["fold"]) for row in result.rows] == [
        (method, seed, fold) for method in ("CoOp", "with ZEBRA") for seed in (0, 1) for fold in ("1", "2")
    ]
    assert {row["trainable_parameters"] for row in result.rows} == {3 * 24}
    assert {row["encoder_mode"] for row in result.rows} == {"frozen"}
    assert result.rows[0]["config"]["n_ctx"] == 3


def test_training_learns_the_base_classes_and_depends_on_the_seed_alone(
    tiny_alm: AlmForAudioClassification, clips: AudioClips
) -> None:
    options = {"training_args": {"num_train_epochs": 30, "learning_rate": 0.02}, "folds": ("1",), "shots": 4}
    methods = {"zero-shot": None, "coop": CoOpPromptConfig(n_ctx=4)}
    first = run(tiny_alm, clips, methods, **options)
    torch.rand(7)
    second = run(tiny_alm, clips, methods, **options)
    assert scores(first.rows) == scores(second.rows)
    zero_shot, coop = first.summaries
    assert coop.figures["base"].mean > zero_shot.figures["base"].mean


def test_killed_benchmark_goes_on_where_it_was(
    tiny_alm: AlmForAudioClassification, clips: AudioClips, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    methods = {"zero-shot": None, "coop": CoOpPromptConfig(n_ctx=3)}
    whole = run(tiny_alm, clips, methods)
    train, trained = one_run.train_adapter, []

    def train_until_killed(*arguments: Any) -> None:
        trained.append(arguments)
        if len(trained) == 3:
            raise KeyboardInterrupt
        train(*arguments)

    monkeypatch.setattr(one_run, "train_adapter", train_until_killed)
    with pytest.raises(KeyboardInterrupt):
        run(tiny_alm, clips, methods, output_dir=tmp_path)
    assert len(read_rows(tmp_path / "rows.jsonl")) == 6
    resumed = run(tiny_alm, clips, methods, output_dir=tmp_path)
    assert len(trained) == 5
    assert scores(resumed.rows) == scores(whole.rows)
    assert read_rows(tmp_path / "rows.jsonl") == resumed.rows
    assert sorted(path.name for path in tmp_path.glob("[!.]*")) == ["results.json", "rows.jsonl", "table.md"]
    assert json.loads((tmp_path / "results.json").read_text())[1]["method"] == "coop"
    assert "| coop" in (tmp_path / "table.md").read_text()


@pytest.mark.parametrize("change", [{"allow_fewer": True, "shots": 2, "training_args": {"num_train_epochs": 3}}])
def test_rows_of_other_settings_are_refused(
    tiny_alm: AlmForAudioClassification, clips: AudioClips, tmp_path: Path, change: dict[str, Any]
) -> None:
    methods = {"zero-shot": None}
    run(tiny_alm, clips, methods, seeds=(0,), output_dir=tmp_path)
    rows = (tmp_path / "rows.jsonl").read_bytes()
    with pytest.raises(AlmPromptError, match="other settings"):
        run(tiny_alm, clips, methods, seeds=(0,), output_dir=tmp_path, **change)
    assert (tmp_path / "rows.jsonl").read_bytes() == rows


@pytest.mark.parametrize("part", ["audio_projection", "text_projection"])
def test_rows_of_other_weights_are_refused(
    tiny_alm: AlmForAudioClassification, clips: AudioClips, tmp_path: Path, part: str
) -> None:
    run(tiny_alm, clips, {"zero-shot": None}, seeds=(0,), output_dir=tmp_path)
    with torch.no_grad():
        next(getattr(tiny_alm.alm, part).parameters()).add_(1)
    with pytest.raises(AlmPromptError, match="other settings"):
        run(tiny_alm, clips, {"zero-shot": None}, seeds=(0,), output_dir=tmp_path)


def test_rows_of_other_audio_or_another_front_end_are_refused(
    tiny_alm: AlmForAudioClassification, clips: AudioClips, tmp_path: Path
) -> None:
    run(tiny_alm, clips, {"zero-shot": None}, seeds=(0,), output_dir=tmp_path)
    louder = AudioClips(replace(clip, source={**clip.source, "array": 2 * clip.source["array"]}) for clip in clips)
    with pytest.raises(AlmPromptError, match="other settings, data or model"):
        run(tiny_alm, louder, {"zero-shot": None}, seeds=(0,), output_dir=tmp_path)
    shorter = SimpleNamespace(feature_extractor=AlmFeatureExtractor(clip_seconds=5.0))
    with pytest.raises(AlmPromptError, match="other settings, data or model"):
        run_benchmark(
            tiny_alm, shorter, clips, {"zero-shot": None}, seeds=(0,), shots=2, output_dir=tmp_path, progress=False
        )


def test_overwrite_forgets_earlier_rows_once_the_new_ones_are_possible(
    tiny_alm: AlmForAudioClassification, clips: AudioClips, tmp_path: Path
) -> None:
    run(tiny_alm, clips, {"zero-shot": None}, output_dir=tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    twice = AudioClips([*clips, replace(clips[0], clip_id="clip-99", label="siren")])
    for clips_now, options, word in ((clips, {"folds": ("9",)}, "no fold"), (twice, {}, "under two labels")):
        with pytest.raises(AlmPromptError, match=word):
            run(tiny_alm, clips_now, {"zero-shot": None}, output_dir=tmp_path, overwrite=True, **options)
        assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    run(tiny_alm, clips, {"mine": None}, seeds=(5,), output_dir=tmp_path, overwrite=True)
    assert [(row["method"], row["seed"], row["fold"]) for row in read_rows(tmp_path / "rows.jsonl")] == [
        ("mine", 5, "1"),
        ("mine", 5, "2"),
    ]


def test_bad_requests_are_named(tiny_alm: AlmForAudioClassification, clips: AudioClips, tmp_path: Path) -> None:
    with pytest.raises(AlmPromptError, match="at least one method"):
        run(tiny_alm, clips, {})
    with pytest.raises(AlmPromptError, match="a seed twice"):
        run(tiny_alm, clips, {"zero-shot": None}, seeds=(0, 0))
    with pytest.raises(AlmPromptError, match=r"no fold .9.*1, 2"):
        run(tiny_alm, clips, {"zero-shot": None}, folds=("9",))
    with pytest.raises(AlmPromptError, match="fewer than 16"):
        run(tiny_alm, clips, {"zero-shot": None}, shots=16)
