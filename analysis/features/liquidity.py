"""Family E: liquidity and impact. b, a are best bid and ask, m their middle, p a trade price, s the taker's side."""

import numpy as np

from analysis.arrays import MINUTE, SECOND, Floats, Ints, Quotes, Trades
from analysis.features import windows as w
from analysis.features.barview import BarView
from analysis.features.point_in_time import POINT_IN_TIME, PointInTimeView, before
from analysis.features.returns import BARS
from analysis.gap_policy import complete, enough, steps

MIN_TRADES = 10


def time_weighted(values: Floats, since: Ints, borders: Ints) -> tuple[Floats, Floats]:
    """Return the mean of a step function in each span between borders, and the fraction of the span where it is known.

    Args:
        values: (n,) value from its instant to the next; NaN is unknown.
        since: (n,) instants, ascending; one before the first border is valid at that border.
        borders: (k + 1,) ascending.

    Returns:
        (k,) mean, NaN where nothing is known; (k,) fraction, 0 to 1.
    """
    if not len(values):
        return np.full(len(borders) - 1, np.nan), np.zeros(len(borders) - 1)
    start = borders[0]
    at = np.concatenate([np.maximum(since, start), borders[-1:]])
    length = np.diff(at) / SECOND
    known = ~np.isnan(values)
    area = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0) * length)])
    seen = np.concatenate([[0.0], np.cumsum(known * length)])
    x, border = (at - start) / SECOND, (borders - start) / SECOND
    measured = np.diff(np.interp(border, x, seen))
    return w.ratio(np.diff(np.interp(border, x, area)), np.where(measured > 1e-12, measured, 0.0)), measured / np.diff(
        border
    )


def _spread(quotes: Quotes) -> Floats:
    """Return (n,) 1e4 (a - b) / m; null where the book is crossed or a side is empty."""
    return 1e4 * (quotes.ask - quotes.bid) / quotes.mid


@POINT_IN_TIME.add("spread_bp", "liquidity", ["quotes"])
def spread_bp(now: PointInTimeView) -> float:
    """Time-weighted spread over a minute.

    Formula: time-weighted mean of 1e4 (a - b) / m
    Unit: bp
    Null: no valid quote in the minute
    Source: quotes
    """
    rows = now.quotes(MINUTE)
    return float(time_weighted(_spread(rows), rows.ts_event, np.array([now.t - MINUTE, now.t]))[0][0])


@POINT_IN_TIME.add("spread_z", "liquidity", ["quotes"])
def spread_z(now: PointInTimeView) -> float:
    """Spread of the minute relative to four hours of minutes.

    Formula: (spread_bp - mean) / sd over the last 240 minutes, this one included, sample deviation
    Unit: sigma
    Null: more than 10 % of the minutes without a valid quote, or sd 0
    Source: quotes
    """
    rows = now.quotes(240 * MINUTE)
    borders = now.t + MINUTE * np.arange(-240, 1)
    spreads = time_weighted(_spread(rows), rows.ts_event, borders)[0][None]
    if not enough(240 - w.count(spreads), 240)[0]:
        return np.nan
    return float(w.ratio(spreads[:, -1] - w.mean(spreads), w.deviation(spreads))[0])


def _around(now: PointInTimeView, horizon_ns: int) -> tuple[Trades, Floats, Floats]:
    """Return trades of 15 minutes older than a horizon, the mid just before each, and the mid a horizon after it.

    A trade counts when both are known and no gap lies between them.
    """
    rows = now.trades(15 * MINUTE)
    rows = rows.take((rows.ts_event <= now.t - horizon_ns) & (rows.side != 0))
    quotes = now.quotes(15 * MINUTE)
    mid = np.append(quotes.mid, np.nan)  # position -1 is "no quote yet"
    then = before(quotes.ts_event, rows.ts_event)
    later = before(quotes.ts_event, rows.ts_event + horizon_ns, "right")
    known = ~np.isnan(mid[then]) & ~np.isnan(mid[later])
    known &= complete(rows.ts_event, rows.ts_event + horizon_ns, now.tape.gaps)
    return rows.take(known), mid[then][known], mid[later][known]


