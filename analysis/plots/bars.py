"""Figures of bars and of the indicators computed from them."""

from collections.abc import Mapping
from statistics import NormalDist

import numpy as np

from analysis.arrays import Floats
from analysis.bars import Bars
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
    stamps,
    styled,
    time_axis,
)


@styled
def candles(bars: Bars, title: str, overlays: Mapping[str, Floats] | None = None) -> Picture:
    """Draw open, high, low and close of bars above their volume, with a shade behind bars that a gap touches.

    Args:
        bars: (n,) bars of one width.
        title: Title of the picture.
        overlays: Name -> (n,) lines over the prices, quote units; NaN interrupts a line.

    Returns:
        Two panels with a common time axis: price (filled where the close is below the open) and volume by taker's side.
    """
    figure, (top, low) = picture(2, sharex=True, height=4.8, height_ratios=[3, 1])
    price, volume = top[0], low[0]
    price.set_title(title)
    if not np.isfinite(bars.close).any():
        explain_empty(price, "no trade in this range, so there is no bar")
    middle = stamps((bars.start + bars.end) // 2)
    width = np.timedelta64(int(0.7 * int(np.median(bars.end - bars.start))) if len(bars) else 1, "ns")
    up = bars.close >= bars.open
    for mask, colour, face in ((up, GREEN, "white"), (~up, RED, RED)):
        price.vlines(middle[mask], bars.low[mask], bars.high[mask], color=colour, linewidth=0.9)
        body = (bars.close - bars.open)[mask]
        price.bar(
            middle[mask], body, width, bottom=bars.open[mask], color=face, edgecolor=colour, linewidth=0.9, zorder=2
        )
    lines = overlays or {}
    for (name, values), colour, dash in zip(lines.items(), CYCLE, DASHES, strict=False):
        price.plot(middle, values, color=colour, linestyle=dash, label=name, linewidth=1.2, zorder=3)
    if lines:
        key(price)
    known = np.concatenate([bars.low, bars.high, *lines.values()])
    known = known[np.isfinite(known)]
    if len(known):
        reach = float(np.ptp(known)) or 1e-6 * float(known[0])
        price.set_ylim(float(known.min()) - 0.05 * reach, float(known.max()) + 0.05 * reach)
    volume.bar(middle, bars.buy_volume, width, color=BLUE, label="takers bought")
    volume.bar(middle, bars.sell_volume, width, bottom=bars.buy_volume, color=ORANGE, hatch="///", label="takers sold")
    other = bars.volume - bars.buy_volume - bars.sell_volume
    if np.nanmax(other, initial=0.0) > 1e-9 * np.nanmax(bars.volume, initial=1.0):
        volume.bar(middle, other, width, bottom=bars.buy_volume + bars.sell_volume, color=FAINT, label="side unknown")
    for panel in (price, volume):
        for at in np.flatnonzero(bars.coverage < 1.0):
            panel.axvspan(*stamps(np.array([bars.start[at], bars.end[at]])), color=FAINT, alpha=0.25, linewidth=0)
    key(volume)
    price.set_ylabel("price, quote units")
    volume.set_ylabel("volume, base")
    time_axis(volume)
    return figure


@styled
def indicators(bars: Bars, columns: Mapping[str, Floats]) -> Picture:
    """Draw RSI, MACD and average true range below each other.

    Args:
        bars: (n,) bars.
        columns: Columns of `analysis.indicators.indicators`: rsi_14, macd, macd_signal, macd_hist, atr_14.

    Returns:
        Three panels with a common time axis; a line begins where its indicator has warmed up.
    """
    figure, panels = picture(3, sharex=True, height=5.4)
    at = stamps(bars.end)
    rsi, macd, atr = panels[:, 0]
    rsi.set_title("Indicators at the close of each bar")
    rsi.plot(at, columns["rsi_14"], color=BLUE)
    if not np.isfinite(columns["rsi_14"]).any():
        explain_empty(rsi, "fewer than 15 bars without a gap, so no indicator has warmed up")
    for level in (30, 70):
        rsi.axhline(level, color=FAINT, linewidth=0.9, linestyle="--")
    rsi.set(ylabel="RSI 14, 0 to 100", ylim=(0, 100))
    width = np.timedelta64(int(np.median(bars.end - bars.start)) if len(bars) else 1, "ns")
    macd.bar(at, columns["macd_hist"], width, color=FAINT, label="histogram")
    macd.plot(at, columns["macd"], color=BLUE, label="MACD 12/26")
    macd.plot(at, columns["macd_signal"], color=ORANGE, linestyle="--", label="signal 9")
    macd.set_ylabel("quote units")
    key(macd)
    atr.plot(at, 1e4 * columns["atr_14"] / bars.close, color=RED)
    atr.set(ylabel="ATR 14, bp of price", ylim=(0, None))
    time_axis(atr)
    return figure


@styled
def kinds(bars_by_kind: Mapping[str, Bars]) -> Picture:
    """Draw the distributions of trades per bar and of returns for time, tick, volume and dollar bars.

    Args:
        bars_by_kind: Name -> bars of the same trades.

    Returns:
        Left: cumulative distribution of the number of trades in a bar. Right: quantiles of the log returns of the
        closes against those of a normal distribution, both in standard deviations; fatter tails bend away from the
        line. The legend states the number of bars and their excess kurtosis.
    """
    figure, panels = picture(1, 2, height=3.8)
    many, shape = panels[0]
    for (name, bars), colour, dash in zip(bars_by_kind.items(), CYCLE, ("-", "--", "-.", ":", "-", "--"), strict=False):
        count = np.sort(bars.trade_count)
        many.step(count, np.arange(1, len(count) + 1) / max(len(count), 1), color=colour, linestyle=dash, label=name)
        move = np.diff(np.log(bars.close))
        z = (move - move.mean()) / move.std() if len(move) > 2 and move.std() > 0 else np.zeros(0)
        kurtosis = float((z**4).mean() - 3) if len(z) else float("nan")
        normal = [NormalDist().inv_cdf((i + 0.5) / len(z)) for i in range(len(z))]
        label = f"{name}: {len(bars)} bars, kurtosis {kurtosis:+.1f}"
        shape.plot(normal, np.sort(z), color=colour, linestyle=dash, linewidth=1.5, label=label)
    shape.plot([-3, 3], [-3, 3], color=INK, linewidth=0.9, label="normal")
    counts = np.concatenate([np.zeros(0), *(bars.trade_count for bars in bars_by_kind.values())])
    wide = len(counts) > 0 and counts.max() > 10 * max(counts.min(), 1)
    many.set(xlabel="trades in a bar", ylabel="fraction of bars", title="Trades in a bar")
    if wide:
        many.set(xscale="log", xlabel="trades in a bar (log)")
        many.xaxis.set_major_formatter("{x:g}")
    shape.set(xlabel="normal quantile, standard deviations", ylabel="return, standard deviations")
    shape.set_title("Quantiles of returns")
    figure.legend(handles=shape.get_lines(), loc="outside lower center", ncols=2)
    return figure
