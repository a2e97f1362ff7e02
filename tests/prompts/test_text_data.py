"""The shipped text keeps what it promises, and users' text is checked before any training starts."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from alm_prompt.data.world import WORLD_CLASSES
from alm_prompt.errors import AlmPromptError
from alm_prompt.prompts import (
    available_sets,
    checked_neighbors,
    descriptions,
    drop_overlaps,
    neighbors,
    read_neighbors,
    same_text,
    templates,
)

DATA = Path(__file__).resolve().parents[2] / "alm_prompt" / "prompts" / "data"
FILES = sorted(DATA.rglob("*.json"))

# As the public copies of the datasets spell them.
CLASSES = {
    "beijing-opera": "bangu, daluo, naobo, xiaoluo",
    "ns-instruments": "bass, brass, flute, guitar, keyboard, mallet, organ, reed, string, vocal",
    "esc50": "airplane, breathing, brushing teeth, can opening, car horn, cat, chainsaw, chirping birds, "
    "church bells, clapping, clock alarm, clock tick, coughing, cow, crackling fire, crickets, crow, crying baby, "
    "dog, door wood creaks, door wood knock, drinking sipping, engine, fireworks, footsteps, frog, glass breaking, "
    "hand saw, helicopter, hen, insects, keyboard typing, laughing, mouse click, pig, pouring water, rain, rooster, "
    "sea waves, sheep, siren, sneezing, snoring, thunderstorm, toilet flush, train, vacuum cleaner, washing machine, "
    "water drops, wind",
    "esc50-actions": "breathing, brushing teeth, clapping, coughing, crying baby, drinking sipping, footsteps, "
    "laughing, sneezing, snoring",
    "urbansound8k": "air conditioner, car horn, children playing, dog bark, drilling, engine idling, gun shot, "
    "jackhammer, siren, street music",
    "crema-d": "anger, disgust, fear, happy, neutral, sad",
    "ravdess": "angry, calm, disgust, fearful, happy, neutral, sad, surprised",
    "vocalsound": "Cough, Laughter, Sigh, Sneeze, Sniff, Throat clearing",
    "sesa": "casual, explosion, gunshot, siren",
    "tut2017": "beach, bus, cafe/restaurant, car, city_center, forest_path, grocery_store, home, library, "
    "metro_station, office, park, residential_area, train, tram",
    "gt-music-genre": "blues, classical, country, disco, hiphop, jazz, metal, pop, reggae, rock",
    "esc10": "chainsaw, clock tick, crackling fire, crying baby, dog, helicopter, rain, rooster, sea waves, sneezing",
    "drums": "closed hi-hat, conga, cowbell, cymbal, hand clap, kick drum, open hi-hat, rimshot, snare drum, tabla, "
    "tom drum",
    "digits": "zero, one, two, three, four, five, six, seven, eight, nine",
    "world": ", ".join(WORLD_CLASSES),
}


def letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text.lower())


def test_every_set_ships_with_neighbours_and_descriptions() -> None:
    assert available_sets() == sorted(CLASSES)
    assert sorted(path.stem for path in (DATA / "descriptions").glob("*.json")) == sorted(CLASSES)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(DATA)))
def test_header_states_the_provenance(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    entries = "templates" if path.stem == "templates" else "classes"
    assert set(content) == {"set", "written_by", "date", "instruction", "licence", entries}
    assert content["set"] == path.stem
    assert "language model" in content["written_by"]
    assert len(content["instruction"].split()) >= 20
    assert content["licence"] == "Apache-2.0"
    datetime.date.fromisoformat(content["date"])


def test_templates() -> None:
    shipped = templates()
    assert shipped[0] == "This is a sound of {}."
    assert len(shipped) == 100
    assert len({letters(template) for template in shipped}) == 100
    assert not [
        template for template in shipped if template.count("{}") != 1 or re.search(r"[{}]", template.replace("{}", ""))
    ]
    assert not [template for template in shipped if len(template.split()) > 12]


@pytest.mark.parametrize("set_name", CLASSES)
def test_neighbors_of_every_class(set_name: str) -> None:
    shipped = neighbors(set_name)
    assert list(shipped) == CLASSES[set_name].split(", ")
    assert {len(terms) for terms in shipped.values()} == {10}
    terms = [term for terms in shipped.values() for term in terms]
    assert not [term for term in terms if term != term.strip() or len(term.split()) > 8]
    keys = [letters(term) for term in terms]
    assert not sorted({key for key in keys if keys.count(key) > 1})
    assert not set(keys) & {letters(name) for name in shipped}


@pytest.mark.parametrize("set_name", CLASSES)
def test_neighbors_pass_the_check_for_base_and_novel_classes(set_name: str) -> None:
    names = CLASSES[set_name].split(", ")
    base, novel = names[::2], names[1::2]
    assert list(checked_neighbors(neighbors(set_name), base, held_out=novel, per_class=10)) == base


@pytest.mark.parametrize("set_name", CLASSES)
def test_descriptions_of_every_class(set_name: str) -> None:
    shipped = descriptions(set_name)
    assert list(shipped) == CLASSES[set_name].split(", ")
    assert {len(captions) for captions in shipped.values()} == {2}
    captions = [caption for captions in shipped.values() for caption in captions]
    assert len({letters(caption) for caption in captions}) == len(captions)
    for caption in captions:
        assert caption[0].isupper() and re.findall(r"[.!?]", caption) == ["."] and caption.endswith("."), caption
        assert 8 <= len(caption.split()) <= 30, caption
        assert not re.search(r"\bheard\b|sound", caption, flags=re.IGNORECASE), caption


@pytest.mark.parametrize("subset", ["esc10", "esc50-actions"])
def test_the_same_recordings_have_the_same_text(subset: str) -> None:
    for read in (neighbors, descriptions):
        assert read(subset).items() <= read("esc50").items()


@pytest.mark.parametrize("read", [neighbors, descriptions])
def test_unknown_set_names_the_known_ones(read: Callable[[str], dict]) -> None:
    with pytest.raises(AlmPromptError, match=r"'esc51'; available sets: beijing-opera, .*world$"):
        read("esc51")


def test_what_a_caller_changes_stays_with_the_caller() -> None:
    neighbors("sesa")["siren"].clear()
    templates().clear()
    assert len(neighbors("sesa")["siren"]) == 10
    assert len(templates()) == 100


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("City_Center", "city center"),
        ("hi-hat", "hihat"),
        ("cafe/restaurant", "Cafe, Restaurant"),
        ("gun shot.", "GUNSHOT"),
    ],
)
def test_same_text_ignores_case_spaces_and_punctuation(one: str, other: str) -> None:
    assert same_text(one) == same_text(other)


def test_same_text_keeps_marks_that_tell_words_apart() -> None:
    assert same_text("की") != same_text("का")


GOOD = {"dog": ["barking", "yapping"], "rain": ["drizzle", "downpour"]}


def test_checked_neighbors_follow_the_classes() -> None:
    checked = checked_neighbors(GOOD | {"siren": ["wail"]}, ["rain", "dog"], held_out=["siren"], per_class=2)
    assert list(checked.items()) == [("rain", ["drizzle", "downpour"]), ("dog", ["barking", "yapping"])]


@pytest.mark.parametrize(
    ("change", "options", "message"),
    [
        ({"siren": ["wail"]}, {}, r"for other classes \('siren'\); the classes are 'dog', 'rain'"),
        ({"rain": []}, {}, "'rain' has an empty list"),
        ({"rain": "drizzle"}, {}, "'rain' are the text 'drizzle'"),
        ({"rain": ["drizzle", " -"]}, {}, "'rain' has the blank neighbour ' -'"),
        ({"rain": ["drizzle", None]}, {}, "'rain' has the blank neighbour None"),
        ({"rain": ["drizzle", "Driz-zle"]}, {}, "'Driz-zle' of class 'rain' stands twice"),
        ({"rain": ["drizzle", "Barking!"]}, {}, "'Barking!' of class 'rain' stands twice .also in class 'dog'"),
        ({"rain": ["drizzle", "DOG"]}, {}, "'DOG' of class 'rain' is the class 'dog'"),
        ({}, {"held_out": ["Down pour"]}, "'downpour' of class 'rain' is the held-out class 'Down pour'"),
        ({}, {"per_class": 10}, "'dog' has 2 neighbours; every class needs 10"),
    ],
)
def test_bad_neighbors_are_refused_in_one_line(change: dict, options: dict, message: str) -> None:
    with pytest.raises(AlmPromptError, match=message) as caught:
        checked_neighbors(GOOD | change, ["dog", "rain"], **options)
    assert "\n" not in str(caught.value)


def test_missing_class_is_named() -> None:
    with pytest.raises(AlmPromptError, match="no neighbours for 'siren'"):
        checked_neighbors(GOOD, ["dog", "rain", "siren"])


def test_long_lists_of_classes_are_cut() -> None:
    with pytest.raises(AlmPromptError, match=r"'airplane', .*'car horn' and 45 more"):
        checked_neighbors({}, CLASSES["esc50"].split(", "))


def test_drop_overlaps_removes_held_out_names_only() -> None:
    mapping = {"dog": ["barking", "Cat"], "rain": ["drizzle"], "wind": ["city-center", "gust"]}
    kept, dropped = drop_overlaps(mapping, ["cat", "city_center", "barking dog"])
    assert kept == {"dog": ["barking"], "rain": ["drizzle"], "wind": ["gust"]}
    assert dropped == {"dog": ["Cat"], "wind": ["city-center"]}
    assert mapping["dog"] == ["barking", "Cat"]


@pytest.mark.parametrize("content", [GOOD, {"set": "mine", "written_by": "me", "classes": GOOD}])
def test_read_neighbors_with_and_without_header(tmp_path: Path, content: dict) -> None:
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    assert read_neighbors(path) == GOOD


def test_read_neighbors_takes_a_class_called_classes(tmp_path: Path) -> None:
    path = tmp_path / "school.json"
    path.write_text('{"classes": ["school bell"], "break": ["playground"]}', encoding="utf-8")
    assert read_neighbors(path) == {"classes": ["school bell"], "break": ["playground"]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("not json", "is not clean JSON"),
        ('{"dog": ["barking"], "dog": ["yapping"]}', "'dog' stands twice"),
        ('["barking"]', "does not hold neighbours"),
        ('{"dog": "barking"}', "does not hold neighbours"),
        ('{"dog": [1]}', "does not hold neighbours"),
    ],
)
def test_read_neighbors_refuses_other_files(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "mine.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(AlmPromptError, match=message) as caught:
        read_neighbors(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_read_neighbors_names_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(AlmPromptError, match=r"cannot read .*absent\.json: No such file"):
        read_neighbors(tmp_path / "absent.json")
