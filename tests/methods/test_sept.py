"""SEPT's margins and loss against hand-written loops, every row of its ablation, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from peft import get_peft_model

from alm_prompt import (
    AlmPromptError,
    CoCoOpPromptConfig,
    CoOpPromptConfig,
    LinearProbeConfig,
    PalmPromptConfig,
    SeptPromptConfig,
)
from alm_prompt.losses import SeptLoss, pairwise_distances, semantic_expansion
from alm_prompt.prompts import templates

NEIGHBORS = {
    "dog": ["cat", "a cat"],
    "rain": ["the sound", "saw"],
    "siren": ["chain", "a bell"],
    "door bell": ["the bell", "a door"],
}
ABLATION = {
    "intra, no margin": ({"inter": False, "intra_margin": False}, {"intra"}),
    "intra + margin": ({"inter": False}, {"intra"}),
    "inter, no margin": ({"intra": False, "inter_margin": False}, {"inter"}),
    "inter + margin": ({"intra": False}, {"inter"}),
    "both, no margins": ({"intra_margin": False, "inter_margin": False}, {"intra", "inter"}),
    "both + margins": ({}, {"intra", "inter"}),
}


def sentence_feature(alm, sentence, normalize):
    ids = alm.tokenizer(sentence, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        feature = alm.alm.get_text_features(ids)[0]
    return feature / feature.norm() if normalize else feature


def hand_terms(classes, neighbors, margins, options):
    """The loss of the paper, one class, neighbour and template at a time."""
    intra = inter = 0.0
    count, terms = len(classes), len(neighbors[0])
    for i in range(count):
        for n in range(terms):
            distance = (classes[i] - neighbors[i][n]).norm().item()
            pull = distance if options.get("intra_margin") is False else max(0.0, distance - margins[i][i][n])
            intra += pull / (count * terms)
        for j in range(count):
            for n in range(terms) if j != i else ():
                distance = (classes[i] - neighbors[j][n]).norm().item()
                push = -distance if options.get("inter_margin") is False else max(0.0, margins[i][j][n] - distance)
                inter += push / (count * (count - 1) * terms)
    return {"intra": intra, "inter": inter}


@pytest.mark.parametrize("row", ABLATION)
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("margin_templates", ["template", "ensemble"])
def test_terms_equal_a_hand_written_loop(make_tiny_alm, audio_batch, row, normalize, margin_templates):
    options, expected_terms = ABLATION[row]
    alm = make_tiny_alm()
    names = alm.class_names
    sentences = ["This is a sound of {}."] if margin_templates == "template" else templates()
    margins = [[[0.0, 0.0] for _ in names] for _ in names]
    for sentence in sentences:
        own = [sentence_feature(alm, sentence.replace("{}", name), normalize) for name in names]
        others = [
            [sentence_feature(alm, sentence.replace("{}", term), normalize) for term in NEIGHBORS[name]]
            for name in names
        ]
        for i in range(4):
            for j in range(4):
                for n in range(2):
                    margins[i][j][n] += (own[i] - others[j][n]).norm().item() / len(sentences)
    config = SeptPromptConfig(
        prompt=CoOpPromptConfig(n_ctx=4),
        neighbors=NEIGHBORS,
        normalize=normalize,
        margin_templates=margin_templates,
        weight=2.0,
        **options,
    )
    torch.manual_seed(0)
    losses = get_peft_model(alm, config)(**audio_batch).losses

    def embeds(class_names):
        torch.manual_seed(0)
        coop = get_peft_model(make_tiny_alm(), CoOpPromptConfig(n_ctx=4))
        coop.set_classes(class_names)
        method = coop.base_model.model.class_head.active_method
        tensors = coop.base_model.model.class_head.tensors("default")
        features = method.static_features(tensors, coop.base_model.model.class_bank, coop.base_model.model.alm)
        return features / features.norm(dim=-1, keepdim=True) if normalize else features

    classes, neighbors = embeds(names), [embeds(NEIGHBORS[name]) for name in names]
    expected = hand_terms(classes, neighbors, margins, options)
    assert set(losses) == {"cross_entropy"} | expected_terms
    for name in expected_terms:
        assert losses[name].item() == pytest.approx(2.0 * expected[name], abs=2e-5)


def test_gradients_equal_finite_differences():
    torch.manual_seed(0)
    classes = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)
    neighbors = torch.randn(3, 2, 5, dtype=torch.float64, requires_grad=True)
    margins = torch.rand(3, 3, 2, dtype=torch.float64) * 4

    def terms(classes, neighbors):
        return semantic_expansion(pairwise_distances(classes, neighbors), margins)

    assert torch.autograd.gradcheck(terms, (classes, neighbors))


def test_neighbours_pass_gradients_and_logits_are_those_of_the_wrapped_method(make_tiny_alm, audio_batch):
    def prompted(config):
        torch.manual_seed(0)
        model = get_peft_model(make_tiny_alm(), config)
        output = model(**audio_batch)
        output.loss.backward()
        return output, model.base_model.model.class_head.learned_context["default"].grad

    coop, coop_grad = prompted(CoOpPromptConfig(n_ctx=4))
    sept, sept_grad = prompted(SeptPromptConfig(prompt=CoOpPromptConfig(n_ctx=4), neighbors=NEIGHBORS))
    assert torch.equal(sept.logits, coop.logits)
    assert not torch.equal(sept_grad, coop_grad)


@pytest.mark.parametrize("prompt", [CoOpPromptConfig(n_ctx=4), CoCoOpPromptConfig(n_ctx=4)], ids=["coop", "cocoop"])
def test_margins_are_computed_once_and_nothing_is_paid_at_inference(make_tiny_alm, audio_batch, prompt):
    alm = make_tiny_alm()
    model = get_peft_model(alm, SeptPromptConfig(prompt=prompt, neighbors=NEIGHBORS))
    prompts_read = []
    alm.alm.text_tower.register_forward_hook(lambda module, inputs, output: prompts_read.append(len(output)))
    with torch.no_grad():
        model(audio_features=audio_batch["audio_features"])
    inference = sum(prompts_read)
    prompts_read.clear()
    model(**audio_batch)
    first = sum(prompts_read)
    prompts_read.clear()
    model(**audio_batch)
    assert first - sum(prompts_read) == 100 * 4 * 3
    assert sum(prompts_read) == inference + 4 * 3


def test_no_terms_on_other_classes(tiny_alm, audio_batch):
    model = get_peft_model(tiny_alm, SeptPromptConfig(prompt=CoOpPromptConfig(n_ctx=4), neighbors=NEIGHBORS))
    model.set_classes(["cat", "chain saw", "the bell", "rain"])
    assert set(model(**audio_batch).losses) == {"cross_entropy"}


def test_shipped_neighbours_are_found_by_the_class_names(make_tiny_alm):
    config = SeptPromptConfig(prompt=CoOpPromptConfig(n_ctx=4), margin_templates="template")
    get_peft_model(make_tiny_alm(classes=["dog", "rain", "sea_waves"]), config)
    assert list(config.neighbors) == ["dog", "rain", "sea_waves"]
    assert {len(terms) for terms in config.neighbors.values()} == {10}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no neighbors ship for the classes .dog., .rain., .siren., .door bell."),
        ({"neighbors": {"dog": ["cat"]}}, "rain"),
        ({"neighbors": {**NEIGHBORS, "rain": []}}, "rain"),
        ({"neighbors": {**NEIGHBORS, "rain": ["cat", "saw"]}}, "'cat' of class 'rain' stands twice"),
        ({"neighbors": {**NEIGHBORS, "rain": ["Siren!", "saw"]}}, "is the class 'siren'"),
        ({"neighbors": {**NEIGHBORS, "rain": ["saw"]}}, "class 'rain' has 1 neighbours and 'dog' has 2"),
        ({"neighbors": NEIGHBORS, "prompt": PalmPromptConfig()}, "PalmPromptConfig with these options does not learn"),
        ({"neighbors": NEIGHBORS, "prompt": LinearProbeConfig()}, "LinearProbeConfig with these options"),
        ({"neighbors": NEIGHBORS, "prompt": CoOpPromptConfig(n_ctx=4, class_specific=True)}, "shared context"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_training(tiny_alm, options, message):
    options = {"prompt": CoOpPromptConfig(n_ctx=4), **options}
    with pytest.raises(AlmPromptError, match=message) as error:
        get_peft_model(tiny_alm, SeptPromptConfig(**options))
    assert "\n" not in str(error.value)


def test_one_class_has_nothing_to_be_told_from(make_tiny_alm):
    config = SeptPromptConfig(prompt=CoOpPromptConfig(n_ctx=4), neighbors={"dog": ["cat"]})
    with pytest.raises(AlmPromptError, match="SEPT needs two classes or more"):
        get_peft_model(make_tiny_alm(classes=["dog"]), config)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SeptPromptConfig(prompt=CoOpPromptConfig(), weight=-1.0), r"weight is -1\.0"),
        (lambda: SeptPromptConfig(prompt=CoOpPromptConfig(), margin_templates="all"), "margin_templates is 'all'"),
        (lambda: SeptPromptConfig(), "wraps a prompt method"),
        (lambda: SeptLoss(-1.0), r"SEPT's weight is -1\.0"),
    ],
)
def test_bad_options_are_named(make, message):
    with pytest.raises(AlmPromptError, match=message):
        make()
