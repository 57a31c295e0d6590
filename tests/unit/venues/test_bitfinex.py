"""Bitfinex: its data for the contract, one sequence over a connection, checksums by an independent reading."""

import json
import zlib
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from contract import DATA, NOW_NS, OWN, VenueContract, books_after, decode_all, lines

from recorder.errors import ConfigError, DecodeError, NoFrame
from recorder.events import Accepted, Alive, Book, Ending, Lost, Output, Quote, Refused, Reply, Resync, Stream, Trade
from recorder.venues.base import Audit, Conversation, Listing, requests_of
from recorder.venues.bitfinex import Bitfinex, BitfinexSession

SEQ_ALL, OB_CHECKSUM, TIMESTAMP = 65536, 131072, 32768
MS = 1_772_719_200_000
BOOK = Stream("book", "tAAAUSD")
CHANNELS = {11: "trades", 12: "ticker", 13: "book"}


class TestBitfinex(VenueContract):
    name = "bitfinex"
    symbols = ("tBTCUSD", "tTESTBTC:TESTUSD")
    captures = ("bitfinex/ws2_seq_20210417.jsonl",)
    listing_body = (
        b'[[["BTCUSD",[null,null,null,"0.00006","2000.0",null]],["AVAX:USD",[null,null,null,"0.2"]],'
        b'["BTCF0:USTF0",[]]]]'
    )
    listings: ClassVar[list[Listing]] = [
        Listing("tBTCUSD", "BTC", "USD", "spot", None, "0.00006", "listed"),
        Listing("tAVAX:USD", "AVAX", "USD", "spot", None, "0.2", "listed"),
        Listing("tBTCF0:USTF0", "BTCF0", "USTF0", "perpetual", None, None, "listed"),
    ]

    @staticmethod
    def trades_in(message: Any) -> int:
        """Rows of trade snapshots (four numbers each), and each execution by its first telling."""
        if not isinstance(message, list):
            return 0
        if message[1] == "te":
            return 1
        return sum(len(row) == 4 for row in message[1] if isinstance(row, list)) if isinstance(message[1], list) else 0

    def test_requests_are_json_and_name_every_stream(self) -> None:
        streams = self.streams(self.symbols)
        requests = [json.loads(frame) for frame in self.venue.subscribe(streams)]
        assert [request["event"] for request in requests] == ["conf"] + ["subscribe"] * len(streams)
        asked = [(request["channel"], request["symbol"]) for request in requests[1:]]
        wire = {"trade": "trades", "quote": "ticker", "book": "book"}
        assert asked == [(wire[stream.channel], stream.symbol) for stream in streams]
        assert self.venue.subscribe([]) == []

    def test_subscribing_and_unsubscribing_are_told_apart(self) -> None:
        session = acknowledged()
        assert set(session.subscribe(self.streams(["tAAAUSD"]))).isdisjoint(
            session.unsubscribe(self.streams(["tAAAUSD"]))
        )

    def test_a_new_session_has_no_book_and_asks_for_one_once(self) -> None:
        session = acknowledged(flags=0)
        outputs = [output for _ in range(3) for output in session.decode(update("0.5"), NOW_NS)]
        assert isinstance(outputs[0], Resync)
        assert outputs[0].cause == "no_snapshot"
        assert [type(output) for output in outputs[1:]] == [Book] * 3


def subscribed(number: int, **more: object) -> bytes:
    body = {"event": "subscribed", "channel": CHANNELS[number], "chanId": number, "symbol": "tAAAUSD", **more}
    return json.dumps(body).encode()


def acknowledged(flags: int = SEQ_ALL | OB_CHECKSUM) -> BitfinexSession:
    """A session whose three channels were acknowledged."""
    session = Bitfinex(book_depth=25).session()
    session.subscribe([])
    session.decode(b'{"event":"conf","status":"OK","flags":%d}' % flags, NOW_NS)
    for number in CHANNELS:
        session.decode(subscribed(number, prec="P0"), NOW_NS)
    return session


