"""The 13 indicators in 24 columns, computed by TA-Lib: `indicators` for a series, `IndicatorStream` bar by bar.

Every parameter is passed to TA-Lib explicitly, and its unstable period stays 0. TA-Lib never receives a NaN, because
one NaN makes six indicators null for the rest of the series and silently corrupts RSI and OBV. A series is therefore
split at every row with a NaN and at every reset; each part warms up again. `Series.of` makes a bar that a gap touches
null and a gap between bars a reset, by the rule of `gap_policy`.

The vwap of a session needs no warm-up: it goes on after a null row, without it, and is null when too many rows of the
session are null. After a reset, which does not tell how much is missing, it is null until the next session.

A value belongs to the close time of its bar. Null is NaN. A constant price gives RSI, STOCH, ADX, ATR and MFI of 0 and
bands equal to the price; TA-Lib defines these as finite values, not nulls.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Self, overload

import numpy as np
import talib
from talib._ta_lib import MA_Type

from analysis.arrays import DAY, Bools, Floats, Gaps, Ints
from analysis.bars import Bars, BarsLike
from analysis.framing import Frame, To, framed
from analysis.gap_policy import complete, complete_bars, enough

_SMA = MA_Type.SMA

WINDOW = 1_000
"""Bars kept by the stream: with so many, every recursive indicator agrees with its full history to 1e-13."""

COLUMNS: tuple[str, ...] = (
    "rsi_14",
    "macd",
    "macd_signal",
    "macd_hist",
    "bb_upper",
    "bb_middle",
    "bb_lower",
    "sma_20",
    "sma_50",
    "sma_100",
    "sma_200",
    "ema_12",
    "ema_26",
    "ema_50",
    "stoch_k",
    "stoch_d",
    "atr_14",
    "adx_14",
    "plus_di_14",
    "minus_di_14",
    "volume_sma_20",
    "mfi_14",
    "obv",
    "vwap",
)

VwapBasis = Literal["trades", "typical"]


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Input of the indicators: aligned (n,) columns of one (venue, symbol, timeframe), oldest first."""

    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    notional: Floats | None  # quote units, from trades; with None, vwap uses typical prices
    session: Ints  # a number for each session; vwap restarts when it changes
    resets: Bools | None = None  # True where a row does not continue the previous one

    @classmethod
    def of(cls, bars: BarsLike, gaps: Gaps | None = None, session: Ints | None = None) -> Self:
        """Return the series of bars, null in every bar that a gap touches.

        Candles published by a venue have no notional; vwap then uses typical prices.

        Args:
            bars: (n,) bars, oldest first, or a frame of them.
            gaps: Unrecorded spans, for bars that are not on a grid: a gap between the end of one bar and the start of
                the next is a reset.
            session: (n,) a number for each session, as for equities; without it a session is a UTC day.
        """
        bars = Bars.of(bars)
        days = bars.start // DAY if session is None else session
        notional = None if np.isnan(bars.notional).all() else bars.notional
        good, resets = complete_bars(bars.coverage), None
        if gaps is not None:
            good &= complete(bars.start, bars.end, gaps)
            resets = np.zeros(len(bars), np.bool_)
            resets[1:] = ~complete(bars.end[:-1], bars.start[1:], gaps)
        if good.all():
            return cls(bars.high, bars.low, bars.close, bars.volume, notional, days, resets)
        high, low, close, volume = (np.where(good, x, np.nan) for x in (bars.high, bars.low, bars.close, bars.volume))
        cash = None if notional is None else np.where(good, notional, np.nan)
        return cls(high, low, close, volume, cash, days, resets)

    @property
    def vwap_basis(self) -> VwapBasis:
        """Return what vwap is computed from."""
        return "typical" if self.notional is None else "trades"


@overload
def indicators(series: Series | Bars, *, to: None = None) -> dict[str, Floats]: ...


@overload
def indicators(series: Series | BarsLike, *, to: To) -> Frame: ...


def indicators(series: Series | BarsLike, *, to: To | None = None) -> dict[str, Floats] | Frame:
    """Return all columns of a series.

    Args:
        series: (n,) columns; a row with a NaN has null indicators and ends the part before it. Bars, or a frame of
            them, are taken as `Series.of` takes them.
        to: Library of the frame to return; None returns arrays.

    Returns:
        Name of each of COLUMNS -> (n,) float64, NaN until the indicator's first value; or a frame of them, which begins
        with the start and end of each bar where bars were given.
    """
    if to is not None:
        if isinstance(series, Series):
            return framed(indicators(series), to)
        bars = Bars.of(series)
        return framed({"start": bars.start, "end": bars.end, **indicators(bars)}, to)
    series = series if isinstance(series, Series) else Series.of(series)
    n = len(series.close)
    good = _complete(series)
    parts = _parts(series, good)
    if parts == [(0, n)]:  # the common case returns TA-Lib's arrays; a copy would add half of the cost
        return {**_all_columns(_rows(series, 0, n)), "vwap": _vwap(series, good)}
    out = {name: np.full(n, np.nan) for name in COLUMNS}
    for begin, end in parts:
        for name, values in _all_columns(_rows(series, begin, end)).items():
            out[name][begin:end] = values
    out["vwap"] = _vwap(series, good)
    return out


