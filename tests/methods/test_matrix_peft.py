"""Every method and stack: what PEFT's own methods are held to, and one line where prompts are none of it."""

from __future__ import annotations

import copy
import json
import pickle

import pytest
import torch
from peft import (
    LoraConfig,
    PeftConfig,
    PeftModel,
    get_peft_model_state_dict,
    inject_adapter_in_model,
    set_peft_model_state_dict,
)
from safetensors.torch import load_file

from alm_prompt import AlmPromptError, CoOpPromptConfig, PalmPromptConfig

OTHER_ORDER = ["siren", "dog", "door bell", "rain"]


def head_of(model):
    return model.base_model.model.class_head


def containers(model):
    """Names of the adapters in everything that the head keeps by adapter."""
    head = head_of(model)
    return {name: sorted(getattr(head, name).keys()) for name in head.adapter_layer_names + head.other_param_names}


# ---- Save and load ----


def test_selected_adapters_are_saved_and_no_others(row, matrix, trained, prompted, make_tiny_alm, tmp_path):
    """Also where the name of one is part of the name of another."""
    for name in ("default2", "other_default", "efaul"):
        trained.model.add_adapter(name, matrix[row].config())
    trained.model.save_pretrained(tmp_path, selected_adapters=["default", "other_default"])
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {"other_default"}
    for folder, name in ((tmp_path, "default"), (tmp_path / "other_default", "other_default")):
        saved = load_file(folder / "adapter_model.safetensors")
        expected = get_peft_model_state_dict(trained.model, adapter_name=name)
        assert saved.keys() == expected.keys()
        assert all(torch.equal(saved[key], expected[key]) for key in saved)
    model = PeftModel.from_pretrained(make_tiny_alm(), tmp_path)
    assert model.load_adapter(tmp_path / "other_default", "other_default").missing_keys == []
    assert sorted(model.peft_config) == ["default", "other_default"]


def test_loading_under_other_names(trained, saved, make_tiny_alm, logits, audio_batch):
    model = PeftModel.from_pretrained(make_tiny_alm(), saved, adapter_name="first")
    assert torch.equal(logits(model, audio_batch), trained.logits)
    assert model.load_adapter(saved, "second").missing_keys == []
    model.set_adapter("second")
    assert model.active_adapters == ["second"]
    assert torch.equal(logits(model, audio_batch), trained.logits)


def test_low_memory_loading_is_bitwise(row, matrix, trained, saved, make_tiny_alm, logits, audio_batch):
    model = PeftModel.from_pretrained(make_tiny_alm(), saved, low_cpu_mem_usage=True)
    model.load_adapter(saved, "second", low_cpu_mem_usage=True)
    assert {parameter.device.type for parameter in model.parameters()} == {"cpu"}
    assert torch.equal(logits(model, audio_batch), trained.logits)


def test_config_given_at_loading_stands_in_for_that_of_the_file(
    row, matrix, trained, saved, make_tiny_alm, logits, audio_batch
):
    config = matrix[row].config()
    model = PeftModel.from_pretrained(make_tiny_alm(), saved, config=config)
    assert model.peft_config["default"] is config
    assert config.inference_mode
    assert torch.equal(logits(model, audio_batch), trained.logits)


def test_loaded_adapter_is_frozen_unless_it_is_to_be_trained(trained, saved, make_tiny_alm, audio_batch):
    frozen = PeftModel.from_pretrained(make_tiny_alm(), saved)
    assert frozen.peft_config["default"].inference_mode
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    trainable = PeftModel.from_pretrained(make_tiny_alm(), saved, is_trainable=True)
    assert not trainable.peft_config["default"].inference_mode
    gradients = {}
    for name, model in {"loaded": trainable, "trained": trained.model}.items():
        model.zero_grad()
        model.train()(**audio_batch).loss.backward()
        gradients[name] = {key: p.grad for key, p in model.named_parameters() if p.requires_grad}
    assert gradients["loaded"].keys() == gradients["trained"].keys()
    assert all(torch.equal(value, gradients["trained"][key]) for key, value in gradients["loaded"].items())


def test_state_dict_moves_an_adapter(row, trained, prompted, logits, audio_batch):
    state = get_peft_model_state_dict(trained.model)
    assert all(key.startswith("base_model.model.class_head.learned_") for key in state)
    other = prompted(row, seed=5)
    assert not torch.equal(logits(other, audio_batch), trained.logits)
    assert set_peft_model_state_dict(other, state).unexpected_keys == []
    assert torch.equal(logits(other, audio_batch), trained.logits)