def frame(number: int, payload: str, *suffixes: int) -> bytes:
    return f"[{','.join([str(number), payload, *map(str, suffixes)])}]".encode()


def update(price: str, count: int = 1, amount: str = "2", *suffixes: int) -> bytes:
    return frame(13, f"[{price},{count},{amount}]", *suffixes)


def snapshot(*suffixes: int) -> bytes:
    return frame(13, "[[0.5,1,2],[0.4,1,3],[0.6,1,-4]]", *suffixes)


def decoded(session: BitfinexSession, *frames: bytes) -> list[Output]:
    return [output for one in frames for output in session.decode(one, NOW_NS)]


class NaiveBook:
    """The checksum of the protocol page from texts alone, levels sorted anew each time."""

    def __init__(self, rows: Sequence[Sequence[str]]) -> None:
        self.levels: dict[tuple[bool, float], tuple[str, str]] = {}
        for row in rows:
            self.apply(row)

    def apply(self, row: Sequence[str]) -> None:
        price, count, amount = row
        key = (not amount.startswith("-"), float(price))
        if int(count):
            self.levels[key] = (price, amount)
        else:
            assert amount in ("1", "-1")
            del self.levels[key]  # every deletion finds its level

    def checksum(self) -> int:
        bids = [self.levels[key] for key in sorted(self.levels, key=lambda key: -key[1]) if key[0]][:25]
        asks = [self.levels[key] for key in sorted(self.levels, key=lambda key: key[1]) if not key[0]][:25]
        texts: list[str] = []
        for rank in range(25):
            for side in (bids, asks):
                texts += side[rank] if rank < len(side) else ()
        return int.from_bytes(zlib.crc32(":".join(texts).encode()).to_bytes(4, "big"), "big", signed=True)


# ---- captures --------------------------------------------------------------------------------------


def test_the_captured_books_equal_an_independent_reading_and_no_delete_misses() -> None:
    captured = lines(DATA / "captures/bitfinex/ws2_seq_20210417.jsonl")
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


def test_a_captured_sequence_has_no_hole_and_every_frame_is_accounted_for() -> None:
    captured = lines(DATA / "captures/bitfinex/ws2_seq_20210417.jsonl")
    outputs = decode_all(Bitfinex(), captured)
    kinds = {kind: sum(type(output) is kind for output in outputs) for kind in {type(output) for output in outputs}}
    assert kinds == {Book: 1600, Trade: 210, Quote: 21, Accepted: 21, Alive: 44}  # 42 heartbeats, info, conf
    assert sorted(o.sequence for o in outputs if isinstance(o, Book | Quote) and o.sequence)[0] == 1


def test_a_frame_taken_out_of_a_capture_is_noticed_at_the_next() -> None:
    captured = lines(DATA / "captures/bitfinex/ws2_seq_20210417.jsonl")
    data = [at for at, one in enumerate(captured) if one.startswith(b"[")]
    for at in data[1:-1:97]:
        lost = [o for o in decode_all(Bitfinex(), captured[:at] + captured[at + 1 :]) if isinstance(o, Lost)]
        assert len(lost) == 1


def test_the_checksum_of_the_vendors_own_example_passes() -> None:
    captured = lines(DATA / "captures/bitfinex/book_checksum_example.jsonl")
    session = Bitfinex().session()
    outputs = decoded(session, *captured)
    assert session.audits == {"tXRPBTC": Audit(checksums_passed=1)}
    assert not [output for output in outputs if isinstance(output, Resync)]
    unapplied = Bitfinex().session()
    outputs = decoded(unapplied, *captured[:-2], captured[-1])  # without its update it must not pass
    assert [output.cause for output in outputs if isinstance(output, Resync)] == ["checksum"]


