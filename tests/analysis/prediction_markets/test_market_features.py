"""Features of a prediction market: each checked by hand on one market, with its null rule and point-in-time rule."""

import re
from dataclasses import replace
from math import cos, log, log1p, pi, sin

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.analysis.market_data import T0

from analysis import audit
from analysis.arrays import DAY, HOUR, MINUTE, SECOND, Bools, Gaps, Ints
from analysis.features.point_in_time import ReceiptIndex
from analysis.prediction_markets import MARKET_FEATURES, MarketTape, Snapshot, compute, names
from analysis.prediction_markets.view import (
    EventListing,
    Fills,
    Listing,
    MarketBook,
    Mids,
    WalletFetch,
    converted_to_yes,
)

T = T0 + 3 * DAY + 15 * HOUR + 20 * MINUTE

_NAMES = """
mid best_bid best_ask microprice last_trade_price gamma_price logit_mid dist_from_half last_minus_mid event_overround
spread spread_ticks spread_rel bid_depth_1c ask_depth_1c bid_depth_5c ask_depth_5c imbalance_touch imbalance_5c
bid_levels ask_levels largest_bid_share largest_ask_share cost_buy_500 volume_total_log volume_24h_log volume_1w_log
volume_24h_share liquidity_log volume_liquidity_ratio event_volume_share open_interest_log hours_to_end
log_hours_to_end hours_to_game age_hours life_elapsed hour_sin hour_cos day_of_week trades_1m trades_5m trades_1h
volume_1m volume_5m volume_1h flow_5m flow_1h avg_trade_1h vwap_gap_1h secs_since_trade volume_accel book_changes_1m
ret_5m ret_1h ret_24h vol_1h vol_24h range_24h pos_in_range_24h category event_market_count rank_in_event
whale_count_1h whale_net_1h top_wallet_share_24h
"""
LISTED = _NAMES.split()


def fills(*rows: tuple[float, float, float, int, int, int]) -> Fills:
    """Return fills from (seconds before T, price of YES, size, side, transaction, wallet)."""
    columns = np.array(rows).T
    at = T - (columns[0] * SECOND).astype(np.int64)
    whole = [columns[i].astype(np.int64) for i in (4, 5)]
    return Fills(at, at, columns[1], columns[2], columns[3].astype(np.int8), *whole)


def book(recv: int = T - 10 * SECOND) -> MarketBook:
    return MarketBook(
        recv,
        np.array([0.40, 0.395, 0.38, 0.001]),
        np.array([100.0, 50.0, 200.0, 2_000_000.0]),
        np.array([0.42, 0.43, 0.46, 0.50, 0.999]),
        np.array([300.0, 500.0, 1000.0, 10.0, 5.0]),
    )


def mids() -> Mids:
    """Return a point a minute for 25 hours, rising by 0.0001 a minute with a saw-tooth of three."""
    at = T - np.arange(25 * 60, -1, -1) * MINUTE
    return Mids(at, at, 0.2 + 0.0001 * np.arange(len(at)) + 0.001 * (np.arange(len(at)) % 3))


MIDS = mids()
FLOW = fills(
    (3000, 0.30, 5000, 1, 1, 7),
    (200, 0.40, 100, -1, 2, 8),
    (50, 0.42, 50, 1, 3, 7),
    (50, 0.43, 50, 1, 3, 7),
)

TAPE = MarketTape(
    books=[book()],
    listings=[
        Listing(
            ts_recv=T - 30 * SECOND,
            price=0.41,
            volume=50_000.0,
            volume_24h=5_000.0,
            volume_1w=20_000.0,
            liquidity=10_000.0,
            start_ns=T - 10 * DAY,
            end_ns=T + 2 * DAY,
            game_ns=T + HOUR,
            tick_size=0.01,
            category="politics",
            neg_risk=True,
        )
    ],
    events=[EventListing(T - 30 * SECOND, 100_000.0, 30_000.0, np.array([0.41, 0.5, 0.12]), 0)],
    fills=ReceiptIndex(replace(FLOW, wallet=np.full(4, -1))),
    book_changes=T - np.array([90, 59, 20, 1], np.int64) * SECOND,
    mids=ReceiptIndex(MIDS),
    subscribed_ns=T - 2 * HOUR,
    wallet_fills=ReceiptIndex(FLOW),
    wallet_fetches=[WalletFetch(T - MINUTE, T - 2 * DAY)],
)

