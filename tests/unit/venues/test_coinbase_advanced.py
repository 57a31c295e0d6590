"""Coinbase Advanced Trade: the contract, the sequence of a connection, exact events, and the proof of the side."""

import json
from typing import Any, ClassVar

import pytest
from support.captured_data import CAPTURES
from support.venues.contract import NOW_NS, VenueContract, decode_all, lines

from recorder.errors import ConfigError, DecodeError
from recorder.events import Accepted, Alive, Book, Lost, Quote, Refused, Resync, Stream, Trade
from recorder.timestamps import Rfc3339
from recorder.venues import VENUES
from recorder.venues.base import Audit, Listing
from recorder.venues.coinbase_advanced.stream import CoinbaseAdvanced

CAPTURE = "coinbase/advanced_trade_20260809_a.jsonl.gz"
TIME = "2026-03-05T14:00:00.000001002Z"
TIME_NS = 1_772_719_200_000_001_002


class TestCoinbaseAdvanced(VenueContract):
    name = "coinbase_advanced"
    symbols = ("BTC-USD", "ETH-EUR")
    captures = (CAPTURE,)
    listing_body = (
        b'{"products":[{"product_id":"AAA-USD","base_currency_id":"AAA","quote_currency_id":"USD","product_type":"SPOT",'
        b'"status":"online","price_increment":"0.01","base_min_size":"0.00000001","alias":"","alias_to":["AAA-USDC"]}]}'
    )
    listings: ClassVar[list[Listing]] = [Listing("AAA-USD", "AAA", "USD", "spot", "0.01", "0.00000001", "online")]

    @staticmethod
    def trades_in(message: Any) -> int:
        events = message["events"] if message.get("channel") == "market_trades" else []
        return sum(len(event["trades"]) for event in events)

    def test_the_venue_is_known_by_its_name(self) -> None:
        """A dialect has its own name, but records the venue coinbase."""
        assert VENUES[self.name].name == VENUES["coinbase"].name == "coinbase"
        assert VENUES[self.name].contiguous == VENUES["coinbase"].contiguous


def frame(channel: str, number: int, *events: object) -> bytes:
    return json.dumps({"channel": channel, "timestamp": TIME, "sequence_num": number, "events": events}).encode()


def trades(number: int, *rows: tuple[int, str]) -> bytes:
    fields = {"product_id": "A-USD", "price": "10.01", "size": "0.5", "time": TIME}
    return frame(
        "market_trades", number,
        {"type": "update", "trades": [{**fields, "trade_id": str(one), "side": side} for one, side in rows]},
    )  # fmt: skip


def book(number: int, *levels: tuple[str, str, str], kind: str = "update") -> bytes:
    updates = [
        {"side": side, "event_time": TIME, "price_level": price, "new_quantity": size} for side, price, size in levels
    ]
    return frame("l2_data", number, {"type": kind, "product_id": "A-USD", "updates": updates})


SNAPSHOT = book(0, ("bid", "10", "3"), ("offer", "11", "2"), kind="snapshot")


def test_trades_come_in_the_order_of_their_ids_with_the_side_of_their_taker() -> None:
    assert decode_all(CoinbaseAdvanced(), [trades(0, (9, "BUY"), (8, "SELL"))]) == [
        Trade("A-USD", 8, TIME_NS, NOW_NS, 10.01, 0.5, "b"),
        Trade("A-USD", 9, TIME_NS, NOW_NS, 10.01, 0.5, "s"),
    ]


def test_no_trade_id_of_a_capture_is_missing() -> None:
    last: dict[str, int] = {}
    for output in decode_all(CoinbaseAdvanced(), lines(CAPTURES / CAPTURE)):
        if isinstance(output, Trade):
            assert last.setdefault(output.symbol, output.trade_id - 1) == output.trade_id - 1
            last[output.symbol] = output.trade_id
    assert len(last) == 2


def test_the_sides_of_a_capture_are_those_of_the_levels_that_were_hit() -> None:
    """A taker who sells hits a bid: within 60 ms a level of the other side changes at the price of the trade."""
    ns = Rfc3339().ns
    changes: dict[tuple[str, float], list[tuple[int, str]]] = {}
    captured = lines(CAPTURES / CAPTURE)
    for message in map(json.loads, captured):
        for event in message["events"] if message["channel"] == "l2_data" else []:
            for level in event["updates"] if event["type"] == "update" else []:
                changes.setdefault((event["product_id"], float(level["price_level"])), []).append(
                    (ns(level["event_time"]), level["side"])
                )
    hits = []
    for output in decode_all(CoinbaseAdvanced(), captured):
        if isinstance(output, Trade):
            near = {side for time_ns, side in changes.get((output.symbol, output.price), ())
                    if abs(time_ns - output.ts_event_ns) < 60_000_000}  # fmt: skip
            if len(near) == 1:
                hits.append((output.aggressor, near.pop()))
    assert len(hits) > 50
    assert set(hits) == {("b", "offer"), ("s", "bid")}


def test_a_ticker_is_a_quote_with_the_clock_of_its_message() -> None:
    ticker = {"product_id": "A-USD", "price": "1", "best_bid": "10", "best_bid_quantity": "3", "best_ask": "11",
              "best_ask_quantity": "2"}  # fmt: skip
    assert decode_all(CoinbaseAdvanced(), [frame("ticker", 4, {"type": "update", "tickers": [ticker]})]) == [
        Quote("A-USD", TIME_NS, NOW_NS, 4, 10.0, 3.0, 11.0, 2.0)
    ]