def test_config_survives_json_pickle_and_copy(trained, saved):
    config = trained.model.peft_config["default"]
    for twin in (copy.deepcopy(config), pickle.loads(pickle.dumps(config))):
        assert twin == config
        assert twin.peft_type is config.peft_type
    found = PeftConfig.from_pretrained(saved)
    # PEFT sets these two in the file alone.
    assert found.to_dict() == config.to_dict() | {
        "inference_mode": found.inference_mode,
        "auto_mapping": found.auto_mapping,
    }
    assert type(found) is type(config)
    assert json.loads((saved / "adapter_config.json").read_text()) == json.loads(json.dumps(found.to_dict()))


def test_model_survives_copy_and_pickle(trained, logits, audio_batch):
    for twin in (copy.deepcopy(trained.model), pickle.loads(pickle.dumps(trained.model))):
        assert torch.equal(logits(twin, audio_batch), trained.logits)


@pytest.mark.parametrize("cast", [True, False])
def test_learned_tensors_are_float32_on_a_model_in_half_precision(row, matrix, prompted, make_tiny_alm, saved, cast):
    """Small steps would be lost in half precision; PEFT's `autocast_adapter_dtype` has nothing to do."""
    model = PeftModel.from_pretrained(make_tiny_alm().half(), saved, autocast_adapter_dtype=cast)
    model.add_adapter("second", matrix[row].config())
    learned = {parameter.dtype for name, parameter in model.named_parameters() if "learned_" in name}
    assert learned == {torch.float32}
    assert model.base_model.model.alm.dtype == torch.float16


# ---- Several adapters ----


def test_two_adapters_are_switched_and_deleted(row, matrix, trained, train_steps, logits, audio_batch):
    model = trained.model
    torch.manual_seed(7)
    model.add_adapter("second", matrix[row].config())
    model.set_adapter("second")
    train_steps(model, audio_batch, steps=3)
    second = logits(model, audio_batch)
    assert not torch.equal(trained.logits, second)
    model.set_adapter("default")
    assert torch.equal(logits(model, audio_batch), trained.logits)
    with pytest.warns(UserWarning, match="Setting active adapter to second"):
        model.delete_adapter("default")
    assert model.active_adapters == ["second"]
    assert set(map(tuple, containers(model).values())) == {("second",)}
    assert torch.equal(logits(model, audio_batch), second)


def test_deleting_an_inactive_adapter_leaves_no_trace(row, matrix, trained, logits, audio_batch):
    before = containers(trained.model)
    trained.model.add_adapter("second", matrix[row].config())
    trained.model.delete_adapter("second")
    with pytest.raises(ValueError, match="Adapter second does not exist"):
        trained.model.delete_adapter("second")
    assert list(trained.model.peft_config) == trained.model.active_adapters == ["default"]
    assert containers(trained.model) == before
    assert torch.equal(logits(trained.model, audio_batch), trained.logits)


def test_unload_and_deleting_the_last_adapter_leave_the_base_model(row, trained, prompted, logits, audio_batch):
    alm = copy.deepcopy(trained.model).unload()
    assert torch.equal(logits(alm, audio_batch), trained.zero_shot)
    assert not hasattr(alm, "peft_config")
    assert not [name for name in alm.state_dict() if "learned_" in name]
    assert prompted(row, alm).active_adapters == ["default"]
    trained.model.delete_adapter("default")
    assert trained.model.active_adapters == []
    # PeftModel itself asks for an active adapter; the tuner below it acts as the base model.
    assert torch.equal(logits(trained.model.base_model, audio_batch), trained.zero_shot)


def test_two_adapters_of_other_class_lists_in_one_model(
    row, matrix, trained, saved, prompted, train_steps, make_tiny_alm, logits, audio_batch, tmp_path
):
    other = prompted(row, make_tiny_alm(classes=OTHER_ORDER), seed=3)
    train_steps(other, audio_batch, steps=3)
    other.save_pretrained(tmp_path)
    model = PeftModel.from_pretrained(make_tiny_alm(), saved)
    if not matrix[row].any_classes:
        with pytest.raises(AlmPromptError, match="set those classes or train with class_specific=False"):
            model.load_adapter(tmp_path, "other")
        return
    model.load_adapter(tmp_path, "other")
    model.set_adapter("other")
    model.set_classes(OTHER_ORDER)
    assert torch.equal(logits(model, audio_batch), logits(other, audio_batch))
    model.set_adapter("default")
    model.set_classes(trained.model.class_names)
    assert torch.equal(logits(model, audio_batch), trained.logits)