M = 0.41
CASH = [1500.0, 40.0, 21.0, 21.5]

BY_HAND: dict[str, float | str] = {
    "mid": M,
    "best_bid": 0.40,
    "best_ask": 0.42,
    "microprice": (0.42 * 100 + 0.40 * 300) / 400,
    "last_trade_price": 0.43,
    "gamma_price": 0.41,
    "logit_mid": log(0.41 / 0.59),
    "dist_from_half": 0.09,
    "last_minus_mid": 0.02,
    "event_overround": 0.03,
    "spread": 0.02,
    "spread_ticks": 2,
    "spread_rel": 0.02 / 0.41,
    "bid_depth_1c": 100,
    "ask_depth_1c": 300,
    "bid_depth_5c": 350,
    "ask_depth_5c": 1800,
    "imbalance_touch": -0.5,
    "imbalance_5c": (350 - 1800) / 2150,
    "bid_levels": 3,
    "ask_levels": 5,
    "largest_bid_share": 200 / 350,
    "largest_ask_share": 1000 / 1815,
    "cost_buy_500": 500 / (300 + 500 + (500 - 126 - 215) / 0.46) - M,
    "volume_total_log": log1p(50_000),
    "volume_24h_log": log1p(5_000),
    "volume_1w_log": log1p(20_000),
    "volume_24h_share": 0.1,
    "liquidity_log": log1p(10_000),
    "volume_liquidity_ratio": 0.5,
    "event_volume_share": 0.5,
    "open_interest_log": log1p(30_000),
    "hours_to_end": 48,
    "log_hours_to_end": log(49),
    "hours_to_game": 1,
    "age_hours": 240,
    "life_elapsed": 10 / 12,
    "hour_sin": sin(2 * pi * 15 / 24),
    "hour_cos": cos(2 * pi * 15 / 24),
    "day_of_week": 5,  # Saturday, 18 November 2023
    "trades_1m": 2,
    "trades_5m": 3,
    "trades_1h": 4,
    "volume_1m": 42.5,
    "volume_5m": 82.5,
    "volume_1h": 1582.5,
    "flow_5m": 0,
    "flow_1h": 5000 / 5200,
    "avg_trade_1h": 1582.5 / 4,
    "vwap_gap_1h": 1582.5 / 5200 - M,
    "secs_since_trade": 50,
    "volume_accel": 82.5 * 12 / 1582.5,
    "book_changes_1m": 3,
    "ret_5m": M - MIDS.mid[-6],
    "ret_1h": M - MIDS.mid[-61],
    "ret_24h": M - MIDS.mid[-1441],
    "vol_1h": float(np.diff(MIDS.mid[-61:]).std(ddof=1)),
    "vol_24h": float(np.diff(MIDS.mid[-1441::30]).std(ddof=1)),
    "range_24h": float(np.ptp(MIDS.mid[-1440:])),
    "pos_in_range_24h": 1,
    "category": "politics",
    "event_market_count": 3,
    "rank_in_event": 2,
    "whale_count_1h": 1,
    "whale_net_1h": 1500 / 1582.5,
    "top_wallet_share_24h": 1542.5 / 1582.5,
}


@pytest.mark.parametrize("name", LISTED)
def test_a_snapshot_feature_equals_its_formula_by_hand(name: str) -> None:
    found = compute(TAPE, T, [name])[name]
    expected = BY_HAND[name]
    assert found == (expected if isinstance(expected, str) else pytest.approx(expected, rel=1e-9, abs=1e-12))


def test_all_66_features_are_there_and_documented() -> None:
    assert sorted(names()) == sorted(LISTED)
    assert len(names()) == 66
    inputs = {"book", "listing", "event", "fills", "book_changes", "mids", "wallet_fills"}
    for feature in MARKET_FEATURES:
        assert all((feature.formula, feature.unit, feature.null_when, feature.source)), feature.name
        assert feature.needs <= inputs, feature.name