def on_balance_volume(series: Series) -> Floats:
    """Return the obv of a series alone: (n,) float64, as in `indicators`."""
    out = np.full(len(series.close), np.nan)
    for begin, end in _parts(series, _complete(series)):
        part = _rows(series, begin, end)
        out[begin:end] = talib.OBV(part.close, part.volume)
    return out


def _all_columns(part: Series) -> dict[str, Floats]:
    return {**_computed(part), "obv": talib.OBV(part.close, part.volume)}


@dataclass(frozen=True, slots=True)
class State:
    """State of a stream that a restart needs."""

    rows: tuple[tuple[float, float, float, float], ...]  # high, low, close, volume of up to WINDOW bars
    obv: float
    session: int | None
    session_notional: float
    session_volume: float
    session_rows: int = 0
    session_missing: float = 0.0  # rows; infinite after a reset
    interrupted: bool = False  # a reset came after the last bar


class IndicatorStream:
    """Compute the same columns for one new bar at a time, in constant memory.

    Recursive indicators are computed on the last WINDOW bars; OBV and vwap depend on all bars and are carried on. Null
    bars and resets act as in `indicators`.
    """

    def __init__(self, state: State | None = None, *, from_trades: bool = True) -> None:
        self._rows = np.full((4, 4 * WINDOW), np.nan)
        self._begin = self._end = 0
        self._from_trades = from_trades
        self._obv = 0.0
        self._session: int | None = None
        self._notional = self._volume = self._missing = 0.0
        self._count = 0
        self._interrupted = False
        if state is not None:
            self._end = len(state.rows)
            self._rows[:, : self._end] = np.array(state.rows, np.float64).reshape(-1, 4).T
            self._obv, self._session = state.obv, state.session
            self._notional, self._volume = state.session_notional, state.session_volume
            self._count, self._missing = state.session_rows, state.session_missing
            self._interrupted = state.interrupted

    @property
    def state(self) -> State:
        """Return everything that the next bar depends on."""
        window = self._rows[:, self._begin : self._end].T
        rows = tuple((float(h), float(low), float(c), float(v)) for h, low, c, v in window)
        session = self._session, self._notional, self._volume, self._count, self._missing
        return State(rows, self._obv, *session, self._interrupted)

    def reset(self) -> None:
        """Begin a new series after a gap between two bars; vwap is null for the rest of the session."""
        self._begin_part()
        self._interrupted = self._session is not None

    def _begin_part(self) -> None:
        self._begin = self._end = 0
        self._obv = 0.0

    def add(
        self, high: float, low: float, close: float, volume: float, session: int, notional: float | None = None
    ) -> dict[str, float]:
        """Add a closed bar and return its columns; a bar with a NaN has null columns, and a new series follows it."""
        if self._from_trades and notional is None:
            raise ValueError("vwap from trades needs the bar's notional")
        cash = (high + low + close) / 3 * volume if notional is None else notional
        known = not np.isnan((high, low, close, volume, cash)).any()
        self._carry_session(session, known, volume, cash)
        if not known:
            self._begin_part()
            return dict.fromkeys(COLUMNS, np.nan)
        self._carry_obv(close, volume)
        self._push(high, low, close, volume)
        highs, lows, closes, volumes = self._rows[:, self._begin : self._end]
        part = Series(highs, lows, closes, volumes, None, np.zeros(0, np.int64))
        out = {name: float(values[-1]) for name, values in _computed(part).items()}
        out["obv"] = self._obv
        valid = self._volume > 0 and bool(enough(self._missing, self._count))
        out["vwap"] = self._notional / self._volume if valid else np.nan
        return out

    def _carry_obv(self, close: float, volume: float) -> None:
        if self._begin == self._end:
            self._obv = volume
        else:
            before = self._rows[2, self._end - 1]
            self._obv += volume if close > before else -volume if close < before else 0.0

    def _carry_session(self, session: int, known: bool, volume: float, cash: float) -> None:
        if session != self._session:
            self._session, self._notional, self._volume = session, 0.0, 0.0
            self._count, self._missing = 0, 0.0
        self._count += 1
        if self._interrupted:
            self._interrupted, self._missing = False, np.inf
        if known:
            self._notional += cash
            self._volume += volume
        else:
            self._missing += 1

    def _push(self, *row: float) -> None:
        if self._end == self._rows.shape[1]:
            kept = self._end - self._begin
            self._rows[:, :kept] = self._rows[:, self._begin : self._end].copy()
            self._begin, self._end = 0, kept
        self._rows[:, self._end] = row
        self._end += 1
        self._begin = max(self._begin, self._end - WINDOW)


