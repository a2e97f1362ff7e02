"""`encoder_mode="reference"`: encoders as in the published training loops, and what belongs to the adapter alone."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from transformers import BertConfig, ClapAudioConfig

from alm_prompt import AlmForAudioClassification, AlmPromptError, CoOpPromptConfig, ZebraPromptConfig
from alm_prompt.models.audio_towers.yamnet import YamnetConfig
from alm_prompt.models.encoder_modes import running_statistics

ROOT = Path(__file__).resolve().parents[2]
CLASSES = ["dog", "rain", "siren", "door bell"]
MEAN = "audio_tower.batch_norm.running_mean"
TOWERS = {
    "cnn": {"model_type": "alm_cnn", "channels": [4, 8], "hidden_size": 16},
    "htsat": ClapAudioConfig(
        patch_embeds_hidden_size=8,
        hidden_size=32,
        depths=[1, 2, 1],
        num_attention_heads=[1, 2, 4],
        spec_size=64,
        window_size=2,
        num_mel_bins=16,
        hidden_dropout_prob=0.0,
        drop_path_rate=0.5,
    ),
    "yamnet": YamnetConfig(stem_channels=4, channels=[8, 8], strides=[1, 2], hidden_size=8, num_mel_bins=16),
}


@pytest.fixture
def make_alm(make_tiny_alm):
    """Makes a tiny model whose projections have dropout, with one of the audio towers."""

    def make(tower: str = "cnn") -> AlmForAudioClassification:
        tiny = make_tiny_alm()
        config = copy.deepcopy(tiny.config)
        config.audio_projection = config.text_projection = {"kind": "residual", "dropout": 0.5}
        settings = {**config.to_dict(), "audio_config": TOWERS[tower]}
        torch.manual_seed(0)
        model = AlmForAudioClassification(type(config)(**settings), tokenizer=tiny.tokenizer)
        for parameter in model.alm.text_tower.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        model.set_classes(CLASSES)
        return model.eval()

    return make


def clips(alm, seed=0, count=8):
    """Spectrograms for the model's audio tower, louder than its batch norms expect."""
    generator = torch.Generator().manual_seed(seed)
    mels = alm.config.audio_config.num_mel_bins
    return 3 + 2 * torch.randn(count, 1, 96, mels, generator=generator)


def reference(alm, config=None):
    torch.manual_seed(1)
    return get_peft_model(alm, config or CoOpPromptConfig(n_ctx=4, encoder_mode="reference"))


def train(model, steps=3, seed=0):
    torch.manual_seed(seed)
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05)
    for step in range(steps):
        optimizer.zero_grad()
        model(input_features=clips(model, step), labels=torch.arange(8) % 4).loss.backward()
        optimizer.step()
    return model.eval()


def logits(model):
    with torch.no_grad():
        return model(input_features=clips(model, seed=99)).logits


def statistics(model, adapter="default"):
    head = model.base_model.model.class_head
    return {name: getattr(head, container)[adapter].clone() for name, container in head.statistics_names.items()}


def state(alm):
    return {name: value.clone() for name, value in alm.alm.state_dict().items()}


def same(first, second):
    return first.keys() == second.keys() and all(torch.equal(value, second[name]) for name, value in first.items())


def test_statistics_drift_by_the_rule_of_batch_norm(make_alm):
    alm = make_alm()
    model = reference(alm)
    expected = alm.alm.audio_tower.batch_norm.running_mean.clone()
    for step in range(3):
        batch_mean = torch.stack([clips(alm, step)[..., mel].mean() for mel in range(64)])
        expected = 0.9 * expected + 0.1 * batch_mean
    train(model, steps=3)
    torch.testing.assert_close(statistics(model)[MEAN], expected, rtol=0, atol=1e-6)
    assert statistics(model)["audio_tower.batch_norm.num_batches_tracked"] == 3
    assert {name for name in statistics(model)} == set(running_statistics(alm.alm))


@pytest.mark.parametrize("tower", TOWERS)
def test_the_backbone_keeps_every_byte_and_a_disabled_adapter_is_zero_shot(make_alm, tower):
    alm = make_alm(tower)
    zero_shot, before = logits(alm), state(alm)
    model = train(reference(alm))
    assert not torch.equal(logits(model), zero_shot)
    assert same(state(alm), before)
    for mode in (True, False):
        model.train(mode)
        with model.disable_adapter():
            assert torch.equal(logits(model), zero_shot)
            assert torch.equal(model.get_audio_features(clips(alm)), alm.alm.get_audio_features(clips(alm)))
    assert not any(module.training for module in alm.alm.modules())
    assert torch.equal(logits(model.unload()), zero_shot)
    assert same(state(alm), before)


