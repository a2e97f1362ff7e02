"""Class banks of descriptions: every method can start from them, and adapters carry them."""

from __future__ import annotations

import pytest
import torch
from peft import PeftModel, get_peft_model
from torch.nn.functional import normalize

from alm_prompt import (
    AlmPromptError,
    CoCoOpPromptConfig,
    CoOpPromptConfig,
    DePTPromptConfig,
    KgCoOpPromptConfig,
    LinearProbeConfig,
    PalmPromptConfig,
    SeptPromptConfig,
    ZebraPromptConfig,
)

CLASSES = ["dog", "rain", "siren"]
DESCRIPTIONS = {"dog": ["the dog", "a cat is a dog."], "rain": ["this is the rain"], "siren": ["a siren", "the siren"]}
NEIGHBORS = {"dog": ["cat"], "rain": ["saw"], "siren": ["a bell"]}
METHODS = {
    "coop": lambda: CoOpPromptConfig(n_ctx=4),
    "coop-class-specific": lambda: CoOpPromptConfig(n_ctx=4, class_specific=True),
    "cocoop": lambda: CoCoOpPromptConfig(n_ctx=4),
    "kgcoop": lambda: KgCoOpPromptConfig(n_ctx=4),
    "palm": PalmPromptConfig,
    "linear-probe": LinearProbeConfig,
    "dept": lambda: DePTPromptConfig(prompt=CoOpPromptConfig(n_ctx=4)),
    "sept": lambda: SeptPromptConfig(prompt=CoOpPromptConfig(n_ctx=4), neighbors=NEIGHBORS),
    "zebra": lambda: ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4)),
}


def described(alm):
    alm.set_classes(CLASSES, descriptions=DESCRIPTIONS)
    return alm


def prompted(alm, method, seed=0):
    torch.manual_seed(seed)
    return get_peft_model(alm, METHODS[method]())


def logits(model, features):
    with torch.no_grad():
        return model(audio_features=features).logits


@pytest.fixture
def features():
    return torch.randn(5, 32, generator=torch.Generator().manual_seed(3))


def prompt_feature(alm, context, text):
    """Feature of `[SOS] context text . [EOS]`, one prompt at a time."""
    table = alm.alm.get_input_embeddings()
    inner = alm.tokenizer(f" {text.removesuffix('.')}.", add_special_tokens=False)["input_ids"]
    full = alm.tokenizer("dog")["input_ids"]
    start, end = full[:1], full[-1:]
    parts = [table(torch.tensor(start)), context, table(torch.tensor([*inner, *end]))]
    prompt = torch.cat(parts)[None]
    return alm.alm.encode_prompts(prompt, torch.ones(prompt.shape[:2], dtype=torch.long))[0]


def test_coop_averages_the_prompts_of_a_class_as_unit_vectors(tiny_alm, features):
    model = prompted(described(tiny_alm), "coop")
    context = model.base_model.model.class_head.tensors("default")["context"]
    rows = []
    for name in CLASSES:
        unit = [normalize(prompt_feature(tiny_alm, context, text), dim=0) for text in DESCRIPTIONS[name]]
        rows.append(normalize(sum(unit) / len(unit), dim=0))
    expected = normalize(features, dim=-1) @ torch.stack(rows).T
    found = logits(model, features) / tiny_alm.alm.logit_scale.exp()
    torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_starts_from_descriptions(method, make_tiny_alm, features):
    plain = make_tiny_alm()
    plain.set_classes(CLASSES)
    model = prompted(described(make_tiny_alm()), method)
    labels = torch.tensor([0, 1, 2, 0, 1])
    by_name = prompted(plain, method)(audio_features=features).text_embeds
    assert not torch.equal(model(audio_features=features).text_embeds, by_name)
    model.train()(audio_features=features, labels=labels).loss.backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters() if p.requires_grad)
    with model.disable_adapter():
        assert torch.equal(logits(model.eval(), features), logits(described(make_tiny_alm()), features))


