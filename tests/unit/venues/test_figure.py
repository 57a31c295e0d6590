"""Figure Markets: the contract, complete books and their repeats, invented ids, and exact events."""

import json
from typing import Any, ClassVar
from uuid import UUID

import pytest
from support.captured_data import CAPTURES
from support.venues.contract import NOW_NS, OWN, VenueContract, decode_all, lines

from recorder.errors import ConfigError, DecodeError
from recorder.events import Accepted, Alive, Book, Output, Quote, Refused, Stream, Trade
from recorder.identity import stable_hash64
from recorder.venues.base import Conversation, Listing, requests_of
from recorder.venues.figure.stream import Figure, FigureDecoder, channel_uuid

TIME_NS = 1_772_719_200 * 10**9
BOOK, QUOTE, TRADE = (Stream(channel, "AAA-USD") for channel in ("book", "quote", "trade"))


class TestFigure(VenueContract):
    name = "figure"
    symbols = ("HASH-USD", "BTC-USD-2S")
    captures = (
        "figure/ws_20250718_a.jsonl",
        "figure/ws_20250720_trades_a.jsonl",
        "figure/ws_frames_20260923.jsonl",
    )
    listing_body = (
        b'{"data":[{"id":"BTC-USD-2S","symbol":"BTC-USD-2S","displayName":"BTC-USD","denom":"nbtc.figure.se",'
        b'"quoteDenom":"uusd.trading","marketType":"CRYPTO","status":"OPEN","pricePrecision":1,"bestBid":null},'
        b'{"id":"YLDS.A","symbol":"YLDS.A","denom":"uylds","quoteDenom":"uusd.trading","marketType":"FUND",'
        b'"status":"HALTED"}],"pagination":{"page":1,"size":50,"totalPages":1,"totalCount":2}}'
    )
    listings: ClassVar[list[Listing]] = [
        Listing("BTC-USD-2S", "BTC", "USD", "spot", None, None, "OPEN", "nbtc.figure.se", "uusd.trading"),
        Listing(
            "YLDS.A", "YLDS.A", "uusd.trading", "fund", None, None, "HALTED", "uylds", "uusd.trading", trades=False
        ),
    ]

    @staticmethod
    def trades_in(message: Any) -> int:
        return isinstance(message, dict) and message.get("channel") == "TRADES"

    def test_requests_are_json_and_name_every_stream(self) -> None:
        streams = self.streams(self.symbols)
        requests = [json.loads(frame) for frame in self.venue.subscribe(streams)]
        wire = {"trade": "TRADES", "quote": "MARKET", "book": "ORDER_BOOK"}
        asked = [(one["channel"], one["symbol"]) for one in requests if one["action"] == "SUBSCRIBE"]
        assert asked == [(wire[stream.channel], stream.symbol) for stream in streams]
        names = [one["channelUuid"] for one in requests if one["action"] == "SUBSCRIBE"]
        ends = [json.loads(frame) for frame in self.venue.unsubscribe(streams)]
        assert ends == [{"action": "UNSUBSCRIBE", "channelUuid": name} for name in names]
        assert len(set(names)) == len(streams)
        assert self.venue.subscribe([]) == self.venue.unsubscribe([]) == []

    def test_every_captured_frame_is_understood(self) -> None:
        counted = []
        for name in self.captures:
            captured = lines(CAPTURES / name)
            outputs = decode_all(self.venue, captured)
            messages = [json.loads(frame) for frame in captured]
            trades = sum(self.trades_in(message) for message in messages)
            assert sum(isinstance(output, Trade) for output in outputs) == trades
            counted.append((len(captured), trades, sum(isinstance(output, Book) for output in outputs)))
        assert counted == [(38, 1, 2), (5, 2, 3), (10, 0, 2)]

    def test_a_new_decoder_has_no_book_and_requests_one_once(self) -> None:
        """Each frame is a complete book, so no snapshot can be missing: a new decoder makes a row even of a repeat."""
        captured = lines(CAPTURES / "figure/ws_20250718_a.jsonl")
        for frame in captured:
            first = self.venue.decoder().decode(frame, NOW_NS)
            assert [type(output) for output in first] in ([Book], [Trade])

    def test_events_carry_finite_numbers_known_sides_and_our_receipt_time(self) -> None:
        for output in decode_all(self.venue, lines(self.own)):
            if isinstance(output, Trade | Quote | Book):
                assert (output.symbol, output.ts_recv_ns) == ("AAA-USD", NOW_NS)
            if isinstance(output, Trade):
                assert output.aggressor is None  # the venue gives no side, and none is guessed
                assert output.price > 0
                assert output.size > 0

    @pytest.mark.parametrize("frame", [b"", b"null", b"7", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 50_000, b"{}"])
    def test_anything_but_a_message_is_a_decode_error(self, frame: bytes) -> None:
        with pytest.raises(DecodeError):
            self.venue.decoder().decode(frame, NOW_NS)


