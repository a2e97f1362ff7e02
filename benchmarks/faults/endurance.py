"""Many steps and many predictions in one process: neither memory nor file handles may grow."""

from __future__ import annotations

import gc
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import PrinterCallback, TrainerCallback

from alm_prompt import AlmForAudioClassification, AlmTrainer, AlmTrainingArguments, parse_method, pipeline
from alm_prompt.data import AlmCollator, FeatureDataset
from alm_prompt.data.world import TINY_MODEL, write_world

from .watch import open_files, resident_mb

CLASSES = ["bird song", "hand drum", "ocean waves"]
METHOD = "coop+zebra"
# Share of the work after which growth is measured: allocators and caches have filled by then.
WARM_UP = 0.2


class _Samples:
    """Memory and file handles, after the warm-up and at the end."""

    def __init__(self, count: int) -> None:
        self.count, self.marks = count, (round(WARM_UP * count), count)
        self.memory: list[float] = []
        self.files: list[int] = []

    def take(self, done: int) -> None:
        """Measure if it is time."""
        if done in self.marks:
            gc.collect()
            self.memory.append(resident_mb())
            self.files.append(open_files())

    def result(self) -> dict[str, Any]:
        """Growth between the two."""
        first, last = self.memory
        return {
            "count": self.count,
            "memory_mb": round(last),
            "growth_percent": round(100 * (last - first) / first, 2),
            "leaked_files": self.files[1] - self.files[0],
        }


def train(steps: int) -> dict[str, Any]:
    """Train so many steps, with checkpoints on the way."""
    samples = _Samples(steps)

    class Sampler(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            samples.take(state.global_step)

    model = get_peft_model(_model(), parse_method(METHOD))
    features = torch.randn(48, model.config.projection_dim, generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder:
        args = AlmTrainingArguments(
            output_dir=folder,
            max_steps=steps,
            save_strategy="steps",
            save_steps=max(steps // 10, 1),
            save_total_limit=2,
            logging_strategy="no",
            disable_tqdm=True,
            use_cpu=True,
        )
        dataset = FeatureDataset(features, [index % len(CLASSES) for index in range(len(features))])
        trainer = AlmTrainer(model, args, train_dataset=dataset, data_collator=AlmCollator(), callbacks=[Sampler()])
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return samples.result()


def predict(count: int) -> dict[str, Any]:
    """Classify so many files, one after the other, by path."""
    samples = _Samples(count)
    classify: Callable[..., Any] = pipeline(model=get_peft_model(_model(), parse_method(METHOD)))
    with tempfile.TemporaryDirectory() as folder:
        paths = [clip.source for clip in write_world(Path(folder, "sounds"), per_class=2)]
        for done in range(1, count + 1):
            classify(paths[done % len(paths)])
            samples.take(done)
    return samples.result()


def _model() -> AlmForAudioClassification:
    return AlmForAudioClassification.from_pretrained(TINY_MODEL, class_names=CLASSES)
