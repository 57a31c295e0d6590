"""Figures of models: how rows are split, how good a forecast was, whether it still is."""

from collections.abc import Sequence

import numpy as np

from analysis.arrays import DAY, Floats
from analysis.datasets.frame import Dataset
from analysis.evaluation import figures
from analysis.evaluation.evaluate import Evaluation
from analysis.evaluation.monitor import Drift, Period
from analysis.evaluation.scores import log_loss
from analysis.plots.style import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    RED,
    Picture,
    key,
    nothing,
    picture,
    stamps,
    styled,
    time_axis,
)
from analysis.splits import Split

_LINES = 40


@styled
def split(rows: Dataset, found: Split) -> Picture:
    """Which rows train, which are held out, and which are purged between them.

    Args:
        rows: (n,) a training frame.
        found: Rows in neither part were purged.

    Returns:
        Left: a point a row, decision time against how long its label takes, days. Right: some of the rows about the
        begin of the test part, each a line from decision to label.
    """
    figure, panels = picture(1, 2, height=3.4, width_ratios=[3, 2])
    whole, near = panels[0]
    purged = np.setdiff1d(np.arange(len(rows)), np.concatenate([found.train, found.test]))
    length = (rows.end - rows.start) / DAY
    parts = (found.train, BLUE, "o", "train"), (purged, INK, "x", "purged"), (found.test, ORANGE, "^", "test")
    part_of = np.zeros(len(rows), np.int64)
    for number, (place, colour, marker, name) in enumerate(parts):
        part_of[place] = number
        if len(place):
            told = f"{name} {len(place):,}"
            whole.scatter(stamps(rows.start[place]), length[place], s=9, marker=marker, color=colour, label=told)
    whole.set(ylabel="decision to label, days", ylim=(0, None), title="The split")
    key(whole)
    time_axis(whole)
    near.set_title("About the cut")
    if len(found.test):
        cut = int(rows.start[found.test].min())
        reach = 2 * int(np.median(rows.end - rows.start))
        inside = np.flatnonzero((rows.end > cut - reach) & (rows.start < cut + reach))
        shown = inside[np.argsort(rows.start[inside], kind="stable")][:: max(1, len(inside) // _LINES)]
        for number, (_, colour, marker, _) in enumerate(parts):
            mine = part_of[shown] == number
            near.hlines(
                np.flatnonzero(mine), stamps(rows.start[shown[mine]]), stamps(rows.end[shown[mine]]), color=colour
            )
            near.plot(stamps(rows.start[shown[mine]]), np.flatnonzero(mine), marker, color=colour, markersize=4)
        near.axvline(stamps(np.array([cut]))[0], color=FAINT, linestyle="--", linewidth=1.0)
    else:
        nothing(near, "nothing is held out")
    near.set_yticks([])
    near.set_ylabel("rows")
    time_axis(near)
    return figure


@styled
def prices_by_outcome(rows: Dataset) -> Picture:
    """The baseline's forecast at each horizon, for what came true and what did not.

    Args:
        rows: Of one set, with several horizons.

    Returns:
        One panel: a box a horizon and outcome, from the 25th to the 75th percentile with the median, whiskers from the
        5th to the 95th.
    """
    figure, panels = picture(height=3.6)
    axes = panels[0, 0]
    horizons = list(dict.fromkeys(rows.horizon.tolist()))
    for label, colour, shift, hatch, name in ((1.0, GREEN, -0.18, "", "came true"), (0.0, RED, 0.18, "///", "did not")):
        groups = [rows.market[(rows.horizon == one) & (rows.label == label)] for one in horizons]
        drawn = axes.boxplot(
            groups,
            positions=(np.arange(len(horizons)) + shift).tolist(),
            widths=0.3,
            whis=(5, 95),
            showfliers=False,
            patch_artist=True,
            medianprops={"color": INK},
        )
        for box in drawn["boxes"]:
            box.set(facecolor=colour, alpha=0.6, hatch=hatch)
        axes.plot([], [], "s", color=colour, alpha=0.6, label=f"{name} ({sum(map(len, groups))} rows)")
    axes.set_xticks(range(len(horizons)), horizons)
    axes.set(xlabel="before the scheduled end", ylabel=f"{rows.baseline}, probability", ylim=(-0.03, 1.03))
    axes.set_title("What the market knew")
    key(axes)
    return figure


@styled
def evaluation(found: Evaluation) -> Picture:
    """Reliability, skill by horizon or as a whole, how far the model moves, and what its features do.

    Args:
        found: Of `analysis.evaluation.evaluate`.

    Returns:
        Four panels, those of the report.
    """
    figure, panels = picture(2, 2, height=6.6)
    figures.draw_reliability(panels[0, 0], found)
    figures.draw_skills(panels[0, 1], [*found.by_horizon, found.whole] if len(found.by_horizon) > 1 else [found.whole])
    figures.draw_moves(panels[1, 0], found)
    panels[0, 1].set_xlabel("nats saved (right of the line is better)")
    panels[1, 0].locator_params(axis="x", nbins=5)
    titles = "Reliability: what came of forecasts", "Log loss saved", "How far the model moves"
    for axes, title in zip(panels.flat, (*titles, "What the features do"), strict=True):
        axes.set_title(title)
    if found.facts.rounds:
        figures.draw_importance(panels[1, 1], found)
        panels[1, 1].set_xlabel("mean absolute SHAP value, log odds")
    else:
        nothing(panels[1, 1], f"no tree has earned its place:\nthe model is the {found.facts.baseline}")
        panels[1, 1].set_axis_off()
    return figure


@styled
def drift(found: Drift) -> Picture:
    """Population stability of each feature in each period.

    Args:
        found: Of `analysis.evaluation.monitor.drift`.

    Returns:
        One panel: a line a feature, most moved first, a column a period; the number in a cell is the index in nats.
    """
    order = np.argsort(-np.nanmax(found.index, axis=1)) if found.index.size else np.zeros(0, np.int64)
    figure, panels = picture(height=1.4 + 0.27 * len(order))
    axes = panels[0, 0]
    table = found.index[order]
    shown = axes.imshow(table, cmap="cividis_r", vmin=0, vmax=0.5, aspect="auto")
    for (i, j), value in np.ndenumerate(table):
        if np.isfinite(value):
            axes.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize=8, color="white" if value > 0.3 else INK)
    axes.set_yticks(range(len(order)), [found.features[place] for place in order], fontsize=8)
    names = [f"{name}\n{rows} rows" for name, rows in zip(found.periods, found.rows.tolist(), strict=True)]
    axes.set_xticks(range(len(names)), names)
    axes.grid(visible=False)
    axes.set_title("Drift against the training rows")
    figure.colorbar(shown, ax=axes, label="stability index, nats", extend="max")
    return figure


@styled
def over_time(periods: Sequence[Period], model: str, baseline: str) -> Picture:
    """Calibration and log loss, period by period.

    Args:
        periods: Of `analysis.evaluation.monitor.over_time`.
        model: Whose forecasts they are, for the legend.
        baseline: What it corrects.

    Returns:
        Above: mean forecast with a band of two standard errors in which the outcomes should lie, and the share that
        came true. Below: log loss of model and baseline, nats.
    """
    figure, panels = picture(2, sharex=True, height=5.0)
    top, low = panels[:, 0]
    at = np.arange(len(periods))
    forecast = np.array([one.forecast for one in periods])
    error = 2 * np.array([one.expected_error for one in periods])
    top.bar(at, 2 * error, 0.5, bottom=forecast - error, color=BLUE, alpha=0.25, label="where outcomes should lie")
    top.plot(at, forecast, "_", color=BLUE, markersize=26, label="mean forecast")
    top.plot(at, [one.outcome for one in periods], "D", color=ORANGE, label="came true")
    top.set(ylabel="probability", title="Calibration over time", ylim=(0, None))
    key(top)
    low.plot(at, [one.log_loss for one in periods], "o-", color=BLUE, label=model)
    low.plot(at, [one.baseline_log_loss for one in periods], "s--", color=ORANGE, label=baseline)
    low.margins(y=0.15)
    low.set(ylabel="log loss, nats", ylim=(0, None), title="Log loss, lower is better")
    key(low)
    low.set_xticks(at, [f"{one.name}\n{one.rows} rows, {one.events} events" for one in periods])
    return figure


@styled
def forecasts(rows: Dataset, p: Floats) -> Picture:
    """Every scored forecast against its baseline, marked by what came of it.

    Args:
        rows: (n,) with labels.
        p: (n,) forecasts.

    Returns:
        Left: forecast against baseline, both as probabilities; where the baseline is always the same, how forecasts are
        spread by outcome instead. Right: running sum of the log loss saved, nats, in the
        order of decision; a line that falls says that the
        baseline was better.
    """
    figure, panels = picture(1, 2, height=3.8)
    left, right = panels[0]
    constant = not len(rows) or np.ptp(rows.market) == 0
    for label, colour, marker, name in ((0.0, RED, "x", "did not"), (1.0, GREEN, "o", "came true")):
        mine = rows.label == label
        if constant:
            share, edges = np.histogram(p[mine], np.linspace(0, 1, 51))
            dash = "--" if label else "-"
            left.stairs(share / max(mine.sum(), 1), edges, color=colour, linestyle=dash, linewidth=1.4, label=name)
        else:
            left.scatter(rows.market[mine], p[mine], s=12, marker=marker, color=colour, linewidth=0.9, label=name)
    if constant:
        left.set(xlabel="forecast, probability", ylabel="share of rows of that outcome")
    else:
        left.plot([0, 1], [0, 1], color=FAINT, linewidth=0.9)
        left.set(xlabel=rows.baseline, ylabel="forecast, probability", xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    left.set_title("Forecasts")
    key(left, 2)
    order = np.argsort(rows.start, kind="stable")
    saved = log_loss(rows.label, rows.market) - log_loss(rows.label, p)
    right.axhline(0.0, color=INK, linewidth=0.8)
    right.plot(stamps(rows.start[order]), np.cumsum(saved[order]), color=BLUE)
    right.set(ylabel="nats saved so far")
    right.set_title("Log loss saved, running sum")
    time_axis(right)
    return figure
