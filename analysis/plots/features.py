"""Figures of feature tables: availability, distributions, correlation, and relation to the label."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import ListedColormap

from analysis.arrays import Floats, Ints
from analysis.features import BARS, POINT_IN_TIME
from analysis.microstructure import binned
from analysis.plots.style import BLUE, FAINT, INK, Picture, explain_empty, picture, span_of, stamps, styled, time_axis


@styled
def known(values: Mapping[str, Floats], times: Ints) -> Picture:
    """Draw when each feature was known.

    Args:
        values: Name -> (m,) feature, NaN where unknown.
        times: (m,) decision times, ns, evenly spaced.

    Returns:
        Two columns with one line for each feature, dark where it has a value; its label states the fraction known.
    """
    names = list(values)
    half = (len(names) + 1) // 2
    figure, panels = picture(1, 2, height=1.0 + 0.155 * half)
    for axes, mine in zip(panels[0], (names[:half], names[half:]), strict=True):
        table = np.array([~np.isnan(values[name]) for name in mine], np.float64).reshape(len(mine), len(times))
        edges = stamps(np.append(times, times[-1] + (times[-1] - times[0]) // max(len(times) - 1, 1)))
        axes.pcolormesh(edges, np.arange(len(mine) + 1), table, cmap=ListedColormap(["#ececec", BLUE]), vmin=0, vmax=1)
        labels = [f"{name}  {share:4.0%}" for name, share in zip(mine, table.mean(axis=1), strict=True)]
        axes.set_yticks(np.arange(len(mine)) + 0.5, labels, fontsize=7)
        axes.set_ylim(half, 0)
        axes.grid(visible=False)
        axes.tick_params(axis="y", length=0)
        time_axis(axes)
    panels[0, 0].set_title("Known (dark) or null, and the fraction known")
    return figure


@styled
def distributions(values: Mapping[str, Floats], names: Sequence[str]) -> Picture:
    """Draw histograms of features between the 0.5th and the 99.5th percentile.

    Args:
        values: Name -> (n,) feature; NaN is left out.
        names: Features to draw.

    Returns:
        One panel for each feature, four in a row; a line marks the median.
    """
    rows = -(-len(names) // 4)
    figure, panels = picture(rows, 4, height=1.9 * rows)
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(panels.flat, names, strict=False):
        low, high = span_of(values[name])
        good = values[name][np.isfinite(values[name])]
        axes.hist(good, bins=np.linspace(low, high, 41).tolist(), color=BLUE)
        if len(good):
            axes.axvline(float(np.median(good)), color=INK, linewidth=0.9)
        else:
            explain_empty(axes, "null throughout")
        axes.set_title(name, fontsize=9, fontweight="normal")
        axes.set_xlabel(_unit(name), fontsize=8)
        axes.set_yticks([])
        axes.tick_params(labelsize=7)
        axes.locator_params(axis="x", nbins=4)
        axes.ticklabel_format(axis="x", scilimits=(-3, 4))
        axes.xaxis.get_offset_text().set_fontsize(7)
    for axes in panels[:, 0]:
        axes.set_ylabel("rows", fontsize=8)
    return figure


@styled
def correlation(values: Mapping[str, Floats]) -> Picture:
    """Draw the rank correlation of features, with similar features side by side.

    Args:
        values: Name -> (n,) feature; a pair is compared where both are known.

    Returns:
        One panel of Spearman coefficients, -1 to 1; constant features are left out.
    """
    ranks = {name: _ranks(column) for name, column in values.items() if _changes(column)}
    table = np.array([[_pair(a, b) for b in ranks.values()] for a in ranks.values()])
    order = _chain(np.abs(np.nan_to_num(table)))
    figure, panels = picture(height=7.6)
    axes = panels[0, 0]
    names = [list(ranks)[place] for place in order]
    shown = axes.imshow(table[np.ix_(order, order)], cmap="RdBu", vmin=-1, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=90, fontsize=7)
    axes.set_yticks(range(len(names)), names, fontsize=7)
    axes.grid(visible=False)
    axes.set_title("Rank correlation")
    figure.colorbar(shown, ax=axes, label="Spearman coefficient", shrink=0.7)
    return figure


@styled
def responses(values: Mapping[str, Floats], label: Floats, names: Sequence[str], bins: int = 10) -> Picture:
    """Draw how the fraction of ones depends on a feature, in bins with equal numbers of rows.

    Args:
        values: Name -> (n,) feature.
        label: (n,) 1 or 0.
        names: Features to draw.
        bins: Number of bins.

    Returns:
        One panel for each feature, three in a row: fraction of ones against the rank of the feature, with two standard
        errors that assume independent rows; the line is the fraction over all rows.
    """
    rows = -(-len(names) // 3)
    figure, panels = picture(rows, 3, height=2.3 * rows, sharey=True)
    for axes in panels.flat[len(names) :]:
        axes.set_visible(False)
    for axes, name in zip(panels.flat, names, strict=False):
        found = binned(_ranks(values[name]), label, np.linspace(0, 1, bins + 1))
        axes.axhline(float(label.mean()), color=FAINT, linewidth=1.0)
        axes.errorbar(found.at, found.mean, yerr=2 * found.error, fmt="o-", color=BLUE, markersize=3.5, linewidth=1)
        axes.set_title(name, fontsize=9, fontweight="normal")
    for axes in panels[:, 0]:
        axes.set_ylabel("fraction of ones")
    for axes in panels.flat[max(0, len(names) - 3) : len(names)]:
        axes.set_xlabel("rank of the feature, 0 to 1")
    return figure


def _unit(name: str) -> str:
    """Return the unit of a feature from its definition."""
    registry = next((one for one in (BARS, POINT_IN_TIME) if name in one), None)
    return registry[name].unit if registry is not None else ""


def _ranks(values: Floats) -> Floats:
    """Return (n,) mid-ranks from 0 to 1, NaN where unknown."""
    out = np.full(len(values), np.nan)
    good = ~np.isnan(values)
    _, index, count = np.unique(values[good], return_inverse=True, return_counts=True)
    out[good] = (np.cumsum(count) - (count + 1) / 2)[index] / max(int(good.sum()) - 1, 1)
    return out


def _changes(values: Floats) -> bool:
    known = values[~np.isnan(values)]
    return bool(len(known) and np.ptp(known) > 0)


def _pair(a: Floats, b: Floats) -> float:
    both = ~np.isnan(a) & ~np.isnan(b)
    if both.sum() < 3 or a[both].std() == 0 or b[both].std() == 0:
        return float("nan")
    return float(np.corrcoef(a[both], b[both])[0, 1])


def _chain(similarity: Floats) -> list[int]:
    """Return an order in which each row is followed by the remaining row most similar to it."""
    if not len(similarity):
        return []
    order = [int(similarity.sum(axis=1).argmax())]
    while len(order) < len(similarity):
        left = np.setdiff1d(np.arange(len(similarity)), order)
        order.append(int(left[similarity[order[-1], left].argmax()]))
    return order