def test_single_captured_messages_are_understood_but_for_two_rest_answers() -> None:
    captured = lines(DATA / "captures/bitfinex/single_messages_msgparser.jsonl")
    session = Bitfinex().session()
    trades: list[Trade] = []
    for one in captured:
        try:
            trades += [output for output in session.decode(one, NOW_NS) if isinstance(output, Trade)]
        except NoFrame:
            assert json.loads(one)[0].__class__ is list  # an answer of REST: no channel and no name
    assert len(trades) == 2 + 6  # te and tu of two trades, two snapshots of three
    assert sorted({trade.symbol for trade in trades}) == ["tBTCF0:USTF0", "tBTCUST"]
    assert {(trade.trade_id, trade.aggressor) for trade in trades} >= {(637771130, "b"), (647256201, "s")}


# ---- events ----------------------------------------------------------------------------------------


def test_the_frames_written_by_hand_give_exactly_these_events() -> None:
    outputs = decode_all(Bitfinex(), lines(OWN / "bitfinex/handmade.jsonl"))
    trades = [output for output in outputs if isinstance(output, Trade)]
    assert trades == [
        Trade("tAAAUSD", 901, MS * 10**6 - 1_750_000_000, NOW_NS, 0.5, 1.5, "b"),
        Trade("tAAAUSD", 902, MS * 10**6 - 500_000_000, NOW_NS, 0.4999, 2.0, "s"),
        Trade("tAAAUSD", 903, MS * 10**6 + 100_000_000, NOW_NS, 0.5002, 0.3, "b"),
    ]
    # The sizes of the ticker are sums over 25 levels: they are no sizes of the best prices.
    assert [o for o in outputs if isinstance(o, Quote)] == [Quote("tAAAUSD", None, NOW_NS, 3, 0.5, None, 0.5001, None)]
    deltas = [output for output in outputs if isinstance(output, Book) and not output.snapshot]
    assert [(book.sequence, book.bids, book.asks) for book in deltas] == [
        (6, [(0.5, 0.25)], []),
        (7, [], [(0.5001, 0.0)]),
        (9, [], [(0.5002, 3.9)]),
        (11, [(0.4999, 0.0)], []),
    ]
    assert [o for o in outputs if isinstance(o, Refused)] == [
        Refused(Stream("trade", "tNOPE"), "10300: symbol: invalid")
    ]


def test_checksums_over_exponents_and_uneven_sides_agree_with_an_independent_reading() -> None:
    naive: NaiveBook | None = None
    checked = 0
    for message in (json.loads(one, parse_float=str, parse_int=str) for one in lines(OWN / "bitfinex/handmade.jsonl")):
        if isinstance(message, list) and message[0] == "13":
            if message[1] == "cs":
                assert naive is not None
                assert naive.checksum() == int(message[2])
                checked += 1
            elif isinstance(message[1], list):
                if isinstance(message[1][0], list):
                    naive = NaiveBook(message[1])
                elif naive is not None:
                    naive.apply(message[1])
    session = Bitfinex().session()
    decoded(session, *lines(OWN / "bitfinex/handmade.jsonl"))
    assert session.audits == {"tAAAUSD": Audit(checksums_passed=checked)}
    assert checked == 2


@pytest.mark.parametrize("kinds", [("te", "tu"), ("tu", "te"), ("te",), ("tu",), ("te", "te", "tu", "tu")])
def test_a_trade_is_counted_once_however_often_it_is_told(kinds: tuple[str, ...]) -> None:
    session = acknowledged()
    frames = [frame(11, f'"{kind}",[7,{MS},-0.5,10]', at) for at, kind in enumerate(kinds, start=1)]
    assert decoded(session, *frames) == [Trade("tAAAUSD", 7, MS * 10**6, NOW_NS, 10.0, 0.5, "s")]


