"""Coinbase Exchange: the contract, and the exact events of handmade frames."""

import json
from typing import Any, ClassVar

import pytest
from support.captured_data import CAPTURES
from support.venues.contract import NOW_NS, VenueContract, decode_all, lines

from recorder.errors import ConfigError, DecodeError
from recorder.events import Accepted, Alive, Book, Quote, Refused, Resync, Stream, Trade, Witness
from recorder.venues.base import Audit, Listing
from recorder.venues.coinbase.stream import Coinbase

TIME = "2026-03-05T14:00:00.000001Z"
TIME_NS = 1_772_719_200_000_001_000


class TestCoinbase(VenueContract):
    name = "coinbase"
    symbols = ("BTC-USD", "ETH-EUR")
    captures = ("coinbase/exchange_20210417_a.jsonl", "coinbase/exchange_single_20260902.jsonl")
    listing_body = (
        b'[{"id":"AAA-USD","base_currency":"AAA","quote_currency":"USD","quote_increment":"0.01",'
        b'"base_increment":"0.00000001","status":"online","trading_disabled":false}]'
    )
    listings: ClassVar[list[Listing]] = [Listing("AAA-USD", "AAA", "USD", "spot", "0.01", "0.00000001", "online")]

    @staticmethod
    def trades_in(message: Any) -> int:
        return message["type"] in ("match", "last_match")


def frame(**fields: object) -> bytes:
    return json.dumps(fields).encode()


def match(number: int = 7, side: str = "buy", **more: object) -> bytes:
    fields = {"trade_id": number, "side": side, "size": "0.5", "price": "10.01", "product_id": "A-USD", "time": TIME}
    return frame(type="match", **{**fields, **more})


def delta(*changes: tuple[str, str, str], time: str = TIME) -> bytes:
    return frame(type="l2update", product_id="A-USD", changes=changes, time=time)


SNAPSHOT = frame(type="snapshot", product_id="A-USD", bids=[["10.00", "3"]], asks=[["10.02", "2"]], time=TIME)


def test_a_trade_is_given_the_side_of_its_taker() -> None:
    (sold,) = decode_all(Coinbase(), [match(side="buy")])
    (bought,) = decode_all(Coinbase(), [match(side="sell")])
    assert sold == Trade("A-USD", 7, TIME_NS, NOW_NS, 10.01, 0.5, "s")
    assert isinstance(bought, Trade)
    assert bought.aggressor == "b"


def test_the_sides_of_matches_oppose_the_takers_side_of_the_tickers_in_a_capture() -> None:
    captured = lines(CAPTURES / "coinbase/exchange_20210417_a.jsonl")
    taker = {}
    for message in map(json.loads, captured):
        if message["type"] == "ticker" and "side" in message:
            taker[message["product_id"], message["trade_id"]] = message["side"][0]
    compared = [
        (output.aggressor, taker[output.symbol, output.trade_id])
        for output in decode_all(Coinbase(), captured)
        if isinstance(output, Trade) and (output.symbol, output.trade_id) in taker
    ]
    assert len(compared) > 50
    assert all(ours == theirs for ours, theirs in compared)


def test_no_trade_id_of_a_capture_is_missing() -> None:
    last: dict[str, int] = {}
    for output in decode_all(Coinbase(), lines(CAPTURES / "coinbase/exchange_20210417_a.jsonl")):
        if isinstance(output, Trade):
            assert last.setdefault(output.symbol, output.trade_id - 1) == output.trade_id - 1
            last[output.symbol] = output.trade_id
    assert last


def test_a_ticker_is_a_quote_with_its_sequence() -> None:
    ticker = frame(
        type="ticker", sequence=9, product_id="A-USD", best_bid="10.00", best_bid_size="3", best_ask="10.02",
        best_ask_size="2.5", time=TIME, trade_id=1, price="10.00",
    )  # fmt: skip
    assert decode_all(Coinbase(), [ticker]) == [Quote("A-USD", TIME_NS, NOW_NS, 9, 10.0, 3.0, 10.02, 2.5)]


def test_sizes_and_time_a_ticker_does_not_give_are_none() -> None:
    ticker = frame(type="ticker", sequence=9, product_id="A-USD", best_bid="10.00", best_ask="10.02")
    assert decode_all(Coinbase(), [ticker]) == [Quote("A-USD", None, NOW_NS, 9, 10.0, None, 10.02, None)]


def test_a_snapshot_and_its_deltas_are_rows_in_the_order_of_the_wire() -> None:
    outputs = decode_all(
        Coinbase(), [SNAPSHOT, delta(("buy", "10.01", "1"), ("sell", "10.02", "0"), ("buy", "9", "2"))]
    )
    assert outputs == [
        Book("A-USD", TIME_NS, NOW_NS, True, None, [(10.0, 3.0)], [(10.02, 2.0)]),
        Book("A-USD", TIME_NS, NOW_NS, False, None, [(10.01, 1.0), (9.0, 2.0)], [(10.02, 0.0)]),
    ]


