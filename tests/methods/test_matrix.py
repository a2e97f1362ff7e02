"""Every method and stack: what PEFT and this library promise of an adapter."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from peft import PeftModel, get_peft_model
from safetensors.torch import load_file, save_file

from alm_prompt import AlmPromptError


def _load_matrix():
    spec = importlib.util.spec_from_file_location("matrix", Path(__file__).with_name("matrix.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


matrix = _load_matrix()
rows = pytest.mark.parametrize("row", matrix.MATRIX)
OTHER_CLASSES = ["cat", "chain saw", "the sound of rain"]


def prompted(alm, row, seed=0):
    torch.manual_seed(seed)
    return get_peft_model(alm, matrix.MATRIX[row]())


def train_steps(model, batch, steps=20):
    model.train()
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.05, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        model(**batch).loss.backward()
        optimizer.step()
    model.eval()


def logits(model, batch):
    with torch.no_grad():
        return model(audio_features=batch["audio_features"]).logits


@rows
def test_only_the_declared_parameters_learn_and_no_base_byte_changes(row, tiny_alm, audio_batch):
    model = prompted(tiny_alm, row)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    train_steps(model, audio_batch)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {name for name, p in model.named_parameters() if p.requires_grad}
    assert changed == {name for name in before if "learned_" in name}
    assert {name for name, p in model.named_parameters() if p.grad is not None} == changed
    assert model.get_nb_trainable_parameters()[0] == matrix.TRAINABLE[row]


@rows
def test_encoders_stay_in_eval_mode_while_training(row, tiny_alm, audio_batch):
    """Their batch norm would drift and their dropout make features random."""
    model = prompted(tiny_alm, row)
    before = {name: value.clone() for name, value in tiny_alm.alm.state_dict().items()}
    generator = torch.Generator().manual_seed(2)
    input_features = torch.randn(8, 1, 16, tiny_alm.config.audio_config.num_mel_bins, generator=generator)
    train_steps(model, {"input_features": input_features, "labels": audio_batch["labels"]}, steps=2)
    assert {n for n, value in tiny_alm.alm.state_dict().items() if not torch.equal(value, before[n])} == set()
    model.train()
    assert torch.equal(model(input_features=input_features).logits, model(input_features=input_features).logits)


@rows
def test_training_goes_on_after_a_prediction_under_inference_mode(row, tiny_alm, audio_batch):
    model = prompted(tiny_alm, row)
    with torch.inference_mode():
        model(**audio_batch)
    train_steps(model, audio_batch, steps=1)


@rows
def test_training_lowers_the_loss(row, tiny_alm, audio_batch):
    model = prompted(tiny_alm, row)
    before = model(**audio_batch).loss.item()
    train_steps(model, audio_batch)
    assert model(**audio_batch).loss.item() < before


@rows
def test_disabled_adapter_is_zero_shot_bitwise(row, tiny_alm, audio_batch):
    zero_shot = logits(tiny_alm, audio_batch)
    model = prompted(tiny_alm, row)
    train_steps(model, audio_batch)
    with model.disable_adapter():
        assert torch.equal(logits(model, audio_batch), zero_shot)
        assert model.base_model.model.class_head.loss_hooks == ()
    assert not torch.equal(logits(model, audio_batch), zero_shot)


@rows
def test_other_classes_and_back_is_bitwise(row, tiny_alm, audio_batch):
    model = prompted(tiny_alm, row)
    train_steps(model, audio_batch)
    before = logits(model, audio_batch)
    if row in matrix.FIXED_CLASSES:
        with pytest.raises(AlmPromptError, match="class_specific=False"):
            model.set_classes(OTHER_CLASSES)
    else:
        model.set_classes(OTHER_CLASSES)
        assert logits(model, audio_batch).shape == (8, 3)
        assert model.class_names == OTHER_CLASSES
    model.set_classes(model.peft_config["default"].class_names)
    assert torch.equal(logits(model, audio_batch), before)


@rows
def test_two_adapters_are_switched_and_deleted(row, make_tiny_alm, audio_batch):
    model = prompted(make_tiny_alm(), row)
    train_steps(model, audio_batch)
    first = logits(model, audio_batch)
    torch.manual_seed(7)
    model.add_adapter("second", matrix.MATRIX[row]())
    model.set_adapter("second")
    train_steps(model, audio_batch, steps=3)
    second = logits(model, audio_batch)
    assert not torch.equal(first, second)
    model.set_adapter("default")
    assert torch.equal(logits(model, audio_batch), first)
    model.delete_adapter("default")
    model.set_adapter("second")
    assert torch.equal(logits(model, audio_batch), second)


@rows
def test_unload_and_deleting_the_last_adapter_leave_the_base_model(row, make_tiny_alm, audio_batch):
    alm = make_tiny_alm()
    zero_shot = logits(alm, audio_batch)
    model = prompted(alm, row)
    assert torch.equal(logits(model.unload(), audio_batch), zero_shot)
    assert not hasattr(alm, "peft_config")
    model = prompted(alm, row)
    model.delete_adapter("default")
    # PeftModel itself asks for an active adapter; the tuner below it acts as the base model.
    assert torch.equal(logits(model.base_model, audio_batch), zero_shot)


@rows
def test_bf16_autocast_keeps_logits_in_float32(row, tiny_alm, audio_batch):
    model = prompted(tiny_alm, row)
    exact = logits(model, audio_batch)
    with torch.autocast("cpu", torch.bfloat16):
        output = model(**audio_batch)
    output.loss.backward()
    assert output.logits.dtype == torch.float32
    torch.testing.assert_close(output.logits, exact, atol=0.5, rtol=0.05)


@rows
def test_gradient_is_that_of_finite_differences(row, make_tiny_alm, audio_batch):
    model = prompted(make_tiny_alm(), row).double()
    batch = {"audio_features": audio_batch["audio_features"][:3].double(), "labels": audio_batch["labels"][:3]}
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    model(**batch).loss.backward()
    directions = [torch.randn_like(parameter) for parameter in parameters]

    def loss_at(distance):
        with torch.no_grad():
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter += distance * direction
            loss = model(**batch).loss
            for parameter, direction in zip(parameters, directions, strict=True):
                parameter -= distance * direction
        return loss

    slope = sum(
        (parameter.grad * direction).sum() for parameter, direction in zip(parameters, directions, strict=True)
    )
    torch.testing.assert_close((loss_at(1e-6) - loss_at(-1e-6)) / 2e-6, slope, atol=1e-7, rtol=1e-5)


RELOAD = """
import sys
from pathlib import Path
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from alm_prompt import AlmForAudioClassification

