"""ZEBRA against an independent computation of its logits and loss."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from peft import PeftModel, get_peft_model

from alm_prompt import (
    AlmPromptError,
    CoOpPromptConfig,
    KgCoOpPromptConfig,
    LinearProbeConfig,
    TtaPromptConfig,
    ZebraPromptConfig,
)


def hand_loss(logits, labels, entropy_weight):
    """Cross-entropy minus weighted mean entropy, in plain Python."""
    total_ce = total_entropy = 0.0
    for row, label in zip(logits.tolist(), labels.tolist(), strict=True):
        norm = sum(math.exp(v - max(row)) for v in row)
        p = [math.exp(v - max(row)) / norm for v in row]
        total_ce -= math.log(p[label])
        total_entropy -= sum(v * math.log(v + 1e-8) for v in p)
    return total_ce / len(labels), -entropy_weight * total_entropy / len(labels)


def zebra(alm, **options):
    torch.manual_seed(3)
    return get_peft_model(alm, ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4), **options))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize(("alpha", "entropy_weight"), [(0.5, 0.05), (0.2, 1.0), (0.0, 0.0), (1.0, 0.05)])
def test_fused_logits_and_loss_equal_a_hand_written_loop(make_tiny_alm, audio_batch, training, alpha, entropy_weight):
    zero_shot = make_tiny_alm()(audio_features=audio_batch["audio_features"]).logits
    torch.manual_seed(3)
    prompted = get_peft_model(make_tiny_alm(), CoOpPromptConfig(n_ctx=4))(**audio_batch).logits
    model = zebra(make_tiny_alm(), alpha=alpha, entropy_weight=entropy_weight).train(training)
    output = model(**audio_batch)
    for b in range(len(prompted)):
        for c in range(prompted.shape[1]):
            fused = alpha * prompted[b, c].item() + (1 - alpha) * zero_shot[b, c].item()
            assert output.logits[b, c].item() == pytest.approx(fused, abs=1e-6, rel=1e-6)
    cross_entropy, entropy = hand_loss(output.logits.double(), audio_batch["labels"], entropy_weight)
    assert output.losses["cross_entropy"].item() == pytest.approx(cross_entropy, abs=1e-6)
    assert output.losses["entropy"].item() == pytest.approx(entropy, abs=1e-6)
    assert output.loss.item() == pytest.approx(cross_entropy + entropy, abs=1e-6)


def test_vectors_of_the_classes_are_blended_as_the_logits_are(make_tiny_alm, audio_batch):
    alm = make_tiny_alm()
    model = zebra(alm, alpha=0.2)
    model.set_classes(alm.class_names, template="the sound {}")
    vectors, scale = model.class_head.class_weights(alm.class_bank, alm.alm)
    output = model(audio_features=audio_batch["audio_features"])
    torch.testing.assert_close(scale * output.audio_embeds @ vectors.T, output.logits)


def test_zero_shot_branch_keeps_the_adapters_template(make_tiny_alm, audio_batch):
    alm = make_tiny_alm()
    model = zebra(alm)
    before = model(audio_features=audio_batch["audio_features"]).logits
    model.set_classes(alm.class_names, template="the sound {}")
    assert torch.equal(model(audio_features=audio_batch["audio_features"]).logits, before)


def test_zero_shot_branch_ignores_training_mode(make_tiny_alm, audio_batch):
    alm = make_tiny_alm()
    alm.alm.text_tower.model.config.attention_dropout = 0.5
    model = zebra(alm, alpha=0.0)
    model.train()
    zero_shot = make_tiny_alm()(audio_features=audio_batch["audio_features"]).logits
    assert torch.equal(model(audio_features=audio_batch["audio_features"]).logits, zero_shot)


def test_wrapped_logit_scale_holds_for_both_branches(make_tiny_alm, audio_batch):
    config = ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4, logit_scale=100.0))
    torch.manual_seed(3)
    scaled = get_peft_model(make_tiny_alm(), config)(**audio_batch).logits
    alm = make_tiny_alm()
    torch.testing.assert_close(scaled, zebra(alm)(**audio_batch).logits * 100 / alm.alm.logit_scale.exp())


def test_wrapped_template_and_descriptions_are_those_of_the_stack(make_tiny_alm, audio_batch, tmp_path):
    text = {"template": "the {}", "descriptions": {"dog": ["a cat"]}}
    torch.manual_seed(3)
    by_hand = get_peft_model(make_tiny_alm(), ZebraPromptConfig(prompt=KgCoOpPromptConfig(n_ctx=4), **text))
    for config in (
        ZebraPromptConfig(prompt=KgCoOpPromptConfig(n_ctx=4, **text)),
        ZebraPromptConfig(prompt=TtaPromptConfig(prompt=KgCoOpPromptConfig(n_ctx=4, **text), template="the {}")),
    ):
        torch.manual_seed(3)
        model = get_peft_model(make_tiny_alm(), config)
        output, expected = model(**audio_batch), by_hand(**audio_batch)
        assert torch.equal(output.logits, expected.logits)
        assert output.losses == expected.losses
    model.save_pretrained(tmp_path)
    loaded = PeftModel.from_pretrained(make_tiny_alm(), tmp_path)
    assert torch.equal(loaded(**audio_batch).logits, expected.logits)


def test_config_that_was_on_a_model_is_wrapped_with_what_it_says(make_tiny_alm):
    """Only its user can contradict the wrapper's, not the model that filled it in."""
    alm, wrapped = make_tiny_alm(), CoOpPromptConfig(n_ctx=4)
    get_peft_model(alm, wrapped).unload()
    model = get_peft_model(alm, ZebraPromptConfig(prompt=wrapped, template="the {}"))
    again = replace(model.peft_config["default"], template="a {}")
    assert [config.template for config in (wrapped, model.peft_config["default"], again)] == [
        alm.class_bank.template,
        "the {}",
        "a {}",
    ]


