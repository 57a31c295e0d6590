"""What a gap does to a value: it may make it null, and nothing else."""

import re
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.analysis.market_data import T0, full_tape

from analysis import audit, feature_tables
from analysis.arrays import DAY, HOUR, MINUTE, SECOND, Floats, Gaps, Ints, Quotes, Received, Trades
from analysis.bars import Bars, BarStream, on_grid, time_bars
from analysis.event_bars import EventBarStream, event_bars
from analysis.features import BARS, POINT_IN_TIME, ReceiptIndex, Tape, compute
from analysis.gap_policy import MAX_GAP
from analysis.indicators import Series, indicators

DAYS = 12
END = T0 + DAYS * DAY

WINDOW_MINUTES: dict[str, float] = {
    **{f"{name}_{k}": k + 1 for name in ("ret", "rv") for k in (1, 5, 15, 60, 240)},
    **{f"{name}_60": 61 for name in ("mom_z", "bipower_ratio", "semivar_down", "acf1", "efficiency_ratio", "amihud")},
    **dict.fromkeys(("kyle_lambda_60", "impact_r2_60", "gap_share_60"), 61),
    **{f"{name}_60": 60 for name in ("range_pos", "parkinson", "garman_klass", "rogers_satchell")},
    **dict.fromkeys(("vol_of_vol", "vol_ratio", "skew_240", "kurt_240", "acf5_240", "variance_ratio_5"), 241),
    **dict.fromkeys(("drawdown_240", "avg_trade_size_ratio", "spread_z"), 240),
    **dict.fromkeys(("tfi_15", "intertrade_cv", "eff_spread_bp", "realized_spread_30s"), 15),
    **dict.fromkeys(("spread_bp", "queue_imb_tw_1", "mlofi_pc1", "cancel_ratio", "tfi_1", "ofi_1"), 1),
    **dict.fromkeys(("queue_imb", "microprice_dev", "depth_imb_10", "depth_1pct_ratio", "basis_bp"), 0.1),
    "lead_ret_5s": 0.2,
    "ret_accel": 3,
    "vol_ratio_20": 20,
    "tfi_5": 5,
    "ofi_5": 5,
    "stoch_diff": 18,
    "bb_pos": 20,
    "sma_dist_50": 50,
    "vol_z_tod": 1,
    "trade_count_z": 1,
    "tod_sin": 0,
    "tod_cos": 0,
    "close_vs_vwap_day": 24 * 60,
    "trade_sign_acf1": 6 * 60,
    "roll_bp": 6 * 60,
}
"""Windows of the features; the others read everything since the last gap, or the previous day."""

JUMP = 70 * MINUTE

MARGIN = 2 * MINUTE
"""The bar that is not over yet, and the quote before the window."""


def spans(*minutes: tuple[float, float]) -> Gaps:
    """Return gaps from (begin, end) in minutes after T0."""
    begin, end = (np.array([T0 + round(pair[side] * MINUTE) for pair in minutes], np.int64) for side in (0, 1))
    return Gaps(begin, end)


def outside(rows: Received, gaps: Gaps) -> Ints:
    """Return the positions of the rows that were not lost."""
    return np.flatnonzero(gaps.missing(rows.ts_event, rows.ts_event + 1) == 0)


def trades_at(ts: Ints, price: Floats) -> Trades:
    """Return trades of size 1, bought, received at once."""
    n = len(ts)
    return Trades(ts, ts, np.arange(n), price, np.ones(n), np.ones(n, np.int8))


def lossy(tape: Tape, gaps: Gaps) -> Tape:
    """Return the tape without the rows in gaps, which it declares."""
    return replace(
        tape,
        trades=ReceiptIndex(tape.trades.rows.take(outside(tape.trades.rows, gaps))),
        quotes=ReceiptIndex(tape.quotes.rows.take(outside(tape.quotes.rows, gaps))),
        depths=ReceiptIndex(tape.depths.rows.take(outside(tape.depths.rows, gaps))),
        gaps=tape.gaps.then(gaps).merged(),
        _days={},
    )


def only(tape: Tape, t: int, *names: str) -> list[float]:
    return [float(values[0]) for values in compute(tape, np.array([t]), names).values()]


