"""Splits against rules written out by hand, and what they may not depend on."""

from __future__ import annotations

import hashlib
import logging
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pandas
import pytest

from alm_prompt.data import (
    SHOT_RULES,
    AudioClips,
    Clip,
    Fold,
    Split,
    base_novel_classes,
    base_to_novel_split,
    check_leaks,
    few_shot_split,
    folds,
    held_out_folds,
    load_clips,
    sample_shots,
)
from alm_prompt.errors import AlmPromptError

CLASSES = ["ant", "bee", "cow", "dog", "eel"]


def clip(label: str, number: int, fold: str | None = None, value: float | None = None) -> Clip:
    """A clip of two samples, each with another content."""
    array = np.array([CLASSES.index(label), number if value is None else value], np.float32)
    return Clip({"array": array, "sampling_rate": 8_000}, label, f"{label}/{number:02d}", fold)


def make_clips(per_class: int = 12, num_folds: int | None = 3) -> AudioClips:
    return AudioClips(
        clip(label, number, None if num_folds is None else str(number % num_folds + 1))
        for label in CLASSES
        for number in range(per_class)
    )


def ids(clips: AudioClips) -> list[str]:
    return [clip.clip_id for clip in clips]


def shuffled(clips: AudioClips) -> AudioClips:
    return AudioClips(random.Random(7).sample(list(clips), len(clips)))


