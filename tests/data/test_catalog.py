"""The catalog and the class splits against the lists that the papers print."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from alm_prompt.data import CATALOG, CLASS_RULES, base_novel_classes, divide_classes
from alm_prompt.errors import AlmPromptError

# SEPT (arXiv 2601.20867), table 5. TUT2017 is printed there without underscores.
SEPT = {
    "Beijing-Opera": ("bangu, daluo", "naobo, xiaoluo"),
    "NS-Instruments": ("bass, brass, flute, guitar, keyboard", "mallet, organ, reed, string, vocal"),
    "ESC50-Actions": (
        "breathing, brushing teeth, clapping, coughing, crying baby",
        "drinking sipping, footsteps, laughing, sneezing, snoring",
    ),
    "ESC50": (
        "airplane, breathing, brushing teeth, can opening, car horn, cat, chainsaw, chirping birds, church bells, "
        "clapping, clock alarm, clock tick, coughing, cow, crackling fire, crickets, crow, crying baby, dog, "
        "door wood creaks, door wood knock, drinking sipping, engine, fireworks, footsteps",
        "frog, glass breaking, hand saw, helicopter, hen, insects, keyboard typing, laughing, mouse click, pig, "
        "pouring water, rain, rooster, sea waves, sheep, siren, sneezing, snoring, thunderstorm, toilet flush, train, "
        "vacuum cleaner, washing machine, water drops, wind",
    ),
    "UrbanSound8K": (
        "air conditioner, car horn, children playing, dog bark, drilling",
        "engine idling, gun shot, jackhammer, siren, street music",
    ),
    "CREMA-D": ("anger, disgust, fear", "happy, neutral, sad"),
    "RAVDESS": ("angry, calm, disgust, fearful", "happy, neutral, sad, surprised"),
    "VocalSound": ("Cough, Laughter, Sigh", "Sneeze, Sniff, Throat clearing"),
    "SESA": ("casual, explosion", "gunshot, siren"),
    "TUT2017": (
        "beach, bus, cafe/restaurant, car, city center, forest path, grocery store, home",
        "library, metro station, office, park, residential area, train, tram",
    ),
    "GT-Music-Genre": ("blues, classical, country, disco, hiphop", "jazz, metal, pop, reggae, rock"),
}

# ZEBRA (arXiv 2606.31587), the files that its code comes with.
ZEBRA = {
    "Beijing-Opera": ("bangu, xiaoluo", "daluo, naobo"),
    "CREMA-D": ("anger, disgust, sad", "fear, happy, neutral"),
    "ESC50-Actions": (
        "breathing, brushing teeth, footsteps, laughing, snoring",
        "clapping, coughing, crying baby, drinking sipping, sneezing",
    ),
    "ESC50": (
        "airplane, breathing, can opening, cat, chainsaw, clapping, clock alarm, cow, crackling fire, crow, "
        "crying baby, drinking sipping, engine, fireworks, footsteps, frog, hand saw, helicopter, mouse click, "
        "rooster, sneezing, snoring, vacuum cleaner, washing machine, wind",
        "brushing teeth, car horn, chirping birds, church bells, clock tick, coughing, crickets, dog, "
        "door wood creaks, door wood knock, glass breaking, hen, insects, keyboard typing, laughing, pig, "
        "pouring water, rain, sea waves, sheep, siren, thunderstorm, toilet flush, train, water drops",
    ),
    "GT-Music-Genre": ("classical, country, hiphop, jazz, rock", "blues, disco, metal, pop, reggae"),
    "NS-Instruments": ("bass, guitar, mallet, organ, string", "brass, flute, keyboard, reed, vocal"),
    "RAVDESS": ("calm, disgust, happy, surprised", "angry, fearful, neutral, sad"),
    "SESA": ("casual, siren", "explosion, gunshot"),
    "TUT2017": (
        "car, city_center, grocery_store, library, metro_station, park, residential_area",
        "beach, bus, cafe/restaurant, forest_path, home, office, train, tram",
    ),
    "UrbanSound8K": (
        "air conditioner, children playing, drilling, gun shot, street music",
        "car horn, dog bark, engine idling, jackhammer, siren",
    ),
    "VocalSound": ("Cough, Sniff, Throat clearing", "Laughter, Sigh, Sneeze"),
}


def names(text: str) -> tuple[str, ...]:
    return tuple(text.split(", "))


def refusal(call, *args, **kwargs) -> str:
    with pytest.raises(AlmPromptError) as caught:
        call(*args, **kwargs)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", SEPT)
def test_alphabetical_halves_are_those_of_sept(name: str) -> None:
    halves = divide_classes("alphabetical-halves", CATALOG[name].class_names, name)
    assert tuple(tuple(label.replace("_", " ") for label in half) for half in halves) == tuple(map(names, SEPT[name]))


@pytest.mark.parametrize("name", ZEBRA)
def test_seed_42_halves_are_those_of_zebra(name: str) -> None:
    shuffled = random.Random(0).sample(CATALOG[name].class_names, len(CATALOG[name].class_names))
    assert divide_classes("seed-42-halves", shuffled, name) == tuple(map(names, ZEBRA[name]))


def test_the_catalog_is_that_of_the_benchmarks() -> None:
    published = {name: known for name, known in CATALOG.items() if not known.exchanged_folds}
    assert set(published) == set(SEPT) == set(ZEBRA)
    assert sum(len(known.class_names) for known in published.values()) == 133
    assert {name: len(known.test_clips) for name, known in published.items() if len(known.test_clips) > 1} == {
        "Beijing-Opera": 5,
        "ESC50": 5,
        "ESC50-Actions": 5,
        "TUT2017": 4,
        "UrbanSound8K": 10,
    }
    assert sum(published["UrbanSound8K"].test_clips) == 8732
    for known in CATALOG.values():
        assert list(known.class_names) == sorted(set(known.class_names))
        assert known.hub_id == f"MahiA/{known.folder}"


def test_the_page_about_data_sets_says_what_the_catalog_says() -> None:
    page = (Path(__file__).parents[2] / "docs" / "how-to" / "datasets.md").read_text(encoding="utf-8")
    lines = [line for line in page.splitlines() if "`MahiA/" in line]
    for line, known in zip(lines, (known for known in CATALOG.values() if not known.exchanged_folds), strict=True):
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        assert cells[0] == known.name
        assert cells[1].startswith(f"{len(known.class_names)} ")
        assert cells[2].startswith(f"{len(known.test_clips)} folds" if len(known.test_clips) > 1 else "train, test")
        assert cells[3] == f"`{known.hub_id}`" + " (zip)" * known.zipped
        assert cells[4] == known.licence


def test_the_corrected_tut2017_differs_in_its_folds_alone() -> None:
    corrected = CATALOG["TUT2017-corrected"]
    assert (corrected.folder, corrected.class_names) == ("TUT2017", CATALOG["TUT2017"].class_names)
    assert corrected.fold_names == CATALOG["TUT2017"].fold_names == ("1", "2", "3", "4")
    assert divide_classes("seed-42-halves", corrected.class_names, corrected.name) == tuple(
        map(names, ZEBRA["TUT2017"])
    )


def test_halves_of_other_data_sets() -> None:
    labels = list("edcba")
    expected = random.Random(42).sample(sorted(labels), 5)
    assert divide_classes("seed-42-halves", labels, "mine") == (
        tuple(sorted(expected[:2])),
        tuple(sorted(expected[2:])),
    )
    assert divide_classes("alphabetical-halves", labels, "mine") == base_novel_classes(labels)
    assert divide_classes("all", labels, "mine") == (tuple("abcde"), ())


def test_class_rule_refusals() -> None:
    assert f"unknown class rule 'halves': use {', '.join(CLASS_RULES)}" in refusal(divide_classes, "halves", "ab", "x")
    for rule in CLASS_RULES[1:]:
        message = refusal(divide_classes, rule, ["a"], "x")
        assert message == "x: base and novel classes need at least 2 classes, not 1: add another class"
    assert "SESA has the classes casual, explosion, gunshot, siren, not a, b" in refusal(
        divide_classes, "seed-42-halves", ["a", "b"], "SESA"
    )
