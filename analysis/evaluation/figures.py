"""Figures of an evaluation as inline SVG that takes the text colour of the page."""

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.evaluation.evaluate import Evaluation, Slice
from analysis.evaluation.scores import Reliability

INK = "#010203"  # placeholder, replaced by currentColor
MODEL, BASELINE = "#2b7bba", "#d1822b"
_TOP = 12


def figures(found: Evaluation) -> dict[str, str]:
    """Return title -> SVG."""
    drawn: dict[str, str] = {
        "Reliability: outcomes against forecasts": _svg(lambda axes: draw_reliability(axes, found), "reliability"),
    }
    if len(found.by_horizon) > 1:
        drawn["Log loss saved, by horizon"] = _svg(lambda axes: draw_skills(axes, found.by_horizon), "horizon")
    if len(found.by_category) > 1:
        drawn["Log loss saved, by category"] = _svg(lambda axes: draw_skills(axes, found.by_category), "category")
    drawn["How far the model moves from the baseline"] = _svg(lambda axes: draw_moves(axes, found), "moves")
    if found.metadata.rounds:
        drawn["Importance of the features (mean absolute SHAP value)"] = _svg(
            lambda axes: draw_importance(axes, found), "shap"
        )
    return drawn


def _svg(draw: Callable[[Axes], None], salt: str) -> str:
    colours: dict[Any, Any] = {f"{part}.color": INK for part in ("text", "xtick", "ytick")}
    settings: dict[Any, Any] = {
        "svg.hashsalt": salt,
        "svg.fonttype": "none",
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        **colours,
    }
    with mpl.rc_context({**settings, "font.size": 9.0, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(6.0, 3.8), layout="constrained")
        draw(figure.add_subplot())
        out = io.StringIO()
        figure.savefig(out, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = out.getvalue()
    body = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.DOTALL)
    return body.replace(INK, "currentColor")


def draw_reliability(axes: Axes, found: Evaluation) -> None:
    """Draw the outcome frequency of forecasts by probability, for model and baseline, with 95 % intervals by event."""
    axes.plot([0, 1], [0, 1], color=INK, linewidth=0.8, alpha=0.5)

    def draw(table: Reliability, colour: str, name: str) -> None:
        full = table.count > 0
        below, above = table.observed - table.low, table.high - table.observed
        axes.errorbar(
            table.forecast[full],
            table.observed[full],
            yerr=np.maximum([below[full], above[full]], 0.0),
            color=colour,
            marker="o",
            markersize=4,
            linewidth=1,
            elinewidth=0.7,
            label=name,
        )

    draw(found.baseline_reliability, BASELINE, found.metadata.baseline)
    draw(found.reliability, MODEL, "model")
    axes.set(xlabel="forecast", ylabel="fraction that came true", xlim=(-0.02, 1.02), ylim=(-0.05, 1.05))
    axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=2)


def draw_skills(axes: Axes, slices: Sequence[Slice]) -> None:
    """Draw the log loss saved in each slice, nats, with its interval."""
    at = np.arange(len(slices))[::-1]
    values = np.array([one.log_loss_skill.value for one in slices])
    low = np.array([one.log_loss_skill.low for one in slices])
    high = np.array([one.log_loss_skill.high for one in slices])
    axes.axvline(0.0, color=INK, linewidth=0.8, alpha=0.5)
    axes.errorbar(values, at, xerr=np.abs(np.array([values - low, high - values])), fmt="o", color=MODEL, elinewidth=1)
    axes.set_yticks(at, [f"{one.name} ({one.rows})" for one in slices])
    axes.set_ylim(-0.7, len(slices) - 0.3)
    axes.set(xlabel="nats saved against the baseline (right of the line is better)")


def draw_moves(axes: Axes, found: Evaluation) -> None:
    """Draw how many rows the model moves how far from the baseline."""
    reach = max(float(np.abs(found.spread).max()), 0.01)
    axes.hist(found.spread, bins=np.linspace(-reach, reach, 41).tolist(), color=MODEL)
    axes.set_yscale("symlog", linthresh=1)
    axes.set(xlabel="model minus baseline, probability", ylabel="rows")


def draw_importance(axes: Axes, found: Evaluation) -> None:
    """Draw the most important features by mean absolute SHAP value, log odds."""
    top = found.importance[:_TOP][::-1]
    axes.barh([one.feature for one in top], [one.shap for one in top], color=MODEL)
    axes.set(xlabel="log odds")
