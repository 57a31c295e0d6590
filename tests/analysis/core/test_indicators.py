"""Indicators compared with direct calls of TA-Lib that use the parameters of the protocol page."""

import time
from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st
from support.analysis.market_data import Ohlcv, all_candles
from talib._ta_lib import MA_Type

from analysis.arrays import DAY, Floats, Gaps
from analysis.bars import Bars
from analysis.indicators import COLUMNS, WINDOW, IndicatorStream, Series, State, indicators

FIRST = {
    "rsi_14": 14,
    "macd": 33,
    "macd_signal": 33,
    "macd_hist": 33,
    "bb_upper": 19,
    "bb_middle": 19,
    "bb_lower": 19,
    "sma_20": 19,
    "sma_50": 49,
    "sma_100": 99,
    "sma_200": 199,
    "ema_12": 11,
    "ema_26": 25,
    "ema_50": 49,
    "stoch_k": 17,
    "stoch_d": 17,
    "atr_14": 14,
    "adx_14": 27,
    "plus_di_14": 14,
    "minus_di_14": 14,
    "volume_sma_20": 19,
    "mfi_14": 14,
    "obv": 0,
}


def oracle(high: Floats, low: Floats, close: Floats, volume: Floats) -> dict[str, Floats]:
    """Return the calls of the protocol page, one by one."""
    macd, signal, hist = talib.MACD(close, 12, 26, 9)
    upper, middle, lower = talib.BBANDS(close, 20, 2, 2, MA_Type.SMA)
    k, d = talib.STOCH(high, low, close, 14, 3, MA_Type.SMA, 3, MA_Type.SMA)
    return {
        "rsi_14": talib.RSI(close, 14),
        "macd": macd,
        "macd_signal": signal,
        "macd_hist": hist,
        "bb_upper": upper,
        "bb_middle": middle,
        "bb_lower": lower,
        **{f"sma_{n}": talib.SMA(close, n) for n in (20, 50, 100, 200)},
        **{f"ema_{n}": talib.EMA(close, n) for n in (12, 26, 50)},
        "stoch_k": k,
        "stoch_d": d,
        "atr_14": talib.ATR(high, low, close, 14),
        "adx_14": talib.ADX(high, low, close, 14),
        "plus_di_14": talib.PLUS_DI(high, low, close, 14),
        "minus_di_14": talib.MINUS_DI(high, low, close, 14),
        "volume_sma_20": talib.SMA(volume, 20),
        "obv": talib.OBV(close, volume),
        "mfi_14": talib.MFI(high, low, close, volume, 14),
    }


def assert_equal(found: Mapping[str, Floats], expected: Mapping[str, Floats], close: Floats, volume: Floats) -> None:
    """Compare null masks exactly, and values within the tolerances of the protocol page."""
    for name, values in expected.items():
        np.testing.assert_array_equal(np.isnan(found[name]), np.isnan(values), err_msg=name)
        relative, absolute = 1e-12, 0.0
        if name.startswith("macd"):
            relative, absolute = 0.0, 1e-9 * close.max()
        elif name in ("stoch_k", "stoch_d", "mfi_14"):
            relative, absolute = 0.0, 1e-7 if name == "mfi_14" else 1e-9
        elif name == "obv":
            relative, absolute = 0.0, 1e-12 * volume.sum()
        elif name.startswith("bb") or name.endswith("_14"):
            relative, absolute = 1e-9, 1e-12
        np.testing.assert_allclose(found[name], values, rtol=relative, atol=absolute, err_msg=name)


