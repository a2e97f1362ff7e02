"""PALM, its variants and the linear probe against hand-written loops, and their rule for classes nobody trained on."""

from __future__ import annotations

import math

import pytest
import torch
from peft import get_peft_model

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
    parse_method,
)

WRAPPED = {
    "coop": lambda: CoOpPromptConfig(n_ctx=3),
    "cocoop": lambda: CoCoOpPromptConfig(n_ctx=3),
    "cocoop-feedback": lambda: CoCoOpPromptConfig(n_ctx=3, feedback="text_features"),
}
CLASS_LISTS = [None, ["rain", "cat", "dog"], ["cat", "chain saw"]]
classes_given = pytest.mark.parametrize("classes", CLASS_LISTS)


def unit(vector):
    return vector / vector.norm()


def far_from_start(alm, config):
    """An adapter in fp64 whose learned numbers all matter, and those numbers."""
    torch.manual_seed(0)
    model = get_peft_model(alm, config).double()
    tensors = model.base_model.model.class_head.tensors("default")
    for tensor in tensors.values():
        torch.nn.init.normal_(tensor, std=0.5)
    return model, tensors


def same_numbers(alm, config, tensors):
    """Another adapter in fp64 with the same numbers, as far as it has them."""
    model = get_peft_model(alm, config).double()
    for name, tensor in model.base_model.model.class_head.tensors("default").items():
        tensor.data.copy_(tensors[name])
    return model


def bare_feature(alm, name):
    ids = alm.tokenizer(name, return_tensors="pt")["input_ids"]
    return unit(alm.alm.get_text_features(ids)[0])


def hand_palm(tensors, row, feature):
    """Embedding of the trained class of a row, mixed into a unit feature one channel at a time."""
    share = 1 / (1 + math.exp(-tensors["mixing"][row].item()))
    pairs = zip(feature.tolist(), tensors["class_vectors"][row].tolist(), strict=True)
    return unit(torch.tensor([(1 - share) * old + share * new for old, new in pairs], dtype=torch.float64))


@torch.no_grad()
def assert_cosines(model, features, scale, expected):
    """Logits and text embeddings are those of `expected(clip, class name)`."""
    output = model(audio_features=features)
    embeds = output.text_embeds.expand(len(features), *output.text_embeds.shape[-2:])
    for clip, audio in enumerate(features):
        for column, name in enumerate(model.class_names):
            text = expected(clip, name)
            assert output.logits[clip, column].item() == pytest.approx((scale * unit(audio) @ text).item(), abs=1e-9)
            torch.testing.assert_close(embeds[clip, column], text, atol=1e-9, rtol=0)


@classes_given
def test_palm_equals_a_hand_written_loop(make_tiny_alm, audio_batch, classes):
    alm = make_tiny_alm()
    trained = alm.class_names
    model, tensors = far_from_start(alm, PalmPromptConfig())
    model.set_classes(classes or trained)

    def expected(clip, name):
        feature = bare_feature(alm, name)
        return hand_palm(tensors, trained.index(name), feature) if name in trained else feature

    assert_cosines(model, audio_batch["audio_features"].double(), alm.alm.logit_scale.exp(), expected)


@classes_given
@pytest.mark.parametrize("wrapped", WRAPPED)
def test_palm_mixes_into_the_text_features_of_what_it_wraps(make_tiny_alm, audio_batch, wrapped, classes):
    alm, features = make_tiny_alm(), audio_batch["audio_features"].double()
    trained = alm.class_names
    model, tensors = far_from_start(alm, PalmPromptConfig(prompt=WRAPPED[wrapped]()))
    alone = same_numbers(make_tiny_alm(), WRAPPED[wrapped](), tensors)
    for either in (model, alone):
        either.set_classes(classes or trained)
    before = alone(audio_features=features).text_embeds.detach()
    before = before.expand(len(features), *before.shape[-2:])

    def expected(clip, name):
        feature = before[clip, model.class_names.index(name)]
        return hand_palm(tensors, trained.index(name), feature) if name in trained else feature

    assert_cosines(model, features, alm.alm.logit_scale.exp(), expected)


