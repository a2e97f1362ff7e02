"""One look for all figures: text that can be read in a column of a paper, and marks that differ without colour."""

from __future__ import annotations

import io
from collections.abc import Callable
from functools import wraps
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec

import matplotlib

from ...files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Parameters = ParamSpec("Parameters")

COLUMN, PAGE = 3.5, 7.0  # widths in inches, of a column and of two
ROW = 0.095  # height in inches of one class in a long list
# Class lists up to this length leave room for numbers in cells and names at points.
SHORT_LIST = 15
SMALL, TINY = 6, 5  # text sizes in points, beside the sizes below
STYLE = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.2,
    "lines.markersize": 5,
    "hatch.linewidth": 0.4,
    "pdf.fonttype": 42,
}
DPI = 150
# Okabe and Ito's colours from dark to light: apart for every kind of sight, and in grey as far as five can be.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)))


def mark(number: int) -> dict[str, Any]:
    """Marker, filling and colour of the n-th thing: twenty that differ in grey, a hundred with colour."""
    fillings = list(product((True, False), MARKERS))
    filled, marker = fillings[number % len(fillings)]
    colour = COLOURS[(number + number // len(fillings)) % len(COLOURS)]
    return {"marker": marker, "color": colour, "markerfacecolor": colour if filled else "white"}


def line_style(number: int) -> Any:
    """Line of the n-th thing: where colours begin again, another one than they had."""
    return LINES[(number + number // len(COLOURS)) % len(LINES)]


def styled(draw: Callable[Parameters, Figure]) -> Callable[Parameters, Figure]:
    """Make a function draw in this style, whatever the caller's settings of matplotlib are."""

    @wraps(draw)
    def drawn(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Figure:
        with matplotlib.rc_context({**matplotlib.rcParamsDefault, **STYLE, "backend": matplotlib.get_backend()}):
            return draw(*args, **kwargs)

    return drawn


def name_classes(axis: Any, class_names: list[str] | tuple[str, ...], **options: Any) -> None:
    """Write class names along an axis, one per unit, as large as their number allows."""
    size = SMALL if len(class_names) <= SHORT_LIST else TINY
    axis.set_ticks(range(len(class_names)), labels=[name.replace("_", " ") for name in class_names], **options)
    axis.set_tick_params(labelsize=size, length=0)


def frameless(axes: Axes) -> None:
    """Take the frame and the ticks off a drawing whose coordinates mean nothing."""
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure into a file, which is there whole or not at all.

    Args:
        figure: the figure.
        path: the file; its suffix is the format: png, pdf or svg.
    """
    path = Path(path)
    content = io.BytesIO()
    figure.savefig(content, format=path.suffix.lower().removeprefix("."), dpi=DPI, bbox_inches="tight")
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, content.getvalue())
