"""Every method and stack trains alike in one batch, in accumulated parts, and in two processes."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import pytest
import torch
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import Trainer

from alm_prompt import AlmTrainer, AlmTrainingArguments
from alm_prompt.data import AlmCollator, FeatureDataset

SCRIPT = Path(__file__).with_name("train_matrix.py")


def test_gradients_of_ragged_parts_add_up_to_one_batch(row, matrix, prompted, audio_batch):
    """Also those of terms that do not depend on the batch, such as anchors and neighbours."""
    if not matrix[row].adds_up:
        pytest.skip("its loss is no mean over clips")
    model = prompted(row).train()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    whole = torch.autograd.grad(model(**audio_batch).loss, parameters)
    total = [torch.zeros_like(gradient) for gradient in whole]
    for part in (slice(0, 5), slice(5, 7), slice(7, 8)):
        batch = {name: value[part] for name, value in audio_batch.items()}
        gradients = torch.autograd.grad(model(**batch, num_items_in_batch=8).loss, parameters)
        total = [sum_so_far + gradient for sum_so_far, gradient in zip(total, gradients, strict=True)]
    for found, expected in zip(total, whole, strict=True):
        torch.testing.assert_close(found, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("row", ["kgcoop", "coop+dept+sept"])
def test_plain_trainer_trains_the_same_as_ours(row, prompted, audio_batch, tmp_path):
    """Every term comes from the model, so that no trainer has to know of it."""
    clips = FeatureDataset(audio_batch["audio_features"], audio_batch["labels"].tolist())
    options = {"max_steps": 2, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "use_cpu": True}
    quiet = {"save_strategy": "no", "logging_strategy": "no", "disable_tqdm": True, "dataloader_pin_memory": False}
    learned = []
    for trainer_class in (Trainer, AlmTrainer):
        model = prompted(row)
        args = AlmTrainingArguments(output_dir=tmp_path, **options, **quiet)
        trainer_class(model=model, args=args, train_dataset=clips, data_collator=AlmCollator()).train()
        learned.append(get_peft_model_state_dict(model))
    before = get_peft_model_state_dict(prompted(row))
    assert [name for name, value in before.items() if torch.equal(value, learned[0][name])] == []
    assert [name for name, value in learned[1].items() if not torch.equal(value, learned[0][name])] == []


@pytest.mark.slow
def test_two_processes_and_accumulation_train_what_one_batch_trains(make_tiny_alm, torchrun, tmp_path):
    """Also where the last batch of an epoch has one clip, which leaves nothing for the second process."""
    alm = make_tiny_alm()
    alm.save_pretrained(tmp_path / "alm")
    (tmp_path / "classes.json").write_text(json.dumps(alm.class_names))
    features = torch.randn(9, 32, generator=torch.Generator().manual_seed(5))
    save_file({"features": features, "labels": torch.arange(9) % 4}, tmp_path / "clips.safetensors")
    main = runpy.run_path(str(SCRIPT))["main"]
    assert main(tmp_path, 8, 1, "one") == 1
    assert main(tmp_path, 2, 4, "parts") == 1
    torchrun(SCRIPT, str(tmp_path), "2", "2", "two")
    assert json.loads((tmp_path / "two.json").read_text()) == {"world_size": 2}
    one = load_file(tmp_path / "one.safetensors")
    for name in ("parts", "two"):
        found = load_file(tmp_path / f"{name}.safetensors")
        apart = {key: (found[key] - value).abs().max().item() for key, value in one.items()}
        assert {key: gap for key, gap in apart.items() if gap > 1e-6} == {}, name