def series(candles: Ohlcv, days: int = 1440) -> Series:
    _, high, low, close, volume = candles
    return Series(high, low, close, volume, None, np.arange(len(close)) // days)


def streamed(stream: IndicatorStream, rows: Series, begin: int, end: int) -> list[dict[str, float]]:
    columns = zip(rows.high, rows.low, rows.close, rows.volume, rows.session, strict=True)
    return [
        stream.add(float(h), float(low), float(c), float(v), int(s))
        for i, (h, low, c, v, s) in enumerate(columns)
        if begin <= i < end
    ]


def walk(n: int, seed: int = 0) -> Series:
    rng = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, n)))
    spread = rng.exponential(0.05, (2, n))
    volume = rng.exponential(10, n)
    return Series(close + spread[0], close - spread[1], close, volume, close * volume, np.arange(n) // 1440)


def test_every_series_of_the_history_equals_talib() -> None:
    for candles in all_candles().values():
        rows = series(candles)
        found = indicators(rows)
        assert_equal(found, oracle(rows.high, rows.low, rows.close, rows.volume), rows.close, rows.volume)
        assert set(found) == set(COLUMNS)


def test_streaming_equals_talib_on_every_series_after_a_restart_too() -> None:
    for candles in all_candles().values():
        # longer than the window, with the restart after the window has begun to slide
        rows = series(tuple(column[:1600] for column in candles))  # type: ignore[arg-type]
        n = len(rows.close)
        middle = min(n // 2, 1200)
        first = IndicatorStream(from_trades=False)
        out = streamed(first, rows, 0, middle)
        out += streamed(IndicatorStream(first.state, from_trades=False), rows, middle, n)
        found = {name: np.array([row[name] for row in out]) for name in COLUMNS}
        assert_equal(found, oracle(rows.high, rows.low, rows.close, rows.volume), rows.close, rows.volume)


def test_a_window_of_a_thousand_bars_agrees_with_the_full_history() -> None:
    for candles in all_candles().values():
        n = len(candles[0])
        if n < WINDOW + 100:
            continue
        whole = series(candles)
        expected = oracle(whole.high, whole.low, whole.close, whole.volume)
        rows = series(tuple(column[-WINDOW - 100 :] for column in candles))  # type: ignore[arg-type]
        kept = tuple(
            zip(*(column[:WINDOW].tolist() for column in (rows.high, rows.low, rows.close, rows.volume)), strict=True)
        )
        stream = IndicatorStream(State(kept, 0.0, None, 0.0, 0.0), from_trades=False)
        out = streamed(stream, rows, WINDOW, WINDOW + 100)
        found = {name: np.array([row[name] for row in out]) for name in COLUMNS if name != "vwap"}
        started = {name: values[-100:] for name, values in expected.items() if name != "obv"}
        assert_equal(found, started, whole.close, whole.volume)


def test_the_first_value_is_where_the_protocol_page_states() -> None:
    found = indicators(walk(300))
    assert {name: int(np.flatnonzero(~np.isnan(found[name]))[0]) for name in FIRST} == FIRST
    assert not np.isnan(found["vwap"]).any()


def test_a_series_shorter_than_the_warm_up_is_null_throughout() -> None:
    for n in range(4):
        found = indicators(walk(n))
        assert all(np.isnan(found[name]).all() for name in FIRST if FIRST[name] >= n)
        assert all(len(values) == n for values in found.values())


def test_a_constant_price_gives_finite_values() -> None:
    flat = np.full(300, 42.5)
    found = indicators(Series(flat, flat, flat, np.ones(300), flat, np.zeros(300, np.int64)))
    for name in ("rsi_14", "stoch_k", "stoch_d", "adx_14", "atr_14", "mfi_14"):
        assert found[name][-1] == 0, name
    assert found["bb_upper"][-1] == found["bb_lower"][-1] == 42.5


def test_without_volume_vwap_is_null_and_never_zero() -> None:
    rows = walk(100)
    none = np.zeros(100)
    found = indicators(Series(rows.high, rows.low, rows.close, none, none, rows.session))
    assert np.isnan(found["vwap"]).all()
    assert (found["obv"] == 0).all()
    assert (found["mfi_14"][14:] == 0).all()


def test_vwap_restarts_with_the_session_and_names_its_basis() -> None:
    rows = walk(3000)
    assert rows.notional is not None
    found = indicators(rows)["vwap"]
    for i in (0, 1439, 1440, 2999):
        begin = i // 1440 * 1440
        expected = rows.notional[begin : i + 1].sum() / rows.volume[begin : i + 1].sum()
        assert found[i] == pytest.approx(expected, rel=1e-12)
    assert rows.vwap_basis == "trades"
    typical = Series(rows.high, rows.low, rows.close, rows.volume, None, rows.session)
    price = (rows.high + rows.low + rows.close) / 3
    expected = (price * rows.volume)[:1440].sum() / rows.volume[:1440].sum()
    assert indicators(typical)["vwap"][1439] == pytest.approx(expected, rel=1e-12)
    assert typical.vwap_basis == "typical"


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 399), max_size=4), st.sets(st.integers(0, 399), max_size=4))
def test_a_nan_or_a_reset_begins_a_series_of_its_own(broken: set[int], reset: set[int]) -> None:
    rows = walk(400)
    holes, resets = np.zeros((2, 400), np.bool_)
    holes[list(broken)], resets[list(reset)] = True, True
    close = np.where(holes, np.nan, rows.close)
    found = indicators(Series(rows.high, rows.low, close, rows.volume, rows.notional, rows.session, resets))
    borders = sorted({0, 400} | reset | broken | {i + 1 for i in broken})
    for begin, end in pairwise(borders):
        if begin in broken:
            assert all(np.isnan(values[begin]) for values in found.values())
            continue
        cut = slice(begin, end)
        expected = oracle(rows.high[cut].copy(), rows.low[cut].copy(), rows.close[cut].copy(), rows.volume[cut].copy())
        for name, values in expected.items():
            np.testing.assert_array_equal(found[name][cut], values, err_msg=name)


