"""Test-time adaptation against hand-written losses and steps, and what it leaves as it was."""

from __future__ import annotations

import math
from importlib.resources import files

import pytest
import torch
from peft import PeftModel, get_peft_model

from alm_prompt import (
    AlmForAudioClassification,
    AlmProcessor,
    AlmPromptError,
    CoCoOpPromptConfig,
    CoOpPromptConfig,
    DePTPromptConfig,
    TtaPromptConfig,
    ZebraPromptConfig,
    adapt,
    predict_adapted,
    view_features,
)
from alm_prompt.hub import AdapterResults
from alm_prompt.losses import confident_views, view_entropy

WORDS = "this is a sound of"


def randn(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def adaptable(alm, prompt=None, **options):
    torch.manual_seed(0)
    return get_peft_model(alm, TtaPromptConfig(prompt=prompt or CoOpPromptConfig(ctx_init=WORDS), **options))


def learned(model):
    return {name: value.clone() for name, value in model.state_dict().items() if "learned_" in name}


def hand_probabilities(row):
    weights = [math.exp(value - max(row)) for value in row]
    return [weight / sum(weights) for weight in weights]


def hand_entropy(probabilities):
    return -sum(p * math.log(p) for p in probabilities)


# ---- The formulas ----


@pytest.mark.parametrize(("views", "share", "kept"), [(64, 0.1, 6), (20, 0.5, 10), (7, 0.01, 1), (4, 1.0, 4)])
def test_confident_views_are_those_of_lowest_entropy(views, share, kept):
    logits = randn(3, views, 5) * 3
    index = confident_views(logits, share)
    assert index.shape == (3, kept)
    for clip, found in zip(logits.tolist(), index.tolist(), strict=True):
        entropies = [hand_entropy(hand_probabilities(row)) for row in clip]
        assert found == sorted(range(views), key=entropies.__getitem__)[:kept]


@pytest.mark.parametrize(("clips", "views", "classes"), [(1, 6, 4), (5, 6, 10), (2, 1, 3)])
def test_view_entropy_equals_a_hand_written_loop(clips, views, classes):
    logits = randn(clips, views, classes) * 4
    total = 0.0
    for clip in logits.tolist():
        rows = [hand_probabilities(row) for row in clip]
        total += hand_entropy([sum(row[c] for row in rows) / views for c in range(classes)])
    assert view_entropy(logits).item() == pytest.approx(total / clips, abs=1e-12)


def test_view_entropy_is_finite_where_a_prediction_is_certain():
    logits = torch.tensor([[[1e4, 0.0, -1e4]]], requires_grad=True)
    entropy = view_entropy(logits)
    entropy.backward()
    assert entropy.item() == 0
    assert torch.isfinite(logits.grad).all()


# ---- Adaptation ----


def hand_adapted(model, features, clips, share=0.5, learning_rate=0.01, steps=1):
    """The context after AdamW with decay 0.01, written out, on the mean of the clips' entropies."""
    [parameter] = [p for p in model.parameters() if p.requires_grad]
    first, second = torch.zeros_like(parameter), torch.zeros_like(parameter)
    before = parameter.detach().clone()
    chosen = []
    for clip in range(clips):
        logits = model(audio_features=features[clip]).logits.detach().tolist()
        entropies = [hand_entropy(hand_probabilities(row)) for row in logits]
        order = sorted(range(len(logits)), key=entropies.__getitem__)
        chosen.append(features[clip][order[: int(share * len(order))]])
    for step in range(1, steps + 1):
        means = [model(audio_features=views).logits.softmax(dim=-1).mean(dim=0) for views in chosen]
        loss = sum(-(mean * mean.log()).sum() for mean in means) / clips
        [gradient] = torch.autograd.grad(loss, [parameter])
        first = 0.9 * first + 0.1 * gradient
        second = 0.999 * second + 0.001 * gradient**2
        update = (first / (1 - 0.9**step)) / ((second / (1 - 0.999**step)).sqrt() + 1e-8)
        with torch.no_grad():
            parameter.copy_(parameter * (1 - learning_rate * 0.01) - learning_rate * update)
    after = parameter.detach().clone()
    with torch.no_grad():
        parameter.copy_(before)
    return after


@pytest.mark.parametrize(("clips", "steps"), [(1, 1), (5, 1), (2, 3)])
def test_adaptation_equals_hand_written_steps(make_tiny_alm, clips, steps):
    model = adaptable(make_tiny_alm(), clips=clips, steps=steps, confident_share=0.5, learning_rate=0.01).double()
    features = randn(clips, 8, 32)
    expected = hand_adapted(model, features, clips, steps=steps)
    before = learned(model)
    adapt(model, features)
    [found] = learned(model).values()
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    assert not torch.equal(found, *before.values())


def test_a_float16_model_is_adapted_as_in_float32(make_tiny_alm):
    options = {"clips": 2, "views": 8, "steps": 3, "confident_share": 0.5}
    features, moved = randn(2, 8, 32), []
    for precision in (torch.float32, torch.float16):
        model = adaptable(make_tiny_alm(), **options).to(precision)
        [before] = learned(model).values()
        adapt(model, features.to(precision))
        [after] = learned(model).values()
        moved.append((after - before).float().flatten())
    assert torch.cosine_similarity(*moved, dim=0) > 0.99


def test_a_head_without_a_vote_stays_as_it_is(tiny_alm):
    model = adaptable(tiny_alm, DePTPromptConfig(prompt=CoOpPromptConfig(n_ctx=4), fusion=False))
    before = learned(model)
    adapt(model, randn(1, 8, 32).float())
    changed = {name for name, value in learned(model).items() if not torch.equal(value, before[name])}
    assert {name.split("learned_")[1] for name in changed} == {"context.default"}


@pytest.mark.parametrize(
    "prompt",
    [
        CoOpPromptConfig(n_ctx=4),
        CoCoOpPromptConfig(n_ctx=4),
        ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4)),
        DePTPromptConfig(prompt=CoOpPromptConfig(n_ctx=4)),
    ],
    ids=lambda prompt: type(prompt).__name__,
)
def test_what_is_lowered_is_the_entropy_of_the_predictions(make_tiny_alm, prompt):
    """Of the fused ones, where the wrapped method fuses."""
    model = adaptable(make_tiny_alm(), prompt, confident_share=1.0, steps=5, learning_rate=1e-3)
    features = randn(1, 8, 32).float()

    def entropy():
        with torch.no_grad():
            return view_entropy(model(audio_features=features[0]).logits[None]).item()

    before = entropy()
    adapt(model, features)
    assert entropy() < before