def subscribed() -> FigureDecoder:
    decoder = Figure().decoder()
    decoder.subscribe([BOOK, QUOTE, TRADE])
    return decoder


def decoded(decoder: FigureDecoder, *messages: object) -> list[Output]:
    return [o for message in messages for o in decoder.decode(json.dumps(message).encode(), NOW_NS)]


def book(bids: list[tuple[str, str]], asks: list[tuple[str, str]], name: str | None = None) -> dict[str, object]:
    sides = [[{"price": price, "quantity": size, "total": size} for price, size in side] for side in (asks, bids)]
    return {"channelUuid": name or channel_uuid(BOOK), "asks": sides[0], "bids": sides[1], "channel": "ORDER_BOOK"}


def trade(**changed: object) -> dict[str, object]:
    usual: dict[str, object] = {
        "channelUuid": channel_uuid(TRADE), "id": "41AAAAAAA18R", "price": 0.031, "quantity": 14.0,
        "created": "2026-03-05T14:00:00.145840291Z", "channel": "TRADES",
    }  # fmt: skip
    return usual | changed


def test_the_frames_written_by_hand_give_exactly_these_events() -> None:
    outputs = decode_all(Figure(), lines(OWN / "figure/handmade.jsonl"))
    first = ([(0.03, 1000.0), (0.029, 250.5)], [(0.031, 292483.233), (0.032, 295000.829)])
    later = ([(0.03, 1000.0), (0.029, 250.5)], [(0.031, 292469.233), (0.032, 295000.829)])
    traded_ns = TIME_NS + 145_840_291
    assert outputs == [
        Accepted(TRADE), Accepted(QUOTE), Accepted(BOOK),
        Book("AAA-USD", None, NOW_NS, True, None, *first),
        Alive(BOOK),
        Quote("AAA-USD", TIME_NS + 1234, NOW_NS, None, 0.03, None, 0.031, None),
        Trade("AAA-USD", stable_hash64("41AAAAAAA18R"), traded_ns, NOW_NS, 0.031, 14.0, None, "41AAAAAAA18R"),
        Trade("AAA-USD", stable_hash64("41AAAAAAB18R"), traded_ns, NOW_NS, 0.031, 0.001, None, "41AAAAAAB18R"),
        Book("AAA-USD", None, NOW_NS, True, None, *later),
        Book("AAA-USD", None, NOW_NS, True, None, [], later[1]),
        Book("AAA-USD", None, NOW_NS, True, None, *later),
        Quote("AAA-USD", TIME_NS + 1_500_000_000, NOW_NS, None, None, None, None, None),
        Refused(None, "3: Invalid symbol"),
        Book("AAA-USD", None, NOW_NS, True, None, *later),
    ]  # fmt: skip


def test_repeats_in_a_capture_are_alive_and_only_changes_are_rows() -> None:
    captured = lines(CAPTURES / "figure/ws_20250718_a.jsonl")
    books = [json.loads(frame) for frame in captured if b'"ORDER_BOOK"' in frame]
    changes = sum(now != before for before, now in zip([{}, *books], books, strict=False))
    outputs = decode_all(Figure(), captured)
    assert sum(isinstance(output, Book) for output in outputs) == changes == 2
    assert sum(isinstance(output, Alive) for output in outputs) == len(books) - changes == 35


def test_captured_amounts_come_back_exactly() -> None:
    for message, output in zip(
        (json.loads(frame, parse_float=str) for frame in lines(CAPTURES / "figure/ws_20250720_trades_a.jsonl")),
        decode_all(Figure(), lines(CAPTURES / "figure/ws_20250720_trades_a.jsonl")),
        strict=True,
    ):
        if isinstance(output, Trade):
            assert (repr(output.price), repr(output.size)) == (message["price"], message["quantity"])
        if isinstance(output, Book):
            for levels, wire in ((output.bids, message["bids"]), (output.asks, message["asks"])):
                assert [(f"{price:.3f}", f"{size:.3f}") for price, size in levels] == [
                    (level["price"], level["quantity"]) for level in wire
                ]


def test_data_is_known_by_the_id_it_was_subscribed_under() -> None:
    assert [output.symbol for output in decoded(subscribed(), trade()) if isinstance(output, Trade)] == ["AAA-USD"]
    name = "7ca84358-062a-4748-85b5-19757744af71"
    unaware = Figure().decoder()
    listed = [{"channelUuid": name, "channel": "ORDER_BOOK", "symbol": "BTC-USD-2S", "tickSize": "0.1"}]
    before, accepted, after = decoded(unaware, book([], [], name), listed, book([("1", "2")], [], name))
    assert isinstance(before, Book)
    assert before.symbol == name  # a file without requests and lists names nothing else
    assert accepted == Accepted(Stream("book", "BTC-USD-2S"))
    assert isinstance(after, Book)
    assert after.symbol == "BTC-USD-2S"


