"""Binance: the contract, the join of snapshots and deltas, and the exact events of handmade frames."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from support.captured_data import CAPTURES
from support.venues.contract import NOW_NS, OWN, VenueContract, decode_all, lines

from recorder.cli.decode.frame_files import receive_times
from recorder.errors import ConfigError, DecodeError
from recorder.events import Accepted, Alive, Book, Ending, Fetch, Output, Quote, Refused, Resync, Stream, Trade
from recorder.venues.base import Audit, Listing
from recorder.venues.binance.stream import Binance, BinanceDecoder

TIME_MS = 1_772_719_200_001
TIME_NS = TIME_MS * 1_000_000
S = 10**9
PATH = "/api/v3/depth?symbol=AUSDT&limit=1000"
FILES = (
    "spot_20210405.jsonl.gz", "spot_btcusdt_20240808.jsonl.gz", "spot_ethusdt_20240808.jsonl.gz",
    "spot_sync_20211011.jsonl",
)  # fmt: skip
Levels = Sequence[tuple[str, str]]


class TestBinance(VenueContract):
    name = "binance"
    symbols = ("BTCUSDT", "ETHBTC")
    book_by_rest = True
    captures = tuple(f"binance/{name}" for name in FILES)
    listing_body = (
        b'{"timezone":"UTC","rateLimits":[],"symbols":[{"symbol":"AAAUSDT","status":"TRADING","baseAsset":"AAA",'
        b'"quoteAsset":"USDT","filters":[{"filterType":"PRICE_FILTER","minPrice":"0.01","tickSize":"0.01000000"},'
        b'{"filterType":"LOT_SIZE","minQty":"0.00010000","stepSize":"0.00010000"}]}]}'
    )
    listings: ClassVar[list[Listing]] = [
        Listing("AAAUSDT", "AAA", "USDT", "spot", "0.01000000", "0.00010000", "TRADING")
    ]

    @staticmethod
    def trades_in(message: Any) -> int:
        return int(message.get("data", message).get("e") == "trade")

    @staticmethod
    def spelled(stream: Stream) -> str:
        wire = {"trade": "trade", "quote": "bookTicker", "book": "depth@100ms"}
        return f"{stream.symbol.lower()}@{wire[stream.channel]}"


def wrapped(stream: str, **data: object) -> bytes:
    return json.dumps({"stream": stream, "data": data}, separators=(",", ":")).encode()


def trade(number: int = 7, *, buyer_is_maker: bool = False, price: str = "10.01000000", time: int = TIME_MS) -> bytes:
    return wrapped(
        "ausdt@trade", e="trade", E=time, s="AUSDT", t=number, p=price, q="0.50000000", T=time, m=buyer_is_maker, M=True
    )


def delta(
    first: int, last: int, bids: Levels = (), asks: Levels = (), symbol: str = "AUSDT", time: int = TIME_MS
) -> bytes:
    return wrapped(f"{symbol.lower()}@depth@100ms", e="depthUpdate", E=time, s=symbol, U=first, u=last, b=bids, a=asks)


def answer(last: int, bids: Levels = (("10", "3"),), asks: Levels = (("11", "2"),), path: str = PATH) -> bytes:
    return rest(path, 200, json.dumps({"lastUpdateId": last, "bids": bids, "asks": asks}))


def rest(path: str, status: int, body: str) -> bytes:
    return f'{{"rest":{json.dumps(path)},"status":{status},"body":{body}}}'.encode()


def row(last: int, bids: list[tuple[float, float]], asks: list[tuple[float, float]], *, snapshot: bool = False) -> Book:
    return Book("AUSDT", TIME_NS, NOW_NS, snapshot, last, bids, asks)


def of(kind: type, outputs: Sequence[Output]) -> list[Output]:
    return [output for output in outputs if isinstance(output, kind)]


def decoder() -> BinanceDecoder:
    return Binance().decoder()


def joined() -> BinanceDecoder:
    """Return a decoder whose book of AUSDT is complete up to id 105."""
    made = decoder()
    made.decode(answer(100), NOW_NS)
    made.decode(delta(99, 105), NOW_NS)
    return made


# ---- trades and quotes -------------------------------------------------------------------------------------


def test_the_taker_sold_where_the_buyer_was_the_maker() -> None:
    assert decode_all(Binance(), [trade(7, buyer_is_maker=True), trade(8)]) == [
        Trade("AUSDT", 7, TIME_NS, NOW_NS, 10.01, 0.5, "s"),
        Trade("AUSDT", 8, TIME_NS, NOW_NS, 10.01, 0.5, "b"),
    ]


def test_times_in_microseconds_are_distinguished_from_milliseconds() -> None:
    (output,) = decode_all(Binance(), [trade(time=TIME_MS * 1000 + 7)])
    assert isinstance(output, Trade)
    assert output.ts_event_ns == TIME_NS + 7000


@pytest.mark.parametrize("name", FILES[1:3])
def test_no_trade_id_of_a_capture_is_missing(name: str) -> None:
    ids = [output.trade_id for output in decode_all(Binance(), lines(CAPTURES / "binance" / name))
           if isinstance(output, Trade)]  # fmt: skip
    assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_a_ticker_is_a_quote_without_a_time_of_the_venue() -> None:
    fields = {"u": 9, "s": "AUSDT", "b": "10.00", "B": "3", "a": "10.02", "A": "2.5"}
    expected = [Quote("AUSDT", None, NOW_NS, 9, 10.0, 3.0, 10.02, 2.5)]
    assert decode_all(Binance(), [wrapped("ausdt@bookTicker", **fields)]) == expected
    assert decode_all(Binance(), [json.dumps(fields).encode()]) == expected


def test_a_message_means_the_same_without_its_wrapper_and_with_its_keys_turned() -> None:
    for usual in (trade(), delta(1, 2, [("9", "1")])):
        message = json.loads(usual)
        turned = {"data": dict(reversed(message["data"].items())), "stream": message["stream"]}
        for other in (turned, message["data"]):
            assert decode_all(Binance(), [json.dumps(other).encode()]) == decode_all(Binance(), [usual])


@pytest.mark.parametrize("name", FILES)
def test_a_capture_means_the_same_without_its_wrapper(name: str) -> None:
    captured = lines(CAPTURES / "binance" / name)[:3000]
    bare = [frame[frame.index(b'"data":') + 7 : -1] for frame in captured]
    assert decode_all(Binance(), bare) == decode_all(Binance(), captured)


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-1", "1e400", "", " 1", "1_0", "0x1f"])
def test_a_price_that_is_no_amount_is_refused(text: str) -> None:
    for bad in (trade(price=text), delta(1, 2, [(text, "1")]), delta(1, 2, [("1", text)])):
        with pytest.raises(DecodeError):
            decoder().decode(bad, NOW_NS)


# ---- books -------------------------------------------------------------------------------------------------


def test_the_first_delta_requests_a_snapshot_over_rest_and_is_kept() -> None:
    assert decode_all(Binance(book_depth=5000), [delta(101, 102, [("10", "1")])]) == [
        Resync("AUSDT", "no_snapshot", "delta before a snapshot"),
        Fetch("AUSDT", "/api/v3/depth?symbol=AUSDT&limit=5000"),
        row(102, [(10.0, 1.0)], []),
    ]


def test_a_snapshot_row_contains_the_deltas_that_arrived_before_it() -> None:
    early = delta(95, 99, [("10", "7")])
    late = delta(100, 103, [("10.5", "4")], [("11", "0"), ("12", "1")])
    outputs = decode_all(Binance(), [early, late, answer(100)])
    assert outputs[-1] == row(103, [(10.5, 4.0), (10.0, 3.0)], [(12.0, 1.0)], snapshot=True)


def test_a_delta_that_begins_right_after_the_snapshot_joins_it() -> None:
    """The vendor requires the snapshot's own id inside the delta, but most real pairs are neighbours instead."""
    made = decoder()
    assert made.decode(answer(100), NOW_NS) == (
        Book("AUSDT", None, NOW_NS, True, 100, [(10.0, 3.0)], [(11.0, 2.0)]),
    )  # fmt: skip
    assert made.decode(delta(101, 104, [("10", "0")]), NOW_NS) == (row(104, [(10.0, 0.0)], []),)