@POINT_IN_TIME.add("eff_spread_bp", "liquidity", ["trades", "quotes"])
def eff_spread_bp(now: PointInTimeView) -> float:
    """Effective spread paid by takers over 15 minutes.

    Formula: volume-weighted mean of 2e4 s (p - m) / m, m the mid just before the trade
    Unit: bp
    Null: fewer than 10 trades with a known side and a mid before them
    Source: Huang and Stoll (1996)
    """
    rows, mid, _ = _around(now, 0)
    if len(rows) < MIN_TRADES:
        return np.nan
    return float(np.average(2e4 * rows.side * (rows.price - mid) / mid, weights=rows.size))


@POINT_IN_TIME.add("realized_spread_30s", "liquidity", ["trades", "quotes"])
def realized_spread_30s(now: PointInTimeView) -> float:
    """Realised spread kept by makers after 30 s, over 15 minutes; only trades older than 30 s count.

    Formula: volume-weighted mean of 2e4 s (p - m_30) / m, m the mid just before the trade, m_30 that 30 s after it
    Unit: bp
    Null: fewer than 10 such trades
    Source: Huang and Stoll (1996)
    """
    rows, mid, later = _around(now, 30 * SECOND)
    if len(rows) < MIN_TRADES:
        return np.nan
    return float(np.average(2e4 * rows.side * (rows.price - later) / mid, weights=rows.size))


@POINT_IN_TIME.add("roll_bp", "liquidity", ["trades"])
def roll_bp(now: PointInTimeView) -> float:
    """Spread implied by the bouncing of the last 500 trade prices.

    Formula: 2e4 sqrt(-cov(d ln p_i, d ln p_{i-1}))
    Unit: bp
    Null: cov at or above 0, or fewer than 4 trades; a change over a gap does not count
    Source: Roll (1984)
    """
    rows = now.last_trades(500)
    if len(rows) < 4:
        return np.nan
    moves = steps(np.log(rows.price), rows.ts_event, now.tape.gaps)
    both = ~np.isnan(moves[1:]) & ~np.isnan(moves[:-1])
    later, earlier = moves[1:][both], moves[:-1][both]
    if len(later) < 2:
        return np.nan
    covariance = float(np.mean((later - later.mean()) * (earlier - earlier.mean())))
    return 2e4 * float(np.sqrt(-covariance)) if covariance < 0 else np.nan


@BARS.add("amihud_60", "liquidity", ["bars"])
def amihud_60(view: BarView) -> Floats:
    """Absolute return of a bar per traded value, over an hour.

    Formula: 1e10 mean(|r| / q) over bars with trades, q the notional
    Unit: bp per million quote units
    Null: fewer than 60 returns, or nothing traded
    Source: Amihud (2002)
    """
    return view.over_returns(60, lambda r, q: 1e10 * w.mean(w.ratio(np.abs(r), q)), view.bars.notional)


def _regression(r: Floats, signed: Floats) -> tuple[Floats, Floats]:
    """Return slope and R^2 of 1e4 r on signed notional in millions, by row."""
    x = np.where(np.isnan(r), np.nan, signed / 1e6)
    y = np.where(np.isnan(signed), np.nan, 1e4 * r)
    spread = np.where((x != 0).sum(axis=1) - np.isnan(x).sum(axis=1) >= 30, w.variance(x, 0) * w.count(x), np.nan)
    slope = w.ratio(w.total(w.centred(x) * w.centred(y)), spread)
    residual = w.total((w.centred(y) - slope[:, None] * w.centred(x)) ** 2)
    return slope, 1 - w.ratio(residual, w.variance(y, 0) * w.count(y))


@BARS.add("kyle_lambda_60", "liquidity", ["bars"])
def kyle_lambda_60(view: BarView) -> Floats:
    """Price impact per net value bought by takers, from 60 minutes.

    Formula: least-squares slope, with intercept, of 1e4 r on (q_b - q_s) / 1e6
    Unit: bp per million quote units
    Null: fewer than 60 returns, fewer than 30 minutes with net flow, or flow of no variance
    Source: Kyle (1985)
    """
    return view.over_returns(60, lambda r, q: _regression(r, q)[0], view.bars.signed_notional)


@BARS.add("impact_r2_60", "liquidity", ["bars"])
def impact_r2_60(view: BarView) -> Floats:
    """Fraction of an hour's price variance explained by net flow.

    Formula: R^2 of the regression of kyle_lambda_60
    Unit: 0 to 1
    Null: as kyle_lambda_60, or a price that did not move
    Source: Kyle (1985)
    """
    return view.over_returns(60, lambda r, q: _regression(r, q)[1], view.bars.signed_notional)
