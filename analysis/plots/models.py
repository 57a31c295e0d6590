"""Figures of models: how rows are split, how good the forecasts are, and whether they stay good."""

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
    explain_empty,
    key,
    picture,
    stamps,
    styled,
    time_axis,
)
from analysis.splits import Split

_LINES = 40


@styled
def split(rows: Dataset, found: Split) -> Picture:
    """Draw which rows train, which are held out, and which are purged between them.

    Args:
        rows: (n,) a training frame.
        found: A split; rows in neither part were purged.

    Returns:
        Left: one point for each row, decision time against the length of its label, days. Right: some of the rows
        around the start of the test part, each a line from decision to label.
    """
    figure, panels = picture(1, 2, height=3.4, width_ratios=[3, 2])
    overview, near = panels[0]
    purged = np.setdiff1d(np.arange(len(rows)), np.concatenate([found.train, found.test]))
    length = (rows.end - rows.start) / DAY
    parts = (found.train, BLUE, "o", "train"), (purged, INK, "x", "purged"), (found.test, ORANGE, "^", "test")
    part_of = np.zeros(len(rows), np.int64)
    for number, (place, colour, marker, name) in enumerate(parts):
        part_of[place] = number
        if len(place):
            label = f"{name} {len(place):,}"
            overview.scatter(stamps(rows.start[place]), length[place], s=9, marker=marker, color=colour, label=label)
    overview.set(ylabel="decision to label, days", ylim=(0, None), title="The split")
    key(overview, 3)
    time_axis(overview)
    near.set_title("Around the cut")
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
        explain_empty(near, "no row is held out")
    near.set_yticks([])
    near.set_ylabel("rows")
    time_axis(near)
    return figure


@styled
def prices_by_outcome(rows: Dataset) -> Picture:
    """Draw the baseline's forecast at each horizon, separately for both outcomes.

    Args:
        rows: Rows of one set with several horizons.

    Returns:
        One panel with one box for each horizon and outcome, from the 25th to the 75th percentile with the median;
        whiskers from the 5th to the 95th.
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
    axes.set_title("Market price by outcome")
    key(axes)
    return figure


@styled
def evaluation(found: Evaluation) -> Picture:
    """Draw reliability, skill by horizon, the size of corrections, and the importance of features.

    Args:
        found: Result of `analysis.evaluation.evaluate`.

    Returns:
        The four panels of the report.
    """
    figure, panels = picture(2, 2, height=6.6)
    figures.draw_reliability(panels[0, 0], found)
    figures.draw_skills(
        panels[0, 1], [*found.by_horizon, found.all_rows] if len(found.by_horizon) > 1 else [found.all_rows]
    )
    figures.draw_moves(panels[1, 0], found)
    panels[0, 1].set_xlabel("nats saved (right of the line is better)")
    panels[1, 0].locator_params(axis="x", nbins=5)
    titles = "Reliability", "Log loss saved", "How far the model moves"
    for axes, title in zip(panels.flat, (*titles, "Importance of the features"), strict=True):
        axes.set_title(title)
    if found.metadata.rounds:
        figures.draw_importance(panels[1, 1], found)
        panels[1, 1].set_xlabel("mean absolute SHAP value, log odds")
    else:
        explain_empty(panels[1, 1], f"no correction was accepted:\nthe model equals the {found.metadata.baseline}")
        panels[1, 1].set_axis_off()
    return figure


@styled
def drift(found: Drift) -> Picture:
    """Draw the population stability of each feature in each period.

    Args:
        found: Result of `analysis.evaluation.monitor.drift`.

    Returns:
        One panel with one line for each feature, largest drift first, and one column for each period; the number in a
        cell is the index in nats.
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
    axes.set_title("Drift relative to the training rows")
    figure.colorbar(shown, ax=axes, label="stability index, nats", extend="max")
    return figure


@styled
def over_time(periods: Sequence[Period], model: str, baseline: str) -> Picture:
    """Draw calibration and log loss, period by period.

    Args:
        periods: Result of `analysis.evaluation.monitor.over_time`.
        model: Name of the model, for the legend.
        baseline: Name of the forecast that it corrects.

    Returns:
        Above: mean forecast, with a band of two standard errors in which the outcomes should lie, and the fraction that
        came true. Below: log loss of model and baseline, nats.
    """
    figure, panels = picture(2, sharex=True, height=5.0)
    top, low = panels[:, 0]
    at = np.arange(len(periods))
    forecast = np.array([one.forecast for one in periods])
    error = 2 * np.array([one.expected_error for one in periods])
    top.bar(at, 2 * error, 0.5, bottom=forecast - error, color=BLUE, alpha=0.25, label="expected range of outcomes")
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
    """Draw every forecast against its baseline, marked by its outcome.

    Args:
        rows: (n,) rows with labels.
        p: (n,) forecasts.

    Returns:
        Left: forecast against baseline, both as probabilities; with a constant baseline, the distribution of the
        forecasts by outcome instead. Right: running sum of the log loss saved, nats, in the order of decision; a
        falling line means that the baseline was better.
    """
    figure, panels = picture(1, 2, height=3.8)
    left, right = panels[0]
    constant = not len(rows) or np.ptp(rows.market) == 0
    for label, colour, marker, name in ((0.0, RED, "x", "did not"), (1.0, GREEN, "o", "came true")):
        mine = rows.label == label
        if constant:
            fraction, edges = np.histogram(p[mine], np.linspace(0, 1, 51))
            dash = "--" if label else "-"
            left.stairs(fraction / max(mine.sum(), 1), edges, color=colour, linestyle=dash, linewidth=1.4, label=name)
        else:
            left.scatter(rows.market[mine], p[mine], s=12, marker=marker, color=colour, linewidth=0.9, label=name)
    if constant:
        left.set(xlabel="forecast, probability", ylabel="fraction of rows with that outcome")
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
