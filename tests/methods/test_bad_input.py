"""What cannot be trained or loaded: each is one clear line, before any work."""

from __future__ import annotations

import json
import math

import pytest
import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file

from alm_prompt import (
    AlmPromptError,
    CoOpPromptConfig,
    DePTPromptConfig,
    KgCoOpPromptConfig,
    LinearProbeConfig,
    PalmPromptConfig,
    SeptPromptConfig,
    ZebraPromptConfig,
)
from alm_prompt.cli.main import main
from alm_prompt.prompts import checked_neighbors, read_neighbors
from alm_prompt.registry import METHODS

NEIGHBORS = {"dog": ["cat"], "rain": ["the sound"], "siren": ["chain"], "door bell": ["the bell"]}
CLASSES = list(NEIGHBORS)


def coop(**options):
    return CoOpPromptConfig(n_ctx=4, **options)


def nested(depth, inner):
    for _ in range(depth):
        inner = {"peft_type": "ALM_ZEBRA", "prompt": inner}
    return inner


@pytest.fixture
def refused():
    """Does what must be refused, and returns the one line."""

    def run(function, *args, **options):
        with pytest.raises(AlmPromptError) as error:
            function(*args, **options)
        message = str(error.value)
        assert "\n" not in message
        assert len(message) < 400
        return message

    return run


WRAPPED = {
    "missing": (None, "wraps a prompt method, but prompt is None; give a config such as CoOpPromptConfig()"),
    "name": ("coop", "but prompt is of type str"),
    "list": ([{"peft_type": "ALM_COOP"}], "but prompt is of type list"),
    "empty": ({}, "but prompt is of type dict"),
    "other package": ({"peft_type": "LORA", "r": 8}, "'LORA' is no prompt method of alm_prompt; known types: ALM_"),
    "other package's config": (LoraConfig(target_modules=["q_proj"]), "but prompt is of type LoraConfig"),
    "unknown": ({"peft_type": "ALM_MAGIC"}, "'ALM_MAGIC' is no prompt method"),
    "path": ({"peft_type": "os.system"}, "'os.system' is no prompt method"),
    "number": ({"peft_type": 3}, "3 is no prompt method"),
    "option": ({"peft_type": "ALM_COOP", "r": 8}, "CoOpPromptConfig has no option 'r'; remove it"),
    "twice": (nested(1, {"peft_type": "ALM_COOP"}), "ZebraPromptConfig stands twice in one stack"),
    "deep": (nested(1000, {"peft_type": "ALM_COOP"}), "wraps 1001 methods in each other; a stack holds each of the"),
    "endless": (nested(100_000, {"peft_type": "ALM_COOP"}), "wraps 100001 methods"),
}


@pytest.mark.parametrize("prompt", WRAPPED)
def test_wrapped_config(refused, prompt):
    given, message = WRAPPED[prompt]
    assert message in refused(ZebraPromptConfig, prompt=given)


@pytest.fixture
def deep_adapter(make_tiny_alm, tmp_path):
    """Writes an adapter whose config nests as deep as it is told."""

    def write(depth):
        get_peft_model(make_tiny_alm(), ZebraPromptConfig(prompt=coop())).save_pretrained(tmp_path)
        path = tmp_path / "adapter_config.json"
        config = json.loads(path.read_text())
        inner = json.dumps(config["prompt"])
        opening = '{"peft_type": "ALM_ZEBRA", "prompt": '
        text = json.dumps(config | {"prompt": "INNER"}).replace('"INNER"', opening * depth + inner + "}" * depth)
        path.write_text(text)
        return tmp_path

    return write


@pytest.mark.parametrize("depth", [len(METHODS), 200])
def test_file_that_nests_too_deep(make_tiny_alm, refused, deep_adapter, depth):
    assert "methods in each other" in refused(PeftModel.from_pretrained, make_tiny_alm(), deep_adapter(depth))


