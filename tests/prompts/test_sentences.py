"""Sentences for audio-free tuning: what they are made of, and how few of them are drawn."""

from __future__ import annotations

import pytest

from alm_prompt.errors import AlmPromptError
from alm_prompt.prompts import class_sentences, descriptions, neighbors, sample_sentences, templates


def test_names_neighbours_and_descriptions_of_shipped_classes() -> None:
    sentences = class_sentences(["sea waves", "dog"])
    assert list(sentences) == ["sea waves", "dog"]
    dog = sentences["dog"]
    assert dog[:100] == [template.replace("{}", "dog") for template in templates()]
    assert dog[100:102] == ["This is a sound of barking.", "This is the sound of puppy yapping."]
    assert all(term in sentence for term, sentence in zip(neighbors("esc10")["dog"], dog[100:110], strict=True))
    assert dog[110:] == descriptions("esc10")["dog"]


def test_unknown_classes_have_names_only_unless_text_is_given() -> None:
    names = ["door_bell", "quetzal"]
    plain = class_sentences(names)
    assert plain["door_bell"][0] == "This is a sound of door bell."
    assert [len(texts) for texts in plain.values()] == [100, 100]
    given = class_sentences(names, neighbors={"quetzal": ["bright bird"]}, descriptions={"door_bell": ["Ding dong."]})
    assert given["quetzal"][100:] == ["This is a sound of bright bird."]
    assert given["door_bell"][100:] == ["Ding dong."]
    assert class_sentences(["dog"], neighbors={}, descriptions={})["dog"] == class_sentences(["dog"])["dog"][:100]


def test_a_draw_depends_on_nothing_but_seed_class_and_sentences() -> None:
    sentences = class_sentences(["dog", "rain"])
    drawn = sample_sentences(sentences, 16, seed=0)
    assert all(len(set(texts)) == 16 and set(texts) <= set(sentences[name]) for name, texts in drawn.items())
    shuffled = {"dog": sentences["dog"][::-1]}
    assert sample_sentences(shuffled, 4, seed=0)["dog"] == drawn["dog"][:4]
    assert sample_sentences(sentences, 16, seed=1) != drawn
    assert sample_sentences({"dog": ["a dog"]}, 16, seed=0, allow_fewer=True) == {"dog": ["a dog"]}
    with pytest.raises(AlmPromptError, match="class 'dog' has 1 sentences, fewer than 16"):
        sample_sentences({"dog": ["a dog"]}, 16, seed=0)
