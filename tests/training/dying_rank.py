"""Run by torchrun: two processes train, and in its third step the second one fails as it is told."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import TrainerCallback

from alm_prompt.data.collate import FeatureDataset
from alm_prompt.distributed import ending_together
from alm_prompt.methods import parse_method
from alm_prompt.models import AlmForAudioClassification
from alm_prompt.training import AlmTrainer, AlmTrainingArguments


class Fail(TrainerCallback):
    """Ends the second process, and writes down when."""

    def __init__(self, how: str, stamp: Path) -> None:
        self.how, self.stamp = how, stamp

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if args.process_index == 1 and state.global_step == 2:
            self.stamp.write_text(str(time.time()))
            if self.how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            raise RuntimeError("the second process has had enough")


def main(folder: Path, how: str) -> None:
    alm = AlmForAudioClassification.from_pretrained(folder / "model", class_names=["dog", "rain"])
    args = AlmTrainingArguments(str(folder / how), max_steps=1000, save_strategy="no", disable_tqdm=True, use_cpu=True)
    features = torch.randn(16, alm.config.projection_dim, generator=torch.Generator().manual_seed(0))
    dataset = FeatureDataset(features, [clip % 2 for clip in range(16)])
    model = get_peft_model(alm, parse_method("coop"))
    AlmTrainer(model=model, args=args, train_dataset=dataset, callbacks=[Fail(how, folder / "stamp")]).train()


if __name__ == "__main__":
    with ending_together():
        main(Path(sys.argv[1]), sys.argv[2])
