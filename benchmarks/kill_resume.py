"""Kill training runs with SIGKILL at random moments, resume them, and compare the adapters with an uninterrupted one.

    python benchmarks/kill_resume.py --kills 20

Half of the kills come from outside after a random optimizer step, mid-epoch included. The other half strike between
two operations on the file system, so that they fall into the writing, renaming and deleting of checkpoints. Every
run is a process of its own. Exits with 1 unless every resumed adapter has the same bytes as the uninterrupted one.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import random
import signal
import sys
import tempfile
import time
import warnings
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import TrainerCallback
from transformers import logging as transformers_logging
from transformers.trainer_utils import get_last_checkpoint

import alm_prompt
from alm_prompt.data.collate import FeatureDataset
from alm_prompt.methods import parse_method
from alm_prompt.models import AlmForAudioClassification
from alm_prompt.training import AlmTrainer, AlmTrainingArguments
from alm_prompt.versions import installed_versions

ROOT = Path(__file__).resolve().parents[1]
CLASS_NAMES = ["dog", "rain", "siren", "door bell"]
CLIPS = 24
EPOCHS = 3
# 24 clips in micro-batches of 4, two to a step: 3 steps an epoch, a checkpoint every second step.
STEPS = EPOCHS * 3
METHOD = "coop+zebra"
# Imported once by the server that all processes are forked from.
PRELOADED = ["alm_prompt.training", "alm_prompt.methods", "alm_prompt.data.collate", "transformers.models.auto"]
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT
FILE_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}


@dataclass
class Kill:
    """One kill: after step `step`, or at file operation `operation`, and what became of the run."""

    step: int | None = None
    operation: int | None = None
    event: str | None = None
    resumed_from: str | None = None
    bitwise_equal: bool | None = None


class Reporter(TrainerCallback):
    """Tells the parent process of every step."""

    def __init__(self, channel: Connection) -> None:
        self.channel = channel

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Report the step."""
        self.channel.send(("step", state.global_step))


def watch_files(run_dir: Path, channel: Connection, kill_at: int | None) -> None:
    """Count the operations that change `run_dir`, report each, and end this process at number `kill_at`."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in FILE_EVENTS or not str(arguments[0]).startswith(str(run_dir)):
            return
        if event == "open" and not arguments[2] & WRITE_FLAGS:
            return
        count += 1
        channel.send(("operation", f"{event} {Path(str(arguments[0])).name}"))
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def silence() -> None:
    """Keep everything but errors of this process from the terminal."""
    sys.stdout = None
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    transformers_logging.disable_progress_bar()


def train(model_dir: Path, run_dir: Path, channel: Connection, kill_at: int | None) -> None:
    """Train, resuming what is there, and save the adapter: what runs in a process of its own."""
    torch.set_num_threads(1)
    silence()
    watch_files(run_dir, channel, kill_at)
    alm = AlmForAudioClassification.from_pretrained(model_dir, class_names=CLASS_NAMES)
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(CLIPS, alm.config.projection_dim, generator=generator)
    args = AlmTrainingArguments(
        output_dir=str(run_dir),
        num_train_epochs=EPOCHS,
        per_device_train_batch_size=4,
        gradient_accumulation_steps=2,
        save_strategy="steps",
        save_steps=2,
        logging_strategy="no",
        disable_tqdm=True,
        use_cpu=True,
    )
    torch.manual_seed(0)
    trainer = AlmTrainer(
        model=get_peft_model(alm, parse_method(METHOD, {"coop.n_ctx": 4})),
        args=args,
        train_dataset=FeatureDataset(features, [clip % len(CLASS_NAMES) for clip in range(CLIPS)]),
        callbacks=[Reporter(channel)],
    )
    trainer.train(resume_from_checkpoint=True)
    trainer.save_model(str(run_dir / "adapter"))


def run(model_dir: Path, run_dir: Path, kill: Kill | None = None) -> list[tuple[str, Any]]:
    """Run one training process to its end or to its kill and return what it reported."""
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=train, args=(model_dir, run_dir, sender, kill and kill.operation))
    process.start()
    sender.close()
    reports = []
    try:
        while True:
            reports.append(receiver.recv())
            if kill and kill.step and reports[-1] == ("step", kill.step):
                process.kill()
    except EOFError:
        process.join()
    expected = -signal.SIGKILL if kill else 0
    if process.exitcode != expected:
        raise RuntimeError(f"{run_dir}: the process ended with {process.exitcode}, not {expected}")
    return reports


def draw_kills(count: int, operations: int, seed: int) -> list[Kill]:
    """Draw the moments: every second one a step, the others a file operation."""
    generator = random.Random(seed)
    return [
        Kill(operation=generator.randint(1, operations)) if index % 2 else Kill(step=generator.randint(1, STEPS - 1))
        for index in range(count)
    ]


def kill_and_resume(kill: Kill, model_dir: Path, run_dir: Path, expected: bytes) -> None:
    """Carry out one kill, resume the run and note what came out."""
    reports = run(model_dir, run_dir, kill)
    kill.event = " ".join(map(str, reports[-1]))
    checkpoint = get_last_checkpoint(run_dir) if run_dir.is_dir() else None
    kill.resumed_from = checkpoint and Path(checkpoint).name
    run(model_dir, run_dir)
    kill.bitwise_equal = read_adapter(run_dir) == expected


def read_adapter(run_dir: Path) -> bytes:
    return (run_dir / "adapter" / "adapter_model.safetensors").read_bytes()


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="number of kills")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument(
        "--model",
        type=Path,
        default=Path(alm_prompt.__file__).parent / "assets" / "tiny_alm",
        help="folder of the audio-language model; default: the bundled one",
    )
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "kill_resume.json", help="JSON to write"
    )
    return parser.parse_args()


def main() -> int:
    """Run the benchmark."""
    options = parse_arguments()
    start = time.perf_counter()
    multiprocessing.set_forkserver_preload(PRELOADED)
    with tempfile.TemporaryDirectory() as folder:
        reports = run(options.model, Path(folder, "whole"))
        expected = read_adapter(Path(folder, "whole"))
        kills = draw_kills(options.kills, sum(kind == "operation" for kind, _ in reports), options.seed)
        for index, kill in enumerate(kills):
            kill_and_resume(kill, options.model, Path(folder, f"run-{index}"), expected)
            outcome = "equal" if kill.bitwise_equal else "DIFFERENT"
            print(f"{index + 1}/{options.kills}: {kill.event}, from {kill.resumed_from}: {outcome}", flush=True)
    equal = sum(kill.bitwise_equal for kill in kills)
    record = {
        "kills": options.kills,
        "bitwise_equal": equal,
        "seed": options.seed,
        "method": METHOD,
        "steps": STEPS,
        "wall_seconds": round(time.perf_counter() - start, 1),
        "versions": installed_versions(),
        "runs": [asdict(kill) for kill in kills],
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    options.output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    print(f"{equal} of {options.kills} resumed adapters are bitwise equal to the uninterrupted one; {options.output}")
    return 0 if equal == options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
