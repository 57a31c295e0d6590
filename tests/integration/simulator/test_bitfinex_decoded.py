"""Our decoder on the simulated Bitfinex and its faults, compared with the truth log."""

from pathlib import Path

import pytest
from support.simulator.client import FastClock
from support.simulator.decoded import Truth, decoding, finish, live, rows_of, streams, trades_of

from recorder.events import Accepted, Alive, Book, Ending, Lost, Quote, Refused, Resync, Stream
from recorder.simulator.running import running
from recorder.truth import BookItem, TradeItem
from recorder.venues.bitfinex.recorded_2022 import BitfinexRecorded2022Decoder
from recorder.venues.bitfinex.stream import Bitfinex

FIRST, SECOND = "tBTCUSD", "tBTTUSD"
STREAMS = streams(FIRST, SECOND, "tAVAX:USD")


@pytest.mark.parametrize("length", [1, 25, 100, 250])
def test_the_decoder_finds_exactly_the_truth(length: int, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("bitfinex", truth=path, seed=length, rate=150, clock=FastClock()) as venue:
        venue.do("every", checksum_s=0.05, ticker_s=5.0, heartbeat_s=5.0)
        with decoding(venue, Bitfinex(book_depth=length), STREAMS) as found:
            found.until(live).more(3000)
            finish(venue, found)
    truth = Truth(path)
    assert found.unreadable == found.of(Lost) == found.of(Resync) == []
    assert set(found.of(Accepted)) == {Accepted(stream) for stream in STREAMS}
    assert trades_of(found.outputs) == trades_of(truth.sent)
    assert rows_of(found.outputs) == rows_of(truth.sent)
    assert len(trades_of(found.outputs)) > 100
    assert sum(audit.checksums_passed for audit in found.session.audits.values()) > 10
    assert not any(audit.checksums_failed for audit in found.session.audits.values())


def test_two_connections_get_the_same_books_and_trades_under_numbers_of_their_own(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with (
        running("bitfinex", truth=path, seed=3, rate=800) as venue,
        decoding(venue, Bitfinex(), STREAMS) as one,
        decoding(venue, Bitfinex(), STREAMS) as other,
    ):
        one.until(live).more(1000)
        other.until(live)
        finish(venue, one, other)
    truth = Truth(path)
    assert {**trades_of(one.outputs), **trades_of(other.outputs)} == trades_of(truth.sent)
    mine, its, sent = rows_of(one.outputs), rows_of(other.outputs), rows_of(truth.sent)
    for symbol in (FIRST, SECOND):
        both = sorted(map(repr, mine[symbol, "book"] + its[symbol, "book"]))
        assert both == sorted(map(repr, sent[symbol, "book"]))
        assert {row.sequence for row in one.of(Quote, symbol)} != {None}


class BitfinexWithTimes(Bitfinex):
    """Bitfinex as recorders see it that set the flag TIMESTAMP."""

    def decoder(self) -> BitfinexRecorded2022Decoder:
        return BitfinexRecorded2022Decoder(self.book_depth)


def test_times_are_in_the_rows_of_the_connection_that_requested_them(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("bitfinex", truth=path, seed=3, rate=800) as venue, decoding(venue, BitfinexWithTimes()) as found:
        found.socket.send('{"event":"conf","flags":229376}')
        found.until(lambda one: bool(one.of(Alive)) and one.frames == 2)
        found.subscribe(STREAMS)  # its own conf removes the times
        found.socket.send('{"event":"conf","flags":229376}')
        found.until(live).more(400)
        finish(venue, found)
    assert rows_of(found.outputs) == rows_of(Truth(path).sent)
    assert all(row.ts_event_ns for row in found.of(Book)[-100:])


Fault = tuple[str, dict[str, str | float | bool | None]]


@pytest.mark.parametrize(
    "fault",
    [
        ("skip", {"times": 3, "symbol": FIRST}),
        ("skip", {"times": 3, "symbol": FIRST, "channel": "book"}),
        ("sequence_hole", {"frames": 2}),
        ("malformed", {"kind": "truncated", "instead": True, "symbol": FIRST}),
        ("malformed", {"kind": "not_json", "instead": True, "symbol": FIRST, "channel": "book"}),
    ],
)
def test_a_missing_frame_is_detected_at_the_next_one(fault: Fault, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("bitfinex", truth=path, seed=4, rate=800) as venue, decoding(venue, Bitfinex(), STREAMS) as found:
        found.until(live)
        venue.do(fault[0], **fault[1])
        found.until(lambda one: bool(one.of(Lost)) and not venue.venue.faults.rules)
        finish(venue, found)
    truth = Truth(path)
    assert trades_of(found.outputs) == trades_of(truth.sent)
    assert rows_of(found.outputs) == rows_of(truth.sent)
    assert found.of(Lost)
    assert bool(truth.held) == (fault[0] != "sequence_hole")
    assert len(found.unreadable) == (1 if fault[0] == "malformed" else 0)


@pytest.mark.parametrize(
    "fault",
    [
        ("repeat", {"times": 5, "symbol": FIRST}),
        ("repeat", {"times": 5, "symbol": FIRST, "channel": "book"}),
        ("reorder", {"times": 5, "symbol": FIRST}),
        ("republish", {"count": 20, "symbol": FIRST, "now": True}),
        ("tu_first", {"times": 5, "symbol": FIRST}),
        ("reset_ids", {"symbol": FIRST, "first": 7}),
        ("malformed", {}),
    ],
)
def test_repeated_and_reordered_messages_lose_nothing(fault: Fault, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("bitfinex", truth=path, seed=5, rate=800) as venue, decoding(venue, Bitfinex(), STREAMS) as found:
        found.until(live)
        venue.do(fault[0], **fault[1])
        found.until(lambda one: not venue.venue.faults.rules).more(400)
        finish(venue, found)
    truth = Truth(path)
    assert found.of(Lost) == found.of(Resync) == []
    assert trades_of(found.outputs) == trades_of(truth.sent)
    due = [item for item in truth.sent if isinstance(item, BookItem) and not item.again]
    assert len(found.of(Book)) == len(due)  # the same frame twice is one row
    first = [item for item in truth.sent if isinstance(item, TradeItem) and not item.again]
    assert len({(item.s, item.id, item.ts) for item in first}) == len(first)


def test_a_wrong_checksum_asks_for_that_book_alone() -> None:
    with running("bitfinex", seed=6, rate=800) as venue, decoding(venue, Bitfinex(), STREAMS) as found:
        venue.do("every", checksum_s=0.05)
        found.until(live)
        venue.do("checksum", times=1, symbol=FIRST)
        found.until(lambda one: bool(one.of(Resync))).more(400)
        assert [(one.symbol, one.cause) for one in found.of(Resync)] == [(FIRST, "checksum")]
        found.unsubscribe([Stream("book", FIRST)])
        found.subscribe([Stream("book", FIRST)])
        books = len(found.of(Book, FIRST))
        found.until(lambda one: any(row.snapshot for row in one.of(Book, FIRST)[books:])).more(400)
    audit = found.session.audits[FIRST]
    assert (audit.checksums_failed, found.of(Lost)) == (1, [])
    assert found.session.audits[SECOND].checksums_failed == 0


def test_a_frozen_book_is_silent_and_its_next_checksum_fails(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("bitfinex", truth=path, seed=6, rate=1500) as venue, decoding(venue, Bitfinex(), STREAMS) as found:
        venue.do("every", checksum_s=0.05)
        found.until(live)
        venue.do("freeze", symbol=FIRST, channel="book")
        frozen = len(found.more(600).of(Book, FIRST))
        assert len(found.more(200).of(Book, FIRST)) == frozen
        venue.do("heal")
        found.until(lambda one: bool(one.of(Resync)))
        finish(venue, found)
    assert [(one.symbol, one.cause) for one in found.of(Resync)] == [(FIRST, "checksum")]
    truth = Truth(path)
    assert {(item.s, item.held) for item in truth.held} == {(FIRST, "freeze")}
    assert rows_of(found.outputs) == rows_of(truth.sent)


def test_a_refused_stream_is_named_and_one_answered_late_is_accepted() -> None:
    with running("bitfinex", rate=100, clock=FastClock()) as venue, decoding(venue, Bitfinex()) as found:
        venue.do("refuse", channel="quote", symbol=FIRST, times=1, reason="not now")
        venue.do("late_answer", channel="book", symbol=FIRST)
        found.subscribe(streams(FIRST))
        found.until(lambda one: len(one.of(Accepted)) == 2 and len(one.of(Book)) > 5)
    assert found.of(Refused) == [Refused(Stream("quote", FIRST), "10300: not now")]
    assert found.unreadable == []


def test_maintenance_is_a_loss_and_then_the_end_and_a_restart_is_an_end(tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("bitfinex", truth=path, rate=100, clock=FastClock()) as venue:
        with decoding(venue, Bitfinex(), STREAMS) as found:
            found.until(live)
            venue.do("maintenance", lasts_s=0.3)
            found.until(lambda one: bool(one.of(Ending)))
        trades = {number: item for number, item in Truth(path).items.items() if isinstance(item, TradeItem)}
        with decoding(venue, Bitfinex(), STREAMS) as again:
            again.until(live)
            venue.do("restart", grace_s=0.3)
            again.to_the_end()
    assert len(found.of(Lost)) == 2
    assert [one.reason.split(":")[0] for one in found.of(Ending) + again.of(Ending)] == ["info 20061", "info 20051"]
    assert again.of(Lost) == []
    assert trades_of(again.outputs) != {}
    assert len(trades) > 100