@pytest.mark.parametrize("tower", TOWERS)
def test_training_is_random_and_prediction_is_not(make_alm, tower):
    model = reference(make_alm(tower))
    model.train()
    assert not torch.equal(logits(model), logits(model))
    with torch.no_grad():
        prompts = [model(input_features=clips(model)).text_embeds for _ in range(2)]
    assert not torch.equal(*prompts), "without gradients, too, dropout is drawn anew"
    model.eval()
    before = statistics(model)
    assert torch.equal(logits(model), logits(model))
    assert same(statistics(model), before)


def test_only_the_prompt_gets_gradients_and_audio_needs_no_graph(make_alm):
    alm = make_alm("htsat")
    model = reference(alm)
    model.train()
    assert not model.get_audio_features(clips(alm)).requires_grad
    model(input_features=clips(alm), labels=torch.arange(8) % 4).loss.backward()
    assert not any(module.training for module in alm.alm.modules()), "train mode ends with the forward pass"
    assert [name for name, p in model.named_parameters() if p.grad is not None] == [
        "base_model.model.class_head.learned_context.default"
    ]


@pytest.mark.parametrize("chunked", [True, False])
def test_gradients_are_those_of_the_drawn_dropout_also_where_prompts_are_computed_in_chunks(make_tiny_alm, chunked):
    tiny = make_tiny_alm()
    sizes = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 48}
    text = BertConfig(vocab_size=tiny.config.text_config.vocab_size, max_position_embeddings=32, **sizes)
    config = type(tiny.config)(**{**tiny.config.to_dict(), "text_config": text.to_dict(), "text_pooling": "mean"})
    torch.manual_seed(0)
    alm = AlmForAudioClassification(config, tokenizer=tiny.tokenizer)
    for parameter in alm.alm.text_tower.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    alm.set_classes(CLASSES)
    model = reference(alm).double().train()
    if chunked:
        alm.alm.text_tower.memory = 2**17

    def loss():
        torch.manual_seed(3)
        return model(input_features=clips(alm).double(), labels=torch.arange(8) % 4).loss

    (context,) = [parameter for parameter in model.parameters() if parameter.requires_grad]
    (gradient,) = torch.autograd.grad(loss(), context)
    assert not any(module.training for module in alm.alm.modules())
    direction = gradient / gradient.norm()
    with torch.no_grad():
        context += 1e-5 * direction
        above = loss()
        context -= 2e-5 * direction
        below = loss()
    torch.testing.assert_close((above - below) / 2e-5, gradient.norm(), rtol=1e-6, atol=0)


def test_anchors_and_zero_shot_features_are_those_without_dropout(make_alm):
    alm = make_alm()
    expected = alm.class_bank.with_template("the {}").zero_shot_embeds(alm.alm).clone()
    model = reference(alm)
    model.train()
    alm.set_classes(CLASSES)
    with model.class_head.encoders(alm.alm):
        assert torch.equal(alm.class_bank.with_template("the {}").zero_shot_embeds(alm.alm), expected)
        assert alm.alm.text_projection.training


LOAD = """
import sys, torch
from peft import PeftModel
from alm_prompt import AlmForAudioClassification
folder = sys.argv[1]
model = PeftModel.from_pretrained(AlmForAudioClassification.from_pretrained(folder + "/alm"), folder + "/adapter")
data = torch.load(folder + "/data.pt", weights_only=True)
with torch.no_grad():
    assert torch.equal(model(input_features=data["clips"]).logits, data["logits"])
found = {name: value for name, value in model.state_dict().items() if "learned_" in name}
assert found.keys() == data["learned"].keys()
assert all(torch.equal(found[name], value) for name, value in data["learned"].items())
assert not model.class_head.training and not model.alm.training
"""


@pytest.mark.slow
def test_a_new_process_restores_the_adapter_bitwise(make_alm, tmp_path):
    alm = make_alm()
    alm.save_pretrained(tmp_path / "alm")
    model = train(reference(alm))
    model.save_pretrained(tmp_path / "adapter", save_embedding_layers=False)
    learned = {name: value for name, value in model.state_dict().items() if "learned_" in name}
    data = {"clips": clips(alm, seed=99), "logits": logits(model), "learned": learned}
    torch.save(data, tmp_path / "data.pt")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LOAD, str(tmp_path)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)
    assert finished.returncode == 0, finished.stderr
    saved = json.loads((tmp_path / "adapter" / "adapter_config.json").read_text())
    assert saved["encoder_mode"] == "reference"


