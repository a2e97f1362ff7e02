"""Adapters that do not fit: each is one clear line, before anything is used."""

from __future__ import annotations

import json
import re

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import BertConfig, BertModel

from alm_prompt import AlmPromptError, CoOpPromptConfig, ZebraPromptConfig, parse_method

CONTEXT = "base_model.model.class_head.learned_context"


@pytest.fixture
def adapter(make_tiny_alm, tmp_path):
    model = get_peft_model(make_tiny_alm(), ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4)))
    model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


def rewrite_tensors(adapter, change):
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    # What is wrong with them is to be found, not that they were changed.
    config = json.loads((adapter / "adapter_config.json").read_text())
    (adapter / "adapter_config.json").write_text(json.dumps(config | {"weights_sha256": None}))


def put(key, value):
    return lambda tensors: tensors.__setitem__(key, value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.clear(), "lacks the tensor 'learned_context.default'"),
        (
            put("base_model.model.alm.foreign", torch.zeros(2)),
            "config does not ask for: 'base_model.model.alm.foreign'",
        ),
        (put("base_model.model.class_head.learned_more", torch.zeros(2)), "does not ask for: .*learned_more"),
        (put(CONTEXT, torch.zeros(5, 24)), r"shape \[5, 24\], its config asks for \[4, 24\]"),
        (put(CONTEXT, torch.full((4, 24), float("nan"))), "holds NaN or infinite numbers"),
        (put(CONTEXT, torch.full((4, 24), float("inf"))), "holds NaN or infinite numbers"),
    ],
)
def test_wrong_tensors_are_named(adapter, make_tiny_alm, change, message):
    rewrite_tensors(adapter, change)
    with pytest.raises(AlmPromptError, match=message) as error:
        PeftModel.from_pretrained(make_tiny_alm(), adapter)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("other", [{"seed": 1}, {"dim": 64}])
def test_adapter_of_another_backbone_is_refused(adapter, make_tiny_alm, other):
    with pytest.raises(AlmPromptError, match="made for another backbone"):
        PeftModel.from_pretrained(make_tiny_alm(**other), adapter)


def test_same_backbone_in_half_precision_is_accepted(adapter, make_tiny_alm):
    for dtype in (torch.bfloat16, torch.float16):
        model = PeftModel.from_pretrained(make_tiny_alm().to(dtype), adapter)
        assert model(audio_features=torch.randn(2, 32, dtype=dtype)).logits.dtype == torch.float32


def test_inner_type_that_is_unknown_is_named(adapter, make_tiny_alm):
    path = adapter / "adapter_config.json"
    config = json.loads(path.read_text())
    config["prompt"]["peft_type"] = "ALM_MAGIC"
    path.write_text(json.dumps(config))
    with pytest.raises(AlmPromptError, match="'ALM_MAGIC' is no prompt method of alm_prompt"):
        PeftModel.from_pretrained(make_tiny_alm(), adapter)


def test_prompt_method_on_another_kind_of_model_is_refused():
    bert = BertModel(BertConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8))
    with pytest.raises(AlmPromptError, match="adapts an AlmForAudioClassification, not a BertModel"):
        get_peft_model(bert, CoOpPromptConfig())


def test_class_specific_adapter_on_other_classes_is_refused(make_tiny_alm, tmp_path):
    get_peft_model(make_tiny_alm(), CoOpPromptConfig(n_ctx=4, class_specific=True)).save_pretrained(tmp_path)
    with pytest.raises(AlmPromptError, match=re.escape("cannot classify ['cat', 'chain saw']")):
        PeftModel.from_pretrained(make_tiny_alm(classes=["cat", "chain saw"]), tmp_path)


def test_expression_gives_the_stack():
    config = parse_method("coop+zebra", {"coop.n_ctx": 4, "zebra.alpha": 0.3})
    assert config == ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4), alpha=0.3)
    assert parse_method("zero-shot") is None


@pytest.mark.parametrize(
    ("expression", "options", "message"),
    [
        ("cop", {}, "unknown prompt method 'cop'; did you mean 'coop'"),
        ("zebra", {}, "zebra wraps another method"),
        ("zebra+coop", {}, "zebra wraps another method"),
        ("coop+coop", {}, "coop wraps no other method"),
        ("coop", {"coop.n_cxt": 4}, "unknown option of coop 'n_cxt'; did you mean 'n_ctx'"),
        ("coop", {"zebra.alpha": 0.3}, "'zebra.alpha' belongs to no method of 'coop'"),
        ("coop", {"coop.peft_type": "LORA"}, "unknown option of coop 'peft_type'"),
    ],
)
def test_bad_expressions_are_named(expression, options, message):
    with pytest.raises(AlmPromptError, match=message):
        parse_method(expression, options)
