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
# Bars are what most of technical analysis sees of a market. They are made here from trades, in the order of the
# venue's clock, so a late or healed trade changes exactly the bars it belongs to. The data come from `TAPEDECK_TAPE`,
# the appliance's database or the sample data, and `TAPEDECK_QUICK=1` takes less of them (see 01).

# %%
import numpy as np

from analysis import load, notebook
from analysis.bars import TIMEFRAMES, on_grid, roll_up, time_bars
from analysis.event_bars import event_bars
from analysis.indicators import Series, indicators
from analysis.load.frames import trades_of
from analysis.load.holes import holes, nanoseconds
from analysis.plots import bars as plots

tape = notebook.tape(hours=notebook.sized(24, 2))
print(tape)
trades = trades_of(load.trades(*tape.where, on_gap="mask"))
gaps = holes(load.gaps(*tape.where))

# %% [markdown]
# ## Time bars
#
# Minutes are made first, everything longer is rolled up from them. A minute without a trade has **no** bar: nothing
# is carried forward in storage. `on_grid` gives one row a minute when a calculation needs neighbours in time; it
# fills a quiet minute with the previous close and leaves a minute unknown that was not recorded throughout.

# %%
minutes = time_bars(trades, TIMEFRAMES["1m"], gaps)
grid = on_grid(minutes, nanoseconds(tape.start), nanoseconds(tape.end), TIMEFRAMES["1m"], gaps)
print(f"{len(minutes)} of {len(grid)} minutes have a trade; {np.isnan(grid.close).sum()} are unknown")
bars = roll_up(minutes, TIMEFRAMES["15m"], gaps)

# %% [markdown]
# An empty body closed above its open, a full one below. The grey shade marks bars that a hole touches: their
# `coverage` is below 1.

# %%
every_minute = indicators(Series.of(grid))
plots.candles(bars, f"{tape.venue} {tape.symbol}, 15 minutes", {"vwap of the bar": bars.vwap})

# %% [markdown]
# The last two hours by the minute, with an average over 20 minutes and the Bollinger bands around it. The average is
# null until it has seen 20 bars, and again after every hole: an indicator that bridges a hole is wrong without a sign
# of it.

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
# All 24 columns are computed by TA-Lib, the same in batch and bar by bar. RSI says how one-sided the last moves were,
# MACD whether the short average leaves the long one, ATR how far a bar reaches, in basis points of the price.

# %%
plots.indicators(grid, every_minute)

# %% [markdown]
# ## Bars by what happened
#
# A clock does not know when the market is busy. Tick, volume and dollar bars end when enough was traded, so a busy
# hour has many and a quiet one few. Their returns tend to be closer to normal: compare the excess kurtosis, which is
# 0 for the normal curve. The thresholds are set so that each kind has about as many bars as there are five-minute
# bars.

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