def test_an_unknown_market_has_only_clock_and_category() -> None:
    row = compute(MarketTape(), T)
    known = {name for name, value in row.items() if isinstance(value, str) or not np.isnan(value)}
    assert known == {"hour_sin", "hour_cos", "day_of_week", "category"}
    assert row["category"] == "other"


def test_a_quiet_healthy_hour_is_zero_and_an_interrupted_one_is_null() -> None:
    quiet = replace(TAPE, fills=ReceiptIndex(Fills.empty()), book_changes=np.zeros(0, np.int64))
    row = compute(quiet, T)
    for name in ("trades_1m", "trades_1h", "volume_1h", "book_changes_1m", "whale_count_1h"):
        assert row[name] == 0, name
    for name in ("flow_1h", "avg_trade_1h", "vwap_gap_1h", "volume_accel", "whale_net_1h", "secs_since_trade"):
        assert np.isnan(row[name]), name
    interrupted = compute(replace(TAPE, gaps=Gaps(np.array([T - 600 * SECOND]), np.array([T - 599 * SECOND]))), T)
    assert np.isnan([interrupted[name] for name in ("trades_1h", "volume_1h", "whale_count_1h", "flow_1h")]).all()
    assert interrupted["trades_5m"] == 3
    late = compute(replace(TAPE, subscribed_ns=T - 30 * MINUTE), T)
    assert np.isnan(late["trades_1h"])
    assert late["trades_5m"] == 3


def test_a_book_older_than_twice_the_interval_is_no_book() -> None:
    of_the_book = [feature.name for feature in MARKET_FEATURES if "book" in feature.needs]
    old = compute(replace(TAPE, books=[book(T - 2 * MINUTE - 1)]), T, of_the_book)
    assert all(np.isnan(value) for value in old.values() if not isinstance(value, str))
    assert compute(replace(TAPE, books=[book(T - 2 * MINUTE)]), T, ["mid"])["mid"] == pytest.approx(M)


def test_an_empty_side_is_null_in_price_and_zero_in_depth() -> None:
    empty = np.zeros(0)
    full = book()
    row = compute(replace(TAPE, books=[MarketBook(T, empty, empty, full.ask, full.ask_size)]), T)
    for name in ("mid", "best_bid", "spread", "imbalance_touch", "largest_bid_share", "ask_depth_1c", "logit_mid"):
        assert np.isnan(row[name]), name
    assert (row["bid_depth_1c"], row["bid_depth_5c"], row["bid_levels"]) == (0, 0, 0)
    assert row["best_ask"] == 0.42


def test_a_book_too_thin_for_500_has_no_cost() -> None:
    thin = MarketBook(T, np.array([0.4]), np.array([1.0]), np.array([0.5]), np.array([999.0]))
    assert np.isnan(compute(replace(TAPE, books=[thin]), T, ["cost_buy_500"])["cost_buy_500"])
    enough = replace(thin, ask_size=np.array([1000.0]))
    cost = compute(replace(TAPE, books=[enough]), T, ["cost_buy_500"])["cost_buy_500"]
    assert cost == pytest.approx(0.5 - 0.45)


def test_a_trade_on_no_is_converted_to_yes() -> None:
    turned = converted_to_yes(fills((9, 0.3, 10, 1, 1, 1), (8, 0.3, 10, 1, 2, 1)), np.array([True, False]))
    assert turned.price.tolist() == [0.7, 0.3]
    assert turned.side.tolist() == [-1, 1]


def test_a_whale_is_large_for_its_market_once_the_market_is_known() -> None:
    usual = [(4000.0 - i, 0.5, 4000.0, 1, 100 + i, 1) for i in range(120)]
    flow = fills(*usual, (60, 0.5, 2400.0, 1, 1, 1), (50, 0.5, 9000.0, -1, 2, 1), (50, 0.5, 1000.0, -1, 2, 1))
    row = compute(replace(TAPE, fills=ReceiptIndex(flow)), T, ["whale_count_1h", "whale_net_1h"])
    assert row["whale_count_1h"] == 1  # 1,200 is over 1,000 but usual here; two fills of one transaction are one
    assert row["whale_net_1h"] == pytest.approx(-5000 / (1200 + 5000))


