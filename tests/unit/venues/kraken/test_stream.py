"""Kraken: the contract, checksums by an independent reading, and the exact events of handmade frames."""

import json
import zlib
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from support.captured_data import CAPTURES
from support.venues.contract import NOW_NS, OWN, VenueContract, decode_all, lines

from recorder.errors import ConfigError, DecodeError
from recorder.events import Accepted, Alive, Book, Output, Quote, Refused, Resync, Stream, Trade
from recorder.venues.base import Audit, Listing
from recorder.venues.kraken.stream import Kraken

TIME = "2026-03-05T14:00:00.000001Z"
TIME_NS = 1_772_719_200_000_001_000
Levels = list[tuple[str, str]]


class TestKraken(VenueContract):
    name = "kraken"
    symbols = ("BTC/USD", "DOGE/EUR")
    captures = (
        "kraken/v2_book10_btcusd_20260801.jsonl",
        "kraken/v2_book25_ethusd_20260802.jsonl",
        "kraken/v2_single_20260925.jsonl",
    )
    listing_body = (
        b'{"error":[],"result":{"XXBTZUSD":{"altname":"XBTUSD","wsname":"XBT/USD","base":"XXBT","quote":"ZUSD",'
        b'"tick_size":"0.1","ordermin":"0.00005","status":"online"},"DARK.d":{"altname":"DARK"}}}'
    )
    listings: ClassVar[list[Listing]] = [
        Listing("BTC/USD", "BTC", "USD", "spot", "0.1", "0.00005", "online", rest_symbol="XXBTZUSD")
    ]

    @staticmethod
    def trades_in(message: Any) -> int:
        return len(message["data"]) if message.get("channel") == "trade" else 0


class NaiveBook:
    """The checksum of the protocol page, from texts and Decimals; only the levels are kept between messages."""

    def __init__(self, depth: int) -> None:
        self.depth = depth
        self.sides: dict[str, dict[str, str]] = {"asks": {}, "bids": {}}

    def checksum(self, row: dict[str, Any], *, snapshot: bool) -> int:
        text = ""
        for name, descending in (("asks", False), ("bids", True)):
            side = {} if snapshot else self.sides[name]
            for level in row[name]:
                side.pop(level["price"], None)
                if Decimal(level["qty"]) != 0:
                    side[level["price"]] = level["qty"]
            best = sorted(side, key=Decimal, reverse=descending)[: self.depth]
            self.sides[name] = {price: side[price] for price in best}
            for price in best[:10]:
                text += price.replace(".", "").lstrip("0") + side[price].replace(".", "").lstrip("0")
        return zlib.crc32(text.encode())


def test_checksums_of_captures_agree_with_an_independent_reading() -> None:
    checked = 0
    for name, depth in (("v2_book10_btcusd_20260801", 10), ("v2_book25_ethusd_20260802", 25)):
        captured = lines(CAPTURES / f"kraken/{name}.jsonl")
        naive = NaiveBook(depth)
        rows = 0
        for message in (json.loads(frame, parse_float=str, parse_int=str) for frame in captured):
            if message.get("channel") == "book":
                for row in message["data"]:
                    assert naive.checksum(row, snapshot=message["type"] == "snapshot") == int(row["checksum"])
                    rows += 1
        decoder = Kraken().decoder()
        for frame in captured:
            decoder.decode(frame, NOW_NS)
        (audit,) = decoder.audits.values()
        assert audit == Audit(checksums_passed=rows)
        checked += rows
    assert checked > 1000


def test_levels_that_leave_the_window_without_a_message_are_dropped() -> None:
    decoder = Kraken().decoder()
    for frame in lines(OWN / "kraken/handmade.jsonl"):
        decoder.decode(frame, NOW_NS)
    assert decoder.audits == {"AAA/USD": Audit(checksums_passed=4)}


def level(price: str, size: str) -> str:
    return f'{{"price":{price},"qty":{size}}}'