def test_offers_are_asks() -> None:
    assert decode_all(CoinbaseAdvanced(), [SNAPSHOT, book(1, ("offer", "11", "0"), ("bid", "9", "1"))]) == [
        Book("A-USD", TIME_NS, NOW_NS, True, 0, [(10.0, 3.0)], [(11.0, 2.0)]),
        Book("A-USD", TIME_NS, NOW_NS, False, 1, [(9.0, 1.0)], [(11.0, 0.0)]),
    ]
    with pytest.raises(DecodeError):
        decode_all(CoinbaseAdvanced(), [SNAPSHOT, book(1, ("ask", "11", "0"))])


def test_books_of_a_capture_never_cross_and_no_number_of_its_sequence_is_missing() -> None:
    decoder = CoinbaseAdvanced().decoder()
    outputs = [output for one in lines(CAPTURES / CAPTURE) for output in decoder.decode(one, NOW_NS)]
    assert not [output for output in outputs if isinstance(output, Lost | Resync)]
    assert decoder.audits == {}
    assert [len(output.bids) + len(output.asks) > 20_000 for output in outputs
            if isinstance(output, Book) and output.snapshot] == [True, True]  # fmt: skip


def test_a_crossed_book_requests_a_new_one_once_and_continues_with_it() -> None:
    decoder = CoinbaseAdvanced().decoder()
    decoder.decode(SNAPSHOT, NOW_NS)
    resync, _ = decoder.decode(book(1, ("bid", "11", "1")), NOW_NS)
    assert resync == Resync("A-USD", "crossed", "bid 11.0 at or above ask 11.0")
    assert [type(output) for output in decoder.decode(book(2, ("bid", "12", "1")), NOW_NS)] == [Book]
    assert decoder.audits == {"A-USD": Audit(crossed=1)}
    again = book(3, ("bid", "10", "3"), ("offer", "11", "2"), kind="snapshot")
    assert [type(output) for output in decoder.decode(again, NOW_NS)] == [Book]
    assert [type(output) for output in decoder.decode(book(4, ("bid", "9", "1")), NOW_NS)] == [Book]


def test_a_missing_number_is_a_loss_of_the_connection() -> None:
    decoder = CoinbaseAdvanced().decoder()
    decoder.decode(SNAPSHOT, NOW_NS)
    lost, heartbeat = decoder.decode(frame("heartbeats", 2), NOW_NS)
    assert (lost, heartbeat) == (Lost("message 2 after 0"), Alive())
    assert decoder.decode(frame("heartbeats", 3), NOW_NS) == (Alive(),)
    assert decoder.decode(frame("heartbeats", 3), NOW_NS)[0] == Lost("message 3 after 3")  # a repeated number
    assert decoder.decode(frame("candles", 9), NOW_NS) == (Lost("message 9 after 3"),)


def test_a_message_that_could_not_be_read_is_not_missing_as_well() -> None:
    decoder = CoinbaseAdvanced().decoder()
    decoder.decode(SNAPSHOT, NOW_NS)
    for bad in (book(1, ("bid", "10", "nan")), frame("surprise", 2)):
        with pytest.raises(DecodeError):
            decoder.decode(bad, NOW_NS)
    assert decoder.decode(frame("heartbeats", 3), NOW_NS) == (Alive(),)
    assert decoder.decode(frame("heartbeats", 5), NOW_NS)[0] == Lost("message 5 after 3")


def test_an_answer_names_all_streams_under_their_requested_names() -> None:
    listed = {"market_trades": ["A-USD", "B-USD"], "level2": ["A-USD"], "ticker": [], "heartbeats": ["heartbeats"]}
    assert decode_all(CoinbaseAdvanced(), [frame("subscriptions", 0, {"subscriptions": listed})]) == [
        Accepted(Stream("trade", "A-USD")), Accepted(Stream("trade", "B-USD")), Accepted(Stream("book", "A-USD"))
    ]  # fmt: skip


def test_a_refusal_gives_its_reason() -> None:
    assert decode_all(CoinbaseAdvanced(), [b'{"type":"error","message":"no such product"}']) == [
        Refused(None, "no such product")
    ]


@pytest.mark.parametrize("text", ["nan", "inf", "-1", "1e400", "", " 1", "1_0"])
def test_a_level_that_is_no_amount_is_refused_and_changes_nothing(text: str) -> None:
    decoder = CoinbaseAdvanced().decoder()
    decoder.decode(SNAPSHOT, NOW_NS)
    for bad in (("bid", "9", text), ("bid", text, "1")):
        with pytest.raises(DecodeError):
            decoder.decode(book(1, ("bid", "12", "1"), bad), NOW_NS)
    assert [type(output) for output in decoder.decode(book(1, ("offer", "12", "1")), NOW_NS)] == [Book]


def test_every_channel_has_a_request_of_its_own_and_heartbeats_keep_the_connection_open() -> None:
    streams = [Stream(channel, symbol) for channel in CoinbaseAdvanced.channels for symbol in ("A-USD", "B-USD")]
    requests = [json.loads(text) for text in CoinbaseAdvanced().subscribe(streams)]
    assert [request["channel"] for request in requests] == ["market_trades", "ticker", "level2", "heartbeats"]
    ended = [json.loads(text)["channel"] for text in CoinbaseAdvanced().unsubscribe(streams)]
    assert ended == ["market_trades", "ticker", "level2"]


def test_a_real_list_of_products_is_understood() -> None:
    (line,) = lines(CAPTURES / "coinbase/advanced_trade_20260809_a.rest.jsonl")
    listings = CoinbaseAdvanced().listings(json.loads(line)["raw"].encode())
    assert listings[0] == Listing(
        "BTC-USD", "BTC", "USD", "spot", "0.01", "0.00000001", "online", price=65086.18, volume=186637571.25
    )
    assert len(listings) == 8


def test_a_depth_cannot_be_chosen() -> None:
    with pytest.raises(ConfigError, match="complete books"):
        CoinbaseAdvanced(book_depth=10)