@pytest.mark.parametrize("depth", [200, 1000, 100_000])
def test_file_that_nests_without_end_on_the_command_line(deep_adapter, capfd, depth):
    """From some depth on Python's reader of JSON gives up before any config is made."""
    assert main(["predict", "--adapter", str(deep_adapter(depth)), "some.wav"]) == 2
    [line] = capfd.readouterr().err.strip().splitlines()
    assert line.startswith("error: adapter ")


NUMBERS = {
    "entropy_weight": lambda **given: ZebraPromptConfig(prompt=coop(), **given),
    "alpha": lambda **given: ZebraPromptConfig(prompt=coop(), **given),
    "weight": KgCoOpPromptConfig,
    "head_learning_rate_factor": lambda **given: DePTPromptConfig(prompt=coop(), **given),
    "logit_scale": coop,
}


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("option", NUMBERS)
def test_numbers_that_are_not_finite(refused, option, value):
    assert refused(NUMBERS[option], **{option: value}) == f"{option} is {value}; give a finite number"


TEMPLATES = {
    "no place": ("This is a sound.", "template 'This is a sound.' must hold '{}' once"),
    "two places": ("{} or {}", "template '{} or {}' must hold '{}' once"),
    "too long": ("the " * 40 + "{}", "has 43 tokens, the text tower takes 32; shorten the name, template"),
}


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("method", [ZebraPromptConfig, SeptPromptConfig, KgCoOpPromptConfig, PalmPromptConfig])
def test_template_of_a_config(tiny_alm, refused, method, template):
    text, message = TEMPLATES[template]
    options = {"template": text}
    if method in (ZebraPromptConfig, SeptPromptConfig):
        options["prompt"] = coop()
    if method is SeptPromptConfig:
        options["neighbors"] = NEIGHBORS
    assert message in refused(get_peft_model, tiny_alm, method(**options))


@pytest.mark.parametrize("template", TEMPLATES)
def test_template_of_a_model(tiny_alm, refused, template):
    text, message = TEMPLATES[template]
    assert message in refused(tiny_alm.set_classes, CLASSES, template=text)
    assert tiny_alm.class_bank.template == "This is a sound of {}."


DESCRIPTIONS = {
    "too long": ({"dog": ["the " * 40]}, "has 42 tokens, the text tower takes 32; shorten"),
    "too long beside the context": ({"dog": ["the " * 26]}, "only 26 of the text tower's 32 are left beside 4"),
    "text": ({"dog": "a dog"}, "the descriptions of class 'dog' are one text; give a list of sentences"),
    "blank": ({"dog": [" "]}, "class 'dog' has the blank description ' '"),
    "none": ({"dog": []}, "class 'dog' has no descriptions"),
    "number": ({"dog": [3]}, "class 'dog' has the blank description 3"),
    "list": (["a dog"], "descriptions are of type list; give a mapping"),
}


@pytest.mark.parametrize("descriptions", DESCRIPTIONS)
def test_descriptions_of_a_config(tiny_alm, refused, descriptions):
    given, message = DESCRIPTIONS[descriptions]
    assert message in refused(lambda: get_peft_model(tiny_alm, coop(descriptions=given)))


