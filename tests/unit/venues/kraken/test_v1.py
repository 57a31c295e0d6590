"""Kraken version 1: checksums by an independent reading, exact events of handmade frames, and broken frames."""

import json
import zlib
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.captured_data import CAPTURES
from support.venues.contract import CHECKS, NOW_NS, OWN, books_after, broken, lines

from recorder.errors import DecodeError
from recorder.events import Accepted, Alive, Book, Output, Quote, Refused, Resync, Stream, Trade
from recorder.venues.base import Audit
from recorder.venues.kraken.v1 import KrakenV1Decoder

HANDMADE = OWN / "kraken_v1/handmade.jsonl"
SECOND_NS = 1_772_719_200 * 10**9


def decoded(frames: list[bytes]) -> list[Output]:
    decoder = KrakenV1Decoder()
    return [output for frame in frames for output in decoder.decode(frame, NOW_NS)]


def naive_checksum(bids: dict[str, str], asks: dict[str, str]) -> int:
    """Compute the checksum by the vendor's rule, over texts."""
    best = sorted(asks, key=float)[:10], sorted(bids, key=float, reverse=True)[:10]
    sides = zip(best, (asks, bids), strict=True)
    digits = [text.replace(".", "").lstrip("0") for prices, side in sides for p in prices for text in (p, side[p])]
    return zlib.crc32("".join(digits).encode())


def test_the_frames_written_by_hand_give_exactly_these_events() -> None:
    outputs = decoded(lines(HANDMADE))
    trades = [output for output in outputs if isinstance(output, Trade)]
    assert [(t.symbol, t.ts_event_ns, t.price, t.size, t.aggressor) for t in trades] == [
        ("AAA/USD", SECOND_NS + 200_001_000, 0.5001, 0.1, "b"),
        ("AAA/USD", SECOND_NS + 200_001_000, 0.5001, 0.1, "b"),
        ("AAA/USD", SECOND_NS + 200_002_000, 0.5, 0.2, "s"),
    ]
    assert len({trade.trade_id for trade in trades}) == 3  # equal prints are two trades
    assert [output for output in outputs if isinstance(output, Quote)] == [
        Quote("AAA/USD", SECOND_NS + 100_001_000, NOW_NS, None, 0.5, 3.0, 0.5001, 1.0),
        Quote("AAA/USD", None, NOW_NS, None, 0.5, 2.8, 0.5001, 0.8),
    ]
    books = [output for output in outputs if isinstance(output, Book)]
    assert [(book.snapshot, book.bids, book.asks) for book in books] == [
        (True, [(0.5, 3.0), (0.4999, 0.005)], [(0.5001, 1.0), (0.5002, 0.25)]),
        (False, [], [(0.5001, 0.8)]),
        (False, [(0.5, 2.8)], [(0.5003, 7.0)]),
        (False, [(0.4999, 0.0)], []),
    ]
    assert books[2].ts_event_ns == SECOND_NS + 300_001_000  # the latest of its levels
    assert [output.stream for output in outputs if isinstance(output, Accepted)] == [
        Stream("trade", "AAA/USD"), Stream("quote", "AAA/USD"), Stream("book", "AAA/USD")
    ]  # fmt: skip
    assert [output for output in outputs if isinstance(output, Refused)] == [
        Refused(Stream("quote", "AAA/XXX"), "Currency pair not supported AAA/XXX"), Refused(None, "Malformed request")
    ]  # fmt: skip
    assert outputs.count(Alive()) == 3
    assert not [output for output in outputs if isinstance(output, Resync)]


def test_trade_ids_are_the_same_on_every_connection() -> None:
    frames = lines(HANDMADE)
    assert decoded(frames) == decoded(frames)