def test_wallets_that_were_not_fetched_for_the_day_are_null() -> None:
    for fetch in (WalletFetch(T - MINUTE, T - DAY + 1), WalletFetch(T - 11 * MINUTE, T - 2 * DAY)):
        row = compute(replace(TAPE, wallet_fetches=[fetch]), T, ["top_wallet_share_24h"])
        assert np.isnan(row["top_wallet_share_24h"])


def test_an_old_point_is_no_point_unless_the_market_is_polled_once_an_hour() -> None:
    hourly = MIDS.take(np.arange(0, len(MIDS), 60))
    tape = replace(TAPE, mids=ReceiptIndex(hourly.take(slice(0, -1))))
    row = compute(replace(tape, interval_ns=HOUR), T + 30 * MINUTE, ["ret_24h", "vol_24h", "ret_1h", "mid"])
    assert [np.isnan(value) for value in row.values()] == [True, True, True, False]
    polled = replace(tape, hourly=True, interval_ns=HOUR)
    row = compute(polled, T + 30 * MINUTE, ["ret_24h", "vol_24h", "range_24h", "ret_1h"])
    assert np.isnan(row["ret_1h"])
    assert not np.isnan([row["ret_24h"], row["vol_24h"], row["range_24h"]]).any()


def test_a_scheduled_end_that_is_over_gives_negative_hours() -> None:
    listing = replace(TAPE.listings[0], end_ns=T - 3 * HOUR)
    row = compute(replace(TAPE, listings=[listing]), T, ["hours_to_end", "log_hours_to_end", "life_elapsed"])
    assert row["hours_to_end"] == -3
    assert row["log_hours_to_end"] == pytest.approx(-log(4))
    assert row["life_elapsed"] == pytest.approx(240 / 237)


def busy(seed: int = 0) -> tuple[MarketTape, Ints]:
    """Return a market with every input for two days, late rows of each kind, and times in the second day."""
    rng = np.random.default_rng(seed)
    start, span = T0, 2 * DAY

    def at(n: int) -> Ints:
        return start + np.sort(rng.integers(0, span, n))

    def received(event: Ints) -> Ints:
        return event + rng.exponential(60 * SECOND, len(event)).astype(np.int64)

    event = at(3000)
    flow = Fills(
        event,
        received(event),
        rng.uniform(0.2, 0.8, 3000),
        rng.exponential(500, 3000),
        rng.choice(np.array([-1, 1], np.int8), 3000),
        rng.integers(0, 1500, 3000),
        rng.integers(0, 50, 3000),
    )
    points = at(3000)
    price = np.clip(0.5 + np.cumsum(rng.normal(0, 0.002, 3000)), 0.1, 0.9)

    def one_book(t: int, m: float) -> MarketBook:
        step = np.linspace(0.01, 0.05, 5)
        return MarketBook(t, m - step, rng.exponential(500, 5), m + step, rng.exponential(500, 5))

    listings = [
        replace(TAPE.listings[0], ts_recv=int(t), volume=float(i * 100 + 1), start_ns=start, end_ns=start + 5 * DAY)
        for i, t in enumerate(at(100))
    ]
    events = [EventListing(int(t), 1e6, 1e4, rng.uniform(0.1, 0.5, 3), 1) for t in at(100)]
    gap = Gaps(np.array([start + DAY]), np.array([start + DAY + HOUR]))
    tape = MarketTape(
        books=[one_book(int(t), float(m)) for t, m in zip(points, price, strict=True)],
        listings=listings,
        events=events,
        fills=ReceiptIndex(replace(flow, wallet=np.full(3000, -1))),
        book_changes=at(20_000),
        mids=ReceiptIndex(Mids(points, received(points), price)),
        gaps=gap,
        subscribed_ns=start,
        wallet_fills=ReceiptIndex(flow),
        wallet_fetches=[WalletFetch(int(t), start) for t in at(2000)],
    )
    return tape, np.sort(start + rng.integers(DAY, 2 * DAY, 60))


def test_no_snapshot_feature_changes_when_all_that_came_after_is_removed() -> None:
    tape, times = busy()
    found = audit.truncation(tape, times, compute)
    assert found.passed, found.findings[:5]
    assert found.always_null == ()
    assert found.checked == len(times) * 66