def test_only_learned_tensors_move_and_no_gradient_is_left(tiny_alm):
    model = adaptable(tiny_alm)
    # Even where the caller trains the backbone.
    tiny_alm.alm.requires_grad_(True)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    adapt(model, randn(1, 8, 32).float())
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == set(learned(model))
    assert [name for name, parameter in model.named_parameters() if parameter.grad is not None] == []


def test_disabled_adapter_is_zero_shot_bitwise(tiny_alm, audio_batch):
    features = audio_batch["audio_features"]
    zero_shot = tiny_alm(audio_features=features).logits
    model = adaptable(tiny_alm)
    adapt(model, features[None])
    with model.disable_adapter():
        assert torch.equal(model(audio_features=features).logits, zero_shot)
        with pytest.raises(AlmPromptError, match="config is none"):
            adapt(model, features[None])
    assert not torch.equal(model(audio_features=features).logits, zero_shot)


def test_an_adapted_adapter_is_saved_loaded_and_adapted_again(make_tiny_alm, audio_batch, tmp_path):
    """PEFT loads an adapter frozen; it can be adapted all the same, and stays frozen."""
    features = audio_batch["audio_features"]
    model = adaptable(make_tiny_alm(), views=8, clips=1)
    adapt(model, features[None])
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(make_tiny_alm(), tmp_path)
    assert torch.equal(loaded(audio_features=features).logits, model(audio_features=features).logits)
    assert loaded.peft_config["default"].views == 8
    adapt(loaded, features[None])
    adapt(model, features[None])
    assert torch.equal(loaded(audio_features=features).logits, model(audio_features=features).logits)
    assert [name for name, parameter in loaded.named_parameters() if parameter.requires_grad] == []


