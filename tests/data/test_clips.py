"""`AudioClips`: class list, selection, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest

from alm_prompt.data import AudioClips, Clip
from alm_prompt.errors import AlmPromptError


def clip(name: str, fold: str | None = None) -> Clip:
    """`clip("b1")` is clip b1 of class b."""
    return Clip(f"{name}.wav", name[0], name, fold)


@pytest.fixture
def clips() -> AudioClips:
    return AudioClips([clip("b1", "1"), clip("a1", "1"), clip("c1", "2"), clip("b2", "2")])


def names(clips: AudioClips) -> list[str]:
    return [clip.clip_id for clip in clips]


def test_is_a_sequence_in_the_given_order(clips: AudioClips) -> None:
    assert len(clips) == 4
    assert names(clips) == ["b1", "a1", "c1", "b2"]
    assert clips[-1].clip_id == "b2"
    assert names(clips[1:3]) == ["a1", "c1"]
    assert clip("a1", "1") in clips


def test_classes_are_sorted(clips: AudioClips) -> None:
    assert clips.class_names == ["a", "b", "c"]
    assert {label: [clip.clip_id for clip in group] for label, group in clips.by_label().items()} == {
        "a": ["a1"],
        "b": ["b1", "b2"],
        "c": ["c1"],
    }


@pytest.mark.parametrize(
    ("chosen", "expected", "classes"),
    [
        ({}, ["b1", "a1", "c1", "b2"], ["a", "b", "c"]),
        ({"labels": ["b"]}, ["b1", "b2"], ["b"]),
        ({"labels": ("c", "a")}, ["a1", "c1"], ["a", "c"]),
        ({"folds": ["1"]}, ["b1", "a1"], ["a", "b", "c"]),
        ({"labels": ["b", "c"], "folds": ["1"]}, ["b1"], ["b", "c"]),
        ({"labels": []}, [], []),
    ],
)
def test_select(clips: AudioClips, chosen: dict, expected: list[str], classes: list[str]) -> None:
    selected = clips.select(**chosen)
    assert names(selected) == expected
    assert selected.class_names == classes


def test_a_class_without_clips_stays_in_the_list(clips: AudioClips) -> None:
    assert clips.select(folds=["1"]).by_label()["c"] == []
    assert clips[:0].class_names == ["a", "b", "c"]


def test_label_ids_follow_the_given_order(clips: AudioClips) -> None:
    assert clips.label_ids(["c", "a", "b"]) == [2, 1, 0, 2]


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda clips: clips.select(labels=["a", "z"]), "unknown class z: the clips have a, b, c"),
        (lambda clips: clips.select(folds=["9"]), "unknown fold 9: the clips have 1, 2"),
        (lambda clips: clips.label_ids(["a", "b"]), "clip 'c1' has label 'c', which is not in the class list (a, b)"),
        (lambda clips: AudioClips(clips, ["a", "b"]), "label 'c', which is not in the class list"),
        (lambda clips: AudioClips([*clips, clip("b1")]), "clip 'b1' is listed 2 times"),
        (lambda clips: AudioClips([Clip("x.wav", " ", "x")]), "clip 'x' has a blank label"),
    ],
    ids=["class", "fold", "label", "class-list", "twice", "blank"],
)
def test_refusals_name_the_culprit(clips: AudioClips, call, expected: str) -> None:
    with pytest.raises(AlmPromptError) as caught:
        call(clips)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


def test_clips_compare_by_name_not_by_audio() -> None:
    one, other = ({"array": np.full(3, value), "sampling_rate": 8_000} for value in (0.0, 1.0))
    assert Clip(one, "a", "1") == Clip(other, "a", "1")
    assert len({Clip(one, "a", "1"), Clip(one, "a", "2")}) == 2
