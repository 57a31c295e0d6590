"""Bitfinex: the contract, one sequence over a connection, and checksums by an independent reading."""

import json
from typing import Any, ClassVar

import pytest
from support.captured_data import CAPTURES
from support.venues.bitfinex import (
    BOOK,
    MS,
    OB_CHECKSUM,
    SEQ_ALL,
    TIMESTAMP,
    NaiveBook,
    acknowledged,
    decoded,
    frame,
    snapshot,
    subscribed,
    update,
)
from support.venues.contract import NOW_NS, OWN, VenueContract, decode_all, lines

from recorder.errors import ConfigError, DecodeError
from recorder.events import Accepted, Alive, Book, Ending, Lost, Quote, Refused, Reply, Resync, Stream, Trade
from recorder.venues.base import Audit, Conversation, Listing, requests_of
from recorder.venues.bitfinex.feed import MAX_EARLY
from recorder.venues.bitfinex.recorded_2022 import BitfinexRecorded2022Decoder
from recorder.venues.bitfinex.stream import Bitfinex, BitfinexDecoder


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
        """Count the rows of trade snapshots (four numbers each), and each execution by its te."""
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

    def test_subscribing_and_unsubscribing_differ(self) -> None:
        decoder = acknowledged()
        assert set(decoder.subscribe(self.streams(["tAAAUSD"]))).isdisjoint(
            decoder.unsubscribe(self.streams(["tAAAUSD"]))
        )

    def test_a_new_decoder_has_no_book_and_requests_one_once(self) -> None:
        decoder = acknowledged(flags=0)
        outputs = [output for _ in range(3) for output in decoder.decode(update("0.5"), NOW_NS)]
        assert isinstance(outputs[0], Resync)
        assert outputs[0].cause == "no_snapshot"
        assert [type(output) for output in outputs[1:]] == [Book] * 3


# ---- events ----------------------------------------------------------------------------------------


def test_the_frames_written_by_hand_give_exactly_these_events() -> None:
    outputs = decode_all(Bitfinex(), lines(OWN / "bitfinex/handmade.jsonl"))
    trades = [output for output in outputs if isinstance(output, Trade)]
    assert trades == [
        Trade("tAAAUSD", 901, MS * 10**6 - 1_750_000_000, NOW_NS, 0.5, 1.5, "b"),
        Trade("tAAAUSD", 902, MS * 10**6 - 500_000_000, NOW_NS, 0.4999, 2.0, "s"),
        Trade("tAAAUSD", 903, MS * 10**6 + 100_000_000, NOW_NS, 0.5002, 0.3, "b"),
    ]
    # The sizes of the ticker are sums over 25 levels, not the sizes at the best prices.
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
    decoder = Bitfinex().decoder()
    decoded(decoder, *lines(OWN / "bitfinex/handmade.jsonl"))
    assert decoder.audits == {"tAAAUSD": Audit(checksums_passed=checked)}
    assert checked == 2


@pytest.mark.parametrize("kinds", [("te", "tu"), ("tu", "te"), ("te",), ("tu",), ("te", "te", "tu", "tu")])
def test_a_trade_is_counted_once_however_often_it_is_sent(kinds: tuple[str, ...]) -> None:
    decoder = acknowledged()
    frames = [frame(11, f'"{kind}",[7,{MS},-0.5,10]', at) for at, kind in enumerate(kinds, start=1)]
    assert decoded(decoder, *frames) == [Trade("tAAAUSD", 7, MS * 10**6, NOW_NS, 10.0, 0.5, "s")]


def test_a_trade_of_the_snapshot_is_not_counted_again() -> None:
    decoder = acknowledged(flags=0)
    frames = [frame(11, f"[[8,{MS},1,10],[7,{MS},1,10]]"), frame(11, f'"tu",[8,{MS},1,10]')]
    assert [o.trade_id for o in decoded(decoder, *frames) if isinstance(o, Trade)] == [7, 8]


