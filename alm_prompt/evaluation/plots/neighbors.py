"""Where a model puts classes and their acoustic neighbours: a map of similarities, and a t-SNE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patheffects import withStroke
from matplotlib.transforms import Bbox
from sklearn.manifold import TSNE

from ...errors import AlmPromptError
from .style import COLOURS, COLUMN, MARKERS, PAGE, ROW, SHORT_LIST, SMALL, TINY, frameless, name_classes, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.text import Annotation
    from peft import PeftModel

    from ...models import AlmForAudioClassification

# Where a name can stand beside its point, the best place first.
SIDES = ((1, 1), (1, -1), (-1, 1), (-1, -1), (0, 1), (0, -1), (1, 0), (-1, 0))
NAME_DISTANCE = 3.5  # points


@dataclass(frozen=True)
class ClassTexts:
    """Unit vectors that a model gives to classes and to their neighbours.

    Attributes:
        class_names: `K` names.
        classes: `[K, d]`.
        neighbors: per class `[N, d]`; `N` may differ from class to class.
    """

    class_names: Sequence[str]
    classes: np.ndarray
    neighbors: Sequence[np.ndarray]

    def similarities(self) -> np.ndarray:
        """`[K, K]`: entry `[i, j]` is the mean cosine of class `i` to the neighbours of class `j`."""
        return np.stack([(self.classes @ terms.T).mean(axis=1) for terms in self.neighbors], axis=1)

    def share_at_own_class(self) -> float:
        """Share of the neighbours that are closer to their own class than to any other, in all `d` dimensions."""
        nearest = [(terms @ self.classes.T).argmax(axis=1) for terms in self.neighbors]
        return float(np.concatenate([row == index for index, row in enumerate(nearest)]).mean())


@torch.no_grad()
def embed_texts(
    model: AlmForAudioClassification | PeftModel, class_names: Sequence[str], neighbors: Mapping[str, Sequence[str]]
) -> ClassTexts:
    """Encode classes and neighbours as a model encodes classes: with its adapter's prompts, or zero-shot.

    Args:
        model: the model in eval mode, with or without an adapter; its classes change.
        class_names: the classes.
        neighbors: terms per class.

    Raises:
        AlmPromptError: the prompts of the adapter depend on the clip, so that a text has no embedding of its own.
    """
    terms = [term for name in class_names for term in neighbors[name]]
    model.set_classes([*class_names, *terms], template=model.class_bank.template)
    silence = torch.zeros(1, model.config.projection_dim, device=model.device, dtype=model.dtype)
    embeds = model(audio_features=silence).text_embeds
    if embeds.dim() == 3:
        raise AlmPromptError("the prompts of this adapter depend on the clip, so its texts have no place of their own")
    embeds = embeds.float().cpu().numpy()
    ends = np.cumsum([len(class_names), *(len(neighbors[name]) for name in class_names)])
    return ClassTexts(list(class_names), embeds[: ends[0]], np.split(embeds[ends[0] :], (ends[1:-1] - ends[0])))


@styled
def neighbor_similarity(models: Mapping[str, ClassTexts]) -> Figure:
    """Map of how similar every class is to the neighbours of every class (the motivation of SEPT, arXiv 2601.20867).

    A dark diagonal on light ground is what SEPT aims at.

    Args:
        models: embeddings by the name of the model, all of the same classes; each gets a map.
    """
    count = len(next(iter(models.values())).class_names)
    short = count <= SHORT_LIST
    rows, columns = (1, len(models)) if short else (len(models), 1)
    size = (COLUMN * columns, COLUMN) if short else (PAGE, rows * (ROW * count + 0.4) + 0.8)
    figure = Figure(figsize=size, layout="constrained")
    maps = {name: texts.similarities() for name, texts in models.items()}
    # A single class that is far from everything would leave no shades for the others.
    low, high = np.percentile(np.stack([*maps.values()]), (2, 100))
    drawn = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True).ravel()
    for axes, (name, cosines) in zip(drawn, maps.items(), strict=True):
        image = axes.imshow(cosines, cmap="Greys", vmin=low, vmax=high, aspect="auto")
        own = np.eye(count, dtype=bool)
        figures = f"own neighbours {cosines[own].mean():.2f}, others' {cosines[~own].mean():.2f}"
        axes.set_title(f"{name}\n{figures}")
        axes.tick_params(length=0)
        if short:
            _write_values(axes, cosines, (low + high) / 2)
    for axes in drawn.reshape(rows, columns)[:, 0]:
        name_classes(axes.yaxis, models[next(iter(models))].class_names)
        axes.set_ylabel("class")
    for axes in drawn.reshape(rows, columns)[-1]:
        name_classes(axes.xaxis, models[next(iter(models))].class_names, rotation=90)
        axes.set_xlabel("neighbours of …")
    figure.colorbar(image, ax=drawn, label="mean cosine", shrink=0.8, aspect=30, extend="min")
    return figure


def _write_values(axes: Axes, values: np.ndarray, middle: float) -> None:
    for (row, column), value in np.ndenumerate(values):
        colour = "white" if value > middle else "black"
        axes.text(column, row, f"{value:.2f}", ha="center", va="center", fontsize=TINY, color=colour)


@styled
def neighbor_tsne(models: Mapping[str, ClassTexts], seed: int = 0) -> Figure:
    """Flat picture of class and neighbour embeddings, one per model, in which near things are similar.

    Every neighbour is tied to its class by a line: short lines are neighbours that lie with their class. Distances
    between groups mean little, so each title says what holds in all dimensions.

    Args:
        models: embeddings by the name of the model, all of the same classes.
        seed: seed of t-SNE.
    """
    short = len(next(iter(models.values())).class_names) <= SHORT_LIST
    rows, columns = (1, len(models)) if short else (len(models), 1)
    size = (COLUMN * columns, 3.7) if short else (PAGE, 5.0 * rows)
    figure = Figure(figsize=size, layout="constrained")
    drawn = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, (name, texts) in zip(drawn, models.items(), strict=True):
        _tie_neighbors(axes, texts.class_names, *_flattened(texts, seed))
        axes.set_title(f"{name}: {100 * texts.share_at_own_class():.0f} % of neighbours nearest to their class")
        frameless(axes)
    figure.supxlabel("large: classes, small and tied to them: their neighbours (t-SNE, no units)", fontsize=SMALL)
    # Only where everything else has its place is it known which names would meet.
    figure.draw_without_rendering()
    for axes in drawn:
        _keep_names_apart(axes)
    return figure


def _flattened(texts: ClassTexts, seed: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Places `[K, 2]` of the classes and, per class, `[N, 2]` of its neighbours."""
    points = np.concatenate([texts.classes, *texts.neighbors])
    perplexity = min(30.0, (len(points) - 1) / 3)
    places = TSNE(metric="cosine", init="pca", perplexity=perplexity, random_state=seed).fit_transform(points)
    ends = np.cumsum([len(texts.classes), *map(len, texts.neighbors)])
    classes, *neighbors = np.split(places, ends[:-1])
    return classes, neighbors


