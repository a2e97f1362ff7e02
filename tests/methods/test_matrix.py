"""Every method and stack: what this library promises of an adapter."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from alm_prompt import AlmPromptError

OTHER_CLASSES = ["cat", "chain saw", "the sound of rain"]


def test_only_the_declared_parameters_learn_and_no_base_byte_changes(row, matrix, trained):
    state, before = trained.model.state_dict(), trained.before
    changed = {name for name, value in state.items() if not torch.equal(value, before[name])}
    assert changed == {name for name, p in trained.model.named_parameters() if p.requires_grad}
    assert changed == {name for name in before if "learned_" in name}
    assert changed == trained.with_gradient
    assert trained.model.get_nb_trainable_parameters()[0] == matrix[row].trainable


def test_training_lowers_the_loss(trained):
    first, last = trained.losses
    assert last < first


def test_encoders_stay_in_eval_mode_while_training(row, prompted, train_steps, tiny_alm, audio_batch):
    """Their batch norm would drift and their dropout make features random."""
    model = prompted(row, tiny_alm)
    before = {name: value.clone() for name, value in tiny_alm.alm.state_dict().items()}
    generator = torch.Generator().manual_seed(2)
    input_features = torch.randn(8, 1, 16, tiny_alm.config.audio_config.num_mel_bins, generator=generator)
    train_steps(model, {"input_features": input_features, "labels": audio_batch["labels"]}, steps=2)
    assert {n for n, value in tiny_alm.alm.state_dict().items() if not torch.equal(value, before[n])} == set()
    model.train()
    assert torch.equal(model(input_features=input_features).logits, model(input_features=input_features).logits)


def test_training_goes_on_after_a_prediction_under_inference_mode(row, prompted, train_steps, audio_batch):
    model = prompted(row)
    with torch.inference_mode():
        model(**audio_batch)
    train_steps(model, audio_batch, steps=1)


def test_disabled_adapter_is_zero_shot_bitwise(trained, logits, audio_batch):
    with trained.model.disable_adapter():
        assert torch.equal(logits(trained.model, audio_batch), trained.zero_shot)
        assert trained.model.base_model.model.class_head.loss_hooks == ()
    assert not torch.equal(trained.logits, trained.zero_shot)
    assert torch.equal(logits(trained.model, audio_batch), trained.logits)


def test_other_classes_and_back_is_bitwise(row, matrix, trained, logits, audio_batch):
    model = trained.model
    if matrix[row].any_classes:
        model.set_classes(OTHER_CLASSES)
        assert logits(model, audio_batch).shape == (8, 3)
        assert model.class_names == OTHER_CLASSES
    else:
        with pytest.raises(AlmPromptError, match="set those classes or train with class_specific=False"):
            model.set_classes(OTHER_CLASSES)
    model.set_classes(model.peft_config["default"].class_names)
    assert torch.equal(logits(model, audio_batch), trained.logits)


def test_bf16_autocast_keeps_logits_in_float32(trained, audio_batch):
    with torch.autocast("cpu", torch.bfloat16):
        output = trained.model(**audio_batch)
    output.loss.backward()
    assert output.logits.dtype == torch.float32
    torch.testing.assert_close(output.logits, trained.logits, atol=0.5, rtol=0.05)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_whole_model_in_half_precision(trained, audio_batch, dtype):
    model = trained.model.to(dtype)
    output = model(audio_features=audio_batch["audio_features"].to(dtype), labels=audio_batch["labels"])
    assert output.logits.dtype == torch.float32
    assert output.loss.isfinite()
    torch.testing.assert_close(output.logits, trained.logits, atol=1.0, rtol=0.1)


def test_gradient_is_that_of_finite_differences(row, prompted, audio_batch):
    model = prompted(row).double()
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


def test_saved_adapter_is_four_files_without_pickles(saved):
    assert sorted(path.name for path in saved.iterdir()) == [
        "README.md",
        "adapter_config.json",
        "adapter_model.safetensors",
        "results.json",
    ]


RELOAD = """
import sys
from pathlib import Path
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from alm_prompt import AlmForAudioClassification

folder, *adapters = map(Path, sys.argv[1:])
features = load_file(folder / "features.safetensors")["features"]
logits = {}
for adapter in adapters:
    alm = AlmForAudioClassification.from_pretrained(folder / "alm")
    model = PeftModel.from_pretrained(alm, adapter)
    with torch.no_grad():
        logits[adapter.name] = model(audio_features=features).logits
save_file(logits, folder / "logits.safetensors")
"""


@pytest.mark.slow
def test_round_trip_in_a_new_process_is_bitwise(
    matrix, trained_rows, saved_rows, make_tiny_alm, audio_batch, tmp_path
):
    # Without classes: the adapter brings its own.
    make_tiny_alm().save_pretrained(tmp_path / "alm")
    save_file({"features": audio_batch["audio_features"]}, tmp_path / "features.safetensors")
    adapters = [str(saved_rows(row)) for row in matrix]
    subprocess.run([sys.executable, "-c", RELOAD, str(tmp_path), *adapters], check=True)
    found = load_file(tmp_path / "logits.safetensors")
    assert {row: torch.equal(found[row], trained_rows(row).logits) for row in matrix} == dict.fromkeys(matrix, True)
