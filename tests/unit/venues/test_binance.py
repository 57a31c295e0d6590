"""Binance: its data for the contract, the join of snapshots and deltas, exact events of frames written by hand."""

import json
from collections.abc import Sequence
from typing import Any, ClassVar
from urllib.parse import urlsplit

import pytest
from contract import DATA, NOW_NS, OWN, VenueContract, decode_all, lines

from recorder.cli.frame_files import receive_times
from recorder.errors import ConfigError, DecodeError
from recorder.events import Accepted, Alive, Book, Ending, Fetch, Output, Quote, Refused, Resync, Stream, Trade
from recorder.venues.base import Audit, Listing
from recorder.venues.binance import Binance, BinanceSession

TIME_MS = 1_772_719_200_001
TIME_NS = TIME_MS * 1_000_000
PATH = "/api/v3/depth?symbol=AUSDT&limit=1000"
CAPTURES = (
    "spot_20210405.jsonl.gz", "spot_btcusdt_20240808.jsonl.gz", "spot_ethusdt_20240808.jsonl.gz",
    "spot_sync_20211011.jsonl",
)  # fmt: skip
Levels = Sequence[tuple[str, str]]


class TestBinance(VenueContract):
    name = "binance"
    symbols = ("BTCUSDT", "ETHBTC")
    book_by_rest = True
    captures = tuple(f"binance/{name}" for name in CAPTURES)
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


def delta(first: int, last: int, bids: Levels = (), asks: Levels = (), symbol: str = "AUSDT") -> bytes:
    return wrapped(
        f"{symbol.lower()}@depth@100ms", e="depthUpdate", E=TIME_MS, s=symbol, U=first, u=last, b=bids, a=asks
    )


def answer(last: int, bids: Levels = (("10", "3"),), asks: Levels = (("11", "2"),), path: str = PATH) -> bytes:
    return rest(path, 200, json.dumps({"lastUpdateId": last, "bids": bids, "asks": asks}))


def rest(path: str, status: int, body: str) -> bytes:
    return f'{{"rest":{json.dumps(path)},"status":{status},"body":{body}}}'.encode()


def row(last: int, bids: list[tuple[float, float]], asks: list[tuple[float, float]], *, snapshot: bool = False) -> Book:
    return Book("AUSDT", TIME_NS, NOW_NS, snapshot, last, bids, asks)


def of(kind: type, outputs: Sequence[Output]) -> list[Output]:
    return [output for output in outputs if isinstance(output, kind)]


def session() -> BinanceSession:
    return Binance().session()


def joined() -> BinanceSession:
    """A session whose book of AUSDT is whole up to id 105."""
    made = session()
    made.decode(answer(100), NOW_NS)
    made.decode(delta(99, 105), NOW_NS)
    return made


# ---- trades and quotes -------------------------------------------------------------------------------------


def test_the_taker_sold_where_the_buyer_was_the_maker() -> None:
    assert decode_all(Binance(), [trade(7, buyer_is_maker=True), trade(8)]) == [
        Trade("AUSDT", 7, TIME_NS, NOW_NS, 10.01, 0.5, "s"),
        Trade("AUSDT", 8, TIME_NS, NOW_NS, 10.01, 0.5, "b"),
    ]


def test_times_in_microseconds_are_told_from_milliseconds() -> None:
    (output,) = decode_all(Binance(), [trade(time=TIME_MS * 1000 + 7)])
    assert isinstance(output, Trade)
    assert output.ts_event_ns == TIME_NS + 7000


