"""SEPT's margins and loss against hand-written loops, every row of its ablation, and what it refuses."""

from __future__ import annotations

from functools import lru_cache

import pytest
import torch
from peft import PeftModel, get_peft_model

from alm_prompt import (
    AlmPromptError,
    CoCoOpPromptConfig,
    CoOpPromptConfig,
    LinearProbeConfig,
    PalmPromptConfig,
    SeptPromptConfig,
    ZebraPromptConfig,
)
from alm_prompt.losses import AnchorLoss, SeptLoss, TransferLoss
from alm_prompt.prompts import drop_overlaps, templates

NEIGHBORS = {
    "dog": ["cat", "a cat"],
    "rain": ["the sound", "saw"],
    "siren": ["chain", "a bell"],
    "door bell": ["the bell", "a door"],
}
# Table 3 of the paper, from its second row on (the first is the wrapped method alone): options and terms.
ABLATION = {
    "intra, no margin": ({"inter": False, "intra_margin": False}, {"intra"}),
    "intra + margin": ({"inter": False}, {"intra"}),
    "inter, no margin": ({"intra": False, "inter_margin": False}, {"inter"}),
    "inter + margin": ({"intra": False}, {"inter"}),
    "both, no margins": ({"intra_margin": False, "inter_margin": False}, {"intra", "inter"}),
    "both + margins": ({}, {"intra", "inter"}),
}
# Tables 7 (all others here take one template: SEPT-) and 12 (neighbours that name a class of the other half left out),
# and the sweeps of N and of the weight.
VARIANTS = {
    "100 templates": {"margin_templates": "ensemble"},
    "overlaps dropped": {"neighbors": drop_overlaps(NEIGHBORS, ["Saw", "a_bell", "A CAT", "the bell"])[0]},
    "one neighbour": {"neighbors": {name: terms[:1] for name, terms in NEIGHBORS.items()}},
    "raw features": {"normalize": False},
    "weight 1": {"weight": 1.0},
}


@pytest.fixture
def precise_batch(audio_batch):
    """The batch in fp64, where a formula that is off by little is off."""
    return audio_batch | {"audio_features": audio_batch["audio_features"].double()}


def sept(prompt=None, **options):
    prompt = CoOpPromptConfig(n_ctx=4) if prompt is None else prompt
    return SeptPromptConfig(prompt=prompt, **{"neighbors": NEIGHBORS, **options})


