"""Run by torchrun: train an adapter on the clips of a folder and write it, with log and metrics, beside them."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from safetensors.torch import load_file
from transformers import EvalPrediction

from alm_prompt.data.collate import FeatureDataset
from alm_prompt.distributed import ending_together
from alm_prompt.methods import parse_method
from alm_prompt.models import AlmForAudioClassification
from alm_prompt.training import AlmTrainer, AlmTrainingArguments


class SmallLogits:
    """A term of the user's own."""

    def __call__(self, output: Any, labels: Any, head: Any) -> dict[str, Any]:
        return {"small": 0.01 * output.logits.square().mean()}


def count_correct(prediction: EvalPrediction) -> dict[str, float]:
    found = prediction.predictions.argmax(-1) == prediction.label_ids
    return {"accuracy": float(found.mean()), "clips": float(len(found))}


def main(folder: Path, method: str, batch_size: int) -> None:
    clips = load_file(folder / "clips.safetensors")
    class_names = json.loads((folder / "class_names.json").read_text())
    torch.manual_seed(1)
    alm = AlmForAudioClassification.from_pretrained(folder / "model", class_names=class_names)
    args = AlmTrainingArguments(
        output_dir=str(folder / f"run-of-{batch_size}"),
        num_train_epochs=3,
        per_device_train_batch_size=batch_size,
        per_device_eval_batch_size=batch_size,
        save_steps=1,
        disable_tqdm=True,
        use_cpu=True,
    )
    dataset = FeatureDataset(clips["features"], clips["labels"].tolist())
    trainer = AlmTrainer(
        model=get_peft_model(alm, parse_method(method, {"coop.n_ctx": 3})),
        args=args,
        train_dataset=dataset,
        eval_dataset=dataset,
        compute_metrics=count_correct,
        loss_hooks=[SmallLogits()],
    )
    trainer.train()
    metrics = trainer.evaluate()
    trainer.save_model(args.output_dir + "/adapter")
    if args.should_save:
        record = {"world_size": args.world_size, "log": trainer.state.log_history, "metrics": metrics}
        Path(args.output_dir, "record.json").write_text(json.dumps(record))


if __name__ == "__main__":
    with ending_together():
        main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]))