def test_a_trade_of_the_snapshot_is_not_told_again() -> None:
    session = acknowledged(flags=0)
    frames = [frame(11, f"[[8,{MS},1,10],[7,{MS},1,10]]"), frame(11, f'"tu",[8,{MS},1,10]')]
    assert [o.trade_id for o in decoded(session, *frames) if isinstance(o, Trade)] == [7, 8]


def test_the_memory_of_trades_is_bounded() -> None:
    session = acknowledged(flags=0)
    trades = decoded(session, *(frame(11, f'"te",[{number},{MS},1,10]') for number in range(2000)))
    assert len(trades) == 2000
    assert decoded(session, frame(11, f'"tu",[1999,{MS},1,10]')) == []
    assert max(len(feed.seen) for feed in session._feeds.values()) <= 512


# ---- sequence --------------------------------------------------------------------------------------


def test_heartbeats_and_checksums_carry_the_sequence_too() -> None:
    session = acknowledged()
    decoded(session, snapshot(1))
    assert decoded(session, frame(12, '"hb"', 2)) == [Alive(Stream("quote", "tAAAUSD"))]
    checksum = NaiveBook([("0.5", "1", "2"), ("0.4", "1", "3"), ("0.6", "1", "-4")]).checksum()
    assert decoded(session, frame(13, f'"cs",{checksum}', 3)) == [Alive(BOOK)]
    assert [type(output) for output in decoded(session, update("0.5", 1, "1", 4))] == [Book]


def test_a_hole_in_the_sequence_is_a_loss_of_the_connection_and_no_book_is_trusted_after_it() -> None:
    session = acknowledged()
    decoded(session, snapshot(1))
    lost, row = decoded(session, update("0.5", 1, "9", 3))
    assert lost == Lost("sequence 3 after 1")
    assert isinstance(row, Book)
    assert row.sequence == 3
    assert decoded(session, frame(13, '"cs",12345', 4)) == [Alive(BOOK)]  # it would fail: nobody asks it
    assert [type(output) for output in decoded(session, snapshot(5), update("0.5", 1, "9", 6))] == [Book, Book]
    assert session.audits == {}


def test_the_first_frame_of_a_connection_is_number_one() -> None:
    assert isinstance(decoded(acknowledged(), snapshot(2))[0], Lost)


def test_a_repeated_frame_makes_no_row_and_no_loss() -> None:
    session = acknowledged()
    ticker = frame(12, "[1,1,2,1,0,0,1,1,1,1]", 1)
    assert [type(output) for output in decoded(session, ticker)] == [Quote]
    assert decoded(session, ticker) == []
    assert [type(output) for output in decoded(session, snapshot(2))] == [Book]


def test_a_frame_from_before_is_a_loss_and_its_levels_are_not_used() -> None:
    session = acknowledged()
    decoded(session, snapshot(1), update("0.5", 1, "1", 2), update("0.5", 1, "5", 3))
    assert decoded(session, update("0.5", 1, "1", 2)) == [Lost("sequence 2 after 3")]


def test_an_absurd_number_does_not_silence_the_frames_after_it() -> None:
    session = acknowledged()
    decoded(session, snapshot(1))
    assert isinstance(decoded(session, update("0.5", 1, "1", 2**62))[0], Lost)
    assert isinstance(decoded(session, update("0.5", 1, "2", 3))[0], Lost)
    assert [type(output) for output in decoded(session, snapshot(4))] == [Book]


def test_an_unreadable_frame_names_its_symbol_and_costs_no_other_stream() -> None:
    session = acknowledged()
    decoded(session, snapshot(1))
    with pytest.raises(DecodeError) as raised:
        decoded(session, frame(11, '"te",[7,"soon",1,1]', 2))
    assert raised.value.symbol == "tAAAUSD"
    assert [type(output) for output in decoded(session, update("0.5", 1, "9", 3))] == [Book]


def test_an_unreadable_frame_of_an_unknown_channel_is_a_loss() -> None:
    session = acknowledged()
    decoded(session, snapshot(1))
    with pytest.raises(DecodeError, match="unknown channel"):
        decoded(session, frame(99, "[1,2,3]", 2))
    assert isinstance(decoded(session, update("0.5", 1, "9", 3))[0], Lost)


