"""Frames of pandas, polars and pyarrow go into the core and come out of it; instants without a zone are refused."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from support.analysis.bars import same
from support.analysis.market_data import T0, random_trades

from analysis import features, indicators
from analysis.arrays import HOUR, MINUTE, SECOND, Gaps, Trades
from analysis.bars import Bars, roll_up, time_bars
from analysis.features import DELAY_NS, Tape
from analysis.framing import To, instants
from analysis.labels import Labels, Path, forward_return, uniqueness

LIBRARIES: tuple[To, ...] = ("arrow", "pandas", "polars")
FIRST = datetime.fromtimestamp(T0 / 1e9, UTC)


def trades() -> Trades:
    """Return six hours of trades in whole microseconds, as stored."""
    rows = random_trades(3000, 6 * HOUR)
    return Trades(
        rows.ts_event // 1000 * 1000, rows.ts_recv // 1000 * 1000, rows.trade_id, rows.price, rows.size, rows.side
    )


@pytest.mark.parametrize("to", LIBRARIES)
def test_bars_come_back_from_a_frame_to_the_bit(to: To) -> None:
    bars = time_bars(trades(), MINUTE, Gaps(np.array([T0 + HOUR]), np.array([T0 + HOUR + 90 * SECOND])))
    frame = bars.frame(to)
    assert same(Bars.of(frame), bars)
    assert same(roll_up(frame, HOUR), roll_up(bars, HOUR))
    drawn = indicators.indicators(frame, to="polars")
    np.testing.assert_array_equal(drawn["rsi_14"].to_numpy(), indicators.indicators(bars)["rsi_14"])


def test_bars_of_several_symbols_or_with_one_start_twice_are_refused() -> None:
    frame = time_bars(trades(), HOUR).frame("pandas")
    with pytest.raises(ValueError, match="2 values of symbol"):
        Bars.of(frame.assign(symbol=["a"] * 3 + ["b"] * 3))
    with pytest.raises(ValueError, match="6 bars start together with another one"):
        Bars.of(pd.concat([frame, frame]))
    with pytest.raises(ValueError, match="bars have no column volume"):
        Bars.of(frame.drop(columns="volume"))


@pytest.mark.parametrize(
    "given",
    [
        [FIRST, FIRST + timedelta(minutes=1)],
        pd.Series([FIRST, FIRST + timedelta(minutes=1)]).dt.tz_convert("America/New_York"),
        pd.DatetimeIndex([FIRST, FIRST + timedelta(minutes=1)]),
        pl.Series([FIRST, FIRST + timedelta(minutes=1)]),
        pl.DataFrame({"a": [FIRST, FIRST + timedelta(minutes=1)]}).to_arrow()["a"],
        [FIRST.isoformat(), (FIRST + timedelta(minutes=1)).replace(tzinfo=None).isoformat()],
        np.array([T0, T0 + MINUTE]),
    ],
    ids=["datetimes", "series", "index", "polars", "arrow", "text", "ns"],
)
def test_instants_are_the_same_in_every_form(given: Any) -> None:
    assert instants(given).tolist() == [T0, T0 + MINUTE]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (FIRST.replace(tzinfo=None), "has no time zone"),
        (pd.Series([FIRST.replace(tzinfo=None)]), "have no time zone"),
        (np.array(["2026-01-01"], "datetime64[s]"), "have no time zone"),
        (pd.Series([FIRST, None]), "1 of 2 times are null"),
        ("soon", "is no time"),
        ([1.5], "is no instant"),
    ],
)
def test_times_that_are_no_instants_are_refused_in_one_sentence(given: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        instants(given)


def test_features_of_a_frame_of_bars_equal_those_of_the_tape() -> None:
    rows = trades()
    rows = Trades(rows.ts_event, rows.ts_event, rows.trade_id, rows.price, rows.size, rows.side)
    gaps = Gaps(np.array([T0 + 4 * HOUR]), np.array([T0 + 4 * HOUR + 3 * MINUTE]))
    lost = gaps.missing(rows.ts_event, rows.ts_event + 1) > 0
    rows = rows.take(~lost)
    times = T0 + np.arange(60, 350) * MINUTE + DELAY_NS
    names = ["ret_5", "rv_15", "tfi_5", "rsi_14"]
    whole = features.compute(Tape.of(rows, gaps=gaps), times, names)
    frame = features.of_bars(time_bars(rows, MINUTE, gaps).frame("pandas"), times, names, gaps=gaps, to="pandas")
    assert frame["time"].iloc[0] == FIRST + timedelta(hours=1, seconds=2)
    for name in names:
        np.testing.assert_array_equal(frame[name].to_numpy(), whole[name])
    assert np.isnan(whole["ret_5"]).any()


def test_a_span_without_a_bar_is_a_gap_where_none_is_declared() -> None:
    bars = time_bars(trades(), MINUTE)
    cut = bars.take((bars.start < T0 + 2 * HOUR) | (bars.start >= T0 + 2 * HOUR + 10 * MINUTE))
    after = np.array([T0 + 2 * HOUR + 12 * MINUTE + DELAY_NS])
    assert np.isnan(features.of_bars(cut, after, ["ret_5"])["ret_5"]).all()
    assert np.isnan(forward_return(Path.of_bars(cut), after - 12 * MINUTE, 5 * MINUTE, 0).value).all()


def test_ten_labels_of_one_hour_count_little_more_than_one() -> None:
    start = np.concatenate([T0 + np.arange(10) * SECOND, [T0 + 3 * HOUR]])
    weight = uniqueness(Labels(start, start + HOUR, np.zeros(11)))
    assert weight[-1] / weight[:10].sum() == pytest.approx(1.0, abs=0.01)
    apart = uniqueness(Labels(start, start + HOUR, np.zeros(11)), np.array([f"s{i}" for i in range(11)]))
    assert apart.tolist() == [1.0] * 11
