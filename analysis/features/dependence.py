"""Family C: dependence and quality of a trend, from bars."""

import numpy as np

from analysis.arrays import Floats
from analysis.features import windows as w
from analysis.features.barview import BarView
from analysis.features.returns import BARS


@BARS.add("acf1_60", "dependence", ["bars"])
def acf1_60(view: BarView) -> Floats:
    """Autocorrelation of consecutive returns over an hour.

    Formula: sum (r_i - m)(r_{i-1} - m) / sum (r_i - m)^2
    Unit: 1
    Null: fewer than 60 returns, or sd 0
    Source: returns
    """
    return view.over_returns(60, lambda r: w.autocorrelation(r, 1))


@BARS.add("acf5_240", "dependence", ["bars"])
def acf5_240(view: BarView) -> Floats:
    """Autocorrelation of returns five bars apart over four hours.

    Formula: sum (r_i - m)(r_{i-5} - m) / sum (r_i - m)^2
    Unit: 1
    Null: fewer than 240 returns, or sd 0
    Source: returns
    """
    return view.over_returns(240, lambda r: w.autocorrelation(r, 5))


@BARS.add("variance_ratio_5", "dependence", ["bars"])
def variance_ratio_5(view: BarView) -> Floats:
    """Variance ratio of five-bar and one-bar returns: 1 for a random walk, above 1 for a trend.

    Formula: Var(overlapping 5-bar returns) / (5 Var(r)) over 240 returns
    Unit: 1
    Null: fewer than 240 returns, or Var 0
    Source: Lo and MacKinlay (1988)
    """

    def compute(r: Floats) -> Floats:
        five = r[:, 4:] + r[:, 3:-1] + r[:, 2:-2] + r[:, 1:-3] + r[:, :-4]
        return w.ratio(w.variance(five), 5 * w.variance(r))

    return view.over_returns(240, compute)


@BARS.add("efficiency_ratio_60", "dependence", ["bars"])
def efficiency_ratio_60(view: BarView) -> Floats:
    """Net movement of an hour divided by the length of the path.

    Formula: |c_t - c_{t-60}| / sum |c_i - c_{i-1}|
    Unit: 0 to 1
    Null: fewer than 61 bars, a gap touches one, or no movement
    Source: Kaufman (1995)
    """

    def compute(close: Floats) -> Floats:
        return w.ratio(np.abs(close[:, -1] - close[:, 0]), w.total(np.abs(np.diff(close))))

    return view.over(61, compute, view.bars.close) * view.complete(61)


@BARS.add("rsi_14", "dependence", ["bars"])
def rsi_14(view: BarView) -> Floats:
    """Relative strength index.

    Formula: 100 Wilder(U) / (Wilder(U) + Wilder(D)), 14 bars
    Unit: 0 to 100
    Null: fewer than 15 bars since the last gap
    Source: Wilder (1978), by TA-Lib
    """
    return view.indicator("rsi_14")


@BARS.add("macd_hist_atr", "dependence", ["bars"])
def macd_hist_atr(view: BarView) -> Floats:
    """MACD histogram in units of the average true range.

    Formula: macd_hist / atr_14
    Unit: 1
    Null: either null, or atr_14 = 0
    Source: Appel; Wilder (1978), by TA-Lib
    """
    return w.ratio(view.indicator("macd_hist"), view.indicator("atr_14"))


@BARS.add("bb_pos", "dependence", ["bars"])
def bb_pos(view: BarView) -> Floats:
    """Position of the close between its Bollinger bands.

    Formula: (c - lower) / (upper - lower)
    Unit: 1, 0 at the lower band
    Null: band null, or of zero width
    Source: Bollinger (2001), by TA-Lib
    """
    lower, upper = view.indicator("bb_lower"), view.indicator("bb_upper")
    return w.ratio(view.at(view.bars.close) - lower, upper - lower)


@BARS.add("adx_14", "dependence", ["bars"])
def adx_14(view: BarView) -> Floats:
    """Average directional index: strength of a trend in either direction.

    Formula: Wilder(100 |+DI - -DI| / (+DI + -DI)), 14 bars
    Unit: 0 to 100
    Null: fewer than 28 bars since the last gap
    Source: Wilder (1978), by TA-Lib
    """
    return view.indicator("adx_14")


@BARS.add("stoch_diff", "dependence", ["bars"])
def stoch_diff(view: BarView) -> Floats:
    """Stochastic oscillator minus its own mean.

    Formula: stoch_k - stoch_d
    Unit: points of 100
    Null: fewer than 18 bars since the last gap
    Source: Lane, by TA-Lib
    """
    return view.indicator("stoch_k") - view.indicator("stoch_d")


@BARS.add("sma_dist_50", "dependence", ["bars"])
def sma_dist_50(view: BarView) -> Floats:
    """Distance of the close from the mean of 50 closes.

    Formula: 1e4 ln(c / sma_50)
    Unit: bp
    Null: fewer than 50 bars since the last gap
    Source: closes, by TA-Lib
    """
    return 1e4 * w.positive_log(w.ratio(view.at(view.bars.close), view.indicator("sma_50")))
