"""Captions are true to their sounds and cover the grammar."""

from __future__ import annotations

import re

import numpy as np
import pytest

from alm_prompt.data.world.grammar import (
    EVERYDAY_NAMES,
    GERUNDS,
    WORDS,
    Pattern,
    all_sounds,
    caption,
    everyday_names,
    vocabulary,
)
from alm_prompt.data.world.synth import Sound


def mentions(text: str, phrase: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(phrase)}(?![\w-])", text) is not None


def without_everyday_names(text: str) -> str:
    for name in sorted(EVERYDAY_NAMES, key=len, reverse=True):
        text = re.sub(rf"\b{name}\b", "", text)
    return text


def test_the_world_has_many_compositions_and_no_impossible_ones():
    sounds = all_sounds()
    assert len(sounds) == len(set(sounds)) >= 40
    rhythms = {source: {sound.rhythm for sound in sounds if sound.source == source} for source in WORDS["source"]}
    assert "continuous" not in rhythms["bell"] and "single" in rhythms["bell"]
    assert "single" not in rhythms["noise"] and "continuous" in rhythms["noise"]


@pytest.mark.parametrize("attribute", ["source", "pitch", "motion", "rhythm", "texture"])
def test_captions_name_the_value_of_their_sound_and_no_other(attribute: str):
    sounds, rng, named = all_sounds(), np.random.default_rng(0), 0
    for index in rng.integers(len(sounds), size=300):
        sound = sounds[index]
        text = without_everyday_names(caption(sound, rng))
        for value, words in WORDS[attribute].items():
            gerunds = GERUNDS[value] if attribute == "source" else ()
            hit = any(mentions(text, word) for word in (*words, *gerunds))
            assert not hit or value == getattr(sound, attribute), (sound, text)
            named += hit
    assert named > 75


def test_everyday_names_appear_only_where_they_fit():
    rng, seen = np.random.default_rng(1), set()
    for sound in all_sounds()[::2]:
        text = caption(sound, rng)
        for name in sorted(EVERYDAY_NAMES, key=len, reverse=True):
            if mentions(text, name):
                assert name in everyday_names(sound)
                seen.add(name)
                text = text.replace(name, "")
    assert len(seen) > 0.8 * len(EVERYDAY_NAMES)


def test_every_everyday_name_fits_a_sound():
    assert {name for sound in all_sounds() for name in everyday_names(sound)} == set(EVERYDAY_NAMES)


def test_pattern_with_lists_and_gaps():
    sound = Sound("bell", "low", "steady", "slow", "rough")
    assert Pattern().fits(sound)
    assert Pattern("bell drum", "low", "", "slow fast").fits(sound)
    assert not Pattern("bell", "mid high").fits(sound)


def test_vocabulary_holds_every_word_of_the_captions():
    known = set(re.findall(r"[\w-]+", " ".join(vocabulary())))
    rng = np.random.default_rng(2)
    used = {word for sound in all_sounds()[::3] for word in re.findall(r"[\w-]+", caption(sound, rng))}
    assert used <= known
