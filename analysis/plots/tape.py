"""Figures of a recording: what was recorded when, and what is missing."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from matplotlib.dates import date2num
from matplotlib.patches import Patch

from analysis.arrays import FOREVER
from analysis.load import missing_ranges
from analysis.load.frames import nanoseconds
from analysis.plots.style import (
    BLUE,
    FAINT,
    GREEN,
    ORANGE,
    RED,
    SKY,
    Picture,
    explain_empty,
    picture,
    stamps,
    styled,
    time_axis,
)

_CHANNELS = {"trade": BLUE, "quote": ORANGE, "book": GREEN}
_UNKNOWN = "no certificate"
_GRADES = {
    "proved": (GREEN, None),
    "witnessed": (SKY, None),
    "consistent": (BLUE, None),
    "claimed": (ORANGE, None),
    "holed": (RED, "xxx"),
    _UNKNOWN: ("white", "////"),
}
"""Grade -> colour and hatch; the hatch of holes and of unknown hours shows without colour."""
_CAUSES = 8


@styled
def rows_over_time(counts: pa.Table) -> Picture:
    """Draw the rows of each channel per step, and shade the steps in which rows may be missing.

    Args:
        counts: Result of `analysis.load.extent.counts`; a channel without a row has no panel.

    Returns:
        One panel for each channel: rows per step over time.
    """
    channels = [
        name for name in _CHANNELS if (pc.sum(counts.filter(pc.equal(counts["channel"], name))["rows"]).as_py() or 0)
    ]
    figure, panels = picture(max(1, len(channels)), sharex=True, height=1.4 + 1.5 * max(1, len(channels)))
    if not channels:
        explain_empty(panels[0, 0], "no rows in this range")
    for axes, channel in zip(panels[:, 0], channels, strict=False):
        part = counts.filter(pc.equal(counts["channel"], channel))
        start = nanoseconds(part["start"])
        step = int(start[1] - start[0]) if len(start) > 1 else 60 * 10**9
        edges = stamps(np.append(start, start[-1] + step))
        axes.stairs(part["rows"].to_numpy(), edges, color=_CHANNELS[channel], fill=True, alpha=0.85)
        for at in start[part["missing_share"].to_numpy() > 0]:
            axes.axvspan(*stamps(np.array([at, at + step])), color=RED, alpha=0.18, linewidth=0)
        axes.set(ylabel=f"{channel}s / {_length(step)}", ylim=(0, None), xlim=(edges[0], edges[-1]))
    panels[0, 0].set_title("Rows per step (shaded: rows may be missing)")
    time_axis(panels[-1, 0])
    return figure


@styled
def missing(gaps: pa.Table, start_ns: int, end_ns: int) -> Picture:
    """Draw each missing range as a bar in time, with one lane for each cause and channel.

    Args:
        gaps: Result of `analysis.load.gaps`, of one channel or several concatenated.
        start_ns: Start of the range, ns.
        end_ns: End of the range, ns; an open gap extends to it.

    Returns:
        One panel; a range too short to see is drawn half a percent wide, and its label states the true length.
    """
    rows = gaps.to_pylist()
    lanes = list(dict.fromkeys((row["cause"], row["channel"]) for row in rows))[:_CAUSES]
    figure, panels = picture(height=1.5 + 0.42 * max(2, len(lanes)))
    axes = panels[0, 0]
    axes.set_title("Missing ranges by cause")
    least = (end_ns - start_ns) // 200
    for place, lane in enumerate(lanes):
        mine = [row for row in rows if (row["cause"], row["channel"]) == lane]
        spans = missing_ranges.spans_by_channel_clock(pa.Table.from_pylist(mine, gaps.schema)).merged()
        first = np.maximum(spans.start, start_ns)
        last = np.minimum(np.where(spans.end == FOREVER, end_ns, spans.end), end_ns)
        inside = last > first
        first, last = first[inside], last[inside]
        total = float((last - first).sum()) / 1e9
        wide = np.maximum(last - first, least)
        left, width = date2num(stamps(np.minimum(first, end_ns - wide))), wide / 86_400e9
        colour = FAINT if lane[0] == missing_ranges.UNRECORDED else RED
        axes.broken_barh(list(zip(left, width, strict=True)), (place - 0.36, 0.72), facecolors=colour)
        axes.annotate(
            f" {len(mine)} range{'s' * (len(mine) != 1)}, {total:,.1f} s",
            (1.0, place),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
        )
    if not lanes:
        explain_empty(axes, "nothing is missing in this range")
    axes.set_yticks(range(len(lanes)), [f"{cause} ({channel})" for cause, channel in lanes])
    axes.set(ylim=(max(1, len(lanes)) - 0.4, -0.6), xlim=tuple(stamps(np.array([start_ns, end_ns]))))
    axes.xaxis_date()
    time_axis(axes)
    return figure


@styled
def completeness(hours: pa.Table) -> Picture:
    """Draw the grade of each hour of each instrument; hours without a certificate are hatched.

    Args:
        hours: Result of `analysis.load.extent.grades_by_hour`, of one venue or several concatenated.

    Returns:
        One panel: a lane for each instrument, the hours of the range from left to right.
    """
    frame = hours.to_pylist()
    lanes = list(dict.fromkeys((row["venue"], row["symbol"]) for row in frame))
    figure, panels = picture(height=1.6 + 0.34 * max(2, len(lanes)))
    axes = panels[0, 0]
    axes.set_title("Grade of each hour")
    axes.grid(False)
    if not lanes:
        explain_empty(axes, "no instrument in this range")
        return figure
    width = 1 / 24
    runs: dict[tuple[int, str], list[tuple[float, float]]] = {}
    places = {lane: place for place, lane in enumerate(lanes)}
    for row in frame:
        where = places[row["venue"], row["symbol"]], row["grade"] or _UNKNOWN
        runs.setdefault(where, []).append((float(date2num(row["hour"])), width))
    for (place, name), spans in runs.items():
        colour, hatch = _GRADES[name]
        edge = FAINT if hatch else "white"
        lane_span = (place - 0.42, 0.84)
        axes.broken_barh(spans, lane_span, facecolors=colour, edgecolors=edge, hatch=hatch, linewidth=0.3)
    drawn = {row["grade"] or _UNKNOWN for row in frame}
    patches = [
        Patch(facecolor=colour, edgecolor=FAINT, hatch=hatch, label=name)
        for name, (colour, hatch) in _GRADES.items()
        if name in drawn
    ]
    axes.legend(handles=patches, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(patches), borderaxespad=0.2)
    labels = [
        lane_name if len(lane_name := f"{venue} {symbol}") <= 28 else f"{lane_name[:27]}…" for venue, symbol in lanes
    ]
    axes.set_yticks(range(len(lanes)), labels)
    first, last = min(row["hour"] for row in frame), max(row["hour"] for row in frame)
    axes.set(ylim=(len(lanes) - 0.4, -0.6), xlim=(date2num(first), date2num(last) + width))
    axes.xaxis_date()
    time_axis(axes)
    return figure


@styled
def delays(table: pa.Table) -> Picture:
    """Draw how long after the venue's own time rows arrived.

    Args:
        table: Trades with ts_event and ts_recv.

    Returns:
        One panel: fraction of rows that had arrived after so many milliseconds (logarithmic). The clocks of venue and
        recorder are independent, so a row may seem to arrive before its event; it is counted at the left edge, and when
        most rows do, the panel says so instead.
    """
    figure, panels = picture(height=3.0)
    axes = panels[0, 0]
    axes.set_title("Delivery delay: receipt minus the venue's time")
    late = (nanoseconds(table["ts_recv"]) - nanoseconds(table["ts_event"])) / 1e6
    if not len(late) or not late.any():
        explain_empty(axes, "both clocks are equal in every row, so no delay can be measured")
        return figure
    early = float((late < 0).mean())
    if early > 0.5:
        explain_empty(axes, f"{early:.0%} of trades seem to arrive before their event: the two clocks disagree")
        axes.set_axis_off()
        return figure
    order = np.sort(np.maximum(late, 0.01))
    axes.set_xscale("log")
    axes.step(order, np.arange(1, len(order) + 1) / len(order), color=BLUE)
    for fraction in (0.5, 0.99):
        at = float(np.quantile(order, fraction))
        axes.plot([at], [fraction], "o", color=RED)
        value = f"{at:,.0f}" if at >= 10 else f"{at:.2g}"
        left = fraction > 0.9  # the curve is flat there, so the text fits below it
        axes.annotate(
            f"{fraction:.0%} within {value} ms",
            (at, fraction),
            xytext=(-8, -10) if left else (6, -6),
            textcoords="offset points",
            va="top",
            ha="right" if left else "left",
            fontsize=9,
        )
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set(xlabel="milliseconds (log)", ylabel="fraction of trades", ylim=(0, 1.03))
    return figure


def _length(ns: int) -> str:
    seconds = ns / 1e9
    return f"{seconds / 60:.3g} min" if seconds >= 60 else f"{seconds:.3g} s"
