"""Labels start after the decision, carry the time at which they were known, and are null when that was not seen."""

from math import log

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.analysis.market_data import T0, data_folder

from analysis.arrays import SECOND, Gaps, Ints
from analysis.labels import Path, direction, forward_return, market_outcome, triple_barrier


def path(prices: list[float], gaps: Gaps | None = None, until: int | None = None) -> Path:
    """Return a price that changes once a second from T0 on."""
    at = T0 + np.arange(len(prices)) * SECOND
    last = at[-1] if until is None else T0 + until * SECOND
    return Path(at, np.array(prices), int(last), gaps or Gaps.empty())


def seconds(*values: int) -> Ints:
    return T0 + np.array(values, np.int64) * SECOND


def test_a_return_begins_when_the_order_can_be_executed() -> None:
    labels = forward_return(path([100, 101, 102, 103, 104, 105]), seconds(0, 1), 3 * SECOND, 2 * SECOND)
    assert labels.value[0] == pytest.approx(log(105 / 102))
    assert labels.end.tolist() == seconds(5, 6).tolist()
    assert np.isnan(labels.value[1])  # the tape ends before the answer


def test_a_direction_in_the_dead_zone_is_null() -> None:
    labels = direction(path([100, 101, 100, 100.001, 99]), seconds(0, 1, 2, 3), SECOND, 0, dead_bp=1)
    np.testing.assert_array_equal(labels.value, [1, 0, np.nan, 0])


def test_a_price_that_may_have_changed_in_a_gap_is_no_label() -> None:
    gaps = Gaps(seconds(2) + 1, seconds(2) + SECOND // 2)
    labels = forward_return(path([100, 101, 102, 103, 104], gaps), seconds(0, 1, 2), SECOND, 0)
    assert np.isnan(labels.value).tolist() == [False, False, False]
    inside = forward_return(path([100, 101, 102, 103, 104], gaps), seconds(1) + SECOND // 3, SECOND, 0)
    assert np.isnan(inside.value).all()


def test_the_first_barrier_touched_is_the_label_and_its_time_the_end() -> None:
    prices = [100.0, 100.5, 99.8, 101.2, 98.0, 100, 100, 100, 100]
    up, down = np.full(3, 100.0), np.full(3, 100.0)
    labels = triple_barrier(path(prices), seconds(0, 3, 5), 3 * SECOND, 0, up, down)
    assert labels.value.tolist() == [1, -1, 0]
    assert labels.end.tolist() == seconds(3, 4, 8).tolist()


def test_a_barrier_behind_a_gap_is_unknown_and_one_before_it_is_known() -> None:
    prices = [100.0, 100.0, 102.0, 100.0, 100.0, 102.0, 100.0]
    gaps = Gaps(seconds(3) + 1, seconds(3) + 2)
    labels = triple_barrier(path(prices, gaps), seconds(0, 3), 3 * SECOND, 0, np.full(2, 100.0), np.full(2, 100.0))
    assert labels.value[0] == 1
    assert np.isnan(labels.value[1])


def test_an_unfinished_horizon_has_no_label() -> None:
    labels = triple_barrier(path([100.0] * 5), seconds(3), 3 * SECOND, 0, np.array([10.0]), np.array([10.0]))
    assert np.isnan(labels.value).all()


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_no_label_depends_on_prices_outside_its_span(data: st.DataObject) -> None:
    n = 40
    rng = np.random.default_rng(data.draw(st.integers(0, 10_000)))
    prices = 100 * np.exp(np.cumsum(rng.normal(0, 1e-3, n)))
    decision, horizon, delay = (data.draw(st.integers(*bounds)) for bounds in ((0, 20), (1, 10), (0, 5)))
    at, wide = seconds(decision), np.array([15.0])

    def both(values: np.ndarray[tuple[int], np.dtype[np.float64]]) -> list[float]:
        p = path(values.tolist())
        move = forward_return(p, at, horizon * SECOND, delay * SECOND)
        touch = triple_barrier(p, at, horizon * SECOND, delay * SECOND, wide, wide)
        return [move.value[0], touch.value[0], float(touch.end[0])]

    other = prices.copy()
    other[: decision + delay] *= 1.5
    other[decision + delay + horizon + 1 :] *= 0.5
    assert both(other) == both(prices)


def test_an_outcome_is_one_or_zero_after_the_decision_or_nothing() -> None:
    payout = np.array([1, 0, 0.5, 0.9995, np.nan, 1.0])
    resolved = seconds(9, 9, 9, 9, 9, 5)
    labels = market_outcome(seconds(5, 5, 5, 5, 5, 5), payout, resolved)
    np.testing.assert_array_equal(labels.value, [1, 0, np.nan, np.nan, np.nan, np.nan])
    assert labels.end.tolist() == resolved.tolist()
    assert labels.known().sum() == 2


def test_outcomes_of_real_markets_have_the_base_rate_of_their_page() -> None:
    rows = pl.read_csv(data_folder("resolved_markets") / "btc_range_markets.csv.gz", infer_schema=False)
    closed = rows["closed_time"].str.to_datetime(time_zone="UTC", time_unit="ns").dt.epoch("ns").to_numpy()
    labels = market_outcome(closed - 1, rows["outcome_yes"].cast(pl.Float64).to_numpy(), closed)
    assert labels.known().all()
    assert round(float(labels.value.mean()), 3) == 0.094
