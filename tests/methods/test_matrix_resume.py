"""Every method and stack: a run that stopped after a checkpoint ends with the adapter it would have had."""

from __future__ import annotations

import gc

import pytest
import torch
from peft import get_peft_model_state_dict

from alm_prompt import AlmTrainer, AlmTrainingArguments
from alm_prompt.data import AlmCollator, FeatureDataset


@pytest.fixture(scope="module", autouse=True)
def short_garbage_collections():
    """Take what is imported out of garbage collection, which `Trainer` does in full whenever a training starts."""
    gc.freeze()


@pytest.fixture
def trainer_in():
    """Makes a trainer of four steps with a checkpoint after the second, in a folder of its own."""
    features = torch.randn(16, 32, generator=torch.Generator().manual_seed(5))
    dataset = FeatureDataset(features, (torch.arange(16) % 4).tolist())

    def make(folder, model):
        args = AlmTrainingArguments(
            output_dir=str(folder),
            max_steps=4,
            save_steps=2,
            per_device_train_batch_size=6,
            logging_strategy="no",
            disable_tqdm=True,
            dataloader_pin_memory=False,
            use_cpu=True,
        )
        return AlmTrainer(model=model, args=args, train_dataset=dataset, data_collator=AlmCollator())

    return make


def test_resumed_run_ends_with_the_same_adapter(row, prompted, trainer_in, tmp_path):
    whole = prompted(row)
    trainer_in(tmp_path / "whole", whole).train()
    # Other initial numbers: all that counts is in the checkpoint.
    resumed = prompted(row, seed=9)
    trainer_in(tmp_path / "resumed", resumed).train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-2"))
    expected = get_peft_model_state_dict(whole)
    found = get_peft_model_state_dict(resumed)
    assert found.keys() == expected.keys()
    assert {key for key, value in found.items() if not torch.equal(value, expected[key])} == set()
    start = get_peft_model_state_dict(prompted(row))
    assert all(not torch.equal(value, start[key]) for key, value in expected.items())