def test_the_memory_of_trades_is_bounded() -> None:
    decoder = acknowledged(flags=0)
    trades = decoded(decoder, *(frame(11, f'"te",[{number},{MS},1,10]') for number in range(2000)))
    assert len(trades) == 2000
    assert decoded(decoder, frame(11, f'"tu",[1999,{MS},1,10]')) == []
    assert max(len(feed.seen) for feed in decoder._feeds.values()) <= 512


# ---- sequence --------------------------------------------------------------------------------------


def test_heartbeats_and_checksums_carry_the_sequence_too() -> None:
    decoder = acknowledged()
    decoded(decoder, snapshot(1))
    assert decoded(decoder, frame(12, '"hb"', 2)) == [Alive(Stream("quote", "tAAAUSD"))]
    checksum = NaiveBook([("0.5", "1", "2"), ("0.4", "1", "3"), ("0.6", "1", "-4")]).checksum()
    assert decoded(decoder, frame(13, f'"cs",{checksum}', 3)) == [Alive(BOOK)]
    assert [type(output) for output in decoded(decoder, update("0.5", 1, "1", 4))] == [Book]


def test_a_missing_number_is_a_loss_of_the_connection_and_no_book_is_trusted_after_it() -> None:
    decoder = acknowledged()
    decoded(decoder, snapshot(1))
    lost, row = decoded(decoder, update("0.5", 1, "9", 3))
    assert lost == Lost("sequence 3 after 1")
    assert isinstance(row, Book)
    assert row.sequence == 3
    assert decoded(decoder, frame(13, '"cs",12345', 4)) == [Alive(BOOK)]  # it would fail, but there is no book to check
    assert [type(output) for output in decoded(decoder, snapshot(5), update("0.5", 1, "9", 6))] == [Book, Book]
    assert decoder.audits == {}


def test_the_first_frame_of_a_connection_is_number_one() -> None:
    assert isinstance(decoded(acknowledged(), snapshot(2))[0], Lost)


def test_a_repeated_frame_makes_no_row_and_no_loss() -> None:
    decoder = acknowledged()
    ticker = frame(12, "[1,1,2,1,0,0,1,1,1,1]", 1)
    assert [type(output) for output in decoded(decoder, ticker)] == [Quote]
    assert decoded(decoder, ticker) == []
    assert [type(output) for output in decoded(decoder, snapshot(2))] == [Book]


def test_a_frame_from_before_is_a_loss_and_its_levels_are_not_used() -> None:
    decoder = acknowledged()
    decoded(decoder, snapshot(1), update("0.5", 1, "1", 2), update("0.5", 1, "5", 3))
    assert decoded(decoder, update("0.5", 1, "1", 2)) == [Lost("sequence 2 after 3")]


def test_frames_after_an_absurd_number_are_still_used() -> None:
    decoder = acknowledged()
    decoded(decoder, snapshot(1))
    assert isinstance(decoded(decoder, update("0.5", 1, "1", 2**62))[0], Lost)
    assert isinstance(decoded(decoder, update("0.5", 1, "2", 3))[0], Lost)
    assert [type(output) for output in decoded(decoder, snapshot(4))] == [Book]


def test_an_unreadable_frame_names_its_symbol_and_costs_no_other_stream() -> None:
    decoder = acknowledged()
    decoded(decoder, snapshot(1))
    with pytest.raises(DecodeError) as raised:
        decoded(decoder, frame(11, '"te",[7,"soon",1,1]', 2))
    assert raised.value.symbol == "tAAAUSD"
    assert [type(output) for output in decoded(decoder, update("0.5", 1, "9", 3))] == [Book]


def requested(*streams: Stream) -> BitfinexDecoder:
    """Return a decoder with three acknowledged channels that has requested more."""
    decoder = acknowledged()
    decoder.subscribe(streams)
    return decoder


def test_data_of_a_channel_that_nothing_expects_costs_only_itself() -> None:
    decoder = requested(BOOK)
    decoded(decoder, subscribed(13, prec="P0"), snapshot(1))
    with pytest.raises(DecodeError, match="unknown channel"):
        decoded(decoder, frame(99, "[1,2,3]", 2))
    assert [type(output) for output in decoded(decoder, update("0.5", 1, "9", 3))] == [Book]