# ---- Adapt and predict ----


@pytest.mark.parametrize("keep", [False, True])
def test_groups_are_drawn_where_a_seed_is_given(make_tiny_alm, keep):
    features = randn(12, 6, 32).float()
    order = torch.randperm(12, generator=torch.Generator().manual_seed(3))
    assert order.tolist() != list(range(12))
    drawn = predict_adapted(adaptable(make_tiny_alm(), clips=5), features[order], keep)
    expected = torch.empty_like(drawn)
    expected[order] = drawn
    found = predict_adapted(adaptable(make_tiny_alm(), clips=5), features, keep, seed=3)
    assert torch.equal(found, expected)
    assert not torch.equal(found, predict_adapted(adaptable(make_tiny_alm(), clips=5), features, keep))


@pytest.mark.parametrize("keep", [False, True])
@pytest.mark.parametrize("clips", [1, 5])
def test_predictions_are_those_of_adapting_by_hand(make_tiny_alm, clips, keep):
    """Twelve clips by five: the last group is clips 8 to 12, of which 11 and 12 are new."""
    features = randn(12, 6, 32).float()
    model = adaptable(make_tiny_alm(), clips=clips)
    before = learned(model)
    found = predict_adapted(model, features, keep=keep)
    groups = [(first, first, first + 1) for first in range(12)] if clips == 1 else [(0, 0, 5), (5, 5, 10), (7, 10, 12)]
    other = adaptable(make_tiny_alm(), clips=clips)
    for first, start, stop in groups:
        other = other if keep else adaptable(make_tiny_alm(), clips=clips)
        adapt(other, features[first : first + clips])
        expected = other(audio_features=features[start:stop, 0]).logits
        torch.testing.assert_close(found[start:stop], expected, atol=1e-5, rtol=0)
    after = learned(other) if keep else before
    assert all(torch.equal(value, after[name]) for name, value in learned(model).items())


def test_figures_are_of_the_numbers_that_they_were_measured_with(tiny_alm):
    model = adaptable(tiny_alm, views=4)
    config, features = model.peft_config["default"], randn(2, 4, 32).float()
    config.results = results = AdapterResults()
    predict_adapted(model, features)
    assert config.results is results
    adapt(model, features[:1])
    assert config.results is None


def test_the_adapter_is_as_it_was_after_a_failure(tiny_alm, monkeypatch):
    model = adaptable(tiny_alm)
    before = learned(model)
    calls = iter(range(2))
    adamw = torch.optim.AdamW

    def failing(*args, **kwargs):
        if next(calls):
            raise KeyboardInterrupt
        return adamw(*args, **kwargs)

    monkeypatch.setattr(torch.optim, "AdamW", failing)
    with pytest.raises(KeyboardInterrupt):
        predict_adapted(model, randn(3, 4, 32).float())
    assert all(torch.equal(value, before[name]) for name, value in learned(model).items())
    assert all(parameter.requires_grad for name, parameter in model.named_parameters() if "learned_" in name)


# ---- Views ----


def clip(seed):
    return {"array": randn(16_000, seed=seed).numpy(), "sampling_rate": 16_000}


@pytest.fixture(scope="module")
def bundled():
    folder = files("alm_prompt") / "assets" / "tiny_alm"
    alm = AlmForAudioClassification.from_pretrained(folder, class_names=["dog", "rain"])
    return adaptable(alm, views=6), AlmProcessor.from_pretrained(folder)


@pytest.mark.parametrize("guard", [torch.no_grad, torch.inference_mode])
def test_a_caller_without_gradients_gets_the_same(bundled, guard):
    model, processor = bundled

    def predicted():
        return predict_adapted(model, view_features(model, processor, [clip(0)], progress=False))

    expected = predicted()
    with guard():
        assert torch.equal(predicted(), expected)