def refusal(call, *args, **kwargs) -> str:
    with pytest.raises(AlmPromptError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shots", [1, 4, 12])
def test_sample_shots_equals_its_documented_rule(shots: int, seed: int) -> None:
    expected = []
    for label in CLASSES:
        ranked = []
        for number in range(12):
            key = f'["shots", {seed}, "{label}", "{label}/{number:02d}"]'
            ranked.append((hashlib.sha256(key.encode()).hexdigest(), f"{label}/{number:02d}"))
        expected += [clip_id for _, clip_id in sorted(ranked)[:shots]]
    assert ids(sample_shots(make_clips(), shots, seed)) == expected


def test_sample_shots_depends_on_seed_and_class_alone() -> None:
    clips = make_clips()
    drawn = sample_shots(clips, 4, seed=3)
    assert Counter(clip.label for clip in drawn) == dict.fromkeys(CLASSES, 4)
    assert ids(sample_shots(shuffled(clips), 4, seed=3)) == ids(drawn)
    assert ids(sample_shots(clips, 4, seed=4)) != ids(drawn)
    assert set(ids(drawn)) < set(ids(sample_shots(clips, 8, seed=3)))
    one = sample_shots(clips.select(labels=["cow"]), 4, seed=3)
    assert ids(one) == [clip_id for clip_id in ids(drawn) if clip_id.startswith("cow")]


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("shots", [1, 5, 9])
def test_pandas_rule_is_that_of_the_published_code(shots: int, seed: int) -> None:
    """As in PALM's and ZEBRA's loaders: one seed for NumPy's global generator, then class after class."""
    sizes = {"eel": 9, "ant": 30, "cow": 5, "dog": 12, "bee": 8}
    clips = shuffled(AudioClips(clip(label, number) for label, size in sizes.items() for number in range(size)))
    table = pandas.DataFrame([(clip.clip_id, clip.label) for clip in clips], columns=["path", "classname"])
    state = np.random.get_state()
    try:
        np.random.seed(seed)
        expected = []
        for label in sorted(table["classname"].unique()):
            members = table[table["classname"] == label]
            drawn = members.sample(shots) if len(members) >= shots else members
            expected += drawn["path"].tolist()
    finally:
        np.random.set_state(state)
    assert ids(sample_shots(clips, shots, seed, allow_fewer=True, rule="pandas")) == expected
    after = np.random.get_state()
    assert all(np.array_equal(one, other) for one, other in zip(state, after, strict=True))


def test_unknown_shot_rule() -> None:
    assert f"unknown shot rule 'random': use {', '.join(SHOT_RULES)}" in refusal(
        sample_shots, make_clips(), 1, 0, rule="random"
    )


def test_every_clip_is_drawn_as_often() -> None:
    clips = make_clips(num_folds=None)
    counts = Counter(clip_id for seed in range(600) for clip_id in ids(sample_shots(clips, 3, seed)))
    # 600 * 3 / 12 = 150 draws are expected, with a deviation of sqrt(600 * 0.25 * 0.75) = 10.6.
    assert len(counts) == 60
    assert all(100 < count < 200 for count in counts.values())


def test_too_few_clips(caplog: pytest.LogCaptureFixture) -> None:
    clips = AudioClips([clip("ant", 1), clip("ant", 2), clip("bee", 1), clip("bee", 2), clip("bee", 3)])
    assert "class 'ant' has 2 clips, fewer than 3 shots" in refusal(sample_shots, clips, 3, 0)
    with caplog.at_level(logging.WARNING, logger="alm_prompt"):
        drawn = sample_shots(clips, 3, 0, allow_fewer=True)
    assert sorted(ids(drawn)) == ids(clips)
    assert [record.getMessage() for record in caplog.records] == [
        "class 'ant' has 2 clips, fewer than 3 shots: all of them are used"
    ]


def test_no_clips_at_all_are_never_enough() -> None:
    clips = AudioClips([clip("ant", 1)], ["ant", "bee"])
    assert refusal(sample_shots, clips, 1, 0, True) == "class 'bee' has 0 clips, fewer than 1 shots: add clips"
    assert "shots=0" in refusal(sample_shots, clips, 0, 0)


def test_seeds_that_no_generator_takes() -> None:
    clips = make_clips()
    for seed in (-1, 2**32):
        expected = f"seed must be at least 0 and at most 4294967295, got {seed}"
        assert refusal(sample_shots, clips, 1, seed) == expected
    assert len(sample_shots(clips, 1, 2**32 - 1)) == len(CLASSES)


@pytest.mark.parametrize(
    ("names", "base", "novel"),
    [
        (["b", "a"], ("a",), ("b",)),
        (["c", "a", "b"], ("a", "b"), ("c",)),
        (["zebra", "Zebra", "ant", "über"], ("Zebra", "ant"), ("zebra", "über")),
        (list("gfedcba"), tuple("abcd"), tuple("efg")),
    ],
)
def test_base_classes_are_the_first_half(names: list[str], base: tuple, novel: tuple) -> None:
    assert base_novel_classes(names) == (base, novel)


@pytest.mark.parametrize(
    ("names", "expected"), [([], "not 0"), (["a"], "not 1"), (["a", "b", "a"], "'a' is named twice")]
)
def test_base_and_novel_refusals(names: list[str], expected: str) -> None:
    assert expected in refusal(base_novel_classes, names)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["10", "2", "1", "2"], ("1", "2", "10")),
        (["train", "test"], ("test", "train")),
        (["b", "3", "a"], ("3", "a", "b")),
        ([None, None], ()),
        ([], ()),
    ],
)
def test_folds(given: list[str | None], expected: tuple[str, ...]) -> None:
    assert folds(AudioClips(clip("ant", number, fold) for number, fold in enumerate(given))) == expected


def test_some_clips_without_fold_are_refused() -> None:
    assert "clip 'ant/02' has no fold" in refusal(folds, AudioClips([clip("ant", 1, "1"), clip("ant", 2)]))


@pytest.mark.parametrize("fold", ["1", "2", "3"])
def test_split_by_folds(fold: str) -> None:
    clips = make_clips()
    split = base_to_novel_split(clips, fold, shots=4, seed=1)
    assert split.base_classes == ("ant", "bee", "cow")
    assert split.novel_classes == ("dog", "eel")
    assert (split.fold, split.seed, split.shots) == (fold, 1, 4)
    assert ids(split.test) == [clip.clip_id for clip in clips if clip.fold == fold]
    assert Counter(clip.label for clip in split.train) == {"ant": 4, "bee": 4, "cow": 4}
    assert fold not in {clip.fold for clip in split.train}
    assert split.train.class_names == ["ant", "bee", "cow"]