TERMS = {
    "no class": ({}, "there are no neighbours for 'dog', 'rain', 'siren', 'door bell'"),
    "missing": ({name: NEIGHBORS[name] for name in CLASSES[:3]}, "there are no neighbours for 'door bell'"),
    "empty": ({**NEIGHBORS, "rain": []}, "class 'rain' has an empty list of neighbours"),
    "nothing": ({**NEIGHBORS, "rain": None}, "class 'rain' has an empty list of neighbours"),
    "text": ({**NEIGHBORS, "rain": "drizzle"}, "the neighbours of class 'rain' are the text 'drizzle'"),
    "number": ({**NEIGHBORS, "rain": 3}, "the neighbours of class 'rain' are of type int; give a list of terms"),
    "numbers": ({**NEIGHBORS, "rain": [3]}, "class 'rain' has the blank neighbour 3"),
    "blank": ({**NEIGHBORS, "rain": [" ."]}, "class 'rain' has the blank neighbour ' .'"),
    "twice in a class": ({**NEIGHBORS, "rain": ["saw", "Saw!"]}, "neighbour 'Saw!' of class 'rain' stands twice"),
    "twice": ({**NEIGHBORS, "rain": ["Cat"]}, "neighbour 'Cat' of class 'rain' stands twice (also in class 'dog')"),
    "own class": ({**NEIGHBORS, "rain": ["Rain"]}, "neighbour 'Rain' of class 'rain' is the class 'rain'"),
    "other class": ({**NEIGHBORS, "rain": ["DOOR-BELL"]}, "is the class 'door bell'; replace it"),
    "other classes": ({"frog": ["toad"]}, "neighbours are for other classes ('frog'); the classes are 'dog'"),
    "uneven": ({**NEIGHBORS, "rain": ["a saw", "saw"]}, "class 'rain' has 2 neighbours and 'dog' has 1"),
    "too long": ({**NEIGHBORS, "rain": ["saw " * 26]}, "has 34 tokens, the text tower takes 32; shorten the name"),
    "too long beside the context": ({**NEIGHBORS, "rain": ["saw " * 23]}, "only 22 of the text tower's 32 are left"),
    "list": (["cat"], "neighbours are of type list; give a mapping"),
}


@pytest.mark.parametrize("terms", TERMS)
def test_neighbours(tiny_alm, refused, terms):
    given, message = TERMS[terms]
    config = SeptPromptConfig(prompt=CoOpPromptConfig(n_ctx=8), neighbors=given)
    assert message in refused(get_peft_model, tiny_alm, config)


LONG = "cat " * 21 + "rain"
TOO_LONG = {
    "anchor": (lambda: KgCoOpPromptConfig(n_ctx=4, anchor="ensemble"), ["dog", LONG]),
    "margins": (lambda: SeptPromptConfig(prompt=coop(), neighbors={"dog": [LONG], "rain": ["saw"]}), ["dog", "rain"]),
}


@pytest.mark.parametrize("use", TOO_LONG)
def test_text_too_long_for_the_longest_of_the_templates(make_tiny_alm, refused, use):
    """Some of them take it: it would be met in the middle of the first step."""
    config, classes = TOO_LONG[use]
    message = refused(get_peft_model, make_tiny_alm(classes=classes), config())
    assert "tokens, the text tower takes 32; shorten the name, template or description" in message


def test_neighbour_that_names_a_held_out_class(refused):
    message = refused(checked_neighbors, NEIGHBORS, CLASSES, held_out=["CAT!", "frog"])
    assert "neighbour 'cat' of class 'dog' is the held-out class 'CAT!', which training must not know" in message


FILES = {
    "other classes": ('{"frog": ["toad"]}', "neighbours are for other classes ('frog')"),
    "a class twice": ('{"dog": ["cat"], "dog": ["saw"]}', "is not clean JSON ('dog' stands twice); correct the file"),
    "no JSON": ("dog: cat", "is not clean JSON"),
    "no terms": ('{"dog": 3}', "does not hold neighbours; expected JSON like"),
    "endless": ("[" * 100_000, "is not clean JSON"),
}


@pytest.mark.parametrize("content", FILES)
def test_file_of_neighbours(tiny_alm, refused, tmp_path, content):
    text, message = FILES[content]
    path = tmp_path / "neighbors.json"
    path.write_text(text)

    def train_with_file():
        get_peft_model(tiny_alm, SeptPromptConfig(prompt=coop(), neighbors=read_neighbors(path)))

    assert message in refused(train_with_file)


def test_one_class_has_nothing_to_be_told_from(make_tiny_alm, refused):
    config = SeptPromptConfig(prompt=coop(), neighbors={"dog": ["cat"]})
    message = refused(get_peft_model, make_tiny_alm(classes=["dog"]), config)
    assert message == "SEPT needs two classes or more, but there is only 'dog'"


