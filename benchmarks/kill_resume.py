"""Kill work with SIGKILL at random moments, go on with it, and compare with work that was not killed.

    python benchmarks/kill_resume.py                          # 10 kills of each kind of work
    python benchmarks/kill_resume.py --kinds saving --kills 4

Half of the kills come from outside, after a random share of the time that the work takes. The other half strike
between two operations on the file system, so that they fall into writing, renaming and deleting. After every kill,
what a reader accepts must be whole: as it was before, or as the finished work has it. Then the work goes on, and ends
with the same bytes as work that was not killed, nothing lost and nothing doubled; otherwise this exits with 1.

Every kill is written down when it is done: the same command goes on where it was ended.
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
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import torch
from kill_jobs import JOBS, Accepted, Job
from transformers import logging as transformers_logging

from alm_prompt.versions import installed_versions

ROOT = Path(__file__).resolve().parents[1]
# Imported once by the server that all processes are forked from.
PRELOADED = ["kill_jobs", "alm_prompt.evaluation.runner", "alm_prompt.models.convert.checkpoint", "transformers"]
WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT
FILE_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir"}
# Work that has ended before its kill came is killed again, earlier.
EARLIER = 0.5


@dataclass
class Kill:
    """One kill, at a share of the work's time or of its file operations, and what became of the work.

    Attributes:
        share: of the time, or of the number of operations.
        by_time: which of them.
        event: the last file operation before it.
        half_written: what a reader accepted right after it, and is not whole.
        equal: whether the work ended as without a kill.
    """

    share: float
    by_time: bool
    event: str | None = None
    half_written: list[str] | None = None
    equal: bool | None = None


def watch_files(folder: Path, channel: Connection, kill_at: int | None) -> None:
    """Count the operations that change `folder`, report each, and end this process at number `kill_at`."""
    count = 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event not in FILE_EVENTS or not str(arguments[0]).startswith(str(folder)):
            return
        if event == "open" and not arguments[2] & WRITE_FLAGS:
            return
        count += 1
        channel.send(f"{event} {Path(str(arguments[0])).name}")
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(hook)


def work(run: Callable[[Path], None], folder: Path, channel: Connection, kill_at: int | None) -> None:
    """Do a job: what runs in a process of its own."""
    # Its workers are to be its own children, which end when it is killed, and not children of the fork server.
    multiprocessing.set_start_method("fork", force=True)
    torch.set_num_threads(1)
    sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    transformers_logging.disable_progress_bar()
    channel.send("begin")
    watch_files(folder, channel, kill_at)
    run(folder)


def run(
    job: Job, folder: Path, kill_at: int | None = None, kill_after: float | None = None
) -> tuple[bool, list[str], float]:
    """Do a job in a process of its own, to its end or to its kill.

    Args:
        job: the job.
        folder: its folder.
        kill_at: number of the file operation that is not made any more.
        kill_after: seconds.

    Returns:
        Whether it was killed, its file operations, and the seconds that it took.
    """
    context = multiprocessing.get_context("forkserver")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(job.run, folder, sender, kill_at))
    process.start()
    sender.close()
    operations = []
    receiver.recv()
    start = time.perf_counter()
    deadline = None if kill_after is None else start + kill_after
    try:
        while True:
            if deadline is not None and not receiver.poll(max(deadline - time.perf_counter(), 0)):
                process.kill()
                deadline = None
            operations.append(receiver.recv())
    except EOFError:
        process.join()
    if process.exitcode not in (0, -signal.SIGKILL):
        raise RuntimeError(f"{folder}: the process ended with {process.exitcode}")
    return process.exitcode != 0, operations, time.perf_counter() - start


def kill_and_go_on(job: Job, kill: Kill, root: Path, whole: tuple[Accepted, int, float]) -> None:
    """Carry out one kill, go on and note what came out."""
    expected, operations, seconds = whole
    killed = False
    while not killed:
        folder = Path(tempfile.mkdtemp(dir=root))
        job.prepare(folder)
        before = job.read(folder)
        after, at = kill.share * seconds, int(kill.share * operations) + 1
        killed, done, _ = run(job, folder, **({"kill_after": after} if kill.by_time else {"kill_at": at}))
        if not killed:
            kill.share *= EARLIER
    kill.event = done[-1] if done else None
    kill.half_written = [name for name, content in job.read(folder) if (name, content) not in (*before, *expected)]
    run(job, folder)
    kill.equal = sorted(job.read(folder)) == sorted(expected)


def run_kind(kind: str, count: int, seed: int, output: Path) -> dict[str, Any]:
    """All kills of one kind of work that are not in the output yet; each is written there."""
    job, generator = JOBS[kind], random.Random(f"{kind}-{seed}")
    kills = [Kill(generator.random(), by_time=index % 2 == 0) for index in range(count)]
    done = read_output(output)["kinds"].get(kind, {"seed": seed, "runs": []})
    result = done if done["seed"] == seed else {"seed": seed, "runs": []}
    with tempfile.TemporaryDirectory() as root:
        folder = Path(tempfile.mkdtemp(dir=root))
        job.prepare(folder)
        _, operations, seconds = run(job, folder)
        whole = job.read(folder), len(operations), seconds
        result["things"] = len(whole[0])
        if not result["things"]:
            raise RuntimeError(f"{kind}: nothing can be read after the whole work, so nothing can be compared")
        for number, kill in list(enumerate(kills, start=1))[len(result["runs"]) :]:
            kill_and_go_on(job, kill, Path(root), whole)
            result["runs"].append(asdict(replace(kill, share=round(kill.share, 4))))
            # Read anew: other kinds may have been run meanwhile.
            record = read_output(output)
            record["kinds"][kind] = result
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
            outcome = "equal" if kill.equal else "DIFFERENT"
            print(f"{kind} {number}/{count}: after {kill.event}: {outcome}", flush=True)
    return result


def read_output(path: Path) -> dict[str, Any]:
    """What is known so far."""
    known = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {"kinds": {}}
    return known | {"versions": installed_versions()}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kinds", nargs="+", choices=JOBS, default=list(JOBS), help="kinds of work")
    parser.add_argument("--kills", type=int, default=10, help="number of kills of each kind")
    parser.add_argument("--seed", type=int, default=0, help="seed of the moments")
    parser.add_argument(
        "--output", type=Path, default=ROOT / "benchmarks" / "results" / "kill_resume.json", help="JSON to write"
    )
    return parser.parse_args()


def main() -> int:
    """Run the benchmark."""
    options = parse_arguments()
    multiprocessing.set_forkserver_preload(PRELOADED)
    failed = False
    for kind in options.kinds:
        result = run_kind(kind, options.kills, options.seed, options.output)
        equal = sum(kill["equal"] for kill in result["runs"])
        half_written = sum(len(kill["half_written"]) for kill in result["runs"])
        print(f"{kind}: {equal} of {len(result['runs'])} equal, {half_written} half-written", flush=True)
        failed |= equal < len(result["runs"]) or half_written > 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
