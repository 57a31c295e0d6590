"""Figures of a tape: what was recorded when, and what is missing."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.dates import date2num

from analysis.arrays import FOREVER
from analysis.load import holes
from analysis.load.frames import nanoseconds
from analysis.plots.style import BLUE, FAINT, GREEN, ORANGE, RED, Picture, nothing, picture, stamps, styled, time_axis

_CHANNELS = {"trade": BLUE, "quote": ORANGE, "book": GREEN}
_CAUSES = 8


@styled
def rows_over_time(counts: pa.Table) -> Picture:
    """Rows of each channel per step, with the steps shaded in which something may be missing.

    Args:
        counts: Of `analysis.load.extent.counts`. A channel without any row has no panel.

    Returns:
        A panel a channel: rows a step on a linear axis, time below.
    """
    channels = [
        name for name in _CHANNELS if (pc.sum(counts.filter(pc.equal(counts["channel"], name))["rows"]).as_py() or 0)
    ]
    figure, panels = picture(max(1, len(channels)), sharex=True, height=1.4 + 1.5 * max(1, len(channels)))
    if not channels:
        nothing(panels[0, 0], "no rows in this range")
    for axes, channel in zip(panels[:, 0], channels, strict=False):
        part = counts.filter(pc.equal(counts["channel"], channel))
        start = nanoseconds(part["start"])
        step = int(start[1] - start[0]) if len(start) > 1 else 60 * 10**9
        edges = stamps(np.append(start, start[-1] + step))
        axes.stairs(part["rows"].to_numpy(), edges, color=_CHANNELS[channel], fill=True, alpha=0.85)
        for at in start[part["missing_share"].to_numpy() > 0]:
            axes.axvspan(*stamps(np.array([at, at + step])), color=RED, alpha=0.18, linewidth=0)
        axes.set(ylabel=f"{channel}s / {_length(step)}", ylim=(0, None), xlim=(edges[0], edges[-1]))
    panels[0, 0].set_title("Rows per step; shaded: something may be missing")
    time_axis(panels[-1, 0])
    return figure


@styled
def missing(gaps: pa.Table, start_ns: int, end_ns: int) -> Picture:
    """Each hole of a range as a bar in time, a row for each cause and channel.

    Args:
        gaps: Of `analysis.load.gaps`, of one channel or several put together.
        start_ns: Begin of the range, ns.
        end_ns: End of the range, ns; a hole that lasts reaches it.

    Returns:
        One panel; a hole too short to see is drawn half a percent of the range wide, and told in the label.
    """
    rows = gaps.to_pylist()
    lanes = list(dict.fromkeys((row["cause"], row["channel"]) for row in rows))[:_CAUSES]
    figure, panels = picture(height=1.5 + 0.42 * max(2, len(lanes)))
    axes = panels[0, 0]
    axes.set_title("What is missing, and why")
    least = (end_ns - start_ns) // 200
    for place, lane in enumerate(lanes):
        mine = [row for row in rows if (row["cause"], row["channel"]) == lane]
        spans = holes.holes(pa.Table.from_pylist(mine, gaps.schema)).merged()
        first = np.maximum(spans.start, start_ns)
        last = np.minimum(np.where(spans.end == FOREVER, end_ns, spans.end), end_ns)
        inside = last > first
        first, last = first[inside], last[inside]
        total = float((last - first).sum()) / 1e9
        wide = np.maximum(last - first, least)
        left, width = date2num(stamps(np.minimum(first, end_ns - wide))), wide / 86_400e9
        colour = FAINT if lane[0] == holes.UNRECORDED else RED
        axes.broken_barh(list(zip(left, width, strict=True)), (place - 0.36, 0.72), facecolors=colour)
        axes.annotate(
            f" {len(mine)} hole{'s' * (len(mine) != 1)}, {total:,.1f} s",
            (1.0, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
        )
    if not lanes:
        nothing(axes, "nothing is missing in this range")
    axes.set_yticks(range(len(lanes)), [f"{cause} ({channel})" for cause, channel in lanes])
    axes.set(ylim=(max(1, len(lanes)) - 0.4, -0.6), xlim=tuple(stamps(np.array([start_ns, end_ns]))))
    axes.xaxis_date()
    time_axis(axes)
    return figure


@styled
def delays(table: pa.Table) -> Picture:
    """How long after the venue's own time rows arrived.

    Args:
        table: Trades with ts_event and ts_recv.

    Returns:
        One panel: share of rows, 0 to 1, that had arrived after so many milliseconds (logarithmic). The two clocks are
        different ones: a row that seems to come before it happened is counted at the left edge, and where most do there
        is nothing to show.
    """
    figure, panels = picture(height=3.0)
    axes = panels[0, 0]
    axes.set_title("Delivery: receipt after the venue's time")
    late = (nanoseconds(table["ts_recv"]) - nanoseconds(table["ts_event"])) / 1e6
    if not len(late) or not late.any():
        nothing(axes, "no row knows two clocks")
        return figure
    early = float((late < 0).mean())
    if early > 0.5:
        nothing(axes, f"{early:.0%} of trades seem to have come before they happened: the two clocks disagree")
        axes.set_axis_off()
        return figure
    order = np.sort(np.maximum(late, 0.01))
    axes.set_xscale("log")
    axes.step(order, np.arange(1, len(order) + 1) / len(order), color=BLUE)
    for share in (0.5, 0.99):
        at = float(np.quantile(order, share))
        axes.plot([at], [share], "o", color=RED)
        told = f"{at:,.0f}" if at >= 10 else f"{at:.2g}"
        place = {"xytext": (6, -6), "textcoords": "offset points"} if share < 0.9 else {}
        axes.annotate(
            f"{share:.0%} within {told} ms ",
            (at, share),
            **place,
            va="top",
            ha="left" if place else "right",
            fontsize=9,
        )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="milliseconds (log)", ylabel="share of trades", ylim=(0, 1.03))
    return figure


def _length(ns: int) -> str:
    seconds = ns / 1e9
    return f"{seconds / 60:g} min" if seconds >= 60 else f"{seconds:g} s"