def test_split_without_folds_holds_out_the_same_clips_for_every_seed() -> None:
    clips = make_clips(per_class=9, num_folds=None)
    splits = [
        base_to_novel_split(source, shots=4, seed=seed) for seed in (0, 1, 2) for source in (clips, shuffled(clips))
    ]
    assert len({tuple(sorted(ids(split.test))) for split in splits}) == 1
    assert len({tuple(sorted(ids(split.train))) for split in splits}) == 3
    for split in splits:
        assert Counter(clip.label for clip in split.test) == dict.fromkeys(CLASSES, 4)
        assert not set(ids(split.train)) & set(ids(split.test))


@pytest.mark.parametrize(
    ("per_class", "fraction", "held_out"), [(10, 0.5, 5), (10, 0.29, 2), (10, 0.01, 1), (3, 0.5, 1)]
)
def test_test_fraction(per_class: int, fraction: float, held_out: int) -> None:
    split = base_to_novel_split(make_clips(per_class, None), shots=1, test_fraction=fraction)
    assert Counter(clip.label for clip in split.test) == dict.fromkeys(CLASSES, held_out)


@pytest.mark.parametrize("num_folds", [None, 3])
def test_held_out_folds_are_those_of_base_to_novel_splits(num_folds: int | None) -> None:
    clips = make_clips(num_folds=num_folds)
    parts = held_out_folds(clips)
    assert [part.name for part in parts] == ([None] if num_folds is None else ["1", "2", "3"])
    for part in parts:
        assert part.train.class_names == part.test.class_names == CLASSES
        assert sorted(ids(part.train) + ids(part.test)) == sorted(ids(clips))
        split = few_shot_split(part, *base_novel_classes(CLASSES), shots=4, seed=1)
        assert split.hash == base_to_novel_split(clips, part.name, shots=4, seed=1).hash


def test_train_and_test_are_one_fold() -> None:
    clips = AudioClips(clip(label, number, "train" if number else "test") for label in CLASSES for number in range(3))
    (part,) = held_out_folds(clips)
    assert part.name is None
    assert {clip.fold for clip in part.train} == {"train"}
    assert {clip.fold for clip in part.test} == {"test"}


def test_other_folds_beside_train_and_test_are_refused() -> None:
    clips = AudioClips(clip("ant", number, fold) for number, fold in enumerate(("train", "test", "validation")))
    assert "the folds are test, train, validation" in refusal(held_out_folds, clips)


def test_one_fold_alone_cannot_be_held_out() -> None:
    assert "all clips are of fold '1'" in refusal(held_out_folds, make_clips(num_folds=1))


def test_few_shots_of_any_classes() -> None:
    part = held_out_folds(make_clips())[0]
    everything = few_shot_split(part, CLASSES, (), shots=2, seed=0)
    assert Counter(clip.label for clip in everything.train) == dict.fromkeys(CLASSES, 2)
    assert ids(everything.test) == ids(part.test)
    some = few_shot_split(part, ("dog", "ant"), ("eel",), shots=2, seed=0, rule="pandas")
    assert (some.base_classes, some.novel_classes, some.fold) == (("dog", "ant"), ("eel",), "1")
    assert {clip.label for clip in some.train} == {"dog", "ant"}
    assert {clip.label for clip in some.test} == {"dog", "ant", "eel"}
    drawn = sample_shots(part.train.select(labels=["ant", "dog"]), 2, 0, rule="pandas")
    assert ids(some.train) == ids(drawn)