def test_data_before_its_acknowledgement_is_kept_until_then() -> None:
    trades = Stream("trade", "tAAAUSD")
    decoder = requested(trades)
    decoded(decoder, snapshot(1))
    assert decoded(decoder, frame(21, f"[[901,{MS},1,0.5]]", 2)) == [Alive()]
    assert [type(output) for output in decoded(decoder, update("0.5", 1, "9", 3))] == [Book]
    assert decoded(decoder, frame(21, f'"te",[902,{MS},-1,0.5]', 4)) == [Alive()]
    accepted, *rows = decoded(decoder, b'{"event":"subscribed","channel":"trades","chanId":21,"symbol":"tAAAUSD"}')
    assert accepted == Accepted(trades)
    assert [(row.trade_id, row.aggressor) for row in rows if isinstance(row, Trade)] == [(901, "b"), (902, "s")]
    assert decoded(decoder, frame(21, f'"tu",[902,{MS},-1,0.5]', 5)) == []  # the same trade


def test_a_book_before_its_acknowledgement_is_the_book() -> None:
    decoder = requested(BOOK)
    decoded(decoder, b'{"event":"unsubscribed","status":"OK","chanId":13}')
    decoded(decoder, update("0.5", 1, "9", 1))  # a straggler of the earlier subscription, whose chanId comes again
    decoded(decoder, snapshot(2), update("0.5", 1, "8", 3))
    rows = [output for output in decoded(decoder, subscribed(13, prec="P0")) if isinstance(output, Book)]
    assert [(row.snapshot, row.sequence) for row in rows] == [(True, 2), (False, 3)]


def test_a_missing_number_among_early_frames_is_a_loss_and_what_was_kept_still_counts() -> None:
    decoder = requested(BOOK)
    assert isinstance(decoded(decoder, frame(21, "[[0.5,1,2]]", 3))[0], Lost)
    assert decoded(decoder, frame(21, "[[0.5,1,2]]", 4)) == [Alive()]


def test_early_frames_are_bounded() -> None:
    decoder = requested(BOOK)
    for number in range(MAX_EARLY):
        decoded(decoder, frame(21, "[[0.5,1,2]]", number + 1))
    with pytest.raises(DecodeError, match="unknown channel"):
        decoded(decoder, frame(21, "[[0.5,1,2]]", MAX_EARLY + 1))
    assert decoded(decoder, frame(12, '"hb"', MAX_EARLY + 2)) == [Alive(Stream("quote", "tAAAUSD"))]


def test_an_early_frame_that_its_channel_cannot_hold_is_a_loss() -> None:
    decoder = requested(BOOK)
    decoded(decoder, frame(13, "[1,2,3]", 1), frame(14, "[[0.5,1,2]]", 2))
    outputs = decoded(decoder, b'{"event":"subscribed","channel":"trades","chanId":14,"symbol":"tAAAUSD"}')
    assert [type(output) for output in outputs] == [Accepted, Lost]


def test_a_straggler_after_the_end_of_its_channel_costs_no_number() -> None:
    decoder = acknowledged()
    decoded(decoder, snapshot(1), b'{"event":"unsubscribed","status":"OK","chanId":13}')
    with pytest.raises(DecodeError, match="unknown channel"):
        decoded(decoder, update("0.5", 1, "9", 2))
    assert decoded(decoder, frame(12, '"hb"', 3)) == [Alive(Stream("quote", "tAAAUSD"))]


def test_flags_acknowledged_again_may_restart_the_count() -> None:
    again = b'{"event":"conf","status":"OK","flags":196608}'
    for following in (1, 3):
        decoder = acknowledged()
        decoded(decoder, snapshot(1), frame(12, '"hb"', 2), again)
        assert decoded(decoder, frame(12, '"hb"', following)) == [Alive(Stream("quote", "tAAAUSD"))]
    decoder = acknowledged()
    decoded(decoder, snapshot(1), again)
    assert isinstance(decoded(decoder, frame(12, '"hb"', 5))[0], Lost)