def test_deltas_that_a_snapshot_already_contains_make_no_row() -> None:
    """After the snapshot, their older sizes would overwrite newer ones."""
    made = decoder()
    made.decode(answer(100), NOW_NS)
    assert made.decode(delta(90, 100, [("10", "9")]), NOW_NS) == ()
    assert made.decode(delta(101, 101), NOW_NS) == (row(101, [], []),)
    assert made.decode(delta(101, 101), NOW_NS) == ()  # neither does a repeat


def test_a_snapshot_older_than_the_deltas_is_requested_again() -> None:
    made = decoder()
    made.decode(delta(110, 112), NOW_NS)
    assert made.decode(answer(108), NOW_NS) == (Fetch("AUSDT", PATH),)
    (snapshot,) = made.decode(answer(109), NOW_NS)
    assert isinstance(snapshot, Book)
    assert (snapshot.snapshot, snapshot.sequence) == (True, 112)


def test_a_missing_delta_among_those_held_needs_a_snapshot_from_after_it() -> None:
    made = decoder()
    for held in (delta(110, 112), delta(115, 116)):
        made.decode(held, NOW_NS)
    assert made.decode(answer(111), NOW_NS) == (Fetch("AUSDT", PATH),)
    (snapshot,) = made.decode(answer(114), NOW_NS)
    assert isinstance(snapshot, Book)
    assert snapshot.sequence == 116


