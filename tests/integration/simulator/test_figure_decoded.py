"""Our decoder on the simulated Figure Markets and its faults, compared with the truth log."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.simulator.client import FastClock
from support.simulator.decoded import Decoding, Truth, decoding, finish, live, rows_of, streams, trades_of

from recorder.events import Accepted, Alive, Book, Refused, Stream, Trade
from recorder.simulator.running import Running, running
from recorder.truth import BookItem
from recorder.venues.figure.stream import Figure

FIRST = "HASH-USD"
STREAMS = streams(FIRST, "BTC-USD-2S", "USDC-USD")
Fault = tuple[str, dict[str, str | float | bool | None]]


@contextmanager
def alive(venue: Running, found: Decoding) -> Iterator[None]:
    """Send protocol pings while the block runs, as a link does."""
    stop = threading.Event()

    def ping() -> None:
        while not stop.wait(0.5):
            found.socket.ping()

    thread = threading.Thread(target=ping)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()
        finish(venue, found)


def one_sided(book: Book) -> bool:
    """Return whether a side of the book is empty."""
    return not book.bids or not book.asks


@pytest.mark.parametrize("seed", [3, 4])
def test_the_decoder_finds_exactly_the_truth(seed: int, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with (
        running("figure", truth=path, seed=seed, rate=60, clock=FastClock()) as venue,
        decoding(venue, Figure(), STREAMS) as found,
        alive(venue, found),
    ):
        venue.do("empty")
        found.until(live).until(lambda one: one.frames > 800 and any(map(one_sided, one.of(Book))))
    truth = Truth(path)
    assert found.unreadable == []
    assert set(found.of(Accepted)) == {Accepted(stream) for stream in STREAMS}
    assert trades_of(found.outputs) == trades_of(truth.sent)
    assert rows_of(found.outputs) == rows_of(truth.sent)
    assert len(trades_of(found.outputs)) > 100
    assert {trade.aggressor for trade in found.of(Trade)} == {None}


def test_a_repeated_book_is_no_row_and_no_item_but_proves_that_its_stream_lives(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with (
        running("figure", truth=path, rate=60, clock=FastClock()) as venue,
        decoding(venue, Figure(), [Stream("book", FIRST)]) as found,
        alive(venue, found),
    ):
        found.until(lambda one: len(one.of(Book)) > 3)
        venue.do("rate", per_s=1e-9)
        found.until(lambda one: len(one.of(Alive)) > 3)
    assert rows_of(found.outputs) == rows_of(Truth(path).sent)
    assert {one.stream for one in found.of(Alive)} == {Stream("book", FIRST)}


def test_an_id_ended_and_asked_for_again_brings_a_row_even_if_nothing_changed(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with (
        running("figure", truth=path, rate=1e-9, clock=FastClock()) as venue,
        decoding(venue, Figure(), [Stream("book", FIRST)]) as found,
        alive(venue, found),
    ):
        found.until(lambda one: len(one.of(Book)) == 1)
        found.unsubscribe([Stream("book", FIRST)])
        found.subscribe([Stream("book", FIRST)])
        found.until(lambda one: len(one.of(Book)) == 2)
    assert rows_of(found.outputs) == rows_of(Truth(path).sent)


@pytest.mark.parametrize(
    "fault",
    [
        ("skip", {"times": 3, "symbol": FIRST}),
        ("skip", {"times": 3, "symbol": FIRST, "channel": "book"}),
        ("skip", {"times": 3, "symbol": FIRST, "channel": "quote"}),
        ("repeat", {"times": 3, "symbol": FIRST}),
        ("repeat", {"times": 3, "symbol": FIRST, "channel": "book"}),
        ("repeat", {"times": 3, "symbol": FIRST, "channel": "quote"}),
        ("reorder", {"times": 3, "symbol": FIRST}),
        ("republish", {"count": 20, "symbol": FIRST, "now": True}),
        ("reset_ids", {"symbol": FIRST, "first": 7}),
        ("empty", {"symbol": FIRST, "side": "both", "ticks": 3}),
        ("malformed", {}),
        ("malformed", {"kind": "truncated", "instead": True, "symbol": FIRST}),
        ("malformed", {"kind": "not_json", "instead": True, "symbol": FIRST, "channel": "book"}),
        ("malformed", {"kind": "not_json", "instead": True, "symbol": FIRST, "channel": "quote"}),
    ],
)
def test_after_each_fault_the_decoder_has_what_was_sent(fault: Fault, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with (
        running("figure", truth=path, seed=5, rate=60, clock=FastClock()) as venue,
        decoding(venue, Figure(), STREAMS) as found,
        alive(venue, found),
    ):
        found.until(live)
        venue.do(fault[0], **fault[1])
        found.until(lambda one: not venue.venue.faults.rules)
        found.more(201)
    truth = Truth(path)
    assert trades_of(found.outputs) == trades_of(truth.sent)
    if fault != ("repeat", {"times": 3, "symbol": FIRST, "channel": "book"}):
        assert rows_of(found.outputs) == rows_of(truth.sent)
    else:  # the same book twice is one row
        due = [item for item in truth.sent if isinstance(item, BookItem) and not item.again]
        assert len(found.of(Book)) == len(due) < len([item for item in truth.sent if isinstance(item, BookItem)])
    expected = {"skip": {"skip"}, "malformed": {"replace"} if "instead" in fault[1] else set()}.get(fault[0], set())
    assert {item.held for item in truth.held} == expected


def test_a_frozen_book_is_complete_with_its_next_frame(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with (
        running("figure", truth=path, seed=6, rate=60, clock=FastClock()) as venue,
        decoding(venue, Figure(), STREAMS) as found,
        alive(venue, found),
    ):
        found.until(live)
        venue.do("freeze", symbol=FIRST, channel="book")
        frozen = len(found.of(Book, FIRST))
        found.more(151)
        assert len(found.of(Book, FIRST)) <= frozen + 1
        venue.do("heal")
        found.until(lambda one: len(one.of(Book, FIRST)) > frozen + 3)
    truth = Truth(path)
    assert {(item.s, item.held) for item in truth.held} == {(FIRST, "freeze")}
    assert rows_of(found.outputs) == rows_of(truth.sent)


def test_a_refusal_names_no_stream_and_the_list_shows_who_was_accepted() -> None:
    with running("figure", rate=1e-9) as venue, decoding(venue, Figure()) as found:
        venue.do("refuse", channel="trade", symbol=FIRST, times=1, reason="not now")
        found.subscribe([Stream("trade", FIRST), Stream("quote", FIRST)])
        found.until(lambda one: bool(one.of(Accepted)))
    assert found.of(Refused) == [Refused(None, "3: not now")]
    assert found.of(Accepted) == [Accepted(Stream("quote", FIRST))]