def test_model_without_classes(tiny_alm, refused):
    tiny_alm.class_bank = None
    assert "call model.set_classes([...])" in refused(get_peft_model, tiny_alm, coop())


def test_classes_of_a_new_adapter_that_are_not_those_of_the_model(tiny_alm, refused):
    message = refused(get_peft_model, tiny_alm, coop(class_names=["cat", "chain saw"]))
    assert "class_names of this new CoOpPromptConfig are 'cat', 'chain saw', those of the model 'dog'" in message


def test_class_specific_context_on_other_classes(make_tiny_alm, refused, tmp_path):
    model = get_peft_model(make_tiny_alm(), coop(class_specific=True))
    model.save_pretrained(tmp_path)
    for classes in (["cat", "chain saw"], CLASSES[::-1]):
        assert "set those classes or train with class_specific=False" in refused(model.set_classes, classes)
        other = make_tiny_alm(classes=classes)
        assert "cannot classify" in refused(PeftModel.from_pretrained, other, tmp_path)
    assert model.class_names == CLASSES


PER_CLASS = {
    "dept": lambda: DePTPromptConfig(prompt=coop()),
    "linear-probe": LinearProbeConfig,
    "palm": PalmPromptConfig,
    "coop+palm": lambda: PalmPromptConfig(prompt=coop()),
}


@pytest.mark.parametrize("head", PER_CLASS)
def test_head_in_a_file_of_other_classes(make_tiny_alm, refused, tmp_path, head):
    get_peft_model(make_tiny_alm(), PER_CLASS[head]()).save_pretrained(tmp_path)
    path = tmp_path / "adapter_config.json"
    config = json.loads(path.read_text())
    path.write_text(json.dumps(config | {"class_names": ["cat", "frog"]}))
    assert "its config asks for [2" in refused(PeftModel.from_pretrained, make_tiny_alm(), tmp_path)


@pytest.mark.parametrize("head", PER_CLASS)
def test_head_says_which_classes_it_was_not_trained_on(tiny_alm, head):
    """Other classes are no error: they fall back on what was not learned per class."""
    model = get_peft_model(tiny_alm, PER_CLASS[head]())
    assert model.class_head.fallback_classes(tiny_alm.class_bank) == []
    model.set_classes(["cat", "dog"])
    assert model.class_head.fallback_classes(tiny_alm.class_bank) == ["cat"]


SPELLED = {
    **PER_CLASS,
    "described": lambda: PalmPromptConfig(prompt=coop(), descriptions={"door bell": ["the bell of a door"]}),
    "sept": lambda: SeptPromptConfig(prompt=coop(), neighbors=NEIGHBORS),
    "class-specific": lambda: coop(class_specific=True),
}


@pytest.mark.parametrize("method", SPELLED)
def test_another_spelling_of_a_class_is_the_same_class(tiny_alm, audio_batch, method):
    model = get_peft_model(tiny_alm, SPELLED[method]())
    expected = model(**audio_batch)
    model.set_classes(["Dog", "rain", "siren", "door_bell"])
    found = model(**audio_batch)
    assert model.fallback_classes == []
    assert found.losses.keys() == expected.losses.keys()
    torch.testing.assert_close(found.logits, expected.logits)


def test_pickled_weights_are_neither_written_nor_read(make_tiny_alm, refused, tmp_path):
    model = get_peft_model(make_tiny_alm(), coop())
    message = refused(model.save_pretrained, tmp_path / "new", safe_serialization=False)
    assert "save with safe_serialization=True" in message
    model.save_pretrained(tmp_path)
    path = tmp_path / "adapter_model.safetensors"
    torch.save(load_file(path), tmp_path / "adapter_model.bin")
    path.rename(tmp_path / "away")
    message = refused(PeftModel.from_pretrained, make_tiny_alm(), tmp_path)
    assert "holds adapter_model.bin and no adapter_model.safetensors; no other format is read" in message
    (tmp_path / "away").rename(path)
    PeftModel.from_pretrained(make_tiny_alm(), tmp_path)
