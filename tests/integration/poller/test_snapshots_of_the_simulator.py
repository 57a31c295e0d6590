"""Snapshots and whales of the simulated services equal the truth of these, value by value, in Postgres."""

import json
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import psycopg2.extras
import pytest
from support.batches import DAY_NS, FIRST, HandPart, batch
from support.poller.polling import Asking

from recorder.clock import ManualClock
from recorder.pgcopy.polled import POLLED, encode_rows
from recorder.poller.polymarket.board import Board
from recorder.poller.polymarket.cases import Cases
from recorder.poller.polymarket.intake import Intake
from recorder.poller.polymarket.snapshots import Snapshots, StoredBooks
from recorder.poller.polymarket.sweep import Sweep
from recorder.poller.polymarket.tiers import PERIODS_S, TIERS, TierRules
from recorder.poller.polymarket.whales import WhaleTrades
from recorder.position import Position
from recorder.simulator.services.running import RunningServices, running_services
from recorder.store.loader import Store
from recorder.truth import ServedBook, ServedTrade, read_truth

MARKETS = 600
ROW_USDC, WHALE_USDC, SHOWN_USDC = 100.0, 1_000.0, 10_000.0


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(time.time_ns() // 10**9 * 10**9 - 3600 * 10**9)


@pytest.fixture
def services(tmp_path: Path, clock: ManualClock) -> Iterator[RunningServices]:
    with running_services(
        ["gamma", "clob", "data"], folder=tmp_path, markets=MARKETS, trades_per_s=10.0, clock=clock
    ) as running:
        yield running


def swept(round: Asking, clock: ManualClock) -> Board:
    """Return the markets that Gamma lists, with their tiers."""
    intake = Intake(Board(TierRules()), Cases())
    Sweep(intake, clock).run(round)
    round.rows.clear()
    round.odds.clear()
    intake.board.retier(clock.wall_ns())
    return intake.board


def load(url: str, stored: dict[str, list[tuple[Any, ...]]]) -> None:
    """Load the rows of rounds as the writer does."""
    store = Store(url)
    for number, table in enumerate(("market_snapshot", "market_book", "whale_event")):
        rows = stored.get(table, [])
        place = [column for column, _ in POLLED[table]].index("ts_recv")
        days = tuple(sorted({row[place] // DAY_NS for row in rows}))
        part = HandPart(table, tuple(column for column, _ in POLLED[table]), len(rows), encode_rows(table, rows), days)
        start = Position(FIRST.segment, FIRST.offset + 1000 * number) if number else None
        loaded = store.load(batch(start, [part]))
        assert loaded.total.quarantined == 0, table
    store.close()


def select(url: str, query: str) -> list[dict[str, Any]]:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute(query)
            return [dict(row) for row in cursor.fetchall()]
    finally:
        connection.close()


def of_truth(body: dict[str, Any]) -> dict[str, Any]:
    """Return figures of a book as sent, by their definitions."""
    bids = {float(one["price"]): float(one["size"]) for one in body["bids"]}
    asks = {float(one["price"]): float(one["size"]) for one in body["asks"]}
    bid, ask = max(bids, default=None), min(asks, default=None)
    mid = None if bid is None or ask is None else (bid + ask) / 2

    def within(side: dict[float, float], cents: int) -> float | None:
        if mid is None:
            return None if side else 0.0
        return sum(size for price, size in side.items() if abs(price - mid) <= cents / 100 + 1e-9)

    return {
        "bid": bid,
        "ask": ask,
        "bid_size": bids.get(bid) if bid is not None else None,
        "ask_size": asks.get(ask) if ask is not None else None,
        "mid": mid,
        "spread": None if bid is None or ask is None else ask - bid,
        **{f"bid_depth_{cents}c": within(bids, cents) for cents in (1, 2, 5, 10)},
        **{f"ask_depth_{cents}c": within(asks, cents) for cents in (1, 2, 5, 10)},
        "bid_levels": len(bids),
        "ask_levels": len(asks),
        "bid_shares": sum(bids.values()),
        "largest_ask_size": max(asks.values(), default=None),
        "last_trade_price": float(body["last_trade_price"]) if body["last_trade_price"] else None,
        "tick_size": float(body["tick_size"]),
        "hash": body["hash"],
    }


def test_every_snapshot_equals_the_book_that_was_served_at_its_time(
    services: RunningServices, clock: ManualClock, database: str, tmp_path: Path
) -> None:
    round = Asking(**services.urls)
    board = swept(round, clock)
    stored = StoredBooks("T2")
    handlers = {tier: Snapshots(board, tier, stored) for tier in TIERS if board.polled(tier)}
    assert len(handlers) >= 4
    asked = set()  # a market that changes its tier may be asked for twice at one instant, and has one row of it
    for second in range(0, 120, 15):
        for tier, handler in handlers.items():
            if second % PERIODS_S[tier] == 0:
                asked |= {(market.market_id, second) for market in board.polled(tier)}
                handler.run(round)
        clock.advance(15)
    assert round.odds == []
    services.site.truth.commit(clock.wall_ns())
    load(database, round.rows)
    truth = {
        (line.token, line.ts): json.loads(bytes(line.body))
        for line in read_truth(tmp_path / "answers-polymarket.jsonl")
        if isinstance(line, ServedBook)
    }
    tokens = {market.market_id: market.token for market, _ in board.all() if market.tokens}
    snapshots = select(
        database, "SELECT *, (extract(epoch FROM ts_event) * 1000)::bigint AS ms FROM market_snapshot ORDER BY ts_recv"
    )
    with_book = [row for row in snapshots if row["source"] == "rest"]
    assert len(snapshots) == len(asked)
    assert len(with_book) > 0.8 * len(asked)
    for row in with_book:
        for name, value in of_truth(truth[tokens[row["market_id"]], row["ms"]]).items():
            assert row[name] == (pytest.approx(value, abs=1e-9) if isinstance(value, float) else value), (name, row)
    books = select(
        database, "SELECT market_id, bids, asks, (extract(epoch FROM ts_event) * 1000)::bigint AS ms FROM market_book"
    )
    assert books
    for row in books:
        body = truth[tokens[row["market_id"]], row["ms"]]
        for side in ("bids", "asks"):
            assert row[side] == [[float(one["price"]), float(one["size"])] for one in reversed(body[side])]
    # A book that is not stored is one that did not change since it was stored.
    hashes = {row["hash"] for row in select(database, "SELECT hash FROM market_book")}
    assert {row["hash"] for row in with_book if row["tier"] in ("T2", "T3", "T4")} == hashes


def test_answers_that_are_incomplete_odd_or_broken_cost_what_they_lack(
    services: RunningServices, clock: ManualClock
) -> None:
    round = Asking(**services.urls)
    board = swept(round, clock)
    tier = max(TIERS, key=lambda tier: len(board.polled(tier)))
    asked = len(board.polled(tier))
    handler = Snapshots(board, tier, StoredBooks("none"))

    def run() -> list[tuple[Any, ...]]:
        round.rows.clear()
        handler.run(round)
        return round.rows["market_snapshot"]

    services.do("clob", "odd", path="/books")
    assert len(run()) == asked - 1
    assert len(round.odds) == 1
    services.do("clob", "truncate", path="/books")  # the first chunk once; its halves are answered
    assert len(run()) == asked
    services.do("clob", "incomplete", share=0.5, times=1, path="/books")
    sources = [row[6] for row in run()]
    assert len(sources) == asked
    assert sources.count("none") >= min(asked, 250) * 0.4


def test_every_whale_of_the_feed_is_stored_once_with_the_sum_of_its_fills(
    services: RunningServices, clock: ManualClock, database: str, tmp_path: Path
) -> None:
    handler = WhaleTrades("whales", Board(TierRules()), WHALE_USDC, ROW_USDC, SHOWN_USDC)
    round = Asking(**services.urls)
    for number in range(12):
        round.slot_ns, before = clock.wall_ns(), len(round.kept)
        handler.run(round)
        assert len(round.kept) - before <= 3, number
        clock.advance(30)
    round.slot_ns = clock.wall_ns()
    WhaleTrades("whales", Board(TierRules()), WHALE_USDC, ROW_USDC, SHOWN_USDC).run(round)  # after a restart
    assert round.odds == []
    services.site.truth.commit(clock.wall_ns())
    load(database, {"whale_event": round.rows["whale_event"]})
    sums: dict[tuple[str, str], list[float]] = defaultdict(list)
    for line in read_truth(tmp_path / "answers-polymarket.jsonl"):
        if not isinstance(line, ServedTrade) or line.condition.startswith("0x03"):
            continue
        if line.size * line.price >= ROW_USDC:
            sums[line.tx, line.wallet].append(line.size * line.price)
    expected = {key: pytest.approx(sum(cash)) for key, cash in sums.items() if sum(cash) >= WHALE_USDC}
    found = select(database, "SELECT transaction_hash, wallet, cash, revision FROM whale_event")
    assert {(row["transaction_hash"], row["wallet"]): row["cash"] for row in found} == expected
    assert any(row["revision"] > 1 for row in found)