def test_a_sequence_is_read_only_where_its_flag_was_acknowledged() -> None:
    plain = acknowledged(flags=0)
    (row,) = decoded(plain, snapshot(77))
    assert isinstance(row, Book)
    assert (row.sequence, row.ts_event_ns) == (None, None)


def test_a_timestamp_flag_is_refused_where_it_was_not_requested() -> None:
    with pytest.raises(DecodeError, match="unknown message"):
        acknowledged(flags=SEQ_ALL | TIMESTAMP)


def test_recorded_frames_may_end_in_the_time_of_the_venue() -> None:
    decoder = acknowledged(SEQ_ALL | TIMESTAMP, BitfinexRecorded2022Decoder())
    (row,) = decoded(decoder, snapshot(1, MS))
    assert isinstance(row, Book)
    assert (row.sequence, row.ts_event_ns) == (1, MS * 10**6)
    (row,) = decoded(decoder, update("0.5", 1, "1", 2, 5))
    assert isinstance(row, Book)
    assert (row.sequence, row.ts_event_ns) == (2, None)  # 1970: no venue traded then
    with pytest.raises(DecodeError):
        decoded(decoder, frame(12, "[1,1,2]", 3).replace(b",3]", b',"soon"]'))
    assert isinstance(decoded(decoder, snapshot(3, MS))[0], Book)


def test_frames_of_today_mean_the_same_to_the_decoder_of_recorded_files() -> None:
    for frames in (lines(OWN / "bitfinex/handmade.jsonl"), lines(CAPTURES / "bitfinex/ws2_seq_20210417.jsonl")):
        assert decoded(BitfinexRecorded2022Decoder(), *frames) == decode_all(Bitfinex(), frames)


# ---- checksums -------------------------------------------------------------------------------------


def test_a_wrong_checksum_requests_a_new_book_once() -> None:
    decoder = acknowledged()
    (resync,) = decoded(decoder, snapshot(1), frame(13, '"cs",7', 2))[1:]
    assert isinstance(resync, Resync)
    assert (resync.symbol, resync.cause) == ("tAAAUSD", "checksum")
    assert decoded(decoder, frame(13, '"cs",7', 3)) == [Alive(BOOK)]
    assert [type(output) for output in decoded(decoder, update("0.5", 1, "9", 4), snapshot(5))] == [Book, Book]
    assert decoder.audits == {"tAAAUSD": Audit(checksums_failed=1)}


def test_an_empty_snapshot_is_an_empty_book() -> None:
    (row,) = decoded(acknowledged(), frame(13, "[]", 1))
    assert row == Book("tAAAUSD", None, NOW_NS, True, 1, [], [])


# ---- control ---------------------------------------------------------------------------------------


def test_maintenance_and_restarts_are_reported_to_the_link() -> None:
    decoder = acknowledged()
    decoded(decoder, snapshot(1))

    def info(code: int) -> bytes:
        return b'{"event":"info","code":%d,"msg":"x"}' % code

    assert decoded(decoder, info(20051)) == [Ending("info 20051: x")]
    assert [type(output) for output in decoded(decoder, update("0.5", 1, "1", 2))] == [Book]
    assert decoded(decoder, info(20060)) == [Lost("info 20060: x")]
    assert decoded(decoder, info(20061)) == [Lost("info 20061: x"), Ending("info 20061: x")]
    assert [type(output) for output in decoded(decoder, update("0.5", 1, "1", 3), snapshot(4))] == [Book, Book]


def test_flags_are_sent_once_on_a_connection_and_before_its_subscriptions() -> None:
    decoder = Bitfinex(book_depth=25).decoder()
    assert isinstance(decoder, Conversation)
    assert requests_of(Bitfinex(), decoder) is decoder
    first, book = (json.loads(text) for text in decoder.subscribe([BOOK]))
    assert first == {"event": "conf", "flags": SEQ_ALL | OB_CHECKSUM}
    asked = {"event": "subscribe", "channel": "book", "symbol": "tAAAUSD", "prec": "P0", "freq": "F0", "len": "25"}
    assert book == asked
    assert [json.loads(text) for text in decoder.subscribe([BOOK])] == [asked]