@pytest.fixture(scope="module")
def tape() -> Tape:
    """Return a tape whose trades rise or fall by 5 % every 70 minutes, so that a gap can hide a jump."""
    tape = full_tape(DAYS)
    rows = tape.trades.rows
    raised = (END - rows.ts_event) // JUMP % 2 == 1
    return replace(tape, trades=ReceiptIndex(replace(rows, price=np.where(raised, 1.05, 1.0) * rows.price)), _days={})


@pytest.fixture(scope="module")
def times() -> Ints:
    return END - np.array([271, 200, 133, 64, 31, 7, 2], np.int64) * MINUTE + 17 * SECOND


@pytest.fixture(scope="module")
def truth(tape: Tape, times: Ints) -> dict[str, Floats]:
    return compute(tape, times)


def limits(unit: str) -> tuple[float, float]:
    """Return the limits that a unit states."""
    found = re.fullmatch(r"(-?\d+) to (\d+)", unit)
    return (float(found[1]), float(found[2])) if found else (-np.inf, np.inf)


UNITS = {feature.name: limits(feature.unit) for registry in (BARS, POINT_IN_TIME) for feature in registry}


@settings(max_examples=25, deadline=None)
@given(
    begins=st.lists(st.integers(5, 400 * 60) | st.sampled_from([4_230, 8_430, 12_630]), min_size=1, max_size=4),
    lengths=st.lists(st.integers(1, 25 * 60), min_size=4, max_size=4),
)
def test_a_gap_may_turn_a_feature_null_and_does_nothing_else(
    tape: Tape, times: Ints, truth: dict[str, Floats], begins: list[int], lengths: list[int]
) -> None:
    start = END - np.array(begins, np.int64) * SECOND
    gaps = Gaps(start, start + np.array(lengths[: len(begins)], np.int64) * SECOND).merged()
    rows = tape.trades.rows
    prompt = rows.ts_event[rows.ts_recv - rows.ts_event < SECOND]
    next_trade = prompt[np.searchsorted(prompt, np.minimum(gaps.end, prompt[-1]))]
    unknown = Gaps(gaps.start, np.maximum(gaps.end, next_trade))
    found = compute(lossy(tape, gaps), times)
    for name, values in found.items():
        low, high = UNITS[name]
        window = round(WINDOW_MINUTES.get(name, 10 * 24 * 60) * MINUTE) + MARGIN
        touched = unknown.missing(times - window, times) > 0
        for i in range(len(times)):
            what = name, (END - int(times[i])) / MINUTE, values[i], truth[name][i]
            if not touched[i]:
                assert values[i] == pytest.approx(truth[name][i], rel=1e-9, abs=1e-7, nan_ok=True), what
            elif not np.isnan(values[i]):
                assert low - 1e-9 <= values[i] <= high + 1e-9, what
                assert values[i] != 0 or truth[name][i] == 0, what


def test_features_of_a_broken_tape_know_only_the_past_and_are_the_same_one_by_one(tape: Tape, times: Ints) -> None:
    broken = lossy(tape, Gaps(times - 90 * SECOND, times - 70 * SECOND))
    found = audit.truncation(broken, times, feature_tables.at)
    assert found.passed, found.findings[:5]
    table = compute(broken, times)
    for i, t in enumerate(times.tolist()):
        alone = list(feature_tables.at(broken, t).values())
        np.testing.assert_array_equal([values[i] for values in table.values()], alone)


def test_no_window_compares_the_two_sides_of_a_gap_with_the_path_between_them() -> None:
    """The price rises by 5 % in 3 lost minutes of 60."""
    ts = T0 + np.arange(0, 400 * MINUTE, 10 * SECOND)
    gaps = spans((300, 303))
    price = 100 + 0.001 * np.sin(np.arange(len(ts))) + 5 * (ts >= T0 + 302 * MINUTE)
    trades = trades_at(ts, price)
    whole = Tape.of(trades.take(outside(trades, gaps)), gaps=gaps)
    t = T0 + 330 * MINUTE + 2 * SECOND
    ratio, ret, z, accel, rv = only(whole, t, "efficiency_ratio_60", "ret_60", "mom_z_60", "ret_accel", "rv_60")
    assert np.isnan([ratio, ret, z]).all()
    assert not np.isnan([accel, rv]).any()
    before = T0 + 299 * MINUTE + 2 * SECOND
    assert not np.isnan(only(whole, before, "efficiency_ratio_60", "ret_60", "mom_z_60")).any()
    after = T0 + 366 * MINUTE + 2 * SECOND
    assert 0 <= only(whole, after, "efficiency_ratio_60")[0] <= 1