def test_a_missing_delta_requests_a_new_book_of_this_symbol_only() -> None:
    made = joined()
    made.decode(answer(50, path=PATH.replace("AUSDT", "BUSDT")), NOW_NS)
    outputs = made.decode(delta(107, 108), NOW_NS)
    assert outputs == (Resync("AUSDT", "sequence", "update 107 after 105"), Fetch("AUSDT", PATH), row(108, [], []))
    assert made.decode(delta(109, 109), NOW_NS) == (row(109, [], []),)  # requested once
    assert len(made.decode(delta(51, 51, symbol="BUSDT"), NOW_NS)) == 1  # the other book continues
    (snapshot,) = made.decode(answer(107), NOW_NS)
    assert isinstance(snapshot, Book)
    assert snapshot.sequence == 109


def test_a_crossed_book_requests_a_new_one() -> None:
    made = joined()
    outputs = made.decode(delta(106, 106, [("11", "1")]), NOW_NS)
    assert outputs[0] == Resync("AUSDT", "crossed", "bid 11.0 at or above ask 11.0")
    assert made.audits == {"AUSDT": Audit(crossed=1)}


@pytest.mark.parametrize(
    ("status", "body"), [(429, '{"code":-1003,"msg":"Too many requests"}'), (503, '"<html>"'), (0, "null")]
)
def test_an_answer_that_is_no_snapshot_is_requested_again(status: int, body: str) -> None:
    made = decoder()
    made.decode(delta(110, 112), NOW_NS)
    assert made.decode(rest(PATH, status, body), NOW_NS) == (Fetch("AUSDT", PATH),)
    assert len(made.decode(answer(111), NOW_NS)) == 1


def test_a_snapshot_that_cannot_be_read_changes_nothing() -> None:
    made = decoder()
    made.decode(delta(110, 112), NOW_NS)
    for body in ('"<html>"', "null", '{"bids":[]}'):
        with pytest.raises(DecodeError):
            made.decode(rest(PATH, 200, body), NOW_NS)
    assert len(made.decode(answer(111), NOW_NS)) == 1


@pytest.mark.parametrize("older", [answer(103), rest(PATH, 0, "null")])
def test_an_answer_older_than_a_complete_book_proves_nothing_and_is_requested_again(older: bytes) -> None:
    """The link requests a book when a row may be missing in storage, even if the decoder missed none."""
    made = joined()
    assert made.decode(older, NOW_NS) == (Fetch("AUSDT", PATH),)
    assert made.decode(delta(106, 108, [("10", "8")]), NOW_NS) == (row(108, [(10.0, 8.0)], []),)
    assert made.decode(answer(106), NOW_NS) == (row(108, [(10.0, 8.0)], [(11.0, 2.0)], snapshot=True),)
    assert made.decode(delta(109, 109), NOW_NS) == (row(109, [], []),)


def test_an_answer_at_the_id_of_a_complete_book_is_a_snapshot() -> None:
    made = joined()
    assert made.decode(answer(105, (("10", "9"),)), NOW_NS) == (
        Book("AUSDT", None, NOW_NS, True, 105, [(10.0, 9.0)], [(11.0, 2.0)]),
    )  # fmt: skip


def test_an_answer_ahead_of_the_deltas_is_a_snapshot_once_they_reach_it() -> None:
    made = joined()
    assert made.decode(answer(120, (("10", "4"),)), NOW_NS) == ()
    assert made.decode(delta(106, 118), NOW_NS) == (row(118, [], []),)
    outputs = made.decode(delta(119, 121, (), [("12", "1")]), NOW_NS)
    assert outputs == (
        row(121, [], [(12.0, 1.0)]), row(121, [(10.0, 4.0)], [(11.0, 2.0), (12.0, 1.0)], snapshot=True),
    )  # fmt: skip


