"""`alm-prompt quickstart`: the main job from end to end, offline, with the commands it is made of."""

from __future__ import annotations

import shlex
import subprocess
import sys
import time
from pathlib import Path

from ..errors import AlmPromptError
from . import evaluate, train
from .options import QuickstartOptions
from .parser import CommandParser

DESCRIPTION = (
    "Run the main job offline on the bundled tiny model and its world of sounds: compare zero-shot, CoOp and "
    "CoOp+ZEBRA on base and novel classes, save an adapter, load it in a new process and classify a file with it."
)
METHOD = "coop+zebra"
UNSEEN_SEED = 1


def run(argv: list[str]) -> None:
    """Make the sounds, then run `evaluate`, `train` and `predict` on them as a user would."""
    options, _ = CommandParser("quickstart", DESCRIPTION, [QuickstartOptions]).parse(argv)
    import torch

    from .loading import REAL_MODEL, TINY
    from .run_folder import ADAPTER_NAME, check_writable

    # The tiny model's matrices are too small to share: more threads only wait for each other, on a busy machine long.
    torch.set_num_threads(1)
    start = time.perf_counter()
    folder = Path(options.output_dir)
    check_writable(folder, "--output-dir")
    if folder.is_dir() and any(folder.iterdir()) and not options.overwrite:
        raise AlmPromptError(f"{folder} is not empty; add --overwrite to run again, or choose another --output-dir")
    sounds, unseen = _sounds(folder, options)
    again = ["--overwrite"] if options.overwrite else []
    recipe = ["--shots", str(options.shots), "--epochs", str(options.epochs)]

    print("\n2. What do learned prompts gain on trained (base) classes, and cost on the others (novel)?")
    seeds = [str(seed) for seed in range(options.num_seeds)]
    common = ["--model", TINY, "--data", str(sounds), *recipe]
    benchmark = ["--base-to-novel", *common, "--seeds", *seeds, "--output-dir", str(folder / "benchmark"), *again]
    _show("evaluate", benchmark)
    evaluate.run(benchmark)

    print("\n3. Learn prompts for all classes and save them as an adapter.")
    training = [*common, "--method", METHOD, "--output-dir", str(folder / "run"), *again]
    _show("train", training)
    train.run(training)

    print("\n4. Load the adapter in a new process and classify a recording that nothing was trained on.")
    prediction = ["--adapter", str(folder / "run" / ADAPTER_NAME), str(unseen)]
    _show("predict", prediction)
    subprocess.run([sys.executable, "-m", "alm_prompt", "predict", *prediction], check=True)

    print(f"\nDone in {time.perf_counter() - start:.0f} s. With a real model, on a folder with one folder per class:")
    own = ["--model", REAL_MODEL, "--data", "my-sounds", "--method", METHOD, "--output-dir", "runs/my-sounds"]
    _show("train", own)


def _sounds(folder: Path, options: QuickstartOptions) -> tuple[Path, Path]:
    """Folder of the world's sounds, and one more recording from outside it."""
    from ..data.world import WORLD_CLASSES, write_world

    sounds, others = folder / f"sounds-{options.clips_per_class}", folder / "other-sounds"
    print(
        f"1. A world of sounds: {options.clips_per_class} recordings of each of {len(WORLD_CLASSES)} classes, "
        f"in {sounds} (some seconds) ...",
        flush=True,
    )
    for root, seed, count in ((sounds, 0, options.clips_per_class), (others, UNSEEN_SEED, 1)):
        if not root.is_dir():
            root.parent.mkdir(parents=True, exist_ok=True)
            write_world(root, seed=seed, per_class=count)
    return sounds, next(iter(sorted(others.rglob("*.wav"))))


def _show(command: str, arguments: list[str]) -> None:
    print(f"   $ alm-prompt {command} {shlex.join(arguments)}\n", flush=True)
