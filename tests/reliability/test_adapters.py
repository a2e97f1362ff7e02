"""Adapters from strangers: loaded, or refused in one line; no code, no file of others, no change that goes unseen."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import warnings

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from alm_prompt import AlmPromptError, CoOpPromptConfig, PalmPromptConfig, ZebraPromptConfig, load_adapter

NEIGHBORS = {"dog": ["cat"], "rain": ["the sound"], "siren": ["chain"], "door bell": ["the bell"]}
CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"


@pytest.mark.parametrize("part", ["config", "weights"])
def test_mutants(faults, make_tiny_alm, tmp_path, part):
    adapters = faults("adapters")
    model = make_tiny_alm()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        saved = adapters.save_adapters(model, tmp_path, NEIGHBORS)
        result = adapters.attack(model, saved, count=60, seed=0, part=part)
    faulty = {name: value for name, value in result.items() if isinstance(value, list) and value}
    assert not faulty
    assert result["refused"] + result["loaded"] == 60
    assert result["loaded"] > 0


@pytest.fixture
def adapter(make_tiny_alm, tmp_path):
    """Folder of a saved adapter."""
    get_peft_model(make_tiny_alm(), ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4))).save_pretrained(tmp_path)
    return tmp_path


def refusal(folder, model):
    with pytest.raises(AlmPromptError) as error:
        load_adapter(folder, backbone=model)
    assert str(error.value).isprintable()
    return str(error.value)


def rewrite(folder, **fields):
    config = json.loads((folder / CONFIG).read_text())
    (folder / CONFIG).write_text(json.dumps(config | fields))


HOSTILE = {
    "loader keyword": ({"trust_remote_code": True}, "has no option 'trust_remote_code'"),
    "keyword arguments": ({"model_kwargs": {"weights_only": False}}, "has no option 'model_kwargs'"),
    "another module": ({"target_modules": ["alm"]}, "has no option 'target_modules'"),
    "another class": ({"method_class": "os.system"}, "has no option 'method_class'"),
    "task type": ({"task_type": "CAUSAL_LM"}, "prompt methods have none"),
    "contexts": ({"prompt": {"peft_type": "ALM_COOP", "n_ctx": 10**9}}, "are left beside 1000000000 context vectors"),
    "huge number": ({"prompt": {"peft_type": "ALM_COOP", "n_ctx": 10**30}}, "n_ctx is 1000000000"),
    "text for a number": ({"alpha": "0.5"}, "alpha is '0.5', which is no float"),
    "truth for a number": ({"alpha": True}, "alpha is True, which is no float"),
    "number for text": ({"template": 5}, "template is 5, which is no str | None"),
    "mixed names": ({"class_names": ["dog", 5]}, "class_names is a list, which is no list[str] | None"),
    "object for a name": ({"peft_type": {"a": 1}}, "names no peft_type"),
    "format string": ({"template": "{0.__class__.__init__.__globals__}"}, "must hold '{}' once"),
    "not a number": ({"logit_scale": float("nan")}, "logit_scale is nan"),
    "classes": ({"class_names": [f"n{number}" for number in range(10_001)]}, "class_names holds 10,001 entries"),
    "descriptions": ({"descriptions": {"dog": ["a dog"] * 6000, "rain": ["rain"] * 6000}}, "holds 12,000 entries"),
    "infinite": ({"entropy_weight": float("inf")}, "entropy_weight is inf"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_fields(make_tiny_alm, adapter, kind):
    fields, message = HOSTILE[kind]
    rewrite(adapter, **fields)
    assert message in refusal(adapter, make_tiny_alm())


@pytest.mark.parametrize("source", ["/etc", "../../secret", "http://127.0.0.1:9/x", "file:///etc/passwd", "a/b/c"])
def test_backbone_that_is_no_model(adapter, source):
    rewrite(adapter, base_model_name_or_path=source)
    assert "cannot be opened" in refusal(adapter, None)


def test_control_characters_stay_text(make_tiny_alm, adapter):
    """In a name they are part of a class, and no error lets one through."""
    rewrite(adapter, class_names=["\x1b[2J", "a\n---\nb", "\u202edog", "rain"])
    assert load_adapter(adapter, backbone=make_tiny_alm()).class_names is not None
    (adapter / WEIGHTS).write_bytes(b"\x10\x00\x00\x00\x00\x00\x00\x00" + b'{"\x1b[2J\x00": {{{ ')
    rewrite(adapter, weights_sha256=None)
    refusal(adapter, make_tiny_alm())


def test_a_flipped_bit_is_found(make_tiny_alm, adapter):
    weights = bytearray((adapter / WEIGHTS).read_bytes())
    weights[-3] ^= 1
    (adapter / WEIGHTS).write_bytes(weights)
    assert "its SHA-256 is not the one in" in refusal(adapter, make_tiny_alm())
    with pytest.raises(AlmPromptError, match="SHA-256"):
        PeftModel.from_pretrained(make_tiny_alm(), adapter)


def test_numbers_that_no_training_gives(make_tiny_alm, adapter):
    tensors = {name: torch.full_like(value, 1e30) for name, value in load_file(adapter / WEIGHTS).items()}
    save_file(tensors, adapter / WEIGHTS)
    rewrite(adapter, weights_sha256=hashlib.sha256((adapter / WEIGHTS).read_bytes()).hexdigest())
    assert "or some beyond 1e+09" in refusal(adapter, make_tiny_alm())


def test_files_without_end(make_tiny_alm, adapter):
    """Sparse files: they cost no disk, but would cost all memory."""
    with (adapter / CONFIG).open("rb+") as file:
        file.truncate(2**35)
    assert "more than the 4,194,304 that it may have" in refusal(adapter, make_tiny_alm())
    rewritten = get_peft_model(make_tiny_alm(), PalmPromptConfig())
    rewritten.save_pretrained(adapter)
    with (adapter / WEIGHTS).open("rb+") as file:
        file.truncate(2**35)
    assert "more than the 268,435,456 that an adapter may have" in refusal(adapter, make_tiny_alm())


def test_a_refused_adapter_leaves_the_model_as_it_was(make_tiny_alm, adapter, audio_batch):
    model = make_tiny_alm()
    expected = copy.deepcopy(model)(**audio_batch).logits
    rewrite(adapter, class_names=["cat", "saw"], weights_sha256=None)
    save_file({"base_model.model.class_head.learned_context": torch.zeros(3, 24)}, adapter / WEIGHTS)
    refusal(adapter, model)
    assert torch.equal(model(**audio_batch).logits, expected)
    assert type(model.class_head).__name__ == "ClassHead"
    get_peft_model(model, PalmPromptConfig())


def test_an_adapter_that_is_open_stays_as_it_is(make_tiny_alm, adapter, audio_batch, tmp_path):
    model = make_tiny_alm()
    adapted = load_adapter(adapter, backbone=model)
    expected = adapted(**audio_batch).logits
    other = get_peft_model(make_tiny_alm(), ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4, ctx_init="dog")))
    other.save_pretrained(tmp_path / "other")
    assert "the model has an adapter already" in refusal(tmp_path / "other", model)
    assert torch.equal(adapted(**audio_batch).logits, expected)
    assert load_adapter(tmp_path / "other", backbone=adapted.unload()).class_names == adapted.class_names


def test_mutations_are_drawn_from_the_seed(faults):
    mutations = faults("mutations")

    def draw(seed):
        return [mutations.mutate_config({"a": [1, {"b": 2}]}, random.Random(seed + i)) for i in range(20)]

    assert draw(0) == draw(0) != draw(100)
