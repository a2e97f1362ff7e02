"""Attack the library and measure what becomes of it; the figures of docs/reliability.md.

    python benchmarks/reliability.py config weights audio --count 2000
    python benchmarks/reliability.py largest
    python benchmarks/reliability.py steps --count 1000
    python benchmarks/reliability.py predictions --count 10000
    python benchmarks/reliability.py disk

Every part prints one JSON object. Exits with 1 where a bar is not met. Kills in the middle of a run are measured by
`kill_resume.py`.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import torch
from faults import adapters, audio, disk, endurance
from transformers.utils import logging

from alm_prompt import AlmForAudioClassification
from alm_prompt.data.world import TINY_MODEL

INSIDE = "RELIABILITY_INSIDE"
MOST_MEMORY_MB = 1024
MOST_GROWTH_PERCENT = 1.0
NEIGHBORS = {"bird song": ["whistle"], "hand drum": ["knock"], "ocean waves": ["wind"]}


def measure_adapters(count: int, seed: int, part: str) -> dict[str, Any]:
    """Mutants of adapters on the bundled model."""
    model = AlmForAudioClassification.from_pretrained(TINY_MODEL, class_names=list(NEIGHBORS)).eval()
    with tempfile.TemporaryDirectory() as root:
        saved = adapters.save_adapters(model, Path(root), NEIGHBORS)
        if part == "largest":
            [sept] = (folder for folder in saved if "sept" in folder.name)
            return adapters.load_largest(model, sept)
        return adapters.attack(model, saved, count, seed, part)


def measure_disk(count: int, seed: int) -> dict[str, Any]:
    """A full and a read-only disk at up to `count` sizes, in a name space of its own."""
    if os.environ.get(INSIDE) is None:
        if not disk.can_mount():
            raise SystemExit("this system does not let a process mount a tmpfs of its own: not measured")
        command = [*disk.ENTER, sys.executable, __file__, "disk", "--count", str(count)]
        finished = subprocess.run(command, env=os.environ | {INSIDE: "1"}, stdout=subprocess.PIPE, check=False)
        result = json.loads(finished.stdout.splitlines()[-1])
        return {name: value for name, value in result.items() if name not in ("part", "holds")}
    with tempfile.TemporaryDirectory() as root:
        return disk.attack(Path(root), disk.FREE[:: max(len(disk.FREE) // count, 1)])


PARTS: dict[str, Callable[[int, int], dict[str, Any]]] = {
    "config": lambda count, seed: measure_adapters(count, seed, "config"),
    "weights": lambda count, seed: measure_adapters(count, seed, "weights"),
    "largest": lambda count, seed: measure_adapters(count, seed, "largest"),
    "audio": lambda count, seed: audio.attack(count, seed, hours=True),
    "steps": lambda count, seed: endurance.train(count),
    "predictions": lambda count, seed: endurance.predict(count),
    "disk": measure_disk,
}


def holds(result: dict[str, Any]) -> bool:
    """Whether a result meets the bars."""
    faults = [name for name, value in result.items() if isinstance(value, list) and value]
    return (
        not faults
        and result.get("peak_mb", 0) < MOST_MEMORY_MB
        and result.get("hours_grow_mb", 0) < MOST_MEMORY_MB
        and result.get("growth_percent", 0) < MOST_GROWTH_PERCENT
        and result.get("leaked_files", 0) <= 0
    )


def main() -> int:
    """Measure the parts that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=PARTS)
    parser.add_argument("--count", type=int, default=2000, help="mutants, steps, predictions or sizes")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    good = True
    for part in options.parts:
        result = PARTS[part](options.count, options.seed)
        print(json.dumps({"part": part, "holds": holds(result), **result}), flush=True)
        good &= holds(result)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