def test_adapters_are_added_switched_and_deleted(make_alm, tmp_path):
    alm = make_alm()
    zero_shot, before = logits(alm), state(alm)
    model = train(reference(alm))
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    first = logits(model), statistics(model)
    model.add_adapter("other", CoOpPromptConfig(n_ctx=4, encoder_mode="reference"))
    assert same(statistics(model, "other"), running_statistics(alm.alm)), "a new adapter starts from the backbone's"
    model.set_adapter("other")
    train(model, steps=1, seed=7)
    other = logits(model), statistics(model, "other")
    assert not torch.equal(other[0], first[0])
    model.add_adapter("frozen", CoOpPromptConfig(n_ctx=4))
    model.set_adapter("frozen")
    model.train()
    assert torch.equal(logits(model), logits(model))
    for name, (expected, drifted) in {"default": first, "other": other}.items():
        model.set_adapter(name)
        assert torch.equal(logits(model.eval()), expected)
        assert same(statistics(model, name), drifted)
    model.delete_adapter("other")
    model.set_adapter("default")
    assert torch.equal(logits(model), first[0])
    assert not [name for name in model.state_dict() if name.endswith(".other")]
    model.load_adapter(tmp_path, "again")
    model.set_adapter("again")
    assert torch.equal(logits(model.eval()), first[0])
    with model.disable_adapter():
        assert torch.equal(logits(model), zero_shot)
    assert same(state(alm), before)


def test_frozen_adapters_have_no_statistics_and_stay_as_they_were(make_alm):
    model = reference(make_alm(), CoOpPromptConfig(n_ctx=4))
    assert model.peft_config["default"].encoder_mode == model.class_head.encoder_mode == "frozen"
    assert [name for name in model.state_dict() if "learned_" in name] == [
        "base_model.model.class_head.learned_context.default"
    ]
    model.train()
    assert torch.equal(logits(model), logits(model))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(make_alm, dtype):
    alm = make_alm().to(dtype)
    model = reference(alm)
    model.train()
    model(input_features=clips(alm).to(dtype), labels=torch.arange(8) % 4).loss.backward()
    assert statistics(model)[MEAN].dtype == dtype


def test_a_wrapper_takes_the_mode_of_what_it_wraps(make_alm):
    config = ZebraPromptConfig(prompt=CoOpPromptConfig(n_ctx=4, encoder_mode="reference"))
    assert config.encoder_mode == "reference"
    assert "encoder_mode" not in config.to_dict()["prompt"]
    model = train(reference(make_alm(), config))
    assert model.class_head.encoder_mode == "reference"
    assert statistics(model)["audio_tower.batch_norm.num_batches_tracked"] == 3


def test_what_would_train_on_the_wrong_audio_is_refused(make_alm):
    model = reference(make_alm())
    model.train()
    with pytest.raises(AlmPromptError, match="give input_features") as caught:
        model(audio_features=torch.randn(2, 32))
    assert "\n" not in str(caught.value)
    assert model.eval()(audio_features=torch.randn(2, 32)).logits.shape == (2, 4)
    with pytest.raises(AlmPromptError, match="encoder_mode is 'train'; give one of frozen, reference"):
        CoOpPromptConfig(encoder_mode="train")


def test_statistics_that_are_missing_are_named(make_alm, tmp_path):
    reference(make_alm(), CoOpPromptConfig(n_ctx=4)).save_pretrained(tmp_path, save_embedding_layers=False)
    path = tmp_path / "adapter_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"encoder_mode": "reference"}))
    with pytest.raises(AlmPromptError, match="lacks the tensor 'learned_audio_tower__batch_norm__running_mean"):
        PeftModel.from_pretrained(make_alm(), tmp_path)


def test_every_method_trains_saves_and_loads(row, matrix, make_alm, tmp_path):
    alm = make_alm()
    zero_shot = logits(alm)
    config = matrix[row].config()
    config.encoder_mode = "reference"
    model = reference(alm, config)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train(model, steps=2)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name in before if "learned_" in name}
    model.save_pretrained(tmp_path, save_embedding_layers=False)
    assert torch.equal(logits(PeftModel.from_pretrained(make_alm(), tmp_path)), logits(model))
    with model.disable_adapter():
        assert torch.equal(logits(model), zero_shot)