def book(kind: str, bids: Levels, asks: Levels, checksum: int | None = None, **naive: Any) -> bytes:
    """Return a book frame; its checksum is right unless another is given."""
    if checksum is None:
        row = {"bids": [{"price": p, "qty": q} for p, q in bids], "asks": [{"price": p, "qty": q} for p, q in asks]}
        checksum = naive["book"].checksum(row, snapshot=kind == "snapshot")
    return (
        f'{{"channel":"book","type":"{kind}","data":[{{"symbol":"A/USD","bids":[{",".join(level(*one) for one in bids)}'
        f'],"asks":[{",".join(level(*one) for one in asks)}],"checksum":{checksum},"timestamp":"{TIME}"}}]}}'
    ).encode()


def trade(number: int, side: str = "buy", price: str = "0.5002", size: str = "0.10", time: str = TIME) -> bytes:
    return (
        f'{{"channel":"trade","type":"update","data":[{{"symbol":"A/USD","side":"{side}","price":{price},"qty":{size},'
        f'"ord_type":"limit","trade_id":{number},"timestamp":"{time}"}}]}}'
    ).encode()


def test_a_trade_keeps_the_side_of_its_taker() -> None:
    assert decode_all(Kraken(), [trade(7), trade(8, "sell")]) == [
        Trade("A/USD", 7, TIME_NS, NOW_NS, 0.5002, 0.1, "b"),
        Trade("A/USD", 8, TIME_NS, NOW_NS, 0.5002, 0.1, "s"),
    ]


def test_a_trade_snapshot_comes_in_the_order_of_its_ids() -> None:
    outputs = decode_all(Kraken(), lines(OWN / "kraken/handmade.jsonl"))
    assert [output.trade_id for output in outputs if isinstance(output, Trade)] == [70, 71, 72]


def test_a_ticker_is_a_quote_without_a_sequence_and_its_time_may_be_absent() -> None:
    outputs = [o for o in decode_all(Kraken(), lines(OWN / "kraken/handmade.jsonl")) if isinstance(o, Quote)]
    assert outputs == [
        Quote("AAA/USD", None, NOW_NS, None, 0.5, 1.0, 0.5001, 0.001),
        Quote("AAA/USD", 1_772_719_201_000_000_000, NOW_NS, None, 0.5, 2.0, 0.5002, 4.2),
    ]


def test_a_wrong_checksum_requests_a_new_book_once_and_a_right_snapshot_ends_it() -> None:
    naive = NaiveBook(10)
    decoder = Kraken().decoder()
    snapshot = book("snapshot", [("1.00", "5")], [("1.10", "6")], book=naive)
    assert list(decoder.decode(snapshot, NOW_NS)) == [
        Book("A/USD", TIME_NS, NOW_NS, True, None, [(1.0, 5.0)], [(1.1, 6.0)])
    ]
    wrong = book("update", [("1.01", "1")], [], 7)
    resync, row = decoder.decode(wrong, NOW_NS)
    assert isinstance(resync, Resync)
    assert (resync.symbol, resync.cause) == ("A/USD", "checksum")
    assert row == Book("A/USD", TIME_NS, NOW_NS, False, None, [(1.01, 1.0)], [])
    assert [type(output) for output in decoder.decode(wrong, NOW_NS)] == [Book]  # requested once
    assert [type(output) for output in decoder.decode(snapshot, NOW_NS)] == [Book]
    assert decoder.audits == {"A/USD": Audit(checksums_passed=2, checksums_failed=1)}


def test_a_snapshot_that_fails_its_checksum_comes_before_the_request_for_another() -> None:
    """In the other order the snapshot would end the gap that its own failure opens."""
    outputs = decode_all(Kraken(), [book("snapshot", [("1.00", "5")], [("1.10", "6")], 7)])
    assert [type(output) for output in outputs] == [Book, Resync]


def test_trailing_zeros_are_part_of_the_checksum() -> None:
    naive = NaiveBook(10)
    frames = [book("snapshot", [("1.0", "0.00100000")], [("1.10", "2.50")], book=naive)]
    assert [type(output) for output in decode_all(Kraken(), frames)] == [Book]
    stripped = frames[0].replace(b"0.00100000", b"0.001")
    assert Resync in [type(output) for output in decode_all(Kraken(), [stripped])]


