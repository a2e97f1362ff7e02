"""Run by torchrun: train an adapter on the clips of a folder and write it, with the log, beside them."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch.distributed
from peft import get_peft_model
from safetensors.torch import load_file

from alm_prompt.data.collate import FeatureDataset
from alm_prompt.methods import parse_method
from alm_prompt.models import AlmForAudioClassification
from alm_prompt.training import AlmTrainer, AlmTrainingArguments


def main(folder: Path, method: str, batch_size: int) -> None:
    clips = load_file(folder / "clips.safetensors")
    class_names = json.loads((folder / "class_names.json").read_text())
    torch.manual_seed(1)
    alm = AlmForAudioClassification.from_pretrained(folder / "model", class_names=class_names)
    args = AlmTrainingArguments(
        output_dir=str(folder / f"run-of-{batch_size}"),
        num_train_epochs=3,
        per_device_train_batch_size=batch_size,
        save_strategy="steps",
        save_steps=1,
        disable_tqdm=True,
        use_cpu=True,
    )
    trainer = AlmTrainer(
        model=get_peft_model(alm, parse_method(method, {"coop.n_ctx": 3})),
        args=args,
        train_dataset=FeatureDataset(clips["features"], clips["labels"].tolist()),
    )
    trainer.train()
    trainer.save_model(args.output_dir + "/adapter")
    if args.should_save:
        record = {"world_size": trainer.accelerator.num_processes, "log": trainer.state.log_history}
        Path(args.output_dir, "record.json").write_text(json.dumps(record))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
    # A process that ends with its group still open may abort, when gloo's threads outlive the interpreter.
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