def _computed(part: Series) -> Mapping[str, Floats]:
    """Return the columns that TA-Lib can compute on a window of the series."""
    high, low, close, volume = part.high, part.low, part.close, part.volume
    macd, signal, hist = talib.MACD(close, fastperiod=12, slowperiod=26, signalperiod=9)
    upper, middle, lower = talib.BBANDS(close, timeperiod=20, nbdevup=2.0, nbdevdn=2.0, matype=_SMA)
    k, d = talib.STOCH(
        high,
        low,
        close,
        fastk_period=14,
        slowk_period=3,
        slowk_matype=_SMA,
        slowd_period=3,
        slowd_matype=_SMA,
    )
    return {
        "rsi_14": talib.RSI(close, timeperiod=14),
        "macd": macd,
        "macd_signal": signal,
        "macd_hist": hist,
        "bb_upper": upper,
        "bb_middle": middle,
        "bb_lower": lower,
        "sma_20": talib.SMA(close, timeperiod=20),
        "sma_50": talib.SMA(close, timeperiod=50),
        "sma_100": talib.SMA(close, timeperiod=100),
        "sma_200": talib.SMA(close, timeperiod=200),
        "ema_12": talib.EMA(close, timeperiod=12),
        "ema_26": talib.EMA(close, timeperiod=26),
        "ema_50": talib.EMA(close, timeperiod=50),
        "stoch_k": k,
        "stoch_d": d,
        "atr_14": talib.ATR(high, low, close, timeperiod=14),
        "adx_14": talib.ADX(high, low, close, timeperiod=14),
        "plus_di_14": talib.PLUS_DI(high, low, close, timeperiod=14),
        "minus_di_14": talib.MINUS_DI(high, low, close, timeperiod=14),
        "volume_sma_20": talib.SMA(volume, timeperiod=20),
        "mfi_14": talib.MFI(high, low, close, volume, timeperiod=14),
    }


def _vwap(series: Series, good: Bools | None) -> Floats:
    """Return the sum of notional over the sum of volume, of the complete rows of the session up to each of them."""
    notional, volume = series.notional, series.volume
    if notional is None:
        notional = (series.high + series.low + series.close) / 3 * volume
    if good is not None:
        notional, volume = np.where(good, notional, 0.0), np.where(good, volume, 0.0)
    n = len(volume)
    out = np.full(n, np.nan)
    first = np.concatenate([[0], np.flatnonzero(series.session[1:] != series.session[:-1]) + 1])
    for begin, end in zip(first, [*first[1:], n], strict=True):
        traded = np.cumsum(volume[begin:end])
        np.divide(np.cumsum(notional[begin:end]), traded, out=out[begin:end], where=traded > 0)
        if good is not None:
            missing = np.cumsum(~good[begin:end]).astype(np.float64)
            out[begin:end][~(good[begin:end] & enough(missing, np.arange(1.0, end - begin + 1)))] = np.nan
        if series.resets is not None:
            broken = np.flatnonzero(series.resets[max(begin, 1) : end])  # the first row of a series follows nothing
            if len(broken):
                out[max(begin, 1) + broken[0] : end] = np.nan
    return out


def _complete(series: Series) -> Bools | None:
    """Return (n,) where no column of a row is NaN; None where no row has one."""
    columns = [series.high, series.low, series.close, series.volume]
    if series.notional is not None:
        columns.append(series.notional)
    if not np.isnan(sum(float(np.add.reduce(values)) for values in columns)):
        return None
    return np.asarray(np.logical_and.reduce(~np.isnan(np.stack(columns))))


def _parts(series: Series, good: Bools | None) -> list[tuple[int, int]]:
    """Return begin and end of each run of complete rows without a reset inside."""
    n, resets = len(series.close), series.resets
    if good is None:
        if resets is None or not resets[1:].any():
            return [(0, n)] if n else []
        good = np.ones(n, np.bool_)
    begins = good & ~np.concatenate([[False], good[:-1]])
    ends = good & ~np.concatenate([good[1:], [False]])
    if resets is not None:
        begins |= good & resets
        ends[:-1] |= good[:-1] & resets[1:]
    return list(zip(np.flatnonzero(begins).tolist(), (np.flatnonzero(ends) + 1).tolist(), strict=True))


def _rows(series: Series, begin: int, end: int) -> Series:
    def cut(values: Floats) -> Floats:
        return np.ascontiguousarray(values[begin:end], np.float64)

    notional = None if series.notional is None else cut(series.notional)
    return Series(
        cut(series.high),
        cut(series.low),
        cut(series.close),
        cut(series.volume),
        notional,
        series.session[begin:end],
    )
