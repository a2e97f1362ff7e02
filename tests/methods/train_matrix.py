"""Train every row of the matrix for three steps and write the adapters; run alone or by torchrun."""

from __future__ import annotations

import copy
import gc
import json
import runpy
import sys
import tempfile
from pathlib import Path

import torch.distributed
from peft import get_peft_model
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file
from transformers import set_seed

from alm_prompt import AlmForAudioClassification, AlmTrainer, AlmTrainingArguments
from alm_prompt.data import AlmCollator, FeatureDataset
from alm_prompt.distributed import ending_together

MATRIX = runpy.run_path(str(Path(__file__).with_name("matrix.py")))["MATRIX"]


def main(folder: Path, batch_size: int, accumulation: int, result: str) -> int:
    clips = load_file(folder / "clips.safetensors")
    dataset = FeatureDataset(clips["features"], clips["labels"].tolist())
    classes = json.loads((folder / "classes.json").read_text())
    adapters, world_size = {}, 0
    # `Trainer` collects garbage in full whenever a training starts; what is imported need not be looked at each time.
    gc.freeze()
    alm = AlmForAudioClassification.from_pretrained(folder / "alm", class_names=classes)
    for name, row in MATRIX.items():
        if not row.adds_up:
            continue
        set_seed(0)
        model = get_peft_model(copy.deepcopy(alm), row.config())
        with tempfile.TemporaryDirectory() as run_dir:
            args = AlmTrainingArguments(
                output_dir=run_dir,
                max_steps=3,
                per_device_train_batch_size=batch_size,
                gradient_accumulation_steps=accumulation,
                save_strategy="no",
                logging_strategy="no",
                disable_tqdm=True,
                dataloader_pin_memory=False,
                use_cpu=True,
            )
            AlmTrainer(model=model, args=args, train_dataset=dataset, data_collator=AlmCollator()).train()
            world_size = args.world_size
        for key, tensor in get_peft_model_state_dict(model).items():
            adapters[f"{name}/{key.rpartition('.')[2]}"] = tensor.contiguous()
    if not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0:
        save_file(adapters, folder / f"{result}.safetensors")
        (folder / f"{result}.json").write_text(json.dumps({"world_size": world_size}))
    return world_size


if __name__ == "__main__":
    with ending_together():
        main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
