"""What putting an adapter on a model must leave alone: configs, other adapters, and the mode of the encoders."""

from __future__ import annotations

import warnings

import pytest
import torch
from peft import PeftModel, get_peft_model

from alm_prompt import AlmPromptError, CoCoOpPromptConfig, CoOpPromptConfig, PalmPromptConfig, ZebraPromptConfig

CLASSES = ["dog", "rain", "siren", "door bell"]
OTHER_CLASSES = ["rain", "cat", "dog", "the bell"]


@pytest.mark.parametrize(
    "change",
    [
        {"class_names": OTHER_CLASSES},
        {"template": "the {}"},
        {"descriptions": {name: ["a sound"] for name in CLASSES}},
    ],
    ids=["classes", "template", "descriptions"],
)
def test_config_of_an_adapter_is_refused_for_one_that_learns_something_else(
    tiny_alm, audio_batch, logits, tmp_path, change
):
    """Filled in for the first, it would train the second for what that learned."""
    config = ZebraPromptConfig(prompt=PalmPromptConfig())
    model = get_peft_model(tiny_alm, config)
    before = logits(model, audio_batch)
    model.add_adapter("same", config)
    model.save_pretrained(tmp_path)
    model.set_classes(**{"class_names": CLASSES} | change)
    with pytest.raises(AlmPromptError, match=r"for the classes 'dog', 'rain', .* make a new config"):
        model.add_adapter("other", config)
    assert list(model.peft_config) == ["default", "same"]
    model.load_adapter(tmp_path, "loaded")
    model.set_adapter("loaded")
    model.set_classes(CLASSES)
    assert torch.equal(logits(model, audio_batch), before)


def test_wrappers_of_one_config_stay_apart(make_tiny_alm, audio_batch, logits):
    """The first keeps its classes, and the wrapped config none."""
    wrapped = PalmPromptConfig()
    first = get_peft_model(make_tiny_alm(), ZebraPromptConfig(prompt=wrapped))
    before = logits(first, audio_batch)
    get_peft_model(make_tiny_alm(classes=OTHER_CLASSES), ZebraPromptConfig(prompt=wrapped))
    assert wrapped == PalmPromptConfig()
    assert torch.equal(logits(first, audio_batch), before)


@pytest.mark.parametrize("config_class", [CoOpPromptConfig, CoCoOpPromptConfig])
def test_class_specific_context_never_classifies_others(tiny_alm, audio_batch, logits, config_class):
    """Nobody asks it while it is switched off, and as many classes as before would fit it by chance."""
    model = get_peft_model(tiny_alm, config_class(n_ctx=4, class_specific=True))
    classes, before = model.class_names, logits(model, audio_batch)
    with model.disable_adapter():
        model.set_classes(OTHER_CLASSES)
    with pytest.raises(AlmPromptError, match="set those classes or train with class_specific=False"):
        logits(model, audio_batch)
    model.set_classes(classes)
    assert torch.equal(logits(model, audio_batch), before)


def test_adapter_made_on_a_model_in_training_mode(make_tiny_alm, tmp_path):
    """With dropout at work its signature would be that of no backbone."""
    alm = make_tiny_alm()
    for layer in alm.alm.text_tower.model.encoder.layers:
        layer.self_attn.dropout = 0.5
    model = get_peft_model(alm.train(), CoOpPromptConfig(n_ctx=4))
    assert not any(module.training for module in alm.alm.modules())
    model.save_pretrained(tmp_path)
    PeftModel.from_pretrained(make_tiny_alm(), tmp_path)


def test_adapter_is_made_without_a_warning(tiny_alm):
    """`peft` asks the model for a property under a name that `transformers` warns about."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        get_peft_model(tiny_alm, CoOpPromptConfig(n_ctx=2))
    assert not tiny_alm.is_gradient_checkpointing
    tiny_alm.alm.text_tower.model.gradient_checkpointing = True
    assert tiny_alm.is_gradient_checkpointing


def test_encoders_put_into_training_mode_by_hand_come_back(tiny_alm, audio_batch):
    model = get_peft_model(tiny_alm, CoOpPromptConfig(n_ctx=4))
    model.get_base_model().train()
    model.train()
    assert model.class_head.training
    assert not any(module.training for module in model.alm.modules())
