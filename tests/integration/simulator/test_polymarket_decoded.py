"""Our decoder on the simulated Polymarket and its faults, compared with the truth log."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from support.simulator.client import client
from support.simulator.decoded import Decoding, Truth, decoding, finish, rows_of, streams, trades_of

from recorder.events import CHANNELS, Accepted, Book, Quote, Resync, Trade
from recorder.simulator.running import running
from recorder.simulator.venues.polymarket.stream import demo_tokens
from recorder.truth import BookItem, TradeItem
from recorder.venues.polymarket.changes_2025_09 import PolymarketUntil202509Decoder
from recorder.venues.polymarket.stream import Polymarket

TOKENS = demo_tokens()
YES, NO = TOKENS[:2]


def same(found: Decoding, path: Path) -> None:
    """Assert that every required item was decoded, and nothing that was not sent."""
    truth = Truth(path)
    assert trades_of(found.outputs) == trades_of(truth.sent)
    sent, rows = rows_of(truth.sent), rows_of(found.outputs)
    due = rows_of(one for one in truth.sent if not one.again)
    assert due.keys() <= rows.keys() <= sent.keys()  # changes of a token may precede its subscription
    for stream, values in rows.items():
        assert not Counter(due.get(stream, ())) - Counter(values)
        assert not Counter(values) - Counter(sent[stream])


class PolymarketUntil202509(Polymarket):
    """Polymarket as it was before its changes named their tokens."""

    def decoder(self) -> PolymarketUntil202509Decoder:
        return PolymarketUntil202509Decoder()


@pytest.mark.parametrize("shape", ["price_changes", "changes", "single"])
def test_our_decoder_finds_exactly_the_truth_in_every_shape_of_changes(shape: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("polymarket", truth=path, rate=1500, seed=8) as venue:
        venue.do("shape", shape=shape)
        adapter = Polymarket() if shape == "price_changes" else PolymarketUntil202509()
        with decoding(venue, adapter, streams(*TOKENS[:5])) as found:
            found.until(lambda one: len(one.of(Trade)) > 150 and len(one.of(Quote)) > 100)
            finish(venue, found)
    same(found, path)
    assert len(found.of(Accepted)) == 15
    assert found.unreadable == []
    assert all(not one.checksums_failed and not one.crossed for one in found.session.audits.values())


WRONGS: list[tuple[str, dict[str, Any]]] = [
    *(("skip", {"times": 3, "channel": channel}) for channel in CHANNELS),
    *(("repeat", {"times": 3, "channel": channel}) for channel in CHANNELS),
    *(("freeze", {"symbol": YES, "channel": channel}) for channel in CHANNELS),
    *(("malformed", {"kind": "truncated", "instead": True, "channel": channel}) for channel in CHANNELS),
    ("reorder", {"times": 3}),
    ("status", {}),
    ("republish", {"count": 5, "now": True}),
    ("tick_size", {"symbol": YES}),
    ("resolve", {"symbol": TOKENS[2]}),
]


@pytest.mark.parametrize(("action", "arguments"), WRONGS)
def test_our_decoder_finds_exactly_the_truth_after_each_fault(
    action: str, arguments: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "truth.jsonl"
    with (
        running("polymarket", truth=path, rate=1000, seed=9) as venue,
        decoding(venue, Polymarket(), streams(YES, NO, TOKENS[2])) as found,
    ):
        found.until(lambda one: len(one.of(Trade)) > 20)
        venue.do(action, **arguments)
        found.subscribe(streams(TOKENS[3]))
        found.until(lambda one: len(one.of(Trade)) > 60)
        finish(venue, found)
    same(found, path)
    assert len(found.unreadable) == (action == "malformed")


def test_a_token_without_its_first_book_has_changes_and_gets_a_book_when_requested_again() -> None:
    with running("polymarket", rate=800, seed=9) as venue:
        venue.do("bookless", symbol=NO)
        with decoding(venue, Polymarket(), streams(YES, NO)) as found:
            found.until(lambda one: len(one.of(Resync)) > 0)
            assert [(one.symbol, one.cause) for one in found.of(Resync)] == [(NO, "no_snapshot")]
            assert [one.snapshot for one in found.of(Book, NO)] == [False]
            found.unsubscribe(streams(NO))
            found.subscribe(streams(NO))
            found.until(lambda one: any(book.snapshot for book in one.of(Book, NO)))


def test_the_truth_of_a_connection_has_its_own_subscriptions_and_counts(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with (
        running("polymarket", truth=path, rate=600, seed=10) as venue,
        decoding(venue, Polymarket(), streams(YES)) as early,
        client(venue.url) as socket,
    ):
        early.until(lambda one: len(one.of(Trade)) > 30)
        late = Decoding(socket, Polymarket())
        late.subscribe(streams(YES, NO))
        late.until(lambda one: len(one.of(Trade)) > 5)
        # One connection has seen equal prints before; the other sees them for the first time.
        venue.do("republish", count=20, symbol=YES, now=True)
        late.until(lambda one: len(one.of(Trade)) > 40)
        finish(venue, early, late)
    for number, found in ((1, early), (2, late)):
        sent = Truth(path, connection=number).sent
        prints = [one.id for one in sent if isinstance(one, TradeItem)]
        assert [one.trade_id for one in found.of(Trade)] == prints
        assert len(set(prints)) == len(prints)
        books = Counter(one.s for one in sent if isinstance(one, BookItem))
        stored = Counter(one.symbol for one in found.of(Book))
        assert books[YES] == stored[YES] > 0
        assert (NO in stored) == (number == 2)
        assert [one for one in sent if isinstance(one, BookItem) and one.s == NO and not one.again] == [] or number == 2
    deltas = [one for one in Truth(path).items.values() if isinstance(one, BookItem) and one.s == YES and not one.snap]
    due = [(one.ts, one.bids, one.asks) for one in deltas if not one.again]
    assert len(deltas) > len(due) == len({str(one) for one in due})  # items that both received are stored once
