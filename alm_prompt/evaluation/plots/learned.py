"""Pictures of training: the mixing that PALM learned, and the parts of the loss over time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from ...errors import AlmPromptError
from .style import COLOURS, COLUMN, MARKERS, SHORT_LIST, line_style, name_classes, styled

# The sigmoid of a number that is drawn from [0, 1).
START = (0.5, 0.731)
TOTAL = "loss"
# What transformers logs beside the loss and its parts.
NOT_LOSSES = ("epoch", "step", "grad_norm", "learning_rate", "num_input_tokens_seen")
MARKS_PER_LINE = 8


@styled
def learned_mixing(class_names: Sequence[str], shares: Sequence[float]) -> Figure:
    """Share of the learned vector in the embedding of every class (PALM's lambda, arXiv 2409.19806, section 3.3).

    Args:
        class_names: the trained classes.
        shares: per class between 0 (text alone) and 1 (learned vector alone).
    """
    order = np.argsort(shares)
    height = 0.17 if len(class_names) <= SHORT_LIST else 0.105
    figure = Figure(figsize=(COLUMN, height * len(class_names) + 1.0), layout="constrained")
    axes = figure.subplots()
    axes.barh(range(len(order)), np.asarray(shares)[order], height=0.5, color="0.35", zorder=2)
    axes.axvspan(*START, color="0.88", zorder=0, label="where training starts")
    name_classes(axes.yaxis, [class_names[index] for index in order])
    axes.set_ylim(-0.6, len(order) - 0.4)
    axes.set_xlim(0, 1)
    axes.set_xlabel("learned λ (0: text alone, 1: learned vector alone)")
    axes.set_title(f"share of the learned vector, mean {np.mean(shares):.2f}")
    figure.legend(loc="outside lower center")
    return figure


@styled
def loss_parts(log: Sequence[Mapping[str, float]]) -> Figure:
    """The training loss and its parts over the steps.

    Args:
        log: entries of `trainer.state.log_history`; those without a loss are passed over.

    Raises:
        AlmPromptError: no entry holds a training loss.
    """
    entries = [entry for entry in log if TOTAL in entry]
    if not entries:
        raise AlmPromptError("the log holds no training loss; train with logging_strategy='epoch' or 'steps'")
    parts = sorted({name for entry in entries for name in entry} - {TOTAL, *NOT_LOSSES})
    figure = Figure(figsize=(COLUMN, 2.6), layout="constrained")
    axes = figure.subplots()
    for number, name in enumerate([TOTAL, *parts]):
        points = [(entry["step"], entry[name]) for entry in entries if name in entry]
        look = {
            "linestyle": line_style(number),
            "marker": MARKERS[number % len(MARKERS)],
            "markevery": max(len(points) // MARKS_PER_LINE, 1),
            "color": COLOURS[number % len(COLOURS)],
        }
        sum_of_parts = {"linestyle": "-", "color": "0.8", "linewidth": 4}
        label = f"{name} (their sum)" if name == TOTAL and parts else name.replace("_", " ")
        axes.plot(*zip(*points, strict=True), label=label, **(sum_of_parts if name == TOTAL else look))
    axes.axhline(0, color="0.7", linewidth=0.6, zorder=0)
    axes.set_xlabel("training step")
    axes.set_ylabel("weighted term, mean since last log")
    axes.set_title("training loss and its parts" if parts else "training loss")
    figure.legend(loc="outside lower center", ncols=3)
    return figure