@classes_given
def test_palm_without_text_features_is_its_vectors(make_tiny_alm, audio_batch, classes):
    alm = make_tiny_alm()
    trained = alm.class_names
    model, tensors = far_from_start(alm, PalmPromptConfig(text_features=False))
    model.set_classes(classes or trained)

    def expected(clip, name):
        return unit(tensors["class_vectors"][trained.index(name)]) if name in trained else bare_feature(alm, name)

    assert_cosines(model, audio_batch["audio_features"].double(), alm.alm.logit_scale.exp(), expected)


@pytest.mark.parametrize("text_features", [True, False])
def test_classes_that_fall_back_lose_no_precision_in_a_half_precision_model(tiny_alm, audio_batch, text_features):
    model = get_peft_model(tiny_alm, PalmPromptConfig(text_features=text_features)).half()
    model.set_classes(["cat", "dog"])
    text_embeds = model(audio_features=audio_batch["audio_features"].half()).text_embeds
    bare = tiny_alm.class_bank.with_template("{}").zero_shot_embeds(tiny_alm.alm)
    assert torch.equal(text_embeds[0], bare[0])
    assert not torch.equal(text_embeds[1], bare[1])


def test_palm_starts_as_published(tiny_alm):
    tensors = get_peft_model(tiny_alm, PalmPromptConfig()).base_model.model.class_head.tensors("default")
    assert tensors["class_vectors"].shape == (4, 32)
    assert 0.015 < tensors["class_vectors"].std().item() < 0.025
    assert ((tensors["mixing"] >= 0) & (tensors["mixing"] < 1)).all()


@pytest.mark.parametrize("text_features", [True, False])
def test_palm_leaves_the_text_tower_alone_after_the_first_step(tiny_alm, audio_batch, text_features):
    model = get_peft_model(tiny_alm, PalmPromptConfig(text_features=text_features))
    model(**audio_batch).loss.backward()
    calls = []
    tiny_alm.alm.text_tower.register_forward_hook(lambda *_: calls.append(1))
    model(**audio_batch).loss.backward()
    assert not calls


@pytest.mark.parametrize(
    ("wrapped", "parts"),
    [
        (lambda: KgCoOpPromptConfig(n_ctx=3), {"cross_entropy", "anchor"}),
        (
            lambda: SeptPromptConfig(prompt=CoOpPromptConfig(n_ctx=3), neighbors={"dog": ["cat"], "rain": ["saw"]}),
            {"cross_entropy", "intra", "inter"},
        ),
        (lambda: DePTPromptConfig(prompt=CoOpPromptConfig(n_ctx=3), fusion=False), {"cross_entropy", "transfer"}),
    ],
)
def test_palm_keeps_the_loss_of_what_it_wraps(make_tiny_alm, audio_batch, wrapped, parts):
    model = get_peft_model(make_tiny_alm(classes=["dog", "rain"]), PalmPromptConfig(prompt=wrapped()))
    output = model(audio_features=audio_batch["audio_features"], labels=audio_batch["labels"] % 2)
    assert set(output.losses) == parts


@classes_given
def test_linear_probe_equals_a_hand_written_loop(make_tiny_alm, audio_batch, classes):
    features = audio_batch["audio_features"].double()
    zero_shot = make_tiny_alm(classes=classes).double()(audio_features=features).logits
    alm = make_tiny_alm()
    model, tensors = far_from_start(alm, LinearProbeConfig())
    trained = alm.class_names
    model.set_classes(classes or trained)
    found = model(audio_features=features).logits
    scale = alm.alm.logit_scale.exp()
    for column, name in enumerate(classes or trained):
        for clip, audio in enumerate(features):
            expected = zero_shot[clip, column]
            if name in trained:
                row = trained.index(name)
                expected = scale * (tensors["probe_weight"][row] @ unit(audio) + tensors["probe_bias"][row])
            assert found[clip, column].item() == pytest.approx(expected.item(), abs=1e-9)


