"""Family A: returns and momentum, from bars. c is the close, r the log return of a minute, t the last closed bar."""

import numpy as np

from analysis.arrays import Floats
from analysis.features import windows as w
from analysis.features.barview import BarView
from analysis.features.registry import Registry

BARS: Registry[BarView, Floats] = Registry()
"""Features of one-minute bars: numbers 1 to 39 and 49 to 51 of the list."""


@BARS.add("ret_{k}", "returns", ["bars"], k=(1, 5, 15, 60, 240))
def ret(view: BarView, k: int) -> Floats:
    """Return over k bars.

    Formula: 1e4 ln(c_t / c_{t-k})
    Unit: bp
    Null: fewer than k+1 bars, or a gap touches one
    Source: closes
    """
    return 1e4 * (view.at(view.level) - view.at(view.level, k)) * view.complete(k + 1)


@BARS.add("ret_accel", "returns", ["bars"])
def ret_accel(view: BarView) -> Floats:
    """Change of the one-bar return.

    Formula: ret_1(t) - ret_1(t-1)
    Unit: bp
    Null: fewer than 3 bars, or a gap touches one
    Source: closes
    """
    return 1e4 * (view.at(view.returns) - view.at(view.returns, 1)) * view.complete(3)


@BARS.add("mom_z_60", "returns", ["bars"])
def mom_z_60(view: BarView) -> Floats:
    """Sum of an hour's returns divided by its standard deviation.

    Formula: sum(r) / (sd(r) sqrt(60)), sample deviation
    Unit: sigma
    Null: fewer than 60 returns, a gap touches one of the bars, or sd 0
    Source: closes
    """
    return view.over_returns(60, lambda r: w.ratio(w.total(r), w.deviation(r) * np.sqrt(60))) * view.complete(61)


@BARS.add("close_vs_vwap_day", "returns", ["bars"])
def close_vs_vwap_day(view: BarView) -> Floats:
    """Distance of the close from the volume-weighted price of the UTC day so far.

    Formula: 1e4 ln(c_t / vwap_session)
    Unit: bp
    Null: no volume in the session, or a gap touches more than 10 % of its bars
    Source: closes and notional of trades
    """
    return 1e4 * w.positive_log(w.ratio(view.at(view.bars.close), view.indicator("vwap")))


@BARS.add("range_pos_60", "returns", ["bars"])
def range_pos_60(view: BarView) -> Floats:
    """Position of the close in the range of the hour.

    Formula: (c - min L) / (max H - min L)
    Unit: 0 to 1
    Null: fewer than 60 bars, or a flat range
    Source: highs, lows, closes
    """

    def position(high: Floats, low: Floats, close: Floats) -> Floats:
        bottom, top = w.extremes(low)[0], w.extremes(high)[1]
        return w.ratio(close[:, -1] - bottom, top - bottom)

    return view.over(60, position, view.bars.high, view.bars.low, view.bars.close)


@BARS.add("drawdown_240", "returns", ["bars"])
def drawdown_240(view: BarView) -> Floats:
    """Distance of the close below the highest price of four hours.

    Formula: 1e4 ln(c / max H)
    Unit: bp
    Null: fewer than 240 bars
    Source: highs, closes
    """

    def fall(high: Floats, close: Floats) -> Floats:
        return 1e4 * w.positive_log(w.ratio(close[:, -1], w.extremes(high)[1]))

    return view.over(240, fall, view.bars.high, view.bars.close)