def sentence_feature(alm, sentence, normalize):
    ids = alm.tokenizer(sentence, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        feature = alm.alm.get_text_features(ids)[0]
    return feature / feature.norm() if normalize else feature


@pytest.fixture(scope="module")
def hand_margins(make_tiny_alm):
    """The margins of the paper, one sentence at a time."""

    @lru_cache
    def margins(margin_templates, normalize):
        alm = make_tiny_alm().double()
        names = alm.class_names
        sentences = ["This is a sound of {}."] if margin_templates == "template" else templates()
        total = [[[0.0, 0.0] for _ in names] for _ in names]
        for sentence in sentences:
            own = [sentence_feature(alm, sentence.replace("{}", name), normalize) for name in names]
            others = [
                [sentence_feature(alm, sentence.replace("{}", term), normalize) for term in NEIGHBORS[name]]
                for name in names
            ]
            for i in range(4):
                for j in range(4):
                    for n in range(2):
                        total[i][j][n] += (own[i] - others[j][n]).norm().item() / len(sentences)
        return total

    return margins


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


def prompted_features(model, names, normalize, context=None):
    """Features of names around the learned context of a model, each prompt alone."""
    head, alm = model.base_model.model.class_head, model.base_model.model
    context = head.tensors("default")["context"] if context is None else context
    table, features = alm.get_input_embeddings(), []
    for name in names:
        words = table(torch.tensor(alm.tokenizer(f"{name}.", add_special_tokens=False)["input_ids"]))
        start, end = table(torch.tensor([2])), table(torch.tensor([3]))
        prompt = torch.cat([start, context, words, end])[None]
        with torch.no_grad():
            feature = alm.alm.encode_prompts(prompt, torch.ones(1, prompt.shape[1], dtype=torch.long))[0]
        features.append(feature / feature.norm() if normalize else feature)
    return features


@pytest.mark.parametrize("row", ABLATION)
@pytest.mark.parametrize("normalize", [True, False])
@pytest.mark.parametrize("margin_templates", ["template", "ensemble"])
def test_terms_equal_a_hand_written_loop(tiny_alm, precise_batch, hand_margins, row, normalize, margin_templates):
    options, expected_terms = ABLATION[row]
    config = sept(normalize=normalize, margin_templates=margin_templates, weight=2.0, **options)
    model = get_peft_model(tiny_alm, config).double()
    losses = model(**precise_batch).losses
    classes = prompted_features(model, tiny_alm.class_names, normalize)
    neighbors = [prompted_features(model, NEIGHBORS[name], normalize) for name in tiny_alm.class_names]
    expected = hand_terms(classes, neighbors, hand_margins(margin_templates, normalize), options)
    assert set(losses) == {"cross_entropy"} | expected_terms
    for name in expected_terms:
        assert losses[name].item() == pytest.approx(2.0 * expected[name], abs=1e-9)


@pytest.mark.parametrize("row", ABLATION | VARIANTS)
def test_every_row_of_the_ablations_trains_and_is_saved(make_tiny_alm, audio_batch, tmp_path, row):
    options = {"margin_templates": "template"} | (ABLATION[row][0] if row in ABLATION else VARIANTS[row])
    model = get_peft_model(make_tiny_alm(), sept(**options))
    context = model.base_model.model.class_head.tensors("default")["context"]
    before = context.clone()
    optimizer = torch.optim.SGD([context], lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        model(**audio_batch).loss.backward()
        optimizer.step()
    assert not torch.equal(context, before)
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(make_tiny_alm(), tmp_path)
    saved, found = model.peft_config["default"], loaded.peft_config["default"]
    assert {name: getattr(found, name) for name in options} == {name: getattr(saved, name) for name in options}
    assert torch.equal(loaded(**audio_batch).loss, model(**audio_batch).loss)


def test_without_terms_the_wrapped_method_trains_alone(make_tiny_alm, audio_batch):
    """The first row of the paper's ablation."""
    losses = {}
    for name, config in {"coop": CoOpPromptConfig(n_ctx=4), "sept": sept(intra=False, inter=False)}.items():
        torch.manual_seed(0)
        losses[name] = get_peft_model(make_tiny_alm(), config)(**audio_batch).losses
    assert losses["sept"] == losses["coop"]


@pytest.mark.parametrize("feedback", ["context", "text_features"])
def test_batch_mean_puts_neighbours_where_the_clips_are(tiny_alm, precise_batch, hand_margins, feedback):
    """Terms with the mean of what the network makes of the clips, one clip at a time."""
    prompt = CoCoOpPromptConfig(n_ctx=4, feedback=feedback)
    config = sept(prompt, neighbor_context="batch_mean", margin_templates="template", weight=1.0)
    model = get_peft_model(tiny_alm, config).double()
    tensors = model.base_model.model.class_head.tensors("default")
    for tensor in tensors.values():
        torch.nn.init.normal_(tensor, std=0.5)
    shifts = []
    for audio in precise_batch["audio_features"]:
        hidden = torch.clamp(tensors["meta1_weight"] @ (audio / audio.norm()) + tensors["meta1_bias"], min=0)
        shifts.append(tensors["meta2_weight"] @ hidden + tensors["meta2_bias"])
    shift = (sum(shifts) / len(shifts)).detach()

    def features(names):
        if feedback == "context":
            return prompted_features(model, names, True, tensors["context"] + shift)
        shifted = [feature + shift for feature in prompted_features(model, names, True)]
        return [feature / feature.norm() for feature in shifted]

    classes = features(tiny_alm.class_names)
    neighbors = [features(NEIGHBORS[name]) for name in tiny_alm.class_names]
    expected = hand_terms(classes, neighbors, hand_margins("template", True), {})
    losses = model(**precise_batch).losses
    for name, value in expected.items():
        assert losses[name].item() == pytest.approx(value, abs=1e-9)


def test_batch_mean_is_static_where_no_clip_shifts_anything(make_tiny_alm, audio_batch):
    losses = []
    for neighbor_context in ("static", "batch_mean"):
        torch.manual_seed(0)
        config = ZebraPromptConfig(prompt=sept(neighbor_context=neighbor_context, margin_templates="template"))
        losses.append(get_peft_model(make_tiny_alm(), config)(**audio_batch).loss)
    assert torch.equal(*losses)


def test_neighbours_pass_gradients_and_logits_are_those_of_the_wrapped_method(make_tiny_alm, audio_batch):
    def prompted(config):
        torch.manual_seed(0)
        model = get_peft_model(make_tiny_alm(), config)
        output = model(**audio_batch)
        output.loss.backward()
        return output, model.base_model.model.class_head.learned_context["default"].grad

    plain, plain_grad = prompted(CoOpPromptConfig(n_ctx=4))
    wrapped, wrapped_grad = prompted(sept())
    assert torch.equal(wrapped.logits, plain.logits)
    assert not torch.equal(wrapped_grad, plain_grad)


@pytest.mark.parametrize("prompt", [CoOpPromptConfig(n_ctx=4), CoCoOpPromptConfig(n_ctx=4)], ids=["coop", "cocoop"])
def test_nothing_is_paid_at_inference(tiny_alm, audio_batch, prompt):
    model = get_peft_model(tiny_alm, sept(prompt))
    prompts_read = []
    tiny_alm.alm.text_tower.register_forward_hook(lambda module, inputs, output: prompts_read.append(len(output)))
    with torch.no_grad():
        model(audio_features=audio_batch["audio_features"])
    inference = sum(prompts_read)
    model(**audio_batch)
    prompts_read.clear()
    model(**audio_batch)
    assert sum(prompts_read) == inference + 4 * 3


def test_no_terms_on_other_classes(tiny_alm, audio_batch):
    model = get_peft_model(tiny_alm, sept())
    model.set_classes(["cat", "chain saw", "the bell", "rain"])
    assert set(model.eval()(**audio_batch).losses) == {"cross_entropy"}
    with pytest.raises(AlmPromptError, match="SeptLoss needs 'neighbor_embeds', which the model gives only with"):
        model.train()(**audio_batch)


def test_the_same_classes_in_another_order_have_the_same_terms(tiny_alm, audio_batch):
    model = get_peft_model(tiny_alm, sept())
    losses = model(**audio_batch).losses
    names = model.class_names
    model.set_classes(names[::-1])
    turned = model(**audio_batch | {"labels": len(names) - 1 - audio_batch["labels"]}).losses
    torch.testing.assert_close(turned, losses)
    # Some of them are another list.
    model.set_classes(names[:2])
    assert set(model.eval()(**audio_batch | {"labels": audio_batch["labels"] % 2}).losses) == {"cross_entropy"}


def test_hook_without_its_method_is_refused_in_training(tiny_alm, audio_batch):
    model = get_peft_model(tiny_alm, CoOpPromptConfig(n_ctx=4))
    for hook in (SeptLoss(), AnchorLoss(), TransferLoss()):
        model.get_base_model().loss_hooks = [hook]
        with pytest.raises(AlmPromptError, match=f"{type(hook).__name__} needs"):
            model.train()(**audio_batch)
        assert set(model.eval()(**audio_batch).losses) == {"cross_entropy"}


def test_shipped_neighbours_are_found_by_the_class_names(make_tiny_alm):
    config = SeptPromptConfig(prompt=CoOpPromptConfig(n_ctx=4), margin_templates="template")
    model = get_peft_model(make_tiny_alm(classes=["dog", "rain", "sea_waves"]), config)
    neighbors = model.peft_config["default"].neighbors
    assert list(neighbors) == ["dog", "rain", "sea_waves"]
    assert {len(terms) for terms in neighbors.values()} == {10}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "no neighbors ship for the classes .dog., .rain., .siren., .door bell."),
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


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: SeptPromptConfig(prompt=CoOpPromptConfig(), weight=-1.0), r"weight is -1\.0"),
        (lambda: SeptPromptConfig(prompt=CoOpPromptConfig(), margin_templates="all"), "margin_templates is 'all'"),
        (lambda: SeptPromptConfig(prompt=CoOpPromptConfig(), neighbor_context="V"), "neighbor_context is 'V'; choose"),
        (lambda: SeptPromptConfig(), "wraps a prompt method"),
        (lambda: SeptLoss(-1.0), r"SEPT's weight is -1\.0"),
    ],
)
def test_bad_options_are_named(make, message):
    with pytest.raises(AlmPromptError, match=message):
        make()