def test_a_crossed_book_requests_a_new_one_once_and_continues_with_it() -> None:
    decoder = Coinbase().decoder()
    decoder.decode(SNAPSHOT, NOW_NS)
    resync, row = decoder.decode(delta(("buy", "10.02", "1")), NOW_NS)
    assert resync == Resync("A-USD", "crossed", "bid 10.02 at or above ask 10.02")
    assert isinstance(row, Book)
    assert [type(output) for output in decoder.decode(delta(("buy", "10.03", "1")), NOW_NS)] == [Book]
    assert decoder.audits == {"A-USD": Audit(crossed=1)}
    decoder.decode(SNAPSHOT, NOW_NS)
    assert [type(output) for output in decoder.decode(delta(("buy", "10.01", "1")), NOW_NS)] == [Book]
    assert isinstance(decoder.decode(delta(("sell", "10.01", "1")), NOW_NS)[0], Resync)


def test_a_size_printed_as_nonsense_is_refused_without_harm() -> None:
    decoder = Coinbase().decoder()
    decoder.decode(SNAPSHOT, NOW_NS)
    with pytest.raises(DecodeError):
        decoder.decode(delta(("buy", "10.01", "1"), ("sell", "10.02", "0.-10000")), NOW_NS)
    # If the bid at 10.01 had been applied, this ask would cross it.
    assert [type(output) for output in decoder.decode(delta(("sell", "10.01", "1")), NOW_NS)] == [Book]


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-inf", "Infinity", "-1", "1e400", "", " 1", "1_0", "0x1f"])
def test_a_price_that_is_no_amount_is_refused(text: str) -> None:
    for bad in (match(price=text), match(size=text), delta(("buy", text, "1")), delta(("buy", "1", text))):
        with pytest.raises(DecodeError):
            Coinbase().decoder().decode(bad, NOW_NS)


def test_a_delta_of_the_year_one_is_kept_without_its_time() -> None:
    (row,) = decode_all(Coinbase(), [SNAPSHOT, delta(("buy", "9", "1"), time="0001-01-01T00:00:00.000000Z")])[1:]
    assert row == Book("A-USD", None, NOW_NS, False, None, [(9.0, 1.0)], [])


def test_a_change_that_is_neither_buy_nor_sell_is_refused() -> None:
    with pytest.raises(DecodeError, match="changes"):
        decode_all(Coinbase(), [SNAPSHOT, delta(("bid", "9", "1"))])


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**30])
def test_an_id_that_fits_no_column_is_refused(number: int) -> None:
    with pytest.raises(DecodeError):
        decode_all(Coinbase(), [match(number)])


def test_a_heartbeat_names_the_last_trade() -> None:
    beat = frame(type="heartbeat", sequence=90, last_trade_id=20, product_id="A-USD", time=TIME)
    assert decode_all(Coinbase(), [beat]) == [Witness("A-USD", 20, TIME_NS)]


def test_an_acknowledgement_names_streams_under_the_names_the_venue_uses() -> None:
    answer = frame(
        type="subscriptions",
        channels=[
            {"name": "level2_50", "product_ids": ["A-USD"], "account_ids": None},
            {"name": "heartbeat", "product_ids": ["A-USD"]},
            {"name": "matches", "product_ids": ["A-USD", "B-USD"]},
        ],
    )
    assert decode_all(Coinbase(), [answer]) == [
        Accepted(Stream("book", "A-USD")), Accepted(Stream("trade", "A-USD")), Accepted(Stream("trade", "B-USD"))
    ]  # fmt: skip


def test_a_refusal_gives_its_reason_and_a_status_is_only_alive() -> None:
    assert decode_all(Coinbase(), [frame(type="error", message="Failed", reason="no such product")]) == [
        Refused(None, "Failed: no such product")
    ]
    assert decode_all(Coinbase(), [frame(type="error", message="Failed")]) == [Refused(None, "Failed")]
    assert decode_all(Coinbase(), [frame(type="status", products=[])]) == [Alive()]


def test_an_unknown_message_is_refused() -> None:
    with pytest.raises(DecodeError, match="received"):
        decode_all(Coinbase(), [frame(type="received", product_id="A-USD")])


def test_trades_bring_their_heartbeat_and_no_channel_shares_a_request() -> None:
    requests = [json.loads(text) for text in Coinbase().subscribe([Stream("trade", "A-USD"), Stream("book", "A-USD")])]
    assert [request["channels"] for request in requests] == [["matches"], ["level2_batch"], ["heartbeat"]]
    assert all(request["type"] == "subscribe" and request["product_ids"] == ["A-USD"] for request in requests)


def test_a_depth_cannot_be_chosen() -> None:
    with pytest.raises(ConfigError, match="complete books"):
        Coinbase(book_depth=10)
