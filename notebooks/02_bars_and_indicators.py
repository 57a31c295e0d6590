# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3 (ipykernel)
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 02 · Bars and indicators
#
# Most of technical analysis works on bars. They are computed here from trades, in the order of the venue's clock, so
# that a late or healed trade changes exactly the bars it belongs to. The data come from `TAPEDECK_TAPE`, the
# appliance's database or the sample data; `TAPEDECK_QUICK=1` uses less (see notebook 01).

# %%
import numpy as np

from analysis import load, notebook
from analysis.bars import TIMEFRAMES, on_grid, roll_up, time_bars
from analysis.event_bars import event_bars
from analysis.indicators import Series, indicators
from analysis.load.frames import trades_of
from analysis.load.missing_ranges import spans_by_channel_clock
from analysis.plots import bars as plots

tape = notebook.tape(hours=notebook.sized(24, 2))
print(tape)
trades = trades_of(load.trades(*tape.where, source=tape.source, on_gap="mask"))
gaps = spans_by_channel_clock(load.gaps(*tape.where, source=tape.source))

# %% [markdown]
# ## Time bars
#
# Minutes are computed first, and longer bars are rolled up from them. A minute without a trade has **no** bar:
# storage never fills prices forward. `on_grid` returns one row for each minute when a calculation needs neighbours in
# time. It fills a quiet minute with the previous close and leaves a minute null that was not recorded completely.

# %%
minutes = time_bars(trades, TIMEFRAMES["1m"], gaps)
grid = on_grid(minutes, tape.start_ns, tape.end_ns, TIMEFRAMES["1m"], gaps)
print(f"{len(minutes)} of {len(grid)} minutes have a trade; {np.isnan(grid.close).sum()} are null")
bars = roll_up(minutes, TIMEFRAMES["15m"], gaps)

# %% [markdown]
# A white body closed above its open, a filled one below. Grey shading marks bars that a gap touches: their `coverage`
# is below 1.

# %%
every_minute = indicators(Series.of(grid))
plots.candles(bars, f"{tape.venue} {tape.symbol}, 15 minutes", {"vwap of the bar": bars.vwap})

# %% [markdown]
# The next figure shows the last two hours by the minute, with an average over 20 minutes and Bollinger bands around
# it. The average is null until it has 20 bars, and again after every gap: an indicator computed across a gap would be
# wrong without any sign of it.

# %%
last = slice(-120, None)
plots.candles(
    grid.take(last),
    f"{tape.venue} {tape.symbol}, 1 minute",
    {
        "SMA 20": every_minute["sma_20"][last],
        "upper band": every_minute["bb_upper"][last],
        "lower band": every_minute["bb_lower"][last],
    },
)

# %% [markdown]
# ## Indicators
#
# TA-Lib computes all 24 columns, with the same result in batch and bar by bar. RSI measures how one-sided recent
# moves were, MACD the distance between a short and a long average, and ATR the range of a bar in basis points of the
# price.

# %%
plots.indicators(grid, every_minute)

# %% [markdown]
# ## Bars by activity
#
# Time bars ignore how busy the market is. Tick, volume and dollar bars end when enough was traded, so a busy hour has
# many and a quiet one few. Their returns tend to be closer to normal: compare the excess kurtosis, which is 0 for the
# normal distribution. The thresholds give each kind about as many bars as there are five-minute bars.

# %%
five = roll_up(minutes, TIMEFRAMES["5m"], gaps)
plots.kinds(
    {
        "5 minutes": five,
        "tick": event_bars(trades, "tick", max(1, len(trades) // len(five)), gaps),
        "volume": event_bars(trades, "volume", trades.size.sum() / len(five), gaps),
        "dollar": event_bars(trades, "dollar", (trades.price * trades.size).sum() / len(five), gaps),
    }
)