def test_classes_given_to_the_wrapped_config_are_those_of_the_stack(make_tiny_alm):
    alm = make_tiny_alm()
    alm.class_bank = None
    model = get_peft_model(alm, ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4, class_names=["rain", "siren"])))
    assert model.peft_config["default"].class_names == alm.class_names == ["rain", "siren"]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ZebraPromptConfig(), "wraps a prompt method, but prompt is None"),
        (lambda: ZebraPromptConfig(prompt={"peft_type": "LORA"}), "'LORA' is no prompt method"),
        (lambda: ZebraPromptConfig(prompt={"peft_type": "ALM_COOP", "depth": 3}), "CoOpPromptConfig has no option"),
        (lambda: ZebraPromptConfig(prompt=ZebraPromptConfig(prompt=CoOpPromptConfig())), "stands twice"),
        (
            lambda: ZebraPromptConfig(prompt=CoOpPromptConfig(class_names=["dog"]), class_names=["cat"]),
            r"class_names is \['cat'\] in ZebraPromptConfig and \['dog'\]",
        ),
        (
            lambda: ZebraPromptConfig(prompt=CoOpPromptConfig(template="a {}"), template="the {}"),
            "template is 'the {}' in ZebraPromptConfig and 'a {}' in the CoOpPromptConfig that it wraps; give it once",
        ),
        (
            lambda: ZebraPromptConfig(
                prompt=CoOpPromptConfig(descriptions={"dog": ["a"]}), descriptions={"dog": ["b"]}
            ),
            "descriptions is .* give it once",
        ),
        (
            lambda: ZebraPromptConfig(prompt=CoOpPromptConfig(logit_scale=3.0), logit_scale=2.0),
            "logit_scale is 2.0 in ZebraPromptConfig and 3.0 in the CoOpPromptConfig",
        ),
        (lambda: ZebraPromptConfig(prompt=CoOpPromptConfig(), alpha=1.5), "alpha is 1.5"),
        (lambda: ZebraPromptConfig(prompt=CoOpPromptConfig(), entropy_weight=-1), "entropy_weight is -1"),
    ],
)
def test_bad_options_are_named(make, message):
    with pytest.raises(AlmPromptError, match=message) as error:
        make()
    assert "\n" not in str(error.value)


def test_template_of_an_untrained_class_is_the_adapters(make_tiny_alm, audio_batch):
    """Under ZEBRA, too, the linear probe and the frozen half read a class in one template."""
    alm = make_tiny_alm()
    alm.set_classes(alm.class_names, template="the {} .")
    adapter = get_peft_model(alm, ZebraPromptConfig(prompt=LinearProbeConfig()))
    probe = get_peft_model(make_tiny_alm(), LinearProbeConfig(template="the {} ."))
    for model in (adapter, probe):
        model.set_classes([*alm.class_names[:4], "cat"])
    zero_shot = make_tiny_alm()
    zero_shot.set_classes(["cat"], template="the {} .")
    expected = zero_shot(**audio_batch | {"labels": None}).logits[:, 0]
    for model in (adapter, probe):
        torch.testing.assert_close(model(audio_features=audio_batch["audio_features"]).logits[:, 4], expected)
