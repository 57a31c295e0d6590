"""Figures of trades against the book."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from analysis.arrays import Gaps, Quotes, Trades
from analysis.microstructure import Agreement, Curve, Depth, imbalance, spread_bp
from analysis.plots.style import (
    BLUE,
    CYCLE,
    DASHES,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    RED,
    Picture,
    explain_empty,
    key,
    picture,
    span_of,
    stamps,
    styled,
    time_axis,
)


@styled
def prices(quotes: Quotes, trades: Trades) -> Picture:
    """Draw best bid and ask with the trades, and the imbalance of their sizes below.

    Args:
        quotes: (n,) quotes in the order of receipt.
        trades: (m,) trades, drawn as a triangle up where the taker bought, down where it sold, a dot when unknown.

    Returns:
        Two panels over our clock: prices in quote units, imbalance from -1 to 1.
    """
    figure, panels = picture(2, sharex=True, height=4.6, height_ratios=[2.4, 1])
    top, low = panels[:, 0]
    at = stamps(quotes.ts_recv)
    top.step(at, quotes.ask, where="post", color=ORANGE, label="ask")
    top.step(at, quotes.bid, where="post", color=BLUE, label="bid")
    marks = (1, "^", GREEN, "bought"), (-1, "v", RED, "sold"), (0, ".", INK, "side unknown")
    for side, marker, colour, name in marks:
        mine = trades.take(trades.side == side)
        if len(mine):
            top.scatter(stamps(mine.ts_recv), mine.price, s=16, marker=marker, color=colour, label=name, zorder=3)
    low.step(at, imbalance(quotes), where="post", color=FAINT, linewidth=0.8)
    low.axhline(0.0, color=INK, linewidth=0.8)
    top.set(ylabel="price, quote units", title="Best prices and trades")
    top.ticklabel_format(axis="y", useOffset=False)
    key(top)
    low.set(ylabel="imbalance", ylim=(-1.05, 1.05))
    time_axis(low)
    return figure


@styled
def spreads(quotes: Quotes, gaps: Gaps) -> Picture:
    """Draw the spread over time, and its distribution weighted by how long each value was valid.

    Args:
        quotes: (n,) quotes in the order of receipt.
        gaps: Spans of receipt that were not recorded; a quote is not valid inside them.

    Returns:
        Left: basis points over time, interrupted by gaps. Right: fraction of the recorded time in which the spread was
        at most so wide.
    """
    figure, panels = picture(1, 2, height=3.2, width_ratios=[2, 1])
    wide, fraction = panels[0]
    bp = spread_bp(quotes)
    until = np.append(quotes.ts_recv[1:], quotes.ts_recv[-1:])
    valid_ns = (until - quotes.ts_recv - gaps.missing(quotes.ts_recv, until)).astype(np.float64)
    at = np.concatenate([quotes.ts_recv, gaps.start])
    order = np.argsort(at, kind="stable")
    line = np.concatenate([bp, np.full(len(gaps), np.nan)])
    wide.step(stamps(at[order]), line[order], where="post", color=BLUE, linewidth=0.9)
    if not np.isfinite(bp).any():
        explain_empty(wide, "no quote with both sides")
    else:
        wide.set_xlim(*stamps(quotes.ts_recv[[0, -1]]))
    low, high = span_of(bp)
    wide.set(ylabel="basis points", title="Spread", ylim=(min(0.0, low), 1.2 * high))
    time_axis(wide)
    known = np.isfinite(bp)
    order = np.argsort(bp[known])
    weight = np.cumsum(valid_ns[known][order])
    if len(weight) and weight[-1] > 0:
        fraction.step(bp[known][order], weight / weight[-1], where="post", color=BLUE)
        fraction.set_xlim(min(0.0, low), 1.2 * high)
    else:
        explain_empty(fraction, "fewer than two quotes with both sides")
    fraction.set(xlabel="basis points", ylabel="fraction of time", title="Cumulative distribution", ylim=(0, 1.03))
    return figure


@styled
def responses(imbalance_curve: Curve, horizon_s: float, impacts: Mapping[str, Curve]) -> Picture:
    """Draw the move of the middle after an imbalance, and after a trade.

    Args:
        imbalance_curve: `at` is the imbalance, `mean` the later move in bp.
        horizon_s: Time from the imbalance to the move.
        impacts: Name -> curve over seconds after a trade, bp towards the taker.

    Returns:
        Two panels; bars and bands are two standard errors. A panel without data says why.
    """
    figure, panels = picture(1, 2, height=3.6)
    left, right = panels[0]
    _zero(left)
    left.errorbar(
        imbalance_curve.at, imbalance_curve.mean, yerr=2 * imbalance_curve.error, fmt="o-", color=BLUE, markersize=4
    )
    if not np.isfinite(imbalance_curve.mean).any():
        explain_empty(left, f"no imbalance has two quotes that are followed\nby another one {horizon_s:g} s later")
    left.set(xlabel="imbalance of the best sizes", ylabel="move of the middle, bp", xlim=(-1.05, 1.05))
    left.set_title(f"After an imbalance, {horizon_s:g} s later")
    _zero(right)
    for (name, curve), colour, dash in zip(impacts.items(), CYCLE, DASHES, strict=False):
        count = int(curve.count.max(initial=0))
        right.plot(curve.at, curve.mean, color=colour, linestyle=dash, marker=".", label=f"{name} ({count:,})")
        right.fill_between(
            curve.at, curve.mean - 2 * curve.error, curve.mean + 2 * curve.error, color=colour, alpha=0.15, linewidth=0
        )
    right.set(xlabel="seconds after the trade", ylabel="move towards the taker, bp")
    if any(np.isfinite(curve.mean).any() for curve in impacts.values()):
        right.set(xscale="log", xlabel="seconds after the trade (log)")
        right.xaxis.set_major_formatter("{x:g}")
    else:
        explain_empty(right, "fewer than two trades with a known side\nand quotes around them")
    right.set_title("After a trade")
    key(right, 2)
    return figure


@styled
def sides(found: Sequence[Agreement]) -> Picture:
    """Draw how often each rule finds the reported side, and how often it gives none.

    Args:
        found: One result for each rule.

    Returns:
        One panel with one bar for each rule: fractions of the trades with a reported side, right, wrong and undecided.
    """
    figure, panels = picture(height=1.4 + 0.5 * max(1, len(found)))
    axes = panels[0, 0]
    axes.set_title("Estimated side of the taker")
    if not any(one.reported for one in found):
        explain_empty(axes, "this venue does not report the side of its trades, so the rules cannot be checked")
    for place, one in enumerate(found):
        if not one.reported:
            continue
        right, wrong = one.right / one.reported, (one.decided - one.right) / one.reported
        parts = (right, GREEN, ""), (wrong, RED, "///"), (1 - right - wrong, "#dddddd", "")
        left = 0.0
        for (fraction, colour, hatch), word in zip(parts, ("right", "wrong", "undecided"), strict=True):
            axes.barh(place, fraction, left=left, color=colour, hatch=hatch, label=word if not place else None)
            if fraction > 0.06:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
                axes.text(left + fraction / 2, place, f"{fraction:.0%}", ha="center", va="center", fontsize=9, bbox=box)
            left += fraction
    axes.set_yticks(range(len(found)), [f"{one.rule}\n({one.reported:,} trades)" for one in found])
    axes.set(xlabel="fraction of trades with a reported side", xlim=(0, 1), ylim=(len(found) - 0.5, -0.5))
    if any(one.reported for one in found):
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@styled
def depth(found: Depth) -> Picture:
    """Draw the average size within a distance of the middle.

    Args:
        found: (levels,) distances and sizes of each side.

    Returns:
        One panel with bids to the left and asks to the right of the middle, and a point for each level.
    """
    figure, panels = picture(height=3.0)
    axes = panels[0, 0]
    sides_ = (-1, found.bid_bp, found.bid, BLUE, "", "bids"), (1, found.ask_bp, found.ask, ORANGE, "///", "asks")
    for sign, away, size, colour, hatch, name in sides_:
        axes.fill_between(sign * away, size, step="post", color=colour, alpha=0.35, hatch=hatch)
        axes.plot(sign * away, size, "o", color=colour, markersize=4, label=name)
    axes.axvline(0.0, color=INK, linewidth=0.8)
    if not len(found.bid) and not len(found.ask):
        explain_empty(axes, "no book with both sides")
    axes.set(xlabel="distance from the middle, bp", ylabel="size within, base units", ylim=(0, None))
    axes.set_title("Depth, level by level")
    key(axes)
    return figure


def _zero(axes: Axes) -> None:
    axes.axhline(0.0, color=INK, linewidth=0.8)
