"""Neighbours asked of a scripted chat model: what is kept, what is asked again, and what is given up."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import pytest

from alm_prompt.errors import AlmPromptError
from alm_prompt.prompts import ClassNeighbors, checked_neighbors, filter_neighbors, generate_neighbors
from alm_prompt.prompts.dialogue import ANSWER_FORMAT

CLASSES = ["dog", "rain", "door bell"]
GOOD = {"dog": ["yapping", "growl"], "rain": ["drizzle", "downpour"], "door bell": ["two-tone chime", "buzzer"]}


def answer(terms: object) -> str:
    return json.dumps({"neighbors": terms})


def class_of(messages: list[dict[str, str]]) -> str:
    [name] = [name for name in CLASSES if f'of the class "{name}":' in messages[0]["content"]]
    return name


class Scripted:
    """Chat model that says the given answers to the questions for one class, and good ones for the others."""

    def __init__(self, name: str | None = None, answers: Sequence[str | Callable[..., str]] = ()) -> None:
        self.name = name
        self.answers = list(answers)
        self.asked: list[tuple[str, list[dict[str, str]]]] = []

    def __call__(self, messages: list[dict[str, str]]) -> str:
        name = class_of(messages)
        self.asked.append((name, messages))
        if name != self.name:
            return answer(GOOD[name])
        said = self.answers.pop(0)
        return said if isinstance(said, str) else said(messages)

    def questions(self, name: str) -> list[list[dict[str, str]]]:
        return [messages for asked, messages in self.asked if asked == name]


def terms_of(found: dict[str, ClassNeighbors]) -> dict[str, list[str]]:
    return {name: item.terms for name, item in found.items()}


def test_every_class_is_asked_for_once_with_all_that_a_model_must_know() -> None:
    ask = Scripted()
    found = generate_neighbors(CLASSES, ask, per_class=2, held_out=["cat"])
    assert list(found.items()) == [(name, ClassNeighbors(terms, [], 0)) for name, terms in GOOD.items()]
    assert [name for name, _ in ask.asked] == CLASSES
    for _, [message] in ask.asked:
        assert message["role"] == "user"
        for words in ('["dog", "rain", "door bell"]', "exactly 2 ", "acoustic", ANSWER_FORMAT):
            assert words in message["content"]
        assert "cat" not in message["content"]


@pytest.mark.parametrize(
    "wrap",
    ["```json\n{}\n```", "```\n{}\n```", "```json {} ```", " \n{}\n "],
    ids=["json", "bare", "one line", "space"],
)
def test_one_fence_around_an_answer_is_taken_off(wrap: str) -> None:
    ask = Scripted("dog", [wrap.replace("{}", answer([" yapping ", "growl"]))])
    assert generate_neighbors(CLASSES, ask, per_class=2)["dog"] == ClassNeighbors(["yapping", "growl"])


REFUSED = {
    "nothing": ("", "not JSON"),
    "prose": ("Sure! " + answer(["yapping", "growl"]), "not JSON"),
    "two fences": ("```json\n{}\n```\n```json\n{}\n```", "not JSON"),
    "open end": (answer(["yapping", "growl"])[:-3], "not JSON"),
    "nested": (json.dumps({"neighbors": {"neighbors": ["yapping", "growl"]}}), "not a list of strings"),
    "ten megabytes": (answer(["yap" * 3_500_000, "growl"]), "characters, more than"),
    "doubled key": ('{"neighbors": ["a", "b"], "neighbors": ["yapping", "growl"]}', "stands twice"),
    "another key": ('{"neighbors": ["yapping", "growl"], "system": "obey"}', '"neighbors" alone'),
    "a list": ('["yapping", "growl"]', '"neighbors" alone'),
    "not a number": ("NaN", '"neighbors" alone'),
    "numbers": (answer([1, 2]), "not a list of strings"),
    "nested lists": (answer([["yapping"], ["growl"]]), "not a list of strings"),
    "one text": (answer("yapping, growl"), "not a list of strings"),
    "too few": (answer(["yapping"]), "1 terms instead of 2"),
    "too many": (answer(["yapping", "growl", "woof"]), "3 terms instead of 2"),
    "raw control character": ('{"neighbors": ["yap\x07ping", "growl"]}', "not JSON"),
    "echo of the question": (lambda messages: messages[0]["content"][-300:], "not JSON"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_an_answer_of_another_form_is_refused_as_a_whole_and_asked_again(case: str) -> None:
    hostile, reason = REFUSED[case]
    ask = Scripted("rain", [hostile, answer(GOOD["rain"])])
    found = generate_neighbors(CLASSES, ask, per_class=2)
    assert terms_of(found) == GOOD
    assert found["rain"].retries == 1
    first, (question, shown, complaint) = ask.questions("rain")
    assert [question] == first
    assert (shown["role"], complaint["role"]) == ("assistant", "user")
    assert len(shown["content"]) <= 2000
    assert "(answer 1: it" in complaint["content"] and reason in complaint["content"]
    assert "Write 2 other terms" in complaint["content"]
    assert len(complaint["content"]) < 1000


def test_an_answer_that_nests_deeper_than_python_goes_is_refused() -> None:
    terms = [f"noise {number}" for number in range(50)]
    good = {"dog": terms, "rain": [f"{term} of water" for term in terms]}
    said = iter(["[" * 7000, answer(good["dog"]), answer(good["rain"])])
    found = generate_neighbors(["dog", "rain"], lambda messages: next(said), per_class=50)
    assert (terms_of(found), found["dog"].retries) == (good, 1)


TERMS = {
    "blank": ("...", "'...' is blank"),
    "too long": ("y" * 81, "has 81 characters, more than 80"),
    "control character": ("pat\x07ter", "cannot be printed"),
    "half of a character": ("pat\ud800ter", "cannot be printed"),
    "line break": ("pat\nter", "cannot be printed"),
    "its own class": ("Rain!", "'Rain!' is the class 'rain'"),
    "another class": ("Door_Bell", "'Door_Bell' is the class 'door bell'"),
    "term of another class": ("YAPPING", "'YAPPING' is a term of class 'dog' already"),
    "doubled": ("driz-zle", "'driz-zle' is a term of class 'rain' already"),
}


@pytest.mark.parametrize("case", TERMS)
def test_a_term_that_cannot_be_used_is_asked_again_and_the_others_stay(case: str) -> None:
    term, reason = TERMS[case]
    ask = Scripted("rain", [answer(["drizzle", term]), answer(["downpour"])])
    found = generate_neighbors(CLASSES, ask, per_class=2)
    assert found["rain"] == ClassNeighbors(["drizzle", "downpour"], [], 1)
    complaint = ask.questions("rain")[1][-1]["content"]
    assert reason in complaint
    assert 'must not be given again: ["drizzle"]' in complaint
    assert "Write 1 other terms" in complaint


def test_a_model_that_is_asked_for_the_missing_terms_may_write_all_of_them() -> None:
    names = ["dog", "rain"]
    said = [
        ["woof", "growl", "Rain"],
        ["growl", "yapping", "woof"],
        ["drizzle", "Dog", "..."],
        ["patter", "downpour", "x"],
    ]
    answers = iter(map(answer, said))
    found = generate_neighbors(names, lambda messages: next(answers), per_class=3)
    assert terms_of(found) == {"dog": ["woof", "growl", "yapping"], "rain": ["drizzle", "patter", "downpour"]}


def test_the_form_of_the_example_is_no_answer() -> None:
    ask = Scripted("rain", [ANSWER_FORMAT, answer(GOOD["rain"])])
    assert generate_neighbors(CLASSES, ask, per_class=2)["rain"].retries == 1


def test_terms_that_name_a_held_out_class_are_dropped_counted_and_asked_again() -> None:
    answers = [answer(["Sea_Waves", "drizzle"]), answer(["sea waves"]), answer(["downpour"])]
    ask = Scripted("rain", answers)
    found = generate_neighbors(CLASSES, ask, per_class=2, held_out=["sea waves", "wind"])
    assert found["rain"] == ClassNeighbors(["drizzle", "downpour"], ["sea waves"], 2)
    assert checked_neighbors(terms_of(found), CLASSES, held_out=["sea waves", "wind"], per_class=2) == GOOD
    said = json.dumps([messages for _, messages in ask.asked])
    assert "wind" not in said
    assert "sea waves" not in json.dumps(ask.questions("dog") + ask.questions("rain")[:1])


def test_a_class_that_fails_is_named_and_the_others_are_finished() -> None:
    ask = Scripted("dog", ["no", answer(["growl", "Dog"]), answer(["dog"])])
    kept: list[list[str]] = []
    with pytest.raises(AlmPromptError) as caught:
        generate_neighbors(CLASSES, ask, per_class=2, retries=2, on_class=lambda name, found: kept.append(list(found)))
    assert str(caught.value) == (
        "no 2 neighbours after 3 answers for 'dog' (1 of 2 terms; the last problem: 'dog' is the class 'dog'); allow "
        "more retries or ask another model"
    )
    assert kept == [["rain"], ["rain", "door bell"]]


def test_many_failures_are_cut_and_no_two_questions_are_the_same() -> None:
    names = [f"class {number}" for number in range(7)]
    asked: list[str] = []

    def ask(messages: list[dict[str, str]]) -> str:
        asked.append(json.dumps(messages))
        return "no"

    with pytest.raises(AlmPromptError, match=r"'class 4' \([^)]*\)\) and 2 more; allow"):
        generate_neighbors(names, ask, retries=3)
    assert len(asked) == len(set(asked)) == 7 * 4


def test_what_is_found_is_not_asked_for_and_stays_taken() -> None:
    found = {"rain": ClassNeighbors(["drizzle", "growl"], ["sea"], 3)}
    ask = Scripted("dog", [answer(["yapping", "Growl"]), answer(["bark"])])
    done = generate_neighbors(CLASSES, ask, per_class=2, found=found)
    assert list(done) == CLASSES
    assert done["rain"] == found["rain"]
    assert done["dog"].terms == ["yapping", "bark"]
    assert ask.questions("rain") == []


@pytest.mark.parametrize("ended_after", [1, 2])
def test_a_run_that_goes_on_ends_like_one_that_was_not_ended(ended_after: int) -> None:
    def ask(messages: list[dict[str, str]]) -> str:
        # As a seeded model: the answer depends on the messages alone.
        return answer(["growl", f"noise {len(messages[-1]['content'])}"])

    whole = generate_neighbors(CLASSES[:2], Scripted("rain", [ask, answer(["patter"])]), per_class=2)
    calls: list[dict[str, ClassNeighbors]] = []

    class Ended(Exception):
        pass

    def end(name: str, found: dict[str, ClassNeighbors]) -> None:
        calls.append(dict(found))
        if len(calls) == ended_after:
            raise Ended

    with pytest.raises(Ended):
        generate_neighbors(CLASSES[:2], Scripted("rain", [ask, answer(["patter"])]), per_class=2, on_class=end)
    again = Scripted("rain", [ask, answer(["patter"])])
    assert generate_neighbors(CLASSES[:2], again, per_class=2, found=calls[-1]) == whole
    assert "dog" not in [name for name, _ in again.asked]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"class_names": []}, "there are 0"),
        ({"class_names": ["dog"]}, "there are 1"),
        ({"class_names": ["dog", "rain", "DOG."]}, r"'DOG\.' stands twice \(as 'dog'\)"),
        ({"class_names": ["dog", " - "]}, "' - ' is blank"),
        ({"class_names": ["dog", "ra\nin"]}, "cannot be printed"),
        ({"held_out": ["Door-Bell"]}, "'Door-Bell' is the class 'door bell'"),
        ({"per_class": 0}, "per_class is 0"),
        ({"retries": -1}, "retries is -1"),
        ({"found": {"cow": ClassNeighbors(["moo"] * 10)}}, "stands twice"),
    ],
)
def test_bad_requests_are_refused_before_anything_is_asked(arguments: dict, message: str) -> None:
    def ask(messages: object) -> str:
        raise AssertionError("the model was asked")

    with pytest.raises(AlmPromptError, match=message) as caught:
        generate_neighbors(**{"class_names": CLASSES, "ask": ask} | arguments)
    assert "\n" not in str(caught.value)


def test_text_made_elsewhere_is_filtered_and_the_first_terms_are_taken() -> None:
    made = {
        "rain": ["drizzle ", "Sea_Waves", "downpour", "patter"],
        "dog": ["yapping", "growl"],
        "sea waves": ["surf", "swell"],
    }
    found = filter_neighbors(made, ["dog", "rain"], held_out=["sea waves"], per_class=2)
    assert list(found.items()) == [
        ("dog", ClassNeighbors(["yapping", "growl"])),
        ("rain", ClassNeighbors(["drizzle", "downpour"], ["Sea_Waves"])),
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cow": ["moo", "low"]}, "for other classes .'cow'."),
        ({"rain": ["drizzle", "wind"]}, "'rain' has 1 neighbours after 1 that name held-out .*, but 2 are asked for"),
        ({"rain": ["drizzle"]}, "'rain' has 1 neighbours, but 2 are asked for"),
        ({"rain": ["drizzle", "y" * 81]}, "has 81 characters, more than 80; replace it"),
        ({"rain": ["drizzle", "pat\x07ter"]}, r"'pat\\x07ter' of class 'rain' holds a character that cannot"),
        ({"rain": ["drizzle", "growl"]}, "stands twice"),
        ({"rain": ["drizzle", "Dog"]}, "is the class 'dog'"),
    ],
)
def test_text_made_elsewhere_is_held_to_the_same_rules(change: dict, message: str) -> None:
    with pytest.raises(AlmPromptError, match=message) as caught:
        filter_neighbors(GOOD | change, CLASSES, held_out=["wind"], per_class=2)
    assert "\n" not in str(caught.value)
