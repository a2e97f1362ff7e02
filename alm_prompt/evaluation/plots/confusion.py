"""Picture of what is taken for what."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure

from ...errors import AlmPromptError
from .style import COLUMN, PAGE, ROW, SHORT_LIST, TINY, name_classes, styled

# Below 1: the few clips of a rare mistake get a shade that can be seen.
SHADING = 0.5


@styled
def confusion_matrix(predictions: Sequence[int], references: Sequence[int], class_names: Sequence[str]) -> Figure:
    """Share of the clips of every class that was given to every class.

    Args:
        predictions: class index per clip.
        references: true class index per clip.
        class_names: the classes. A row of a class without clips is hatched.

    Raises:
        AlmPromptError: there are no clips, or the two differ in length.
    """
    if len(predictions) != len(references) or len(references) == 0:
        raise AlmPromptError(
            f"{len(predictions)} predictions for {len(references)} references; give one per clip, at least one"
        )
    count = len(class_names)
    clips = np.zeros((count, count))
    np.add.at(clips, (np.asarray(references), np.asarray(predictions)), 1)
    totals = clips.sum(axis=1, keepdims=True)
    shares = 100 * np.divide(clips, totals, where=totals > 0, out=np.full_like(clips, np.nan))
    short = count <= SHORT_LIST
    figure = Figure(figsize=(COLUMN, 3.3) if short else (PAGE, ROW * count + 1.5), layout="constrained")
    axes = figure.subplots()
    axes.patch.set(hatch="////", edgecolor="0.6")
    image = axes.imshow(shares, cmap="Greys", norm=PowerNorm(SHADING, 0, 100), aspect="auto")
    if short:
        for (row, column), share in np.ndenumerate(shares):
            if share > 0:
                colour = "white" if share > 30 else "black"
                axes.text(column, row, f"{share:.0f}", ha="center", va="center", fontsize=TINY, color=colour)
    name_classes(axes.yaxis, class_names)
    name_classes(axes.xaxis, class_names, rotation=90)
    axes.set_ylabel("true class")
    axes.set_xlabel("predicted class")
    right = int(clips.trace())
    axes.set_title(f"{right} of {len(references)} clips right ({100 * right / len(references):.1f} %)")
    figure.colorbar(image, label="share of the class's clips (%)", shrink=0.8, aspect=30)
    return figure