def _tie_neighbors(axes: Axes, names: Sequence[str], classes: np.ndarray, neighbors: Sequence[np.ndarray]) -> None:
    size = 7 if len(names) <= SHORT_LIST else 5
    for index, (name, place, terms) in enumerate(zip(names, classes, neighbors, strict=True)):
        look = {"marker": MARKERS[index % len(MARKERS)], "color": COLOURS[index % len(COLOURS)]}
        for term in terms:
            axes.plot(*zip(place, term, strict=True), color="0.75", linewidth=0.4, zorder=1)
        axes.plot(*terms.T, **look, linestyle="none", markersize=size / 2.5, alpha=0.6, markeredgewidth=0, zorder=2)
        axes.plot(*place, **look, markersize=size, markeredgecolor="black", markeredgewidth=0.8, zorder=3)
        text = axes.annotate(
            name.replace("_", " "), place, xytext=(0, 0), textcoords="offset points", fontsize=SMALL, zorder=4
        )
        text.set_path_effects([withStroke(linewidth=1.5, foreground="white")])


def _keep_names_apart(axes: Axes) -> None:
    """Put every name on that side of its class where it covers least of the other classes and of earlier names."""
    marker = 2 * NAME_DISTANCE * axes.figure.dpi / 72
    points = axes.transData.transform([text.xy for text in axes.texts])
    taken = [Bbox.from_bounds(x - marker / 2, y - marker / 2, marker, marker) for x, y in points]
    for text in axes.texts:
        covered = []
        for side in SIDES:
            _put_aside(text, side)
            box = text.get_window_extent()
            shared = [common for other in taken if (common := Bbox.intersection(box, other)) is not None]
            covered.append(sum(common.width * common.height for common in shared))
        _put_aside(text, SIDES[int(np.argmin(covered))])
        taken.append(text.get_window_extent())


def _put_aside(text: Annotation, side: tuple[int, int]) -> None:
    right, up = side
    text.set_position((NAME_DISTANCE * right, NAME_DISTANCE * up))
    text.set_ha(("right", "center", "left")[right + 1])
    text.set_va(("top", "center", "bottom")[up + 1])