@pytest.mark.parametrize("name", CAPTURES[1:3])
def test_trade_ids_of_a_capture_have_no_hole(name: str) -> None:
    ids = [output.trade_id for output in decode_all(Binance(), lines(DATA / "captures/binance" / name))
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


@pytest.mark.parametrize("name", CAPTURES)
def test_a_capture_means_the_same_without_its_wrapper(name: str) -> None:
    captured = lines(DATA / "captures/binance" / name)[:3000]
    bare = [frame[frame.index(b'"data":') + 7 : -1] for frame in captured]
    assert decode_all(Binance(), bare) == decode_all(Binance(), captured)


@pytest.mark.parametrize("text", ["nan", "NaN", "inf", "-1", "1e400", "", " 1", "1_0", "0x1f"])
def test_a_price_that_is_no_amount_is_refused(text: str) -> None:
    for bad in (trade(price=text), delta(1, 2, [(text, "1")]), delta(1, 2, [("1", text)])):
        with pytest.raises(DecodeError):
            session().decode(bad, NOW_NS)


# ---- books -------------------------------------------------------------------------------------------------


def test_the_first_delta_asks_for_a_snapshot_over_rest_and_is_kept() -> None:
    assert decode_all(Binance(book_depth=5000), [delta(101, 102, [("10", "1")])]) == [
        Resync("AUSDT", "no_snapshot", "delta before a snapshot"),
        Fetch("AUSDT", "/api/v3/depth?symbol=AUSDT&limit=5000"),
        row(102, [(10.0, 1.0)], []),
    ]


def test_a_snapshot_row_holds_the_deltas_that_came_while_it_was_on_its_way() -> None:
    early = delta(95, 99, [("10", "7")])
    late = delta(100, 103, [("10.5", "4")], [("11", "0"), ("12", "1")])
    outputs = decode_all(Binance(), [early, late, answer(100)])
    assert outputs[-1] == row(103, [(10.5, 4.0), (10.0, 3.0)], [(12.0, 1.0)], snapshot=True)


def test_a_delta_that_begins_right_after_the_snapshot_joins_it() -> None:
    """The vendor's words ask for the snapshot's own id inside the delta; most real pairs are neighbours instead."""
    made = session()
    assert made.decode(answer(100), NOW_NS) == (
        Book("AUSDT", None, NOW_NS, True, 100, [(10.0, 3.0)], [(11.0, 2.0)]),
    )  # fmt: skip
    assert made.decode(delta(101, 104, [("10", "0")]), NOW_NS) == (row(104, [(10.0, 0.0)], []),)


def test_deltas_that_a_snapshot_holds_already_leave_no_row() -> None:
    """Their old sizes behind the snapshot would undo what it says."""
    made = session()
    made.decode(answer(100), NOW_NS)
    assert made.decode(delta(90, 100, [("10", "9")]), NOW_NS) == ()
    assert made.decode(delta(101, 101), NOW_NS) == (row(101, [], []),)
    assert made.decode(delta(101, 101), NOW_NS) == ()  # a repeat likewise


def test_a_snapshot_older_than_the_deltas_is_asked_for_again() -> None:
    made = session()
    made.decode(delta(110, 112), NOW_NS)
    assert made.decode(answer(108), NOW_NS) == (Fetch("AUSDT", PATH),)
    (whole,) = made.decode(answer(109), NOW_NS)
    assert isinstance(whole, Book)
    assert (whole.snapshot, whole.sequence) == (True, 112)


def test_a_hole_between_the_deltas_on_hold_needs_a_snapshot_from_behind_it() -> None:
    made = session()
    for held in (delta(110, 112), delta(115, 116)):
        made.decode(held, NOW_NS)
    assert made.decode(answer(111), NOW_NS) == (Fetch("AUSDT", PATH),)
    (whole,) = made.decode(answer(114), NOW_NS)
    assert isinstance(whole, Book)
    assert whole.sequence == 116


def test_a_missing_delta_asks_again_for_this_symbol_alone() -> None:
    made = joined()
    made.decode(answer(50, path=PATH.replace("AUSDT", "BUSDT")), NOW_NS)
    outputs = made.decode(delta(107, 108), NOW_NS)
    assert outputs == (Resync("AUSDT", "sequence", "update 107 after 105"), Fetch("AUSDT", PATH), row(108, [], []))
    assert made.decode(delta(109, 109), NOW_NS) == (row(109, [], []),)  # asked once
    assert len(made.decode(delta(51, 51, symbol="BUSDT"), NOW_NS)) == 1  # the other lives on
    (whole,) = made.decode(answer(107), NOW_NS)
    assert isinstance(whole, Book)
    assert whole.sequence == 109


def test_a_crossed_book_asks_for_a_new_one() -> None:
    made = joined()
    outputs = made.decode(delta(106, 106, [("11", "1")]), NOW_NS)
    assert outputs[0] == Resync("AUSDT", "crossed", "bid 11.0 at or above ask 11.0")
    assert made.audits == {"AUSDT": Audit(crossed=1)}


@pytest.mark.parametrize(
    ("status", "body"), [(429, '{"code":-1003,"msg":"Too many requests"}'), (503, '"<html>"'), (0, "null")]
)
def test_an_answer_that_is_no_snapshot_is_asked_for_again(status: int, body: str) -> None:
    made = session()
    made.decode(delta(110, 112), NOW_NS)
    assert made.decode(rest(PATH, status, body), NOW_NS) == (Fetch("AUSDT", PATH),)
    assert len(made.decode(answer(111), NOW_NS)) == 1


def test_a_snapshot_that_cannot_be_read_changes_nothing() -> None:
    made = session()
    made.decode(delta(110, 112), NOW_NS)
    for body in ('"<html>"', "null", '{"bids":[]}'):
        with pytest.raises(DecodeError):
            made.decode(rest(PATH, 200, body), NOW_NS)
    assert len(made.decode(answer(111), NOW_NS)) == 1


def test_an_answer_for_a_book_that_stands_repeats_it_whole() -> None:
    """The link asks when a row may be missing from the tape, though none was missing here."""
    made = joined()
    for asked in (answer(103), answer(105), rest(PATH, 0, "null")):
        assert made.decode(asked, NOW_NS) == (
            Book("AUSDT", None, NOW_NS, True, 105, [(10.0, 3.0)], [(11.0, 2.0)]),
        )  # fmt: skip
    assert made.decode(delta(106, 106), NOW_NS) == (row(106, [], []),)


def test_an_answer_newer_than_the_deltas_that_came_is_the_book_from_then_on() -> None:
    made = joined()
    newer = answer(120, (("10", "4"),))
    assert made.decode(newer, NOW_NS) == (Book("AUSDT", None, NOW_NS, True, 120, [(10.0, 4.0)], [(11.0, 2.0)]),)
    assert made.decode(delta(106, 118), NOW_NS) == ()
    assert made.decode(delta(119, 121), NOW_NS) == (row(121, [], []),)


def test_an_answer_to_another_question_is_refused() -> None:
    with pytest.raises(DecodeError, match="not ours"):
        session().decode(rest("/api/v3/time", 200, "{}"), NOW_NS)


def with_answers(name: str) -> list[tuple[int, bytes]]:
    """Frames of a capture and the REST answers taken beside it, by time of receipt."""
    path = DATA / "captures/binance" / name
    frames = [(ts, frame) for ts, frame in zip(receive_times(path), lines(path), strict=True) if ts is not None]
    assert len(frames) == len(lines(path))
    for line in lines(path.with_name(name.split(".")[0] + ".rest.jsonl")):
        taken = json.loads(line, parse_float=str, parse_int=str)
        url = urlsplit(taken["url"])
        seconds, _, rest_of = taken["ts"].partition(".")
        ts_ns = int(seconds) if len(seconds) == 19 else int(seconds) * 10**9 + int(rest_of[:9].ljust(9, "0"))
        frames.append((ts_ns, rest(f"{url.path}?{url.query}", 200, taken["raw"])))
    return sorted(frames, key=lambda frame: frame[0])


@pytest.mark.parametrize(("name", "books"), tuple(zip(CAPTURES, (10, 1, 1, 4), strict=True)))
def test_every_snapshot_of_a_capture_is_joined_at_once_and_no_delta_breaks_the_chain(name: str, books: int) -> None:
    made = session()
    outputs = [output for ts_ns, frame in with_answers(name) for output in made.decode(frame, ts_ns)]
    assert [output.cause for output in outputs if isinstance(output, Resync)] == ["no_snapshot"] * books
    assert len(of(Fetch, outputs)) == books
    snapshots = [output for output in outputs if isinstance(output, Book) and output.snapshot]
    assert len(snapshots) == books
    deltas = sum(json.loads(line)["data"].get("e") == "depthUpdate" for line in lines(DATA / "captures/binance" / name))
    stale = deltas + books - len(of(Book, outputs))
    assert stale == {"spot_20210405.jsonl.gz": 57, "spot_sync_20211011.jsonl": 1}.get(name, 0)
    assert made.audits == {}  # never crossed


@pytest.mark.parametrize("name", CAPTURES)
def test_the_book_of_the_rows_is_the_book_of_a_join_written_from_the_rules(name: str) -> None:
    frames = with_answers(name)
    made = session()
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


def test_both_forms_of_an_error_tell_their_reason() -> None:
    forms = [b'{"code":2,"msg":"Invalid request","id":1}', b'{"error":{"code":3,"msg":"Bad"}}']
    assert decode_all(Binance(), forms) == [Refused(None, "2: Invalid request"), Refused(None, "3: Bad")]


def test_the_announcement_of_an_end_is_told() -> None:
    bare = b'{"e":"serverShutdown","E":1772719202000}'
    assert (
        decode_all(Binance(), [bare, b'{"stream":"!serverShutdown","data":' + bare + b"}"])
        == [Ending("serverShutdown")] * 2
    )


def test_aggregates_and_candles_are_known_and_are_no_rows() -> None:
    assert decode_all(Binance(), lines(OWN / "binance/handmade.jsonl")[10:12]) == []


def test_many_streams_are_asked_for_in_few_frames_and_then_listed() -> None:
    streams = [Stream("trade", f"S{number}USDT") for number in range(250)]
    frames = [json.loads(text) for text in Binance().subscribe(streams)]
    assert [frame["method"] for frame in frames] == ["SUBSCRIBE"] * 3 + ["LIST_SUBSCRIPTIONS"]
    assert [len(frame.get("params", [])) for frame in frames] == [100, 100, 50, 0]
    assert len({frame["id"] for frame in frames}) == 4
    assert [json.loads(text)["method"] for text in Binance().unsubscribe(streams)] == ["UNSUBSCRIBE"] * 3


def test_a_depth_that_is_not_on_offer_is_refused() -> None:
    with pytest.raises(ConfigError, match="100, 500, 1000, 5000"):
        Binance(book_depth=11)