def test_an_answer_that_the_deltas_never_reach_is_no_snapshot_and_a_later_one_replaces_it() -> None:
    made = decoder()
    made.decode(delta(101, 105), NOW_NS)
    assert made.decode(answer(9_000_000), NOW_NS) == ()
    for number in range(106, 110):
        assert made.decode(delta(number, number), NOW_NS) == (row(number, [], []),)
    assert made.decode(answer(110), NOW_NS) == ()
    assert made.decode(delta(110, 111), NOW_NS)[-1] == row(111, [(10.0, 3.0)], [(11.0, 2.0)], snapshot=True)


def test_a_second_answer_ahead_is_a_snapshot_where_the_stream_was_silent_between_them() -> None:
    made = decoder()
    made.decode(delta(101, 105), NOW_NS)
    assert made.decode(answer(107), NOW_NS) == ()
    (snapshot,) = made.decode(answer(107), NOW_NS + 2 * S)
    assert isinstance(snapshot, Book)
    assert (snapshot.snapshot, snapshot.sequence) == (True, 107)


def test_a_crossed_answer_is_no_snapshot() -> None:
    made = decoder()
    made.decode(delta(101, 105), NOW_NS)
    resync, fetch = made.decode(answer(104, (("12", "1"),)), NOW_NS)
    assert isinstance(resync, Resync)
    assert (resync.cause, fetch) == ("crossed", Fetch("AUSDT", PATH))
    assert made.audits == {"AUSDT": Audit(crossed=1)}


def test_ids_that_begin_again_lower_are_noticed_at_the_first_delta_made_later() -> None:
    made = joined()
    again = delta(7, 9, [("9", "1")], time=TIME_MS + 100)
    resync, fetch, kept = made.decode(again, NOW_NS)
    assert resync == Resync("AUSDT", "sequence_reset", "update 9 is not after 105, but was made later")
    assert (fetch, kept) == (Fetch("AUSDT", PATH), Book("AUSDT", TIME_NS + 10**8, NOW_NS, False, 9, [(9.0, 1.0)], []))
    (snapshot,) = made.decode(answer(8), NOW_NS)
    assert isinstance(snapshot, Book)
    assert snapshot.sequence == 9


def test_ids_below_the_book_without_a_later_time_are_noticed_within_seconds_and_all_become_rows() -> None:
    made = joined()
    assert made.decode(delta(7, 8), NOW_NS) == ()
    assert made.decode(delta(9, 9), NOW_NS + S) == ()
    outputs = made.decode(delta(10, 10), NOW_NS + 4 * S)
    assert [output.cause for output in outputs if isinstance(output, Resync)] == ["sequence"]
    assert [output.sequence for output in outputs if isinstance(output, Book)] == [8, 9, 10]
    assert len(made.decode(answer(8), NOW_NS + 4 * S)) == 1  # joined with those held


def test_a_snapshot_of_another_cluster_before_any_delta_is_noticed_within_seconds() -> None:
    made = decoder()
    assert len(made.decode(answer(9_000_000), NOW_NS)) == 1
    assert made.decode(delta(101, 105), NOW_NS + S) == ()
    outputs = made.decode(delta(106, 108), NOW_NS + 4 * S)
    assert isinstance(outputs[0], Resync)
    assert [output.sequence for output in outputs if isinstance(output, Book)] == [105, 108]


def test_an_answer_to_another_question_is_refused() -> None:
    with pytest.raises(DecodeError, match="not ours"):
        decoder().decode(rest("/api/v3/time", 200, "{}"), NOW_NS)


def with_answers(name: str) -> list[tuple[int, bytes]]:
    """Return the frames of a capture and the REST answers recorded beside it, by time of receipt."""
    path = CAPTURES / "binance" / name
    frames = [(ts, frame) for ts, frame in zip(receive_times(path), lines(path), strict=True) if ts is not None]
    assert len(frames) == len(lines(path))
    for line in lines(path.with_name(name.split(".")[0] + ".rest.jsonl")):
        kept = json.loads(line, parse_float=str, parse_int=str)
        url = urlsplit(kept["url"])
        seconds, _, rest_of = kept["ts"].partition(".")
        ts_ns = int(seconds) if len(seconds) == 19 else int(seconds) * 10**9 + int(rest_of[:9].ljust(9, "0"))
        frames.append((ts_ns, rest(f"{url.path}?{url.query}", 200, kept["raw"])))
    return sorted(frames, key=lambda frame: frame[0])