@pytest.mark.parametrize("method", METHODS)
def test_an_adapter_carries_its_descriptions(method, make_tiny_alm, features, tmp_path):
    model = prompted(described(make_tiny_alm()), method)
    expected = logits(model.eval(), features)
    model.save_pretrained(tmp_path)
    fresh = make_tiny_alm()
    fresh.class_bank = None
    assert torch.equal(logits(PeftModel.from_pretrained(fresh, tmp_path), features), expected)
    # A model whose classes are set by name only: the adapter's own descriptions hold for them, zero-shot stays.
    named = make_tiny_alm()
    named.set_classes(CLASSES)
    zero_shot = logits(named, features)
    loaded = PeftModel.from_pretrained(named, tmp_path)
    assert torch.equal(logits(loaded, features), expected)
    with loaded.disable_adapter():
        assert torch.equal(logits(loaded, features), zero_shot)


def test_an_adapter_carries_descriptions_of_some_classes(make_tiny_alm, features, tmp_path):
    config = CoOpPromptConfig(n_ctx=4, descriptions={"dog": DESCRIPTIONS["dog"], "cat": ["a cat"]})
    model = get_peft_model(make_tiny_alm(classes=CLASSES), config)
    expected = logits(model.eval(), features)
    model.save_pretrained(tmp_path)
    fresh = make_tiny_alm()
    fresh.class_bank = None
    for alm in (fresh, make_tiny_alm(classes=CLASSES)):
        loaded = PeftModel.from_pretrained(alm, tmp_path)
        assert torch.equal(logits(loaded, features), expected)
        # Classes that come later are described, too.
        for each in (model, loaded):
            each.set_classes(["cat", "dog"])
        assert torch.equal(logits(loaded, features), logits(model, features))


def test_descriptions_beside_given_class_names_are_carried(make_tiny_alm, features, tmp_path):
    model = get_peft_model(described(make_tiny_alm()), CoOpPromptConfig(n_ctx=4, class_names=CLASSES))
    expected = logits(model.eval(), features)
    model.save_pretrained(tmp_path)
    named = make_tiny_alm(classes=CLASSES)
    assert torch.equal(logits(PeftModel.from_pretrained(named, tmp_path), features), expected)


def test_class_described_in_two_ways_is_refused(make_tiny_alm, tmp_path):
    other = {"dog": DESCRIPTIONS["dog"], "rain": ["the rain"]}
    with pytest.raises(
        AlmPromptError, match=r"class 'rain' is described by .*'the rain'.* in this CoOpPromptConfig and"
    ):
        get_peft_model(described(make_tiny_alm()), CoOpPromptConfig(n_ctx=4, descriptions=other))
    # A saved adapter goes onto a model that describes its classes otherwise: that is the user's choice.
    get_peft_model(described(make_tiny_alm()), CoOpPromptConfig(n_ctx=4)).save_pretrained(tmp_path)
    alm = make_tiny_alm()
    alm.set_classes(CLASSES, descriptions=DESCRIPTIONS | other)
    assert PeftModel.from_pretrained(alm, tmp_path).class_bank.descriptions["rain"] == ["the rain"]


def test_classes_nobody_described_are_read_by_name(tiny_alm, features):
    model = prompted(described(tiny_alm), "coop")
    model.set_classes(["dog", "chain saw"])
    assert logits(model, features).shape == (5, 2)
    assert model.base_model.model.class_bank.descriptions == {}


def test_description_too_long_beside_the_context_is_named(tiny_alm):
    descriptions = DESCRIPTIONS | {"rain": ["rain " * 14]}
    tiny_alm.set_classes(CLASSES, descriptions=descriptions)
    with pytest.raises(AlmPromptError, match=r"class 'rain': 'rain rain .* are left beside 16 context vectors"):
        get_peft_model(tiny_alm, CoOpPromptConfig(n_ctx=16))
