"""The style of figures, and a figure that a notebook shows by itself.

The colours are those of Okabe and Ito (2008), which people with any colour vision can distinguish; no figure uses
colour as its only sign. Nothing here changes pyplot or global settings.
"""

import io
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import matplotlib as mpl
import numpy as np
import numpy.typing as npt
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure

from analysis.arrays import Floats, Ints

P = ParamSpec("P")
R = TypeVar("R")

BLUE, ORANGE, GREEN, RED, SKY, PURPLE = (
    "#0072b2",
    "#e69f00",
    "#009e73",
    "#d55e00",
    "#56b4e9",
    "#cc79a7",
)
INK, FAINT = "#222222", "#9a9a9a"
CYCLE = (BLUE, ORANGE, GREEN, RED, SKY, PURPLE)
DASHES = ("-", "--", "-.", ":", "-", "--")

STYLE: dict[Any, Any] = {
    "figure.facecolor": "white",
    "figure.dpi": 110,
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.titlepad": 6.0,
    "axes.edgecolor": FAINT,
    "axes.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.prop_cycle": cycler(color=CYCLE),
    "grid.color": "#e4e4e4",
    "grid.linewidth": 0.8,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9.0,
    "ytick.labelsize": 9.0,
    "legend.frameon": False,
    "legend.fontsize": 9.0,
    "lines.linewidth": 1.4,
}

Grid = npt.NDArray[Any]
"""(rows, columns) of Axes."""


class Picture(Figure):
    """A figure that a notebook shows when a cell ends with it."""

    def _repr_png_(self) -> bytes:
        out = io.BytesIO()
        with mpl.rc_context(STYLE):
            self.raise_titles()
            self.savefig(out, format="png", dpi=STYLE["figure.dpi"])
        return out.getvalue()

    def raise_titles(self) -> None:
        """Move the titles of a row of panels above their legends where a legend would cover one of them."""
        self.draw_without_rendering()
        rows: dict[Any, list[Axes]] = {}
        for axes in self.axes:
            place = axes.get_subplotspec()
            rows.setdefault(place.rowspan.start if place is not None else None, []).append(axes)
        for row in rows.values():
            legends = [axes.get_legend() for axes in row]
            boxes = [legend.get_window_extent() if legend is not None else None for legend in legends]
            titles = [axes.set_title(axes.get_title(loc="left"), loc="left") for axes in row]
            pairs = zip(titles, boxes, strict=True)
            if any(
                box is not None and title.get_window_extent().overlaps(box) for title, box in pairs if title.get_text()
            ):
                lift = max(box.height for box in boxes if box is not None) * 72 / self.dpi
                for axes in row:
                    axes.set_title(axes.get_title(loc="left"), loc="left", pad=STYLE["axes.titlepad"] + lift)


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Return a drawing function that uses our style, whatever the settings of its caller."""

    @wraps(draw)
    def inner(*args: P.args, **kwargs: P.kwargs) -> R:
        with mpl.rc_context(STYLE):
            return draw(*args, **kwargs)

    return inner


def picture(rows: int = 1, columns: int = 1, *, height: float = 3.4, **grid: Any) -> tuple[Picture, Grid]:
    """Return an empty picture, 9.5 inches wide.

    Args:
        rows: Rows of panels.
        columns: Columns of panels.
        height: Height of all rows together, inches.
        grid: Arguments of `Figure.subplots`.

    Returns:
        The picture, and (rows, columns) panels.
    """
    figure = Picture(figsize=(9.5, height), layout="constrained")
    return figure, np.asarray(figure.subplots(rows, columns, squeeze=False, **grid))


def stamps(ns: Ints) -> npt.NDArray[np.datetime64]:
    """Return (n,) instants in ns as matplotlib expects them, UTC."""
    return np.asarray(ns).astype("datetime64[ns]")


def time_axis(axes: Axes) -> None:
    """Format the x axis of a panel with short dates, UTC."""
    locator = AutoDateLocator(minticks=4, maxticks=9)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator))
    axes.set_xlabel("time, UTC")


def key(axes: Axes, columns: int = 5) -> None:
    """Place the legend above a panel at its right, outside the data; `Picture` raises a title that it would cover."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=columns, borderaxespad=0.2, handlelength=2.2)


def explain_empty(axes: Axes, sentence: str) -> None:
    """Write into an empty panel why it is empty."""
    axes.text(0.5, 0.5, sentence, transform=axes.transAxes, ha="center", va="center", color=FAINT, wrap=True)


def span_of(values: Floats, low: float = 0.5, high: float = 99.5) -> tuple[float, float]:
    """Return two percentiles between which almost all finite values lie; (0, 1) without a finite value."""
    known = values[np.isfinite(values)]
    if not len(known):
        return 0.0, 1.0
    first, last = np.percentile(known, [low, high])
    return (float(first), float(last)) if last > first else (float(first) - 0.5, float(first) + 0.5)