def test_flags_acknowledged_again_may_begin_the_count_anew() -> None:
    again = b'{"event":"conf","status":"OK","flags":196608}'
    for following in (1, 3):
        session = acknowledged()
        decoded(session, snapshot(1), frame(12, '"hb"', 2), again)
        assert decoded(session, frame(12, '"hb"', following)) == [Alive(Stream("quote", "tAAAUSD"))]
    session = acknowledged()
    decoded(session, snapshot(1), again)
    assert isinstance(decoded(session, frame(12, '"hb"', 5))[0], Lost)


def test_suffixes_are_taken_only_for_the_flags_acknowledged() -> None:
    plain = acknowledged(flags=0)
    (row,) = decoded(plain, snapshot(77))
    assert isinstance(row, Book)
    assert (row.sequence, row.ts_event_ns) == (None, None)
    both = acknowledged(flags=SEQ_ALL | TIMESTAMP)
    (row,) = decoded(both, snapshot(1, MS))
    assert isinstance(row, Book)
    assert (row.sequence, row.ts_event_ns) == (1, MS * 10**6)
    (row,) = decoded(both, snapshot(2, 5))
    assert isinstance(row, Book)
    assert row.ts_event_ns is None  # 1970: no venue traded then


# ---- checksums -------------------------------------------------------------------------------------


def test_a_wrong_checksum_asks_for_a_new_book_once() -> None:
    session = acknowledged()
    (resync,) = decoded(session, snapshot(1), frame(13, '"cs",7', 2))[1:]
    assert isinstance(resync, Resync)
    assert (resync.symbol, resync.cause) == ("tAAAUSD", "checksum")
    assert decoded(session, frame(13, '"cs",7', 3)) == [Alive(BOOK)]
    assert [type(output) for output in decoded(session, update("0.5", 1, "9", 4), snapshot(5))] == [Book, Book]
    assert session.audits == {"tAAAUSD": Audit(checksums_failed=1)}


def test_an_empty_snapshot_is_an_empty_book() -> None:
    (row,) = decoded(acknowledged(), frame(13, "[]", 1))
    assert row == Book("tAAAUSD", None, NOW_NS, True, 1, [], [])


# ---- control ---------------------------------------------------------------------------------------


def test_maintenance_and_restarts_are_told_to_the_link() -> None:
    session = acknowledged()
    decoded(session, snapshot(1))

    def info(code: int) -> bytes:
        return b'{"event":"info","code":%d,"msg":"x"}' % code

    assert decoded(session, info(20051)) == [Ending("info 20051: x")]
    assert [type(output) for output in decoded(session, update("0.5", 1, "1", 2))] == [Book]
    assert decoded(session, info(20060)) == [Lost("info 20060: x")]
    assert decoded(session, info(20061)) == [Lost("info 20061: x"), Ending("info 20061: x")]
    assert [type(output) for output in decoded(session, update("0.5", 1, "1", 3), snapshot(4))] == [Book, Book]


def test_flags_are_sent_once_on_a_connection_and_before_its_subscriptions() -> None:
    session = Bitfinex(book_depth=25).session()
    assert isinstance(session, Conversation)
    assert requests_of(Bitfinex(), session) is session
    first, book = (json.loads(text) for text in session.subscribe([BOOK]))
    assert first == {"event": "conf", "flags": SEQ_ALL | OB_CHECKSUM}
    asked = {"event": "subscribe", "channel": "book", "symbol": "tAAAUSD", "prec": "P0", "freq": "F0", "len": "25"}
    assert book == asked
    assert [json.loads(text) for text in session.subscribe([BOOK])] == [asked]


