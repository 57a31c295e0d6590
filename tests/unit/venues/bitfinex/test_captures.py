"""Captured frames of Bitfinex: books, sequences and checksums agree with an independent reading."""

import json

from support.captured_data import CAPTURES
from support.venues.bitfinex import (
    NaiveBook,
    decoded,
)
from support.venues.contract import NOW_NS, books_after, decode_all, lines

from recorder.errors import NotAFeedFrame
from recorder.events import Accepted, Alive, Book, Lost, Quote, Resync, Trade
from recorder.venues.base import Audit
from recorder.venues.bitfinex.recorded_2022 import BitfinexRecorded2022Decoder
from recorder.venues.bitfinex.stream import Bitfinex


def test_the_captured_books_equal_an_independent_reading_and_no_delete_misses() -> None:
    captured = lines(CAPTURES / "bitfinex/ws2_seq_20210417.jsonl")
    naive: dict[int, NaiveBook] = {}
    symbols: dict[int, str] = {}
    for message in (json.loads(one, parse_float=str, parse_int=str) for one in captured):
        if isinstance(message, dict):
            if message.get("channel") == "book":
                symbols[message["chanId"]] = message["symbol"]
        elif message[0] in symbols and isinstance(message[1], list):
            if isinstance(message[1][0], list):
                naive[message[0]] = NaiveBook(message[1])
            else:
                naive[message[0]].apply(message[1])
    books = books_after(decode_all(Bitfinex(), captured))
    assert len(books) == len(naive) == 7
    for number, book in naive.items():
        bids, asks = books[symbols[number]]
        assert {(True, price) for price in bids} | {(False, price) for price in asks} == set(book.levels)
        assert max(bids) < min(asks)


def test_no_number_of_a_captured_sequence_is_missing_and_every_frame_is_accounted_for() -> None:
    captured = lines(CAPTURES / "bitfinex/ws2_seq_20210417.jsonl")
    outputs = decode_all(Bitfinex(), captured)
    kinds = {kind: sum(type(output) is kind for output in outputs) for kind in {type(output) for output in outputs}}
    assert kinds == {Book: 1600, Trade: 210, Quote: 21, Accepted: 21, Alive: 44}  # 42 heartbeats, info, conf
    assert sorted(o.sequence for o in outputs if isinstance(o, Book | Quote) and o.sequence)[0] == 1


def test_a_frame_removed_from_a_capture_is_noticed_at_the_next() -> None:
    captured = lines(CAPTURES / "bitfinex/ws2_seq_20210417.jsonl")
    data = [at for at, one in enumerate(captured) if one.startswith(b"[")]
    for at in data[1:-1:97]:
        lost = [o for o in decode_all(Bitfinex(), captured[:at] + captured[at + 1 :]) if isinstance(o, Lost)]
        assert len(lost) == 1


def test_the_checksum_of_the_vendors_own_example_passes() -> None:
    captured = lines(CAPTURES / "bitfinex/book_checksum_example.jsonl")
    decoder = Bitfinex().decoder()
    outputs = decoded(decoder, *captured)
    assert decoder.audits == {"tXRPBTC": Audit(checksums_passed=1)}
    assert not [output for output in outputs if isinstance(output, Resync)]
    unapplied = Bitfinex().decoder()
    outputs = decoded(unapplied, *captured[:-2], captured[-1])  # without its update it must not pass
    assert [output.cause for output in outputs if isinstance(output, Resync)] == ["checksum"]


def test_single_captured_messages_are_understood_but_for_two_rest_answers() -> None:
    captured = lines(CAPTURES / "bitfinex/single_messages_msgparser.jsonl")
    decoder = BitfinexRecorded2022Decoder()
    trades: list[Trade] = []
    for one in captured:
        try:
            trades += [output for output in decoder.decode(one, NOW_NS) if isinstance(output, Trade)]
        except NotAFeedFrame:
            assert json.loads(one)[0].__class__ is list  # an answer of REST: no channel and no name
    assert len(trades) == 2 + 6  # te and tu of two trades, two snapshots of three
    assert sorted({trade.symbol for trade in trades}) == ["tBTCF0:USTF0", "tBTCUST"]
    assert {(trade.trade_id, trade.aggressor) for trade in trades} >= {(637771130, "b"), (647256201, "s")}
