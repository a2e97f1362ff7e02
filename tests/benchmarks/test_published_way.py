"""The published way and ours compute the same losses and gradients; `benchmarks/cost.py` compares what they cost."""

from __future__ import annotations

import copy
import runpy
from pathlib import Path

import pytest
import torch
from peft import get_peft_model

from alm_prompt import CoCoOpPromptConfig, CoOpPromptConfig, PalmPromptConfig, SeptPromptConfig

SCRIPT = Path(__file__).resolve().parents[2] / "benchmarks" / "published_way.py"
PublishedWay = runpy.run_path(str(SCRIPT))["PublishedWay"]
TEMPLATE = "This is a sound of {}."
NEIGHBORS = {
    "dog": ["cat", "a cat"],
    "rain": ["the sound", "saw"],
    "siren": ["chain", "a bell"],
    "door bell": ["the bell", "a door"],
}
COOP = CoOpPromptConfig(n_ctx=4)
CONFIGS = {
    "coop": COOP,
    "cocoop": CoCoOpPromptConfig(n_ctx=4),
    "palm": PalmPromptConfig(),
    "sept": SeptPromptConfig(prompt=COOP, neighbors=NEIGHBORS, margin_templates="template"),
}


def published_loss(way, method, learned, names, audio, labels):
    if method == "sept":
        return way.sept(learned, names, NEIGHBORS, way.margins(names, NEIGHBORS, [TEMPLATE]), audio, labels)
    return getattr(way, method)(learned, names, audio, labels)


@pytest.mark.parametrize("length", [16, 32])
@pytest.mark.parametrize("method", CONFIGS)
def test_loss_and_gradients_are_those_of_the_library(method, length, make_tiny_alm, audio_batch):
    alm = make_tiny_alm().double()
    way = PublishedWay(copy.deepcopy(alm.alm), alm.tokenizer, length)
    torch.manual_seed(0)
    model = get_peft_model(alm, copy.deepcopy(CONFIGS[method])).train()
    learned = {name: tensor.data.double() for name, tensor in alm.class_head.tensors("default").items()}
    for name, parameter in alm.class_head.tensors("default").items():
        parameter.data = learned[name]
    audio, labels = audio_batch["audio_features"].double(), audio_batch["labels"]

    ours = model(audio_features=audio, labels=labels).loss
    ours.backward()
    tensors = {name: tensor.clone().requires_grad_() for name, tensor in learned.items()}
    theirs = published_loss(way, method, tensors, alm.class_names, audio, labels)
    theirs.backward()
    torch.testing.assert_close(theirs, ours, atol=1e-10, rtol=1e-10)
    for name, parameter in alm.class_head.tensors("default").items():
        assert parameter.grad.abs().max() > 0
        torch.testing.assert_close(tensors[name].grad, parameter.grad, atol=1e-10, rtol=1e-10)


@pytest.mark.parametrize("unfrozen", ["projections", "everything"])
def test_the_published_way_pads_and_computes_gradients_that_nobody_uses(unfrozen, make_tiny_alm, audio_batch):
    alm = make_tiny_alm()
    way = PublishedWay(alm.alm, alm.tokenizer, 32, unfrozen)
    shapes = []
    layer = way.text_model.encoder.layers[0].mlp
    layer.register_forward_hook(lambda module, inputs, output: shapes.append(output.shape))
    context = torch.zeros(4, 24, requires_grad=True)
    way.coop({"context": context}, alm.class_names, audio_batch["audio_features"], audio_batch["labels"]).backward()
    assert shapes == [(4, 32, 24)]
    assert all(parameter.grad is not None for parameter in alm.alm.text_projection.parameters())
    assert (layer.fc1.weight.grad is not None) == (unfrozen == "everything")