def test_few_shot_refusals() -> None:
    part = held_out_folds(make_clips())[0]
    assert "class ant is base and novel" in refusal(few_shot_split, part, ["ant", "bee"], ["ant"], 1, 0)
    assert "unknown class fly" in refusal(few_shot_split, part, ["fly"], [], 1, 0)
    without = Fold("1", part.train, AudioClips((clip for clip in part.test if clip.label != "bee"), CLASSES))
    assert "fold 1: no clip of bee is held out for testing" in refusal(few_shot_split, without, ["ant"], ["bee"], 1, 0)
    assert "fold 1: class 'ant' has" in refusal(few_shot_split, without, ["ant"], ["bee"], 99, 0)
    leaking = Fold("1", part.train, part.train)
    assert "in both train and test" in refusal(few_shot_split, leaking, ["ant"], ["bee"], 1, 0)


def test_split_refusals() -> None:
    clips = make_clips()
    assert "folds 1, 2, 3: name the one to hold out" in refusal(base_to_novel_split, clips)
    assert "unknown fold 4" in refusal(base_to_novel_split, clips, "4")
    assert "no folds" in refusal(base_to_novel_split, make_clips(num_folds=None), "1")
    assert "test_fraction=1.0" in refusal(base_to_novel_split, make_clips(num_folds=None), shots=1, test_fraction=1.0)
    assert "class 'ant' has 8 clips, fewer than 9 shots" in refusal(base_to_novel_split, clips, "1", shots=9)
    missing = AudioClips(clip for clip in clips if clip.label != "bee" or clip.fold == "1")
    assert "class 'bee' has 0 clips" in refusal(base_to_novel_split, missing, "1", shots=2, allow_fewer=True)


def test_hash_is_that_of_the_split_and_nothing_else() -> None:
    clips = make_clips()
    split = base_to_novel_split(clips, "1", shots=4, seed=0)
    assert len(split.hash) == 64
    assert base_to_novel_split(shuffled(clips), "1", shots=4, seed=0).hash == split.hash
    others = [
        base_to_novel_split(clips, "2", shots=4, seed=0),
        base_to_novel_split(clips, "1", shots=4, seed=1),
        base_to_novel_split(clips, "1", shots=3, seed=0),
        Split(split.train, split.test, split.base_classes[:2], ("cow", *split.novel_classes), "1", 0, 4),
    ]
    assert len({split.hash, *(other.hash for other in others)}) == 5


def test_hash_is_stable() -> None:
    """Published results name splits by this value: a change of the rules must be a decision."""
    expected = "06bed748b5cadb242780de88e3f0a30d233078689697dd9186be14599ee98e54"
    assert base_to_novel_split(make_clips(), "1", shots=4, seed=0).hash == expected


def test_leak_under_the_same_name() -> None:
    clips = make_clips()
    assert "clip 'ant/03' is in both train and test" in refusal(check_leaks, clips[:5], clips[3:9])
    check_leaks(clips[:5], clips[5:])


def test_leak_of_the_same_audio_under_another_name() -> None:
    train, test = AudioClips([clip("ant", 1)]), AudioClips([clip("ant", 2), clip("ant", 3, value=1)])
    assert "test clip 'ant/03' is the same audio as train clip 'ant/01'" in refusal(check_leaks, train, test)


def test_splits_are_checked_for_leaks_unless_told_not_to() -> None:
    clips = AudioClips(clip(label, number, str(number % 2), value=0) for label in CLASSES for number in range(4))
    assert "same audio" in refusal(base_to_novel_split, clips, "1", shots=2)
    assert len(base_to_novel_split(clips, "1", shots=2, check_leaks=False).train) == 6


@pytest.mark.parametrize("name", ["esc10", "drums"])
def test_real_data_sets_split_without_leaks(shared_dir: Path, name: str) -> None:
    folder = shared_dir / "data" / name
    columns = {"path_column": "file_name", "label_column": "label", "fold_column": "fold_or_split"}
    clips = load_clips(folder, audio_dir=folder / "audio", **columns)
    for fold in folds(clips):
        split = base_to_novel_split(clips, fold, shots=16, seed=0, allow_fewer=True)
        assert {clip.fold for clip in split.test} == {fold}
        assert all(clip.label in split.base_classes for clip in split.train)