def test_features_of_views_are_those_of_the_clip_first_and_the_same_every_time(bundled):
    model, processor = bundled
    clips = [clip(seed) for seed in range(2)]
    features = view_features(model, processor, clips, progress=False)
    assert features.shape == (2, 6, model.config.projection_dim)
    assert not features.requires_grad
    with torch.no_grad():
        for source, views in zip(clips, features, strict=True):
            alone = model.get_audio_features(**processor(audio=source))
            torch.testing.assert_close(views[:1], alone, atol=1e-5, rtol=1e-5)
    swapped = view_features(model, processor, clips[::-1], progress=False)
    assert torch.equal(swapped.flip(0), features)
    assert not torch.equal(view_features(model, processor, clips, seed=1, progress=False)[:, 1:], features[:, 1:])


def test_a_model_in_training_mode_is_adapted_as_in_evaluation(bundled):
    """Also with encoders that train would move: no dropout, and no running statistics that drift."""
    _, processor = bundled

    def adapted(training):
        folder = files("alm_prompt") / "assets" / "tiny_alm"
        alm = AlmForAudioClassification.from_pretrained(folder, class_names=["dog", "rain"])
        model = adaptable(alm, views=4, encoder_mode="reference").train(training)
        modes = [module.training for module in model.modules()]
        before = {name: value.clone() for name, value in model.state_dict().items() if "learned_" not in name}
        views = view_features(model, processor, [clip(0), clip(1)], progress=False)
        logits = predict_adapted(model, views, keep=True)
        assert all(torch.equal(value, model.state_dict()[name]) for name, value in before.items())
        assert [module.training for module in model.modules()] == modes
        return logits, *learned(model).values()

    for found, expected in zip(adapted(training=True), adapted(training=False), strict=True):
        assert torch.equal(found, expected)


def test_no_audio_and_unreadable_audio_are_one_line(bundled):
    model, processor = bundled
    with pytest.raises(AlmPromptError, match="no audio given: the list of clips is empty"):
        view_features(model, processor, [])
    with pytest.raises(AlmPromptError, match=r"missing\.wav: no such audio file"):
        view_features(model, processor, ["missing.wav"], progress=False)


# ---- Refusals ----


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"views": 0}, "views is 0; give a whole number of at least 1"),
        ({"views": 2.5}, "views is 2.5"),
        ({"clips": 0}, "clips is 0"),
        ({"steps": True}, "steps is True"),
        ({"confident_share": 0.0}, "confident_share is 0.0; give a share above 0 and up to 1"),
        ({"confident_share": 1.1}, "confident_share is 1.1"),
        ({"confident_share": math.nan}, "confident_share is nan"),
        ({"learning_rate": 0}, "learning_rate is 0; give a rate above 0"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(AlmPromptError, match=message) as error:
        TtaPromptConfig(prompt=CoOpPromptConfig(), **options)
    assert "\n" not in str(error.value)


def test_another_number_of_clips_is_refused(tiny_alm):
    model = adaptable(tiny_alm, clips=5)
    before = learned(model)
    for call in (adapt, predict_adapted):
        with pytest.raises(AlmPromptError, match=r"clips=5, but (only )?3 are given"):
            call(model, randn(3, 4, 32).float())
    assert all(torch.equal(value, before[name]) for name, value in learned(model).items())


def test_other_adapters_are_refused(make_tiny_alm):
    inside = ZebraPromptConfig(prompt=TtaPromptConfig(prompt=CoOpPromptConfig(n_ctx=4)))
    for config, name in ((CoOpPromptConfig(n_ctx=4), "CoOpPromptConfig"), (inside, "ZebraPromptConfig")):
        with pytest.raises(AlmPromptError, match=rf"config is {name}; .*TtaPromptConfig\(prompt=...\) outermost"):
            adapt(get_peft_model(make_tiny_alm(), config), randn(1, 4, 32).float())
    with pytest.raises(AlmPromptError, match="config is none"):
        predict_adapted(make_tiny_alm(), randn(1, 4, 32).float())