@pytest.mark.parametrize("text", ["NaN", "-1", "1e400", "null", '"1"', "[]", "9" * 400])
def test_a_level_that_is_no_amount_is_refused_and_changes_nothing(text: str) -> None:
    naive = NaiveBook(10)
    decoder = Kraken().decoder()
    decoder.decode(book("snapshot", [("1.00", "5")], [("1.10", "6")], book=naive), NOW_NS)
    for bad in (("1.02", text), (text, "1")):
        with pytest.raises(DecodeError):
            decoder.decode(book("update", [("1.01", "3"), bad], [], 1), NOW_NS)
    good = book("update", [("1.00", "4")], [], book=naive)
    assert [type(output) for output in decoder.decode(good, NOW_NS)] == [Book]
    assert decoder.audits == {"A/USD": Audit(checksums_passed=2)}


@pytest.mark.parametrize("number", ["9223372036854775808", "1" + "0" * 5000, "1.5", '"7"'])
def test_an_id_that_fits_no_column_is_refused(number: str) -> None:
    with pytest.raises(DecodeError):
        decode_all(Kraken(), [trade(7).replace(b'"trade_id":7', f'"trade_id":{number}'.encode())])


def test_a_trade_of_an_unknown_side_is_refused() -> None:
    with pytest.raises(DecodeError, match="side"):
        decode_all(Kraken(), [trade(7, "maybe")])


def test_a_book_time_that_cannot_be_true_is_left_out_and_the_book_is_kept() -> None:
    naive = NaiveBook(10)
    snapshot = book("snapshot", [("1.00", "5")], [("1.10", "6")], book=naive)
    (row,) = decode_all(Kraken(), [snapshot.replace(TIME.encode(), b"0001-01-01T00:00:00.000000Z")])
    assert isinstance(row, Book)
    assert row.ts_event_ns is None


def test_a_message_whose_keys_come_in_another_order_means_the_same() -> None:
    usual = trade(7)
    message = json.loads(usual)
    turned = json.dumps({key: message[key] for key in reversed(message)}).encode()
    assert decode_all(Kraken(), [turned]) == decode_all(Kraken(), [usual])


def acknowledgement(channel: str, **result: object) -> bytes:
    body = {"channel": channel, "symbol": "A/USD", **result}
    return json.dumps({"method": "subscribe", "result": body, "success": True}).encode()


def test_answers_name_their_streams() -> None:
    outputs: list[Output] = decode_all(
        Kraken(), [acknowledgement("trade"), acknowledgement("ticker"), acknowledgement("book", depth=10)]
    )
    assert outputs == [Accepted(Stream(channel, "A/USD")) for channel in ("trade", "quote", "book")]


def test_a_refusal_names_its_stream_where_the_venue_lets_us_know_it() -> None:
    def refusal(**more: object) -> list[Output]:
        frame = {"method": "subscribe", "success": False, "error": "Currency pair not supported", **more}
        return decode_all(Kraken(), [json.dumps(frame).encode()])

    assert refusal(symbol="X/Y", req_id=3) == [Refused(Stream("book", "X/Y"), "Currency pair not supported")]
    assert refusal(symbol="X/Y") == [Refused(None, "Currency pair not supported")]
    assert refusal(req_id=3) == [Refused(None, "Currency pair not supported")]


@pytest.mark.parametrize("frame", [b'{"channel":"heartbeat"}', b'{"method":"pong"}', b'{"channel":"status","data":[]}'])
def test_heartbeats_are_alive_and_no_data(frame: bytes) -> None:
    assert decode_all(Kraken(), [frame]) == [Alive()]


def test_the_requests_name_the_best_bid_and_offer_and_the_chosen_depth() -> None:
    streams = [Stream("trade", "A/USD"), Stream("quote", "A/USD"), Stream("book", "A/USD")]
    trades, quotes, books = (json.loads(text)["params"] for text in Kraken(book_depth=25).subscribe(streams))
    assert trades == {"channel": "trade", "symbol": ["A/USD"], "snapshot": True}
    assert quotes["event_trigger"] == "bbo"
    assert books["depth"] == 25
    with pytest.raises(ConfigError, match="10, 25, 100, 500, 1000"):
        Kraken(book_depth=11)


def test_a_refused_list_of_pairs_gives_the_reason() -> None:
    with pytest.raises(DecodeError, match="EGeneral"):
        Kraken().listings(b'{"error":["EGeneral:Too many requests"]}')
