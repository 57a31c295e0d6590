"""The bench measures what it says: the feed sends what it counts, and a missing peer is reported in a sentence."""

import json
import os
import stat
import threading
from collections import Counter
from pathlib import Path

import pytest

from bench import duel_rounds, peer_environment
from bench.duel import Feed, wait_for
from bench.feed_messages import LEVELS_A_SIDE, MIX, Binance, CoinbaseExchange, Market
from bench.measure import Figure
from recorder.capture.websocket.connection import Connection
from recorder.capture.websocket.frames import Oversized
from recorder.clock import SystemClock
from recorder.events import Book, Quote, Stream, Trade
from recorder.venues import VENUES

TOTAL = 3000


def received(connection: Connection, count: int) -> list[bytes]:
    """Return the frames that a client receives until it has `count` of them."""
    frames: list[bytes] = []
    while len(frames) < count:
        messages = connection.receive(10.0)
        assert messages is not None, f"only {len(frames)} of {count} frames came"
        frames += [frame for frame in messages if not isinstance(frame, Oversized)]
    return frames


@pytest.mark.parametrize("rate", [0.0, 20_000.0])
def test_the_coinbase_feed_sends_every_message_that_it_counts(rate: float) -> None:
    dialect = CoinbaseExchange()
    with Feed(dialect.name, TOTAL, rate, 60.0) as feed:
        venue = VENUES["coinbase"](f"ws://127.0.0.1:{feed.port}")
        streams = [Stream(channel, symbol) for symbol in dialect.symbols() for channel in venue.channels]
        connection = Connection(venue.endpoint, 1 << 20, "bench", None, SystemClock(), threading.Event())
        requests = list(venue.subscribe(streams))
        for request in requests:
            connection.send(request)
        opening = received(connection, len(requests) + len(dialect.symbols()))
        feed.start()
        frames = received(connection, TOTAL)
        wait_for(lambda: feed.state().ended_ns, 10.0)
        state = feed.state()
        connection.close()
    decoder = venue.decoder()
    for frame in opening:
        decoder.decode(frame, state.started_ns or 0)
    rows = [row for frame in frames for row in decoder.decode(frame, state.ended_ns or 0)]
    counted = Counter({Trade: "trade", Quote: "quote", Book: "book"}[type(row)] for row in rows)
    assert len(rows) == len(frames) == state.generated == TOTAL
    assert counted == state.kinds
    books = [row for row in rows if isinstance(row, Book)]
    assert {(len(book.bids), len(book.asks)) for book in books} == {(LEVELS_A_SIDE, LEVELS_A_SIDE)}
    ids: dict[str, list[int]] = {}
    for row in rows:
        if isinstance(row, Trade):
            ids.setdefault(row.symbol, []).append(row.trade_id)
    assert all(numbers == list(range(numbers[0], numbers[0] + len(numbers))) for numbers in ids.values())


def test_both_dialects_print_the_same_market() -> None:
    markets, dialects = (Market(), Market()), (Binance(), CoinbaseExchange())
    for _ in range(1000):
        event, same = (market.next() for market in markets)
        assert event == same
        binance, coinbase = (json.loads(dialect.message(event, 1_800_000_000_000_000_000)) for dialect in dialects)
        data = binance["data"]
        if event.kind == "trade":
            assert (data["p"], data["q"]) == (coinbase["price"], coinbase["size"])
            assert data["m"] == (coinbase["side"] == "buy")
        elif event.kind == "quote":
            assert (data["b"], data["B"], data["a"]) == (
                coinbase["best_bid"], coinbase["best_bid_size"], coinbase["best_ask"],
            )  # fmt: skip
        else:
            changes = [["buy", *level] for level in data["b"]] + [["sell", *level] for level in data["a"]]
            assert changes == coinbase["changes"]
    assert {kind: markets[0].counts[kind] for kind in MIX} == pytest.approx(
        {kind: 100 * weight for kind, weight in MIX.items()}, rel=0.15
    )


def test_depth_updates_of_binance_continue_the_book_that_rest_gives() -> None:
    dialect, market = Binance(), Market()
    books = [event for event in (market.next() for _ in range(500)) if event.kind == "book" and event.coin == 0]
    last = json.loads(dialect.depth("BTCUSDT", 0))["lastUpdateId"]
    for event in books:
        update = json.loads(dialect.message(event, 0))["data"]
        assert update["U"] == last + 1
        last = update["u"]


def test_an_interpreter_that_does_not_run_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tmp_path / "python3.12"
    shim.write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    shim.chmod(shim.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.delenv(peer_environment.PYTHON_VARIABLE, raising=False)
    assert str(shim) in peer_environment.candidates()
    assert peer_environment.version_of(str(shim)) is None
    monkeypatch.setenv(peer_environment.PYTHON_VARIABLE, str(shim))
    with pytest.raises(peer_environment.PeerMissing, match="that runs was found"):
        peer_environment.find_python()


def test_a_missing_peer_is_reported_and_nothing_is_measured_against_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(peer_environment.PYTHON_VARIABLE, str(tmp_path / "nothing"))
    plan = duel_rounds.Plan(reps=1, total=1000, rate=500, latency_s=0.5, outage=False, who=("cryptofeed",))
    lacking: list[str] = []
    measured = duel_rounds.run(plan, tmp_path / "work", tmp_path / "peer", lacking.append)
    assert measured is None
    assert len(lacking) == 1
    assert lacking[0].startswith("the peer is not measured: no Python 3.12 or 3.13")


def test_a_figure_says_whether_it_keeps_its_limit() -> None:
    assert Figure("speed", 8.25, at_least=7.5).verdict == "holds by 10%"
    assert Figure("p99", 30.0, at_most=25).verdict == "MISSED by 20%"
    assert not Figure("lost", 1, at_most=0).holds