def test_a_nan_in_the_stream_is_a_reset() -> None:
    rows = walk(200)
    stream, fresh = IndicatorStream(from_trades=False), IndicatorStream(from_trades=False)
    streamed(stream, rows, 0, 100)
    assert all(np.isnan(value) for value in stream.add(1, 1, np.nan, 1, 0).values())
    after, expected = streamed(stream, rows, 100, 200), streamed(fresh, rows, 100, 200)
    for name in set(COLUMNS) - {"vwap"}:  # vwap goes on until the session ends
        np.testing.assert_array_equal([row[name] for row in after], [row[name] for row in expected], err_msg=name)


def test_an_interrupted_recording_is_a_reset_and_a_quiet_minute_is_not() -> None:
    minute = DAY // 1440
    start = np.array([0, 1, 3, 4, 9], np.int64) * minute
    f = np.ones(5)
    bars = Bars(start, start + minute, f, f, f, f, f, f, f, np.ones(5, np.int64), f, f, f, f)
    gaps = Gaps(np.array([5 * minute]), np.array([6 * minute]))
    resets = Series.of(bars, gaps).resets
    assert resets is not None
    assert resets.tolist() == [False, False, False, False, True]


def test_a_stream_from_trades_refuses_a_bar_without_notional() -> None:
    with pytest.raises(ValueError, match="notional"):
        IndicatorStream().add(1, 1, 1, 1, 0)


def test_the_state_holds_no_more_than_the_window() -> None:
    rows = walk(WINDOW + 500)
    stream = IndicatorStream(from_trades=False)
    streamed(stream, rows, 0, WINDOW + 500)
    assert isinstance(stream.state, State)
    assert len(stream.state.rows) == WINDOW


def test_one_new_bar_takes_less_than_a_millisecond() -> None:
    rows = walk(1500)
    stream = IndicatorStream(from_trades=False)
    streamed(stream, rows, 0, 1000)
    times = []
    for i in range(1000, 1500):
        began = time.process_time()
        streamed_one = stream.add(rows.high[i], rows.low[i], rows.close[i], rows.volume[i], int(rows.session[i]))
        times.append(time.process_time() - began)
    assert not np.isnan(list(streamed_one.values())).any()
    assert float(np.median(times)) < 1e-3


@settings(max_examples=30, deadline=None)
@given(st.sets(st.integers(0, 599), max_size=70), st.sets(st.integers(1, 599), max_size=2))
def test_streamed_indicators_equal_the_batch_over_null_bars_and_resets(null: set[int], reset: set[int]) -> None:
    rows = walk(600)
    close = rows.close.copy()
    close[list(null)] = np.nan
    resets = np.zeros(600, np.bool_)
    resets[list(reset)] = True
    day = np.arange(600) // 150
    batch = indicators(Series(rows.high, rows.low, close, rows.volume, rows.notional, day, resets))
    stream = IndicatorStream()
    assert rows.notional is not None
    for i in range(600):
        stream = IndicatorStream(stream.state) if i % 97 == 0 else stream
        if i in reset:
            stream.reset()
        found = stream.add(rows.high[i], rows.low[i], close[i], rows.volume[i], int(day[i]), rows.notional[i])
        for name, value in found.items():
            assert value == pytest.approx(batch[name][i], rel=1e-9, abs=1e-9, nan_ok=True), (name, i)


def test_vwap_of_a_session_goes_on_after_a_gap_and_is_null_when_a_tenth_is_missing() -> None:
    rows = walk(100)
    close = rows.close.copy()
    close[40:45] = np.nan
    found = indicators(Series(rows.high, rows.low, close, rows.volume, rows.notional, rows.session))["vwap"]
    assert rows.notional is not None
    known = np.delete(np.arange(100), np.arange(40, 45))
    assert found[99] == pytest.approx(rows.notional[known].sum() / rows.volume[known].sum(), rel=1e-12)
    assert np.isnan(found[40:49]).all()  # 5 of 49 bars are more than a tenth
    assert not np.isnan(found[49:]).any()
    resets = np.zeros(100, np.bool_)
    resets[60] = True
    whole = Series(rows.high, rows.low, rows.close, rows.volume, rows.notional, rows.session, resets)
    found = indicators(whole)["vwap"]
    assert np.isnan(found).tolist() == [i >= 60 for i in range(100)]  # how much was lost is not known
