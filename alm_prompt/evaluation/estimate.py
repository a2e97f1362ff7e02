"""What a grid is expected to cost: from its finished rows, or from two epochs of one run of each method."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..cache import caching_in
from ..training import AlmTrainingArguments
from .rows import one_line_reason
from .run import train_and_measure

if TYPE_CHECKING:
    from .grid import Run
    from .runner import Runner

PROBED_EPOCHS = 2


@dataclass(frozen=True)
class MethodCost:
    """What is left to do of a method.

    Attributes:
        method: its label.
        runs: how many there are in the grid.
        pending: how many of them have no row.
        seconds: expected seconds of all that are pending.
        measured: from how many finished runs; 0 where it was taken from a probe.
        problem: why it cannot be run, if it cannot.
    """

    method: str
    runs: int
    pending: int
    seconds: float = 0.0
    measured: int = 0
    problem: str | None = None


def expected_costs(runner: Runner) -> list[MethodCost]:
    """Cost of every method, taken to grow with the number of training clips.

    What is known of a method are its finished runs, or else a probe: two epochs of the run with the most clips.
    """
    with caching_in(runner.cache.folder):
        return [_cost(runner, label) for label in dict.fromkeys(run.label for run, _ in runner.begun)]


def _cost(runner: Runner, label: str) -> MethodCost:
    runs = sum(run.label == label for run, _ in runner.begun)
    pending = [run for run, _ in runner.pending if run.label == label]
    clips = [len(run.split.train) for run in pending]
    finished = [row for row in runner.rows() if row["method"] == label]
    if finished:
        rate = sum(row["seconds"] for row in finished) / sum(row["train_clips"] for row in finished)
        return MethodCost(label, runs, len(pending), rate * sum(clips), len(finished))
    try:
        rate = _probe(runner, pending[clips.index(max(clips))]) / max(clips)
    # What fails here would be listed as a failed run, and is no reason not to tell the cost of the others.
    except Exception as error:
        return MethodCost(label, runs, len(pending), problem=one_line_reason(error))
    return MethodCost(label, runs, len(pending), rate * sum(clips))


def _probe(runner: Runner, run: Run) -> float:
    """Seconds that a run would take, from two epochs of it."""
    epochs = run.training.get("num_train_epochs", AlmTrainingArguments.num_train_epochs)
    short = replace(run, training={**run.training, "num_train_epochs": min(epochs, PROBED_EPOCHS)})
    ends: list[float] = []
    encoded = runner.encode([run])
    begun = time.perf_counter()
    train_and_measure(short, runner.model, runner.processor, encoded, lambda _: ends.append(time.perf_counter()))
    if len(ends) < PROBED_EPOCHS:
        return time.perf_counter() - begun
    # What precedes the first epoch, such as SEPT's margins, is kept by the cache and not paid for in every run.
    return epochs * (ends[1] - ends[0]) + time.perf_counter() - ends[1]