def test_adapter_of_another_type_is_refused_by_peft(trained, logits, audio_batch):
    """Two types at once need two models; the model is left as it was."""
    ours = (
        PalmPromptConfig()
        if isinstance(trained.model.peft_config["default"], CoOpPromptConfig)
        else CoOpPromptConfig()
    )
    for different in (ours, LoraConfig(target_modules=["q_proj"])):
        with pytest.raises(ValueError, match="Cannot combine adapters with different peft types"):
            trained.model.add_adapter("second", different)
    assert list(trained.model.peft_config) == ["default"]
    assert torch.equal(logits(trained.model, audio_batch), trained.logits)


def test_several_active_adapters_are_refused(row, matrix, trained, logits, audio_batch):
    trained.model.add_adapter("second", matrix[row].config())
    trained.model.base_model.set_adapter(["default", "second"])
    with pytest.raises(AlmPromptError, match="2 adapters are active at once; prompts do not add up, set one"):
        trained.model(**audio_batch)
    trained.model.set_adapter("default")
    assert torch.equal(logits(trained.model, audio_batch), trained.logits)


def test_mixed_batches_are_refused(row, matrix, trained, audio_batch):
    trained.model.add_adapter("second", matrix[row].config())
    with pytest.raises(AlmPromptError, match=r"call model\.set_adapter\(name\) and give the clips of each") as error:
        trained.model(**audio_batch, adapter_names=["default", "second"] * 4)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda model: model.merge_and_unload(), "cannot be merged into them; .* take it off with model.unload()"),
        (lambda model: model.merge_adapter(), "cannot be merged into them"),
        (lambda model: model.add_weighted_adapter(["default"], [1.0], "sum"), "cannot be combined by weights"),
    ],
    ids=["merge_and_unload", "merge_adapter", "add_weighted_adapter"],
)
def test_merging_is_refused(trained, logits, audio_batch, call, message):
    with pytest.raises(AlmPromptError, match=message) as error:
        call(trained.model)
    assert "\n" not in str(error.value)
    trained.model.unmerge_adapter()
    assert torch.equal(logits(trained.model, audio_batch), trained.logits)


# ---- The rest ----


def test_status(row, matrix, trained):
    status = trained.model.get_model_status()
    assert status.base_model_type == "AlmForAudioClassification"
    assert status.adapter_model_type == "PromptTuner"
    assert status.peft_types == {"default": trained.model.peft_config["default"].peft_type.value}
    assert status.trainable_params == matrix[row].trainable
    assert status.num_adapter_layers == 1
    assert status.enabled and status.active_adapters == status.available_adapters == ["default"]
    assert status.requires_grad == {"default": True}
    assert status.merged_adapters == []
    [layer] = trained.model.get_layer_status()
    assert (layer.name, layer.module_type) == ("model.class_head", "PromptedClassHead")
    assert trained.model.modules_to_save is None
    with trained.model.disable_adapter():
        assert not trained.model.get_model_status().enabled


@pytest.mark.filterwarnings("ignore:`gradient_checkpointing_enable` is deprecated:FutureWarning")
def test_gradient_checkpointing_of_the_text_tower_changes_no_gradient(trained, audio_batch):
    gradients = []
    for checkpointing in (False, True):
        if checkpointing:
            trained.model.base_model.model.alm.text_tower.model.gradient_checkpointing_enable()
        trained.model.zero_grad()
        trained.model.train()(**audio_batch).loss.backward()
        gradients.append([p.grad for p in trained.model.parameters() if p.requires_grad])
    assert all(torch.equal(plain, found) for plain, found in zip(*gradients, strict=True))


def test_injection_without_a_peft_model_is_the_same(row, matrix, prompted, make_tiny_alm, logits, audio_batch):
    torch.manual_seed(0)
    injected = inject_adapter_in_model(matrix[row].config(), make_tiny_alm())
    assert torch.equal(logits(injected, audio_batch), logits(prompted(row), audio_batch))