@pytest.mark.parametrize(("name", "books"), tuple(zip(FILES, (10, 1, 1, 4), strict=True)))
def test_every_snapshot_of_a_capture_is_joined_and_no_delta_breaks_the_chain(name: str, books: int) -> None:
    made = decoder()
    outputs = [output for ts_ns, frame in with_answers(name) for output in made.decode(frame, ts_ns)]
    assert [output.cause for output in outputs if isinstance(output, Resync)] == ["no_snapshot"] * books
    assert len(of(Fetch, outputs)) == books
    snapshots = [output for output in outputs if isinstance(output, Book) and output.snapshot]
    assert len(snapshots) == books
    deltas = sum(json.loads(line)["data"].get("e") == "depthUpdate" for line in lines(CAPTURES / "binance" / name))
    assert deltas + books == len(of(Book, outputs))  # a snapshot ahead of its deltas waits for them
    assert made.audits == {}  # never crossed


@pytest.mark.parametrize("name", FILES)
def test_the_book_of_the_rows_is_the_book_of_a_join_written_from_the_rules(name: str) -> None:
    frames = with_answers(name)
    made = decoder()
    ours: dict[str, tuple[dict[float, float], dict[float, float]]] = {}
    theirs: dict[str, tuple[dict[float, float], dict[float, float]]] = {}
    events: dict[str, list[Any]] = {}
    last: dict[str, int] = {}
    for ts_ns, frame in frames:
        for output in made.decode(frame, ts_ns):
            if isinstance(output, Book) and (output.snapshot or output.symbol in ours):
                sides = ours.setdefault(output.symbol, ({}, {}))
                for side, levels in zip(sides, (output.bids, output.asks), strict=True):
                    if output.snapshot:
                        side.clear()
                    side.update(levels)
        message = json.loads(frame)
        if "rest" in message:
            symbol = message["rest"].partition("symbol=")[2].partition("&")[0]
            body = message["body"]
            last[symbol] = body["lastUpdateId"]
            theirs[symbol] = tuple({float(p): float(q) for p, q in body[side]} for side in ("bids", "asks"))  # type: ignore[assignment]
        elif message["data"].get("e") == "depthUpdate":
            events.setdefault(message["data"]["s"], []).append(message["data"])
    for symbol, snapshot in theirs.items():
        for event in events[symbol]:
            if event["u"] > last[symbol]:
                assert event["U"] <= last[symbol] + 1
                last[symbol] = event["u"]
                for side, key in zip(snapshot, ("b", "a"), strict=True):
                    side.update((float(p), float(q)) for p, q in event[key])
    standing = {symbol: tuple({p: q for p, q in side.items() if q} for side in sides) for symbol, sides in ours.items()}
    assert standing == {
        symbol: tuple({p: q for p, q in side.items() if q} for side in sides) for symbol, sides in theirs.items()
    }


# ---- answers -----------------------------------------------------------------------------------------------


def test_the_list_of_subscriptions_names_the_streams_and_the_empty_answer_none() -> None:
    assert decode_all(Binance(), lines(OWN / "binance/handmade.jsonl")[:2]) == [
        Alive(), Accepted(Stream("trade", "AAAUSDT")), Accepted(Stream("quote", "AAAUSDT")),
        Accepted(Stream("book", "AAAUSDT")),
    ]  # fmt: skip


def test_both_forms_of_an_error_give_their_reason() -> None:
    forms = [b'{"code":2,"msg":"Invalid request","id":1}', b'{"error":{"code":3,"msg":"Bad"}}']
    assert decode_all(Binance(), forms) == [Refused(None, "2: Invalid request"), Refused(None, "3: Bad")]


def test_the_announcement_of_an_end_is_reported() -> None:
    bare = b'{"e":"serverShutdown","E":1772719202000}'
    assert (
        decode_all(Binance(), [bare, b'{"stream":"!serverShutdown","data":' + bare + b"}"])
        == [Ending("serverShutdown")] * 2
    )


def test_aggregates_and_candles_are_known_and_are_no_rows() -> None:
    assert decode_all(Binance(), lines(OWN / "binance/handmade.jsonl")[10:12]) == []


def test_many_streams_are_requested_in_few_frames_and_then_listed() -> None:
    streams = [Stream("trade", f"S{number}USDT") for number in range(250)]
    frames = [json.loads(text) for text in Binance().subscribe(streams)]
    assert [frame["method"] for frame in frames] == ["SUBSCRIBE"] * 3 + ["LIST_SUBSCRIPTIONS"]
    assert [len(frame.get("params", [])) for frame in frames] == [100, 100, 50, 0]
    assert len({frame["id"] for frame in frames}) == 4
    assert [json.loads(text)["method"] for text in Binance().unsubscribe(streams)] == ["UNSUBSCRIBE"] * 3


def test_a_depth_that_is_not_on_offer_is_refused() -> None:
    with pytest.raises(ConfigError, match="100, 500, 1000, 5000"):
        Binance(book_depth=11)
