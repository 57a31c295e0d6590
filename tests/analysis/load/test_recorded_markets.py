"""Prediction markets as the poller stored them: frames, and the features of their snapshots."""

from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import psycopg2
import pytest
from support.analysis.stored_tape import Stored

from analysis import audit, feature_tables, load, prediction_markets
from analysis.datasets import recorded
from analysis.datasets.frame import UnusableFeature
from recorder.errors import ConfigError

BEGIN = datetime(2026, 3, 5, 12, 0, tzinfo=UTC)
END = BEGIN + timedelta(hours=3)
MINUTE = timedelta(minutes=1)


def run(url: str, statement: str, *values: object) -> None:
    with closing(psycopg2.connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(statement, values)
        connection.commit()


def insert(url: str, table: str, **values: object) -> None:
    names, places = ", ".join(values), ", ".join(["%s"] * len(values))
    run(url, f"INSERT INTO {table} ({names}) VALUES ({places})", *values.values())


def put_market(url: str, market_id: int, **changed: object) -> None:
    row: dict[str, object] = {
        "market_id": market_id, "condition_id": f"0x{market_id:064x}", "tokens": [f"{market_id}00", f"{market_id}01"],
        "outcomes": ["Yes", "No"], "slug": f"market-{market_id}", "question": "?", "event_id": 7,
        "category": "politics", "tags": [], "phase": "open", "neg_risk": True, "neg_risk_other": False, "active": True,
        "start_at": BEGIN - timedelta(days=1), "known_since": BEGIN - timedelta(days=1), "known_at": BEGIN,
        "revision": 1,
    }  # fmt: skip
    insert(url, "market", **(row | changed))


def put_snapshot(url: str, market_id: int, at: datetime, mid: float, **changed: object) -> None:
    row: dict[str, object] = {
        "market_id": market_id, "ts_recv": at, "ts_event": at - timedelta(seconds=1), "instrument_id": market_id,
        "event_id": 7, "tier": "T2", "source": "rest", "bid": mid - 0.01, "bid_size": 100.0, "ask": mid + 0.01,
        "ask_size": 300.0, "spread": 0.02, "mid": mid, "bid_depth_1c": 100.0, "bid_depth_5c": 350.0,
        "ask_depth_1c": 300.0, "ask_depth_5c": 1800.0, "bid_levels": 3, "ask_levels": 5, "bid_shares": 350.0,
        "ask_shares": 1815.0, "largest_bid": mid - 0.03, "largest_bid_size": 200.0, "largest_ask": mid + 0.05,
        "largest_ask_size": 1000.0, "cost_buy_500": 0.012, "last_trade_price": mid + 0.01, "tick_size": 0.01,
        "end_at": END + timedelta(hours=1), "gamma_recv": at - timedelta(minutes=2), "gamma_price": mid,
        "volume": 50_000.0, "volume_24h": 5_000.0, "volume_1w": 20_000.0, "liquidity": 10_000.0,
        "event_volume": 100_000.0, "event_open_interest": 30_000.0,
    }  # fmt: skip
    insert(url, "market_snapshot", **(row | changed))


def put_book(url: str, market_id: int, at: datetime, bids: str, asks: str, **changed: object) -> None:
    insert(url, "market_book", market_id=market_id, ts_recv=at, ts_event=at, bids=bids, asks=asks, **changed)


def features(url: str, market_id: int, at: datetime, **options: Any) -> dict[str, float | str]:
    tape = load.recorded_market(market_id, at - timedelta(seconds=1), at + timedelta(seconds=1), source=url, **options)
    return prediction_markets.compute(tape, int(at.timestamp()) * 10**9 + 10**8)


def test_snapshots_alone_give_every_feature_that_needs_no_stream(database: str) -> None:
    for number, first in ((1, 0.40), (2, 0.55)):
        put_market(database, number)
        for minute in range(0, 121, 1):
            put_snapshot(database, number, BEGIN + minute * MINUTE, first + 0.0005 * (minute % 7))
    row = features(database, 1, BEGIN + 120 * MINUTE)
    unknown = {name for name, value in row.items() if not isinstance(value, str) and np.isnan(value)}
    # No stream was recorded, the market is no game, and there is no day of snapshots yet.
    stream = {name for name in row if prediction_markets.MARKET_FEATURES[name].family == "flow"}
    whales = {"whale_count_1h", "whale_net_1h", "top_wallet_share_24h"}
    assert unknown == stream | whales | {"hours_to_game", "ret_24h", "vol_24h"}
    assert row["mid"] == pytest.approx(0.4 + 0.0005 * (120 % 7))
    assert (row["bid_depth_1c"], row["ask_depth_5c"], row["bid_levels"], row["cost_buy_500"]) == (100, 1800, 3, 0.012)
    assert row["largest_ask_share"] == pytest.approx(1000 / 1815)
    assert row["imbalance_5c"] == pytest.approx((350 - 1800) / 2150)
    assert row["last_trade_price"] == pytest.approx(0.4105)
    assert row["event_overround"] == pytest.approx(0.4005 + 0.5505 - 1)
    assert (row["event_market_count"], row["rank_in_event"], row["category"]) == (2, 2, "politics")
    assert row["event_volume_share"] == 0.5
    assert row["hours_to_end"] == pytest.approx(2, abs=0.001)


def test_the_flow_of_a_market_is_unknown_while_only_one_of_its_tokens_is_recorded(database: str) -> None:
    put_market(database, 1)
    put_snapshot(database, 1, BEGIN + 120 * MINUTE, 0.4)
    tape = Stored(database)
    tape.session("polymarket", 1, BEGIN, END)
    flow = ("trades_1h", "volume_1h", "whale_count_1h", "book_changes_1m")
    for token, expected in (("100", np.nan), ("101", 0)):
        tape.instrument("polymarket", token, BEGIN)
        row = features(database, 1, BEGIN + 120 * MINUTE)
        np.testing.assert_array_equal([row[name] for name in flow], expected)


def test_the_levels_of_a_stored_book_decide_and_an_unchanged_book_is_found_again(database: str) -> None:
    put_market(database, 1)
    bids, asks = "[[0.40, 100], [0.38, 900]]", "[[0.42, 300], [0.43, 5000]]"
    put_book(database, 1, BEGIN, bids, asks, hash="aa")
    put_snapshot(database, 1, BEGIN, 0.41, hash="aa", cost_buy_500=None)
    put_snapshot(database, 1, BEGIN + 14 * MINUTE, 0.41, hash="aa", cost_buy_500=None)
    for at in (BEGIN, BEGIN + 14 * MINUTE):
        row = features(database, 1, at, warmup=timedelta(0))
        assert (row["bid_levels"], row["ask_depth_5c"]) == (2, 5300)
        assert row["cost_buy_500"] == pytest.approx(500 / (300 + (500 - 126) / 0.43) - 0.41)


def test_a_missing_or_an_old_book_leaves_its_features_unknown(database: str) -> None:
    put_market(database, 1)
    put_snapshot(database, 1, BEGIN, 0.41)
    nothing = dict.fromkeys(
        ("ts_event", "bid", "ask", "bid_levels", "ask_levels", "hash", "cost_buy_500", "last_trade_price")
    )
    put_snapshot(database, 1, BEGIN + 1 * MINUTE, 0.41, source="none", **nothing)
    put_snapshot(database, 1, BEGIN + 2 * MINUTE, 0.41, tier="T4")
    for at, known in ((BEGIN, True), (BEGIN + MINUTE, False), (BEGIN + 2 * MINUTE, True)):
        row = features(database, 1, at)
        assert (not np.isnan(float(row["best_bid"])), not np.isnan(float(row["bid_levels"]))) == (known, known)
        assert row["volume_total_log"] == pytest.approx(np.log1p(50_000))
    assert np.isnan(float(features(database, 1, BEGIN + 2 * MINUTE + timedelta(seconds=31))["best_bid"]))


def test_features_of_a_recorded_market_know_only_the_past(database: str) -> None:
    put_market(database, 1)
    put_market(database, 2, closed_at=BEGIN + 40 * MINUTE, known_since=BEGIN + 5 * MINUTE)
    for minute in range(0, 90, 2):
        put_snapshot(database, 1, BEGIN + minute * MINUTE, 0.3 + 0.001 * minute, volume=1000.0 + minute)
        put_snapshot(database, 2, BEGIN + minute * MINUTE + timedelta(seconds=30), 0.5 - 0.001 * minute)
    tape = load.recorded_market(1, BEGIN, END, source=database)
    times = np.array([int((BEGIN + minute * MINUTE).timestamp()) * 10**9 + 1 for minute in (3, 30, 50, 80)])
    found = audit.truncation(tape, times, feature_tables.at)
    assert found.passed, found.findings
    counts = [prediction_markets.compute(tape, int(t), ["event_market_count"])["event_market_count"] for t in times]
    assert counts == [1, 2, 1, 1]


def test_markets_snapshots_and_resolutions_are_frames(database: str) -> None:
    put_market(database, 1)
    put_market(database, 2)
    put_snapshot(database, 1, BEGIN, 0.41)
    put_snapshot(database, 2, BEGIN, 0.21)
    put_snapshot(database, 2, END, 0.22)
    for number, payout in ((1, 1_000_000), (2, 500_000)):
        insert(
            database, "resolution", market_id=number, condition_id=f"0x{number:064x}", payout_0=payout,
            payout_1=1_000_000 - payout, sources=["data"], known_at=END + number * MINUTE, raw="{}", revision=1,
        )  # fmt: skip
    assert load.markets(source=database)["slug"].to_pylist() == ["market-1", "market-2"]
    assert load.markets(source=database, to="pandas")["tokens"][0].tolist() == ["100", "101"]
    rows = load.market_snapshots(None, BEGIN, END, source=database, columns=["market_id", "mid"])
    assert rows.to_pylist() == [{"market_id": 1, "mid": 0.41}, {"market_id": 2, "mid": 0.21}]
    assert load.market_snapshots(2, BEGIN, END + MINUTE, source=database).num_rows == 2
    assert load.market_snapshots([], BEGIN, END, source=database).num_rows == 0
    ends = load.resolutions(source=database, to="pandas")
    assert ends[["market_id", "payout"]].to_numpy().tolist() == [[1, 1.0], [2, 0.5]]
    assert load.resolutions(END + 2 * MINUTE, source=database)["market_id"].to_pylist() == [2]
    with pytest.raises(ConfigError, match="no column 'winner'"):
        load.market_snapshots(1, BEGIN, END, source=database, columns=["winner"])
    with pytest.raises(ConfigError, match="market 9 is not stored"):
        load.recorded_market(9, BEGIN, END, source=database)


def test_markets_with_a_payout_are_a_training_frame_by_one_call(database: str) -> None:
    for number in range(1, 6):
        put_market(database, number, event_id=number // 2, slug=f"market-{number}")
        for minute in range(0, 60, 5):
            put_snapshot(database, number, BEGIN + minute * MINUTE, 0.3 + 0.05 * number, tier="T1")
    known = BEGIN + 40 * MINUTE
    for number, payout in ((1, 1_000_000), (2, 0), (3, 500_000), (4, 0)):  # the fifth has not ended
        insert(
            database, "resolution", market_id=number, condition_id=f"0x{number:064x}", payout_0=payout,
            payout_1=1_000_000 - payout, sources=["data"], known_at=known, raw="{}", revision=1,
            resolved_at=BEGIN + 30 * MINUTE if number == 2 else None,
        )  # fmt: skip
    rows = recorded.load(BEGIN, END, source=database)
    assert rows.matrix().shape == (4 + 3 + 4, 65)
    assert sorted(set(rows.subject.tolist())) == ["market-1", "market-2", "market-4"]
    assert dict(zip(rows.subject.tolist(), rows.label.tolist(), strict=True)) == {
        "market-1": 1.0, "market-2": 0.0, "market-4": 0.0,
    }  # fmt: skip
    assert (rows.start < rows.end).all()
    assert set(rows.end.tolist()) == {int(known.timestamp()) * 10**9}
    assert rows.features["mid"].tolist() == rows.market.tolist()
    assert set(rows.event[rows.subject == "market-2"].tolist()) == {"event 1"}
    assert [rows.weight[rows.subject == f"market-{n}"].sum() for n in (1, 2, 4)] == pytest.approx([11 / 3] * 3)
    again = recorded.load(BEGIN, END, source=database)
    assert again.sources == rows.sources
    few = recorded.load(BEGIN, END, source=database, every=timedelta(hours=1), names=["logit_mid"])
    assert few.matrix().shape == (3, 1)
    with pytest.raises(UnusableFeature, match="it is the label"):
        recorded.load(BEGIN, END, source=database, names=["payout"])
    assert len(recorded.load(BEGIN, BEGIN + MINUTE, source=database, every=timedelta(days=1))) == 3
    assert len(recorded.load(END, END + MINUTE, source=database)) == 0