def test_a_change_over_a_gap_is_null_and_no_point_stands_in_one() -> None:
    gap = Gaps(np.array([T - 30 * MINUTE - SECOND]), np.array([T - 27 * MINUTE]))
    lost = gap.missing(MIDS.ts_event, MIDS.ts_event + 1) > 0
    tape = replace(TAPE, mids=ReceiptIndex(MIDS.take(~lost)), book_gaps=gap)
    row = compute(tape, T, ["ret_5m", "ret_1h", "ret_24h", "vol_1h", "range_24h"])
    assert np.isnan([float(row[name]) for name in ("ret_1h", "ret_24h")]).all()
    assert row["ret_5m"] == pytest.approx(M - MIDS.mid[-6])
    steps = np.diff(np.where(lost, np.nan, MIDS.mid)[-61:])
    assert row["vol_1h"] == pytest.approx(float(np.nanstd(steps, ddof=1)))  # a point that stood would add zeros
    assert np.isnan(Snapshot(tape, T).mids(HOUR, MINUTE)).sum() == 3
    assert row["range_24h"] == pytest.approx(float(np.ptp(MIDS.mid[-1440:])))


def test_the_last_trade_before_a_gap_is_not_the_last_trade() -> None:
    gap = Gaps(np.array([T - 30 * SECOND]), np.array([T - 20 * SECOND]))
    listed = [replace(TAPE.listings[0], last_trade=(T - 40 * SECOND, 0.44))]
    wanted = ["last_trade_price", "last_minus_mid", "secs_since_trade"]
    assert not np.isnan([float(value) for value in compute(TAPE, T, wanted).values()]).any()
    assert np.isnan([float(value) for value in compute(replace(TAPE, gaps=gap), T, wanted).values()]).all()
    row = compute(replace(TAPE, gaps=gap, listings=listed), T, wanted)
    assert (row["last_trade_price"], row["secs_since_trade"]) == (0.44, 40)


BUSY, BUSY_TIMES = busy(2)
WINDOWS = {"1m": MINUTE, "5m": 5 * MINUTE, "1h": HOUR, "24h": DAY}


def _window(name: str) -> int:
    """Return how far back a feature looks; flow, whales and the last trade by default an hour."""
    return next((span for end, span in WINDOWS.items() if name.endswith(end)), HOUR)


@settings(max_examples=25, deadline=None)
@given(
    begins=st.lists(st.integers(0, 24 * 3600), min_size=1, max_size=4),
    lengths=st.lists(st.integers(1, 3600), min_size=4, max_size=4),
)
def test_a_gap_may_turn_a_snapshot_feature_null_and_does_nothing_else(begins: list[int], lengths: list[int]) -> None:
    start = T0 + DAY + np.array(begins, np.int64) * SECOND
    gaps = Gaps(start, start + np.array(lengths[: len(begins)], np.int64) * SECOND).merged()

    def seen(at: Ints) -> Bools:
        whole: Bools = gaps.missing(at, at + 1) == 0
        return whole

    fills, points, changes = BUSY.fills.rows, BUSY.mids.rows, BUSY.book_changes
    tape = replace(
        BUSY,
        fills=ReceiptIndex(fills.take(seen(fills.ts_event))),
        mids=ReceiptIndex(points.take(seen(points.ts_event))),
        book_changes=changes[seen(changes)],
        gaps=BUSY.gaps.then(gaps).merged(),
        book_gaps=gaps,
    )
    for t in BUSY_TIMES[::10].tolist():
        truth, found = compute(BUSY, t), compute(tape, t)
        for name, value in found.items():
            if isinstance(value, str) or name == "top_wallet_share_24h":
                continue
            true = float(truth[name])
            since = t - _window(name) - 10 * MINUTE  # a point stands for ten minutes
            untouched = gaps.missing(np.array([since]), np.array([t]))[0] == 0
            if untouched and not name.startswith("whale"):  # a whale is large among all earlier trades
                assert value == pytest.approx(true, rel=1e-9, abs=1e-12, nan_ok=True), (name, t)
            elif not untouched and not np.isnan(value):
                limits = re.fullmatch(r"(-?\d+) to (\d+)", MARKET_FEATURES[name].unit)
                low, high = (float(limits[1]), float(limits[2])) if limits else (-np.inf, np.inf)
                assert low <= value <= high, (name, t)
                assert value != 0 or true == 0, (name, t)