def test_a_stream_ends_by_the_number_its_connection_gave_it() -> None:
    decoder = acknowledged()
    assert [json.loads(text) for text in decoder.unsubscribe([BOOK])] == [{"event": "unsubscribe", "chanId": 13}]
    assert decoder.unsubscribe([BOOK]) == []
    assert [type(output) for output in decoded(decoder, snapshot(1))] == [Book]  # until its end is acknowledged
    assert decoded(decoder, b'{"event":"unsubscribed","status":"OK","chanId":13}') == []
    with pytest.raises(DecodeError, match="unknown channel"):
        decoded(decoder, snapshot(2))


def test_a_stream_ended_before_its_acknowledgement_ends_with_it() -> None:
    decoder = Bitfinex().decoder()
    decoder.subscribe([BOOK])
    assert decoder.unsubscribe([BOOK]) == []
    assert decoded(decoder, subscribed(13, prec="P0")) == [Reply('{"event": "unsubscribe", "chanId": 13}')]


def test_a_book_subscribed_twice_is_ended_and_subscribed_again_when_that_is_acknowledged() -> None:
    decoder = acknowledged()
    twice = b'{"event":"error","msg":"subscribe: dup","code":10301,"channel":"book","symbol":"tAAAUSD","prec":"P0"}'
    assert decoded(decoder, twice) == [Reply('{"event": "unsubscribe", "chanId": 13}')]
    assert decoded(decoder, twice) == []
    (reply,) = decoded(decoder, b'{"event":"unsubscribed","status":"OK","chanId":13}')
    assert isinstance(reply, Reply)
    assert json.loads(reply.frame)["event"] == "subscribe"
    assert decoded(decoder, twice) == []  # not acknowledged yet


def test_other_channels_subscribed_twice_are_accepted() -> None:
    twice = b'{"event":"error","msg":"subscribe: dup","code":10301,"channel":"trades","symbol":"tAAAUSD"}'
    assert decoded(acknowledged(), twice) == [Accepted(Stream("trade", "tAAAUSD"))]


def test_a_refusal_that_names_nothing_refuses_no_stream_for_certain() -> None:
    frame = b'{"event":"error","msg":"unknown event","code":10000}'
    assert decoded(acknowledged(), frame) == [Refused(None, "10000: unknown event")]
    assert decoded(acknowledged(), frame.replace(b"10000", b"10400")) == []


def test_raw_books_and_candles_are_known_and_make_no_rows() -> None:
    decoder = Bitfinex().decoder()
    assert decoded(decoder, subscribed(13, prec="R0")) == []
    assert decoded(decoder, b'{"event":"subscribed","channel":"candles","chanId":5,"key":"trade:1m:tBTCUSD"}') == []
    assert decoded(decoder, frame(13, "[[1,2,3]]"), frame(5, "[[1,2,3,4,5,6]]")) == [Alive(), Alive()]


@pytest.mark.parametrize("text", ["NaN", '"1"', "1e400", "null", "[]", "9" * 400, "0", "-0.0"])
def test_an_amount_that_is_none_is_refused_and_changes_nothing(text: str) -> None:
    decoder = acknowledged()
    decoded(decoder, snapshot(1))
    for bad in (update("0.5", 1, text, 2), frame(11, f'"te",[7,{MS},{text},1]', 2)):
        with pytest.raises(DecodeError):
            decoded(decoder, bad)
    checksum = NaiveBook([("0.5", "1", "2"), ("0.4", "1", "3"), ("0.6", "1", "-4")]).checksum()
    assert decoded(decoder, frame(13, f'"cs",{checksum}', 2)) == [Alive(BOOK)]
    assert decoder.audits == {"tAAAUSD": Audit(checksums_passed=1)}


def test_flags_that_were_refused_are_noticed() -> None:
    with pytest.raises(DecodeError, match="unknown message"):
        decoded(Bitfinex().decoder(), b'{"event":"conf","status":"FAILED","flags":196608}')


def test_only_lengths_on_offer_are_accepted() -> None:
    with pytest.raises(ConfigError, match="1, 25, 100, 250"):
        Bitfinex(book_depth=50)
