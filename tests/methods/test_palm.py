"""PALM and the linear probe against hand-written loops, and their rule for classes that nobody trained on."""

from __future__ import annotations

import math

import pytest
import torch
from peft import get_peft_model

from alm_prompt import LinearProbeConfig, PalmPromptConfig


def unit(vector):
    return vector / vector.norm()


def bare_feature(alm, name):
    ids = alm.tokenizer(name, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        return unit(alm.alm.get_text_features(ids)[0])


@pytest.mark.parametrize("classes", [None, ["rain", "cat", "dog"], ["cat", "chain saw"]])
def test_palm_equals_a_hand_written_loop(make_tiny_alm, audio_batch, classes):
    alm = make_tiny_alm()
    model = get_peft_model(alm, PalmPromptConfig())
    trained = alm.class_names
    tensors = model.base_model.model.class_head.tensors("default")
    torch.nn.init.normal_(tensors["class_vectors"], std=0.5)
    if classes:
        model.set_classes(classes)
    found = model(audio_features=audio_batch["audio_features"]).logits
    scale = alm.alm.logit_scale.exp()
    for column, name in enumerate(classes or trained):
        feature = bare_feature(alm, name)
        if name in trained:
            row = trained.index(name)
            share = 1 / (1 + math.exp(-tensors["mixing"][row].item()))
            feature = unit((1 - share) * feature + share * tensors["class_vectors"][row])
        for clip, audio in enumerate(audio_batch["audio_features"]):
            assert found[clip, column].item() == pytest.approx((scale * unit(audio) @ feature).item(), abs=1e-5)


def test_palm_starts_as_published(tiny_alm):
    tensors = get_peft_model(tiny_alm, PalmPromptConfig()).base_model.model.class_head.tensors("default")
    assert tensors["class_vectors"].shape == (4, 32)
    assert 0.015 < tensors["class_vectors"].std().item() < 0.025
    assert ((tensors["mixing"] >= 0) & (tensors["mixing"] < 1)).all()


def test_palm_leaves_the_text_tower_alone_after_the_first_step(tiny_alm, audio_batch):
    model = get_peft_model(tiny_alm, PalmPromptConfig())
    model(**audio_batch).loss.backward()
    calls = []
    tiny_alm.alm.text_tower.register_forward_hook(lambda *_: calls.append(1))
    model(**audio_batch).loss.backward()
    assert not calls


@pytest.mark.parametrize("classes", [None, ["rain", "cat", "dog"]])
def test_linear_probe_equals_a_hand_written_loop(make_tiny_alm, audio_batch, classes):
    zero_shot = make_tiny_alm(classes=classes)(audio_features=audio_batch["audio_features"]).logits
    alm = make_tiny_alm()
    model = get_peft_model(alm, LinearProbeConfig())
    trained = alm.class_names
    tensors = model.base_model.model.class_head.tensors("default")
    if classes:
        model.set_classes(classes)
    found = model(audio_features=audio_batch["audio_features"]).logits
    scale = alm.alm.logit_scale.exp()
    for column, name in enumerate(classes or trained):
        for clip, audio in enumerate(audio_batch["audio_features"]):
            expected = zero_shot[clip, column]
            if name in trained:
                row = trained.index(name)
                expected = scale * (tensors["probe_weight"][row] @ unit(audio) + tensors["probe_bias"][row])
            assert found[clip, column].item() == pytest.approx(expected.item(), abs=1e-5)