folder = Path(sys.argv[1])
features = load_file(folder / "features.safetensors")["features"]
logits = {}
for adapter in sorted((folder / "adapters").iterdir()):
    alm = AlmForAudioClassification.from_pretrained(folder / "alm")
    model = PeftModel.from_pretrained(alm, adapter)
    with torch.no_grad():
        logits[adapter.name] = model(audio_features=features).logits
save_file(logits, folder / "logits.safetensors")
"""


def save_every_row(make_tiny_alm, audio_batch, folder):
    """Train and save every row; return its logits."""
    expected = {}
    for row in matrix.MATRIX:
        model = prompted(make_tiny_alm(), row)
        train_steps(model, audio_batch, steps=3)
        expected[row] = logits(model, audio_batch)
        model.save_pretrained(folder / row)
        names = sorted(path.name for path in (folder / row).iterdir())
        assert names == ["README.md", "adapter_config.json", "adapter_model.safetensors"]
    return expected


def test_round_trip_in_a_new_process_is_bitwise(make_tiny_alm, audio_batch, tmp_path):
    expected = save_every_row(make_tiny_alm, audio_batch, tmp_path / "adapters")
    # Without classes: the adapter brings its own.
    make_tiny_alm().save_pretrained(tmp_path / "alm")
    save_file({"features": audio_batch["audio_features"]}, tmp_path / "features.safetensors")
    subprocess.run([sys.executable, "-c", RELOAD, str(tmp_path)], check=True)
    found = load_file(tmp_path / "logits.safetensors")
    assert {row: torch.equal(found[row], expected[row]) for row in expected} == dict.fromkeys(expected, True)


def test_low_memory_load_is_bitwise(make_tiny_alm, audio_batch, tmp_path):
    expected = save_every_row(make_tiny_alm, audio_batch, tmp_path)
    for row, value in expected.items():
        model = PeftModel.from_pretrained(make_tiny_alm(), tmp_path / row, low_cpu_mem_usage=True)
        assert torch.equal(logits(model, audio_batch), value), row