def test_a_sum_of_squares_is_scaled_to_its_window_where_a_few_bars_are_missing() -> None:
    ts = T0 + np.arange(0, 300 * MINUTE, 30 * SECOND)
    step = np.where(np.arange(len(ts)) // 2 % 2 == 0, 1.0, -1.0)  # each minute moves the price by the same amount
    trades = trades_at(ts, 100 * np.exp(5e-4 * step))
    t = T0 + 290 * MINUTE + 2 * SECOND
    whole = only(Tape.of(trades), t, "rv_60")[0]
    gaps = spans((260, 265))
    assert only(Tape.of(trades.take(outside(trades, gaps)), gaps=gaps), t, "rv_60")[0] == pytest.approx(whole)


def test_an_inner_window_follows_the_same_rule_as_the_outer_one() -> None:
    rng = np.random.default_rng(0)
    ts = T0 + np.arange(0, 600 * MINUTE, 10 * SECOND)
    trades = trades_at(ts, 100 * np.exp(np.cumsum(rng.normal(0, 1e-4, len(ts)))))
    gaps = spans((580, 584))
    broken = Tape.of(trades.take(outside(trades, gaps)), gaps=gaps)
    names = "rv_15", "rv_240", "vol_ratio", "avg_trade_size_ratio", "vol_of_vol"
    recent, far, ratio, size, variation = only(broken, T0 + 590 * MINUTE + 2 * SECOND, *names)
    assert np.isnan([recent, ratio, size]).all()
    assert not np.isnan([far, variation]).any()  # one of 16 windows of 15 minutes is missing


def test_the_mean_price_of_the_day_is_that_of_the_day_and_not_of_the_time_since_a_gap() -> None:
    """23 hours at 100, two lost minutes, then half an hour at 110."""
    ts = T0 + np.arange(0, DAY, 30 * SECOND)
    trades = trades_at(ts, np.where(ts < T0 + 23 * HOUR, 100.0, 110.0))
    gaps = spans((23 * 60, 23 * 60 + 2))
    t = T0 + 23 * HOUR + 30 * MINUTE + 2 * SECOND
    found = only(Tape.of(trades.take(outside(trades, gaps)), gaps=gaps), t, "close_vs_vwap_day")[0]
    mean = (100 * 23 * 60 + 110 * 28) / (23 * 60 + 28)
    assert found == pytest.approx(1e4 * np.log(110 / mean))
    lost = spans((60, 60 + 24 * 60 * MAX_GAP))
    assert np.isnan(only(Tape.of(trades.take(outside(trades, lost)), gaps=lost), T0 + 5 * HOUR, "close_vs_vwap_day")[0])


def test_an_indicator_begins_again_after_a_minute_of_which_one_trade_was_recorded() -> None:
    ts = T0 + np.arange(0, 200 * MINUTE, 10 * SECOND)
    gaps = spans((100 + 1 / 60, 100 + 59 / 60))
    trades = trades_at(ts, 100 + np.sin(ts / HOUR))
    trades = trades.take(outside(trades, gaps))
    grid = on_grid(time_bars(trades, MINUTE, gaps), T0, T0 + 200 * MINUTE, MINUTE, gaps)
    found = indicators(Series.of(grid))["sma_20"]
    assert np.flatnonzero(np.isnan(found)).tolist() == [*range(19), *range(100, 120)]
    at = T0 + np.array([110, 121], np.int64) * MINUTE + 2 * SECOND
    assert np.isnan(compute(Tape.of(trades, gaps=gaps), at, ["bb_pos"])["bb_pos"]).tolist() == [True, False]


def test_bars_by_activity_begin_again_after_a_gap_between_or_inside_them() -> None:
    ts = T0 + np.arange(0, 100 * MINUTE, 10 * SECOND)
    trades = trades_at(ts, 100 + np.sin(ts / HOUR))
    between = spans((41 + 51 / 60, 41 + 59 / 60))  # after the last trade of a bar of six
    inside = spans((42.2, 42.3))
    for gaps, null in ((between, [*range(42, 61)]), (inside, [*range(42, 62)])):
        bars = event_bars(trades.take(outside(trades, gaps)), "tick", 6, gaps)
        found = indicators(Series.of(bars, gaps))["sma_20"]
        assert set(null) <= set(np.flatnonzero(np.isnan(found)).tolist())


def test_a_quote_ends_where_a_gap_begins() -> None:
    t = T0 + HOUR

    def quotes(*seconds: float) -> Quotes:
        at = t - (np.array(seconds) * SECOND).astype(np.int64)
        n = np.ones(len(at))
        return Quotes(at, at, 99 * n, n, 101 * n, 3 * n)

    rows = quotes(300, 50, 3)
    gaps = Gaps(np.array([t - 2 * SECOND]), np.array([t - SECOND]))
    names = "queue_imb", "microprice_dev", "basis_bp", "lead_ret_5s", "ofi_1", "cancel_ratio"
    elsewhere = ReceiptIndex(quotes(7, 1))
    whole = Tape.of(quotes=rows, others=[elsewhere], leader=elsewhere)
    assert not np.isnan(only(whole, t, "queue_imb", "microprice_dev", "basis_bp", "ofi_1")).any()
    assert np.isnan(only(replace(whole, gaps=gaps), t, *names)).all()
    half = Gaps(np.array([t - 6 * SECOND]), np.array([t - 3 * SECOND]))
    known = quotes(300, 50, 3)
    known.bid_size[1] = 0.0  # until the gap the imbalance is -1, after it -0.5
    found = only(Tape.of(quotes=known, gaps=half), t, "queue_imb_tw_1")[0]
    assert found == pytest.approx((-0.5 * 10 - 1 * 44 - 0.5 * 3) / 57)


def test_another_venue_is_null_while_its_own_recording_was_interrupted() -> None:
    t = T0 + HOUR
    at = t - np.array([8, 4], np.int64) * SECOND
    n = np.ones(2)
    quotes = Quotes(at, at, 99 * n, n, 101 * n, n)
    good = ReceiptIndex(quotes)
    broken = ReceiptIndex(quotes, Gaps(np.array([t - 2 * SECOND]), np.array([t - SECOND])))
    names = "basis_bp", "lead_ret_5s"
    assert only(Tape.of(quotes=quotes, others=[good], leader=good), t, *names) == [0, 0]
    assert np.isnan(only(Tape.of(quotes=quotes, others=[broken], leader=broken), t, *names)).all()
    assert only(Tape.of(quotes=quotes, others=[broken, good]), t, "basis_bp") == [0]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(1, 119 * 60), min_size=1, max_size=4))