def test_the_ids_are_uuids_and_the_same_in_every_process() -> None:
    assert channel_uuid(BOOK) == "158293be-01f0-4283-b437-7813a35edad6"
    assert all(UUID(channel_uuid(stream)).version == 4 for stream in (BOOK, QUOTE, TRADE))


def test_the_decoder_makes_the_requests_and_lists_what_was_accepted() -> None:
    decoder = Figure().decoder()
    assert isinstance(decoder, Conversation)
    assert requests_of(Figure(), decoder) is decoder
    streams = [Stream("trade", f"S{number}") for number in range(40)]
    actions = [json.loads(frame)["action"] for frame in decoder.subscribe(streams)]
    assert actions.count("SUBSCRIBE") == 40
    assert [at for at, action in enumerate(actions) if action == "LIST_SUBSCRIPTIONS"] == [16, 33, 42]
    assert [json.loads(frame)["action"] for frame in decoder.subscribe(streams[:16])][-2:] == [
        "SUBSCRIBE", "LIST_SUBSCRIPTIONS",
    ]  # fmt: skip


def test_an_empty_list_of_subscriptions_accepts_nothing() -> None:
    assert decoded(Figure().decoder(), []) == []


def test_a_book_that_was_subscribed_again_is_a_row_though_it_did_not_change() -> None:
    """Otherwise the gap that led to the new subscription would never end on a quiet market."""
    decoder = subscribed()
    same = book([("1", "2")], [("3", "4")])
    ended = {"message": "UNSUBSCRIBED", "channelUuid": channel_uuid(BOOK)}
    assert [type(o) for o in decoded(decoder, same, same, ended, same)] == [Book, Alive, Book]


def test_one_side_may_be_empty_for_a_tick_and_both_may() -> None:
    outputs = decoded(subscribed(), book([("1", "2")], []), book([], []), book([("1", "2")], []))
    assert [output.bids for output in outputs if isinstance(output, Book)] == [[(1.0, 2.0)], [], [(1.0, 2.0)]]


def test_the_order_of_levels_and_the_running_total_make_no_difference_to_a_repeat_check() -> None:
    decoder = subscribed()
    first = book([("1.0", "2.50")], [])
    second = book([("1.00", "2.5")], [])  # the same numbers, spelled differently
    assert [type(output) for output in decoded(decoder, first, second)] == [Book, Alive]


def test_numbers_may_be_texts_and_ids_must_not_be_empty() -> None:
    as_texts = trade(price="0.031", quantity="14.000")
    assert decoded(subscribed(), trade()) == decoded(subscribed(), as_texts)
    with pytest.raises(DecodeError, match="without an id"):
        decoded(subscribed(), trade(id=""))


def test_an_unreadable_frame_names_the_symbol_that_only_the_decoder_knows() -> None:
    for broken in (trade(price="dear"), book([("1", "-2")], []), trade(created="yesterday")):
        with pytest.raises(DecodeError) as raised:
            decoded(subscribed(), broken)
        assert raised.value.symbol == "AAA-USD"
        with pytest.raises(DecodeError) as raised:
            decoded(Figure().decoder(), broken)
        assert raised.value.symbol is None


@pytest.mark.parametrize("code", [1, 3, 7])
def test_errors_name_no_subscription(code: int) -> None:
    assert decoded(subscribed(), {"message": "No", "code": code}) == [Refused(None, f"{code}: No")]


@pytest.mark.parametrize("code", [2, 5])
def test_an_answer_that_refuses_nothing_is_no_refusal(code: int) -> None:
    assert decoded(subscribed(), {"message": "Duplicate channel UUID", "code": code}) == []


def test_a_publish_time_that_cannot_be_true_is_left_out() -> None:
    market = {"channel": "MARKET", "marketId": "AAA-USD", "publishTime": "0001-01-01T00:00:00Z", "bestBid": "1"}
    assert decoded(subscribed(), market) == [Quote("AAA-USD", None, NOW_NS, None, 1.0, None, None, None)]


def test_candles_are_known_and_make_no_rows() -> None:
    assert decoded(subscribed(), {"channel": "CANDLES", "channelUuid": "x", "open": "1"}) == []


def test_pings_are_protocol_pings_within_thirty_seconds_and_sessions_end_by_plan() -> None:
    assert Figure.heartbeat.frame is None
    assert Figure.heartbeat.every_s < 30
    assert Figure.limits.session_s == 1800
    assert Figure.limits.frames_per_s <= 5  # 200 ms between requests


def test_a_depth_is_refused_because_books_are_complete() -> None:
    with pytest.raises(ConfigError, match="complete books"):
        Figure(book_depth=10)