@pytest.mark.parametrize(("path", "depth"), [
    (CAPTURES / "kraken/v1_book1000_20210417.jsonl", 1000), (HANDMADE, 10),
])  # fmt: skip
def test_checksums_and_books_agree_with_an_independent_reading(path: Any, depth: int) -> None:
    frames = lines(path)
    books: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
    passed: dict[str, int] = {}
    for message in map(json.loads, frames):
        if isinstance(message, list) and message[-2] == f"book-{depth}":
            for part in message[1:-2]:
                if "as" in part:
                    books[message[-1]] = ({}, {})
                sides = books[message[-1]]
                for key in ("as", "bs", "a", "b"):
                    side = sides["a" in key]
                    for price, size, *_ in part.get(key, []):
                        side[price] = size
                        if not float(size):
                            del side[price]
                    worst = sorted(side, key=float, reverse="a" in key)[: max(len(side) - depth, 0)]
                    for price in worst:
                        del side[price]
                if "c" in part:
                    assert naive_checksum(*sides) == int(part["c"])
                    passed[message[-1]] = passed.get(message[-1], 0) + 1
    decoder = KrakenV1Decoder()
    outputs = [output for frame in frames for output in decoder.decode(frame, NOW_NS)]
    assert decoder.audits == {symbol: Audit(checksums_passed=count) for symbol, count in passed.items()}
    assert passed
    for symbol, rows in books_after(outputs).items():
        for ours, theirs in zip(rows, books[symbol], strict=True):
            complete = {float(price): float(size) for price, size in theirs.items()}
            assert {
                price: size for price, size in ours.items() if price in complete
            } == complete  # rows keep the levels that were cut


def test_a_wrong_checksum_and_a_missing_snapshot_request_a_book_once() -> None:
    frames = [frame for frame in lines(HANDMADE) if frame[:3] == b"[3,"]
    snapshot, first, second, third = frames
    decoder = KrakenV1Decoder()
    decoder.decode(snapshot, NOW_NS)
    resync, row = decoder.decode(second, NOW_NS)  # the first was lost
    assert isinstance(resync, Resync)
    assert resync.cause == "checksum"
    assert isinstance(row, Book)
    assert [type(output) for output in decoder.decode(third, NOW_NS)] == [Book]
    assert decoder.audits == {"AAA/USD": Audit(checksums_failed=1)}
    outputs = decoded([first, second, snapshot, first])
    assert [type(output) for output in outputs] == [Resync, Book, Book, Book, Book]


@settings(max_examples=400, deadline=None, suppress_health_check=CHECKS)
@given(st.data())
def test_a_broken_frame_raises_nothing_but_a_decode_error_and_is_not_applied(data: st.DataObject) -> None:
    frames = lines(HANDMADE)
    cut = data.draw(st.integers(0, len(frames)))
    bad = data.draw(st.one_of(broken(frames), st.binary(max_size=100)))
    touched, spared = KrakenV1Decoder(), KrakenV1Decoder()
    for frame in frames[:cut]:
        assert touched.decode(frame, NOW_NS) == spared.decode(frame, NOW_NS)
    try:
        touched.decode(bad, NOW_NS)
    except DecodeError:
        pass
    else:
        assume(False)
    for frame in frames[cut:]:
        assert touched.decode(frame, NOW_NS) == spared.decode(frame, NOW_NS)
    assert touched.audits == spared.audits


@pytest.mark.parametrize("frame", [
    b"[1]", b'[1,{},"trade","A"]', b'[1,[],"surprise","A"]', b'[1,{"a":[["1","nan","1"]]},"book-10","A"]',
    b'[1,{"a":[["1","1","x"]]},"book-10","A"]', b'[1,[["1","1","99999999999","b"]],"trade","A"]',
    b'[1,[["1","1","1","x"]],"trade","A"]', b'{"event":"surprise"}', b"[" * 100_000, b'[1,{},{},{},"book-10","A"]',
])  # fmt: skip
def test_anything_but_a_message_is_a_decode_error(frame: bytes) -> None:
    with pytest.raises(DecodeError):
        KrakenV1Decoder().decode(frame, NOW_NS)