def test_streamed_bars_have_the_same_coverage_and_the_same_nulls_on_a_grid(seed: int, begins: list[int]) -> None:
    rng = np.random.default_rng(seed)
    ts = T0 + np.sort(rng.integers(0, 2 * HOUR, 400))
    start = T0 + np.array(begins, np.int64) * SECOND
    gaps = Gaps(start, start + rng.integers(1, 5 * MINUTE, len(start))).merged()
    trades = trades_at(ts, 100 + rng.random(len(ts)))
    trades = trades.take(outside(trades, gaps))
    batch, stream, activity = time_bars(trades, MINUTE, gaps), BarStream(MINUTE), EventBarStream("tick", 7)
    middle = len(trades) // 2
    found: dict[int, Bars] = {}
    ticks = []
    for part in (trades.take(slice(middle)), trades.take(slice(middle, None))):
        changed = stream.add(part, gaps)
        found |= {int(one): changed.take(slice(i, i + 1)) for i, one in enumerate(changed.start)}
        ticks.append(activity.add(part, gaps))
    streamed = Bars.empty().then(*(found[one] for one in sorted(found)))
    rows = [on_grid(bars, T0, T0 + 2 * HOUR, MINUTE, gaps) for bars in (batch, streamed)]
    for name in ("coverage", "close", "volume", "trade_count", "high"):
        np.testing.assert_array_equal(getattr(streamed, name), getattr(batch, name))
        np.testing.assert_array_equal(getattr(rows[0], name), getattr(rows[1], name))
        expected = getattr(event_bars(trades, "tick", 7, gaps), name)
        np.testing.assert_array_equal(getattr(Bars.empty().then(*ticks), name), expected)
    np.testing.assert_array_equal(np.isnan(rows[0].volume), rows[0].coverage < 1)