def test_a_stream_ends_by_the_number_its_connection_gave_it() -> None:
    session = acknowledged()
    assert [json.loads(text) for text in session.unsubscribe([BOOK])] == [{"event": "unsubscribe", "chanId": 13}]
    assert session.unsubscribe([BOOK]) == []
    assert [type(output) for output in decoded(session, snapshot(1))] == [Book]  # until its end is acknowledged
    assert decoded(session, b'{"event":"unsubscribed","status":"OK","chanId":13}') == []
    with pytest.raises(DecodeError, match="unknown channel"):
        decoded(session, snapshot(2))


def test_a_stream_ended_before_its_acknowledgement_ends_with_it() -> None:
    session = Bitfinex().session()
    session.subscribe([BOOK])
    assert session.unsubscribe([BOOK]) == []
    assert decoded(session, subscribed(13, prec="P0")) == [Reply('{"event": "unsubscribe", "chanId": 13}')]


def test_a_book_subscribed_twice_is_ended_and_asked_for_when_that_is_acknowledged() -> None:
    session = acknowledged()
    twice = b'{"event":"error","msg":"subscribe: dup","code":10301,"channel":"book","symbol":"tAAAUSD","prec":"P0"}'
    assert decoded(session, twice) == [Reply('{"event": "unsubscribe", "chanId": 13}')]
    assert decoded(session, twice) == []
    (reply,) = decoded(session, b'{"event":"unsubscribed","status":"OK","chanId":13}')
    assert isinstance(reply, Reply)
    assert json.loads(reply.frame)["event"] == "subscribe"
    assert decoded(session, twice) == []  # not acknowledged yet: the answer is on its way


def test_other_channels_subscribed_twice_are_accepted() -> None:
    twice = b'{"event":"error","msg":"subscribe: dup","code":10301,"channel":"trades","symbol":"tAAAUSD"}'
    assert decoded(acknowledged(), twice) == [Accepted(Stream("trade", "tAAAUSD"))]


def test_a_refusal_that_names_nothing_refuses_no_stream_for_certain() -> None:
    frame = b'{"event":"error","msg":"unknown event","code":10000}'
    assert decoded(acknowledged(), frame) == [Refused(None, "10000: unknown event")]
    assert decoded(acknowledged(), frame.replace(b"10000", b"10400")) == []


def test_raw_books_and_candles_are_known_and_make_no_rows() -> None:
    session = Bitfinex().session()
    assert decoded(session, subscribed(13, prec="R0")) == []
    assert decoded(session, b'{"event":"subscribed","channel":"candles","chanId":5,"key":"trade:1m:tBTCUSD"}') == []
    assert decoded(session, frame(13, "[[1,2,3]]"), frame(5, "[[1,2,3,4,5,6]]")) == [Alive(), Alive()]


@pytest.mark.parametrize("text", ["NaN", '"1"', "1e400", "null", "[]", "9" * 400, "0", "-0.0"])
def test_an_amount_that_is_none_is_refused_and_changes_nothing(text: str) -> None:
    session = acknowledged()
    decoded(session, snapshot(1))
    for bad in (update("0.5", 1, text, 2), frame(11, f'"te",[7,{MS},{text},1]', 2)):
        with pytest.raises(DecodeError):
            decoded(session, bad)
    checksum = NaiveBook([("0.5", "1", "2"), ("0.4", "1", "3"), ("0.6", "1", "-4")]).checksum()
    assert decoded(session, frame(13, f'"cs",{checksum}', 2)) == [Alive(BOOK)]
    assert session.audits == {"tAAAUSD": Audit(checksums_passed=1)}


def test_flags_that_were_refused_are_noticed() -> None:
    with pytest.raises(DecodeError, match="unknown message"):
        decoded(Bitfinex().session(), b'{"event":"conf","status":"FAILED","flags":196608}')


def test_only_lengths_on_offer_are_taken() -> None:
    with pytest.raises(ConfigError, match="1, 25, 100, 250"):
        Bitfinex(book_depth=50)
