"""Figures of trades against the book."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from analysis.arrays import Quotes, Trades
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
    key,
    nothing,
    picture,
    span_of,
    stamps,
    styled,
    time_axis,
)


@styled
def prices(quotes: Quotes, trades: Trades) -> Picture:
    """Best bid and ask with the trades between and through them, and the imbalance of their sizes below.

    Args:
        quotes: (n,) in the order of receipt.
        trades: (m,) a triangle up where the taker bought, down where it sold, a dot where nobody says.

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
def spreads(quotes: Quotes) -> Picture:
    """The spread in time, and how its values are spread, weighted by how long each stood.

    Args:
        quotes: (n,) in the order of receipt.

    Returns:
        Left: basis points over time. Right: share of time, 0 to 1, in which the spread was at most so wide.
    """
    figure, panels = picture(1, 2, height=3.2, width_ratios=[2, 1])
    wide, share = panels[0]
    bp = spread_bp(quotes)
    stood = np.diff(quotes.ts_recv, append=quotes.ts_recv[-1:]).astype(np.float64)
    wide.step(stamps(quotes.ts_recv), bp, where="post", color=BLUE, linewidth=0.9)
    low, high = span_of(bp)
    wide.set(ylabel="basis points", title="Spread", ylim=(min(0.0, low), 1.2 * high))
    time_axis(wide)
    known = np.isfinite(bp)
    order = np.argsort(bp[known])
    weight = np.cumsum(stood[known][order])
    if len(weight) and weight[-1] > 0:
        share.step(bp[known][order], weight / weight[-1], where="post", color=BLUE)
        share.set_xlim(min(0.0, low), 1.2 * high)
    else:
        nothing(share, "one quote only")
    share.set(xlabel="basis points", ylabel="share of time", title="At most so wide", ylim=(0, 1.03))
    return figure


@styled
def responses(imbalance_curve: Curve, horizon_s: float, impacts: Mapping[str, Curve]) -> Picture:
    """What the imbalance says of the next move, and what a trade does to the middle.

    Args:
        imbalance_curve: at is the imbalance, mean the later move in bp.
        horizon_s: How much later.
        impacts: Name -> curve over seconds after a trade, bp towards the taker.

    Returns:
        Two panels; bars and bands are two standard errors.
    """
    figure, panels = picture(1, 2, height=3.6)
    left, right = panels[0]
    _zero(left)
    left.errorbar(
        imbalance_curve.at, imbalance_curve.mean, yerr=2 * imbalance_curve.error, fmt="o-", color=BLUE, markersize=4
    )
    left.set(xlabel="imbalance of the best sizes", ylabel="move of the middle, bp", xlim=(-1.05, 1.05))
    left.set_title(f"After an imbalance, {horizon_s:g} s later")
    _zero(right)
    for (name, curve), colour, dash in zip(impacts.items(), CYCLE, DASHES, strict=False):
        count = int(curve.count.max(initial=0))
        right.plot(curve.at, curve.mean, color=colour, linestyle=dash, marker=".", label=f"{name} ({count:,})")
        right.fill_between(
            curve.at, curve.mean - 2 * curve.error, curve.mean + 2 * curve.error, color=colour, alpha=0.15, linewidth=0
        )
    right.set(xscale="log", xlabel="seconds after the trade (log)", ylabel="move towards the taker, bp")
    right.xaxis.set_major_formatter("{x:g}")
    right.set_title("After a trade")
    key(right, 2)
    return figure


@styled
def sides(found: Sequence[Agreement]) -> Picture:
    """How often each rule finds the side that the venue tells, and how often it stays silent.

    Args:
        found: One for each rule.

    Returns:
        One panel: a bar a rule, in shares of the trades whose side is told: right, wrong, undecided.
    """
    figure, panels = picture(height=1.4 + 0.5 * max(1, len(found)))
    axes = panels[0, 0]
    axes.set_title("The taker's side, guessed")
    if not any(one.told for one in found):
        nothing(axes, "this venue does not tell the side of its trades: there is nothing to compare with")
    for place, one in enumerate(found):
        if not one.told:
            continue
        right, wrong = one.right / one.told, (one.decided - one.right) / one.told
        parts = (right, GREEN, ""), (wrong, RED, "///"), (1 - right - wrong, "#dddddd", "")
        left = 0.0
        for (share, colour, hatch), word in zip(parts, ("right", "wrong", "undecided"), strict=True):
            axes.barh(place, share, left=left, color=colour, hatch=hatch, label=word if not place else None)
            if share > 0.06:
                box = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
                axes.text(left + share / 2, place, f"{share:.0%}", ha="center", va="center", fontsize=9, bbox=box)
            left += share
    axes.set_yticks(range(len(found)), [f"{one.rule}\n({one.told:,} trades)" for one in found])
    axes.set(xlabel="share of trades whose side is told", xlim=(0, 1), ylim=(len(found) - 0.5, -0.5))
    if any(one.told for one in found):
        axes.legend(loc="upper left", bbox_to_anchor=(1.0, 1.0))
    return figure


@styled
def depth(found: Depth) -> Picture:
    """How much stands within a distance of the middle, on average.

    Args:
        found: (levels,) of each side.

    Returns:
        One panel with bids to the left and asks to the right of the middle; a point for each level.
    """
    figure, panels = picture(height=3.0)
    axes = panels[0, 0]
    sides_ = (-1, found.bid_bp, found.bid, BLUE, "", "bids"), (1, found.ask_bp, found.ask, ORANGE, "///", "asks")
    for sign, away, size, colour, hatch, name in sides_:
        axes.fill_between(sign * away, size, step="post", color=colour, alpha=0.35, hatch=hatch)
        axes.plot(sign * away, size, "o", color=colour, markersize=4, label=name)
    axes.axvline(0.0, color=INK, linewidth=0.8)
    axes.set(xlabel="distance from the middle, bp", ylabel="size within, base units", ylim=(0, None))
    axes.set_title("Depth, level by level")
    key(axes)
    return figure


def _zero(axes: Axes) -> None:
    axes.axhline(0.0, color=INK, linewidth=0.8)