@classes_given
@pytest.mark.parametrize("wrapped", [lambda: PalmPromptConfig(prompt=CoOpPromptConfig(n_ctx=3)), LinearProbeConfig])
def test_zebra_blends_their_logits_with_zero_shot(make_tiny_alm, audio_batch, wrapped, classes):
    features = audio_batch["audio_features"].double()
    model, tensors = far_from_start(make_tiny_alm(), ZebraPromptConfig(prompt=wrapped(), alpha=0.3))
    alone = same_numbers(make_tiny_alm(), wrapped(), tensors)
    for either in (model, alone):
        either.set_classes(classes or either.class_names)
    found, prompted = model(audio_features=features).logits, alone(audio_features=features).logits
    zero_shot = make_tiny_alm(classes=classes).double()(audio_features=features).logits
    for clip in range(len(features)):
        for column in range(found.shape[1]):
            expected = 0.3 * prompted[clip, column].item() + 0.7 * zero_shot[clip, column].item()
            assert found[clip, column].item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(
    ("config", "fallback"),
    [
        (lambda: PalmPromptConfig(), ["cat"]),
        (lambda: PalmPromptConfig(prompt=CoOpPromptConfig(n_ctx=3)), ["cat"]),
        (lambda: LinearProbeConfig(), ["cat"]),
        (lambda: ZebraPromptConfig(prompt=PalmPromptConfig()), ["cat"]),
        (lambda: DePTPromptConfig(prompt=CoOpPromptConfig(n_ctx=3)), ["cat"]),
        (lambda: DePTPromptConfig(prompt=PalmPromptConfig(), fusion=False), ["cat"]),
        (lambda: DePTPromptConfig(prompt=CoOpPromptConfig(n_ctx=3), fusion=False), []),
        (lambda: CoOpPromptConfig(n_ctx=3), []),
    ],
)
def test_caller_sees_which_classes_fall_back(tiny_alm, config, fallback):
    model = get_peft_model(tiny_alm, config())
    assert model.fallback_classes == []
    model.set_classes(["rain", "cat", "dog"])
    assert model.fallback_classes == fallback
    with model.disable_adapter():
        assert model.fallback_classes == []


def test_palm_is_written_alone_or_around_another_method():
    assert parse_method("palm").prompt is None
    assert parse_method("palm", {"palm.text_features": False}).text_features is False
    stack = parse_method("coop+palm+zebra", {"coop.n_ctx": 4, "coop.logit_scale": 30.0})
    assert isinstance(stack.prompt, PalmPromptConfig)
    assert stack.prompt.prompt.n_ctx == 4
    assert stack.logit_scale == 30.0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: PalmPromptConfig(prompt=ZebraPromptConfig(prompt=CoOpPromptConfig())),
            "ZebraPromptConfig with these",
        ),
        (lambda: PalmPromptConfig(prompt=LinearProbeConfig()), "LinearProbeConfig with these"),
        (lambda: PalmPromptConfig(prompt=DePTPromptConfig(prompt=CoOpPromptConfig())), "DePTPromptConfig with these"),
        (lambda: PalmPromptConfig(prompt=CoOpPromptConfig(), text_features=False), "leaves nothing of CoOpPrompt"),
        (lambda: PalmPromptConfig(prompt=PalmPromptConfig()), "stands twice"),
        (lambda: PalmPromptConfig(prompt="coop"), "prompt is of type str"),
    ],
)
def test_bad_stacks_are_named(make, message):
    with pytest.raises(AlmPromptError, match=message) as error:
        make()
    assert "\n" not in str(error.value)
