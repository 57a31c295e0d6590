"""Family B: volatility, from bars. r is the log return of a minute; O, H, L, C are the prices of a bar."""

import numpy as np

from analysis.arrays import Floats
from analysis.features import windows as w
from analysis.features.barview import BarView
from analysis.features.returns import BARS
from analysis.gap_policy import enough


def _realised(r: Floats) -> Floats:
    return 1e4 * w.positive_root(w.scaled_total(r**2))


@BARS.add("rv_{k}", "volatility", ["bars"], k=(15, 60, 240))
def rv(view: BarView, k: int) -> Floats:
    """Realised volatility over k bars.

    Formula: 1e4 sqrt(sum r^2), the sum scaled to k returns where some are missing
    Unit: bp
    Null: fewer than k returns
    Source: Andersen, Bollerslev, Diebold and Labys (2003)
    """
    return view.over_returns(k, _realised)


@BARS.add("parkinson_60", "volatility", ["bars"])
def parkinson_60(view: BarView) -> Floats:
    """Volatility of a bar from its high and low.

    Formula: 1e4 sqrt(mean(ln(H/L)^2) / (4 ln 2))
    Unit: bp per bar
    Null: fewer than 60 bars
    Source: Parkinson (1980)
    """

    def compute(high: Floats, low: Floats) -> Floats:
        return 1e4 * w.positive_root(w.mean(np.log(high / low) ** 2) / float(4 * np.log(2)))

    return view.over(60, compute, view.bars.high, view.bars.low)


@BARS.add("garman_klass_60", "volatility", ["bars"])
def garman_klass_60(view: BarView) -> Floats:
    """Volatility of a bar from its four prices, assuming no drift.

    Formula: 1e4 sqrt(mean(ln(H/L)^2 / 2 - (2 ln 2 - 1) ln(C/O)^2))
    Unit: bp per bar
    Null: fewer than 60 bars, or a negative mean
    Source: Garman and Klass (1980)
    """

    def compute(open_: Floats, high: Floats, low: Floats, close: Floats) -> Floats:
        terms = np.log(high / low) ** 2 / 2 - (2 * np.log(2) - 1) * np.log(close / open_) ** 2
        return 1e4 * w.positive_root(w.mean(terms))

    bars = view.bars
    return view.over(60, compute, bars.open, bars.high, bars.low, bars.close)


@BARS.add("rogers_satchell_60", "volatility", ["bars"])
def rogers_satchell_60(view: BarView) -> Floats:
    """Volatility of a bar from its four prices, independent of drift.

    Formula: 1e4 sqrt(mean(ln(H/C) ln(H/O) + ln(L/C) ln(L/O)))
    Unit: bp per bar
    Null: fewer than 60 bars
    Source: Rogers and Satchell (1991)
    """

    def compute(open_: Floats, high: Floats, low: Floats, close: Floats) -> Floats:
        up = np.log(high / close) * np.log(high / open_)
        down = np.log(low / close) * np.log(low / open_)
        return 1e4 * w.positive_root(w.mean(up + down))

    bars = view.bars
    return view.over(60, compute, bars.open, bars.high, bars.low, bars.close)


@BARS.add("bipower_ratio_60", "volatility", ["bars"])
def bipower_ratio_60(view: BarView) -> Floats:
    """Fraction of the hour's variance due to jumps; slightly below 0 by chance without jumps.

    Formula: 1 - (pi/2) sum |r_i| |r_{i-1}| / sum r^2
    Unit: 1
    Null: fewer than 60 returns, or sum r^2 = 0
    Source: Barndorff-Nielsen and Shephard (2004)
    """

    def compute(r: Floats) -> Floats:
        size = np.abs(r)
        return 1 - np.pi / 2 * w.ratio(w.scaled_total(size[:, 1:] * size[:, :-1]), w.scaled_total(r**2))

    return view.over_returns(60, compute)


@BARS.add("semivar_down_60", "volatility", ["bars"])
def semivar_down_60(view: BarView) -> Floats:
    """Fraction of the hour's variance due to falls.

    Formula: sum r^2 [r < 0] / sum r^2
    Unit: 0 to 1
    Null: fewer than 60 returns, or sum r^2 = 0
    Source: Barndorff-Nielsen, Kinnebrock and Shephard (2010)
    """
    return view.over_returns(60, lambda r: w.ratio(w.total(np.minimum(r, 0) ** 2), w.total(r**2)))


@BARS.add("vol_of_vol", "volatility", ["bars"])
def vol_of_vol(view: BarView) -> Floats:
    """Variation of volatility over four hours.

    Formula: sd(rv_15) / mean(rv_15) over 16 windows without overlap, sample deviation
    Unit: 1
    Null: fewer than 240 returns, more than 10 % of them or more than one of the windows in a gap, or no movement
    Source: returns
    """
    each = np.stack([view.over_returns(15, _realised, lag=15 * window) for window in range(16)], axis=-1)
    known = enough(16 - w.count(each), 16)
    return w.where(known, w.ratio(w.deviation(each), w.mean(each))) * view.recorded(241)


@BARS.add("vol_ratio", "volatility", ["bars"])
def vol_ratio(view: BarView) -> Floats:
    """Volatility of 15 minutes relative to that of four hours; 1 when it is constant.

    Formula: 4 rv_15 / rv_240
    Unit: 1
    Null: fewer than 240 returns, rv_15 or rv_240 null, or rv_240 = 0
    Source: returns
    """
    return w.ratio(4 * rv(view, 15), rv(view, 240))


@BARS.add("skew_240", "volatility", ["bars"])
def skew_240(view: BarView) -> Floats:
    """Skewness of four hours of returns.

    Formula: m3 / m2^1.5, central moments of the sample
    Unit: 1
    Null: fewer than 240 returns, or sd 0
    Source: returns
    """
    return view.over_returns(240, lambda r: w.standardised_moment(r, 3))


@BARS.add("kurt_240", "volatility", ["bars"])
def kurt_240(view: BarView) -> Floats:
    """Excess kurtosis of four hours of returns; 0 for a normal distribution.

    Formula: m4 / m2^2 - 3, central moments of the sample
    Unit: 1
    Null: fewer than 240 returns, or sd 0
    Source: returns
    """
    return view.over_returns(240, lambda r: w.standardised_moment(r, 4) - 3)
