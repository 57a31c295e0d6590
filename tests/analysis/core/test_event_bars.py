"""Tick, volume and dollar bars."""

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.analysis.bars import few, same
from support.analysis.market_data import random_trades

from analysis.arrays import HOUR, Trades
from analysis.bars import Bars
from analysis.event_bars import EventBarStream, Kind, event_bars

KINDS: list[tuple[Kind, float]] = [("tick", 7), ("volume", 12.5), ("dollar", 900.0)]


@pytest.mark.parametrize(("kind", "threshold"), KINDS)
def test_each_bar_reaches_its_threshold_with_its_last_trade(kind: Kind, threshold: float) -> None:
    trades = random_trades(5_000, HOUR)
    bars = event_bars(trades, kind, threshold)
    amounts = {"tick": np.ones(len(trades)), "volume": trades.size, "dollar": trades.size * trades.price}[kind]
    ends = np.cumsum(bars.trade_count)
    for begin, end in zip([0, *ends[:-1]], ends, strict=True):
        assert amounts[begin:end].sum() >= threshold * (1 - 1e-8)
        assert amounts[begin : end - 1].sum() < threshold
    assert amounts[ends[-1] :].sum() < threshold


@settings(max_examples=40, deadline=None)
@given(st.sampled_from(KINDS), st.integers(1, 400), st.lists(st.integers(0, 400), max_size=5))
def test_a_stream_gives_the_bars_of_all_trades(kind: tuple[Kind, float], n: int, cuts: list[int]) -> None:
    trades = random_trades(n, HOUR, seed=n)
    stream = EventBarStream(*kind)
    borders = [0, *sorted(min(cut, n) for cut in cuts), n]
    parts = [stream.add(trades.take(slice(a, b))) for a, b in pairwise(borders)]
    assert same(Bars.empty().then(*parts), event_bars(trades, *kind))


def test_ten_tenths_make_a_bar_of_one() -> None:
    bars = event_bars(few([(i, 1, 0.1, 1) for i in range(25)]), "volume", 1.0)
    assert bars.trade_count.tolist() == [10, 10]


def test_a_trade_before_the_end_of_a_finished_bar_is_refused() -> None:
    trades = random_trades(100, HOUR)
    stream = EventBarStream("tick", 10)
    stream.add(trades.take(np.arange(100) != 5))
    with pytest.raises(ValueError, match="older than the last complete bar"):
        stream.add(trades.take(slice(5, 6)))


def test_a_threshold_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="positive"):
        event_bars(random_trades(10, HOUR), "volume", 0.0)


@pytest.mark.parametrize(("kind", "threshold"), [("Dollars", 1.0), ("tick", 0.5), ("tick", 2.7), ("volume", 0.0)])
def test_bars_of_no_kind_or_size_are_refused(kind: Any, threshold: float) -> None:
    with pytest.raises(ValueError, match="bars"):
        event_bars(Trades.empty(), kind, threshold)
