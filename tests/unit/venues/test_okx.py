"""OKX: the contract, checksums by an independent reading, and the exact events of handmade frames."""

import json
import zlib
from collections.abc import Sequence
from typing import Any, ClassVar

import pytest
from support.captured_data import CAPTURES
from support.venues.contract import NOW_NS, OWN, VenueContract, decode_all, lines

from recorder.cli.decode.file_decoder import FileDecoder
from recorder.errors import ConfigError, DecodeError
from recorder.events import Accepted, Alive, Book, Ending, Output, Quote, Refused, Resync, Stream, Trade
from recorder.venues.base import Audit, Listing
from recorder.venues.okx.checksum_2026_06 import OkxUntil202606Decoder
from recorder.venues.okx.stream import Okx
from recorder.venues.orderbook import Side

TIME_MS = 1_772_719_200_001
TIME_NS = TIME_MS * 1_000_000
CHECKED = ("okx/v5_20210722_l2tbt_1.jsonl", "okx/v5_20220513.jsonl")
Levels = Sequence[tuple[str, str]]


class TestOkx(VenueContract):
    name = "okx"
    symbols = ("BTC-USDT", "ETH-USDT-SWAP")
    captures = (*CHECKED, "okx/single_trades_gct.jsonl")
    listing_body = (
        b'{"code":"0","msg":"","data":[{"instType":"SPOT","instId":"AAA-USDT","baseCcy":"AAA","quoteCcy":"USDT",'
        b'"uly":"","tickSz":"0.1","lotSz":"0.00000001","minSz":"0.00001","state":"live"},{"instType":"SWAP",'
        b'"instId":"AAA-USD-SWAP","baseCcy":"","quoteCcy":"","uly":"AAA-USD","tickSz":"0.1","minSz":"",'
        b'"state":"preopen"}]}'
    )
    listings: ClassVar[list[Listing]] = [
        Listing("AAA-USDT", "AAA", "USDT", "spot", "0.1", "0.00001", "live"),
        Listing("AAA-USD-SWAP", "AAA", "USD", "perpetual", "0.1", None, "preopen", trades=False),
    ]

    @staticmethod
    def trades_in(message: Any) -> int:
        return len(message.get("data", [])) if message.get("arg", {}).get("channel") == "trades" else 0


def frame(channel: str, *data: object, **more: object) -> bytes:
    message = {"arg": {"channel": channel, "instId": "A-USDT"}, **more, "data": data}
    return json.dumps(message, separators=(",", ":")).encode()


def trade(number: int = 7, count: int | None = 1, side: str = "buy", size: str = "0.5") -> bytes:
    fields = {"instId": "A-USDT", "tradeId": str(number), "px": "10.01", "sz": size, "side": side, "ts": str(TIME_MS)}
    return frame("trades", fields | ({} if count is None else {"count": str(count)}))


def book(action: str, bids: Levels = (), asks: Levels = (), **numbers: int) -> bytes:
    sides = {
        "asks": [[price, size, "0", "1"] for price, size in asks],
        "bids": [[price, size, "0", "1"] for price, size in bids],
    }
    return frame("books", {**sides, "ts": str(TIME_MS), **numbers}, action=action)


def row(sequence: int | None, bids: list[tuple[float, float]], *, snapshot: bool = False) -> Book:
    return Book("A-USDT", TIME_NS, NOW_NS, snapshot, sequence, bids, [(11.0, 2.0)] if snapshot else [])


SNAPSHOT = book("snapshot", [("10", "3")], [("11", "2")], checksum=0, seqId=100, prevSeqId=-1)


def naive_checksum(bids: dict[str, str], asks: dict[str, str]) -> int:
    """Compute the checksum by the vendor's rule: rank by rank, skipping an exhausted side."""
    best_bids = sorted(bids.items(), key=lambda level: -float(level[0]))[:25]
    best_asks = sorted(asks.items(), key=lambda level: float(level[0]))[:25]
    parts: list[str] = []
    for rank in range(25):
        for side in (best_bids, best_asks):
            if rank < len(side):
                parts += side[rank]
    return int.from_bytes(zlib.crc32(":".join(parts).encode()).to_bytes(4, "big"), "big", signed=True)


# ---- trades ------------------------------------------------------------------------------------------------


def test_a_trade_keeps_the_side_of_its_taker_and_the_number_of_merged_fills() -> None:
    assert decode_all(Okx(), [trade(7), trade(10, 3, "sell"), trade(11, None)]) == [
        Trade("A-USDT", 7, TIME_NS, NOW_NS, 10.01, 0.5, "b"),
        Trade("A-USDT", 10, TIME_NS, NOW_NS, 10.01, 0.5, "s", count=3),
        Trade("A-USDT", 11, TIME_NS, NOW_NS, 10.01, 0.5, "b"),
    ]


def test_the_sides_of_a_capture_are_those_of_takers() -> None:
    """A buyer hits the ask: every trade is at or beyond the best price of the book before it."""
    outputs = decode_all(Okx(), lines(CAPTURES / "okx/v5_20220513.jsonl"))
    books: dict[str, tuple[Side[float], Side[float]]] = {}
    best: dict[str, list[tuple[int, float, float]]] = {}
    for output in outputs:
        if isinstance(output, Book) and output.ts_event_ns is not None:
            sides = (Side[float](), Side[float]()) if output.snapshot else books[output.symbol]
            books[output.symbol] = sides
            for side, levels in zip(sides, (output.bids, output.asks), strict=True):
                side.apply(levels)
            best.setdefault(output.symbol, []).append((output.ts_event_ns, sides[0].prices[-1], sides[1].prices[0]))
    compared = 0
    for trade in (output for output in outputs if isinstance(output, Trade)):
        before = [prices for prices in best.get(trade.symbol, []) if prices[0] <= trade.ts_event_ns]
        if before:
            _, bid, ask = before[-1]
            assert trade.price >= ask if trade.aggressor == "b" else trade.price <= bid
            compared += 1
    assert compared == 71


def gaps(*frames: bytes) -> list[tuple[Any, Any, Any]]:
    """Return the trade gaps that a recorder declares: cause and both ends."""
    decoder = FileDecoder(Okx().decoder(), Okx.contiguous, lambda: NOW_NS)
    for one in frames:
        list(decoder.frame(one, NOW_NS))
    return [(gap["cause"], gap["last_id"], gap["first_id"]) for gap in decoder.gaps()]


def test_ids_that_step_by_the_count_leave_no_gap() -> None:
    assert gaps(trade(7), trade(8), trade(11, 3), trade(12)) == []


def test_a_missing_fill_is_a_gap_that_ends_at_the_first_id_of_the_next_trade() -> None:
    """Otherwise the fills of that trade would be fetched again and counted twice."""
    assert gaps(trade(7), trade(11, 3), trade(12)) == [("sequence", 7, 9)]


def test_ids_that_rise_by_one_in_spite_of_a_count_are_no_gap() -> None:
    """No capture shows ids that step by the count, as documented; if they do not, there is no false alarm."""
    assert gaps(trade(7), trade(8, 3), trade(9, 2)) == []


@pytest.mark.parametrize("name", CHECKED)
def test_no_trade_id_of_a_capture_is_missing(name: str) -> None:
    last: dict[str, int] = {}
    for output in decode_all(Okx(), lines(CAPTURES / name)):
        if isinstance(output, Trade):
            assert last.setdefault(output.symbol, output.trade_id - 1) == output.trade_id - 1
            last[output.symbol] = output.trade_id
    assert last


@pytest.mark.parametrize(("number", "count"), [(2**63, 1), (7, 0), (7, -1), (7, 2**40)])
def test_an_id_or_a_count_that_cannot_be_is_refused(number: int, count: int) -> None:
    with pytest.raises(DecodeError):
        decode_all(Okx(), [trade(number, count)])


def test_a_trade_of_an_unknown_side_is_refused() -> None:
    with pytest.raises(DecodeError):
        decode_all(Okx(), [trade(side="maybe")])


# ---- quotes ------------------------------------------------------------------------------------------------


def test_the_best_prices_are_a_quote_with_its_sequence_and_a_side_may_be_empty() -> None:
    top = {"asks": [["10.02", "2", "0", "1"]], "bids": [["10", "3", "0", "2"]], "ts": str(TIME_MS), "seqId": 9}
    assert decode_all(Okx(), [frame("bbo-tbt", top), frame("bbo-tbt", {**top, "asks": []})]) == [
        Quote("A-USDT", TIME_NS, NOW_NS, 9, 10.0, 3.0, 10.02, 2.0),
        Quote("A-USDT", TIME_NS, NOW_NS, 9, 10.0, 3.0, None, None),
    ]


def test_a_ticker_is_a_quote_without_a_sequence_and_an_empty_text_is_no_price() -> None:
    ticker = {"instId": "A-USDT", "askPx": "", "askSz": "", "bidPx": "10", "bidSz": "3", "ts": str(TIME_MS)}
    assert decode_all(Okx(), [frame("tickers", ticker)]) == [
        Quote("A-USDT", TIME_NS, NOW_NS, None, 10.0, 3.0, None, None)
    ]
    with pytest.raises(DecodeError):
        decode_all(Okx(), [frame("tickers", {**ticker, "bidPx": "nan"})])


# ---- books -------------------------------------------------------------------------------------------------


def test_updates_are_chained_by_their_sequence_ids() -> None:
    decoder = Okx().decoder()
    assert decoder.decode(SNAPSHOT, NOW_NS) == (row(100, [(10.0, 3.0)], snapshot=True),)
    assert decoder.decode(book("update", [("9", "1")], seqId=150, prevSeqId=100), NOW_NS) == (row(150, [(9.0, 1.0)]),)
    assert decoder.decode(book("update", [("8", "1")], seqId=170, prevSeqId=160), NOW_NS) == (
        Resync("A-USDT", "sequence", "update after 160, ours is 150"), row(170, [(8.0, 1.0)])
    )  # fmt: skip
    assert decoder.decode(book("update", [("7", "1")], seqId=180, prevSeqId=170), NOW_NS) == (row(180, [(7.0, 1.0)]),)
    assert decoder.decode(SNAPSHOT, NOW_NS) == (row(100, [(10.0, 3.0)], snapshot=True),)  # and continues


def test_equal_ids_without_levels_are_a_keep_alive_and_no_row() -> None:
    decoder = Okx().decoder()
    decoder.decode(SNAPSHOT, NOW_NS)
    assert decoder.decode(book("update", seqId=100, prevSeqId=100), NOW_NS) == (Alive(Stream("book", "A-USDT")),)


def test_a_keep_alive_beyond_our_book_requests_a_new_one_and_is_no_row() -> None:
    for first in (SNAPSHOT, None):
        decoder = Okx().decoder()
        if first is not None:
            decoder.decode(first, NOW_NS)
        (resync,) = decoder.decode(book("update", seqId=107, prevSeqId=107), NOW_NS)
        assert isinstance(resync, Resync)
        assert resync.cause == ("sequence" if first is not None else "no_snapshot")
        assert decoder.decode(book("update", seqId=107, prevSeqId=107), NOW_NS) == ()  # already requested


def test_a_sequence_that_restarts_after_maintenance_continues_from_the_smaller_id() -> None:
    decoder = Okx().decoder()
    decoder.decode(SNAPSHOT, NOW_NS)
    assert decoder.decode(book("update", [("9", "1")], seqId=3, prevSeqId=100), NOW_NS) == (row(3, [(9.0, 1.0)]),)
    assert decoder.decode(book("update", [("8", "1")], seqId=9, prevSeqId=3), NOW_NS) == (row(9, [(8.0, 1.0)]),)
    assert isinstance(decoder.decode(book("update", seqId=101, prevSeqId=100), NOW_NS)[0], Resync)


def test_a_crossed_book_requests_a_new_one() -> None:
    decoder = Okx().decoder()
    decoder.decode(SNAPSHOT, NOW_NS)
    resync, _ = decoder.decode(book("update", [("11", "1")], seqId=101, prevSeqId=100), NOW_NS)
    assert resync == Resync("A-USDT", "crossed", "bid 11.0 at or above ask 11.0")
    assert decoder.audits == {"A-USDT": Audit(crossed=1)}


@pytest.mark.parametrize("text", ["nan", "-1", "1e400", "", " 1", "1_0", "\u0661"])
def test_a_level_that_is_no_amount_is_refused_and_changes_nothing(text: str) -> None:
    decoder = Okx().decoder()
    decoder.decode(SNAPSHOT, NOW_NS)
    for bad in (("9", text), (text, "1")):
        with pytest.raises(DecodeError):
            decoder.decode(book("update", [("12", "1"), bad], seqId=101, prevSeqId=100), NOW_NS)
    assert decoder.decode(book("update", seqId=101, prevSeqId=100), NOW_NS) == (row(101, []),)


# ---- checksums, until 2026-06-23 --------------------------------------------------------------------------


def test_checksums_of_captures_agree_with_an_independent_reading() -> None:
    checked = 0
    for name in CHECKED:
        captured = lines(CAPTURES / name)
        books: dict[str, tuple[dict[str, str], dict[str, str]]] = {}
        rows: dict[str, int] = {}
        for message in map(json.loads, captured):
            if "action" in message:
                symbol = message["arg"]["instId"]
                if message["action"] == "snapshot":
                    books[symbol] = ({}, {})
                (data,) = message["data"]
                for side, key in zip(books[symbol], ("bids", "asks"), strict=True):
                    for price, size, _, _ in data[key]:
                        side[price] = size
                        if size == "0":
                            del side[price]
                assert naive_checksum(*books[symbol]) == data["checksum"]
                rows[symbol] = rows.get(symbol, 0) + 1
        decoder = OkxUntil202606Decoder()
        for one in captured:
            decoder.decode(one, NOW_NS)
        assert decoder.audits == {symbol: Audit(checksums_passed=count) for symbol, count in rows.items()}
        checked += sum(rows.values())
    assert checked == 1504 + 290


def test_a_checksum_is_verified_as_soon_as_the_venue_gives_one() -> None:
    decoder = OkxUntil202606Decoder()
    decoder.decode(SNAPSHOT, NOW_NS)
    right = naive_checksum({"10": "3", "9": "1"}, {"11": "2"})
    update = book("update", [("9", "1")], checksum=right, seqId=101, prevSeqId=100)
    assert decoder.decode(update, NOW_NS) == (row(101, [(9.0, 1.0)]),)
    assert decoder.audits == {"A-USDT": Audit(checksums_passed=1)}
    wrong = book("update", [("8", "1")], checksum=right, seqId=102, prevSeqId=101)
    resync, kept = decoder.decode(wrong, NOW_NS)
    assert isinstance(resync, Resync)
    assert resync.cause == "checksum"
    assert kept == row(102, [(8.0, 1.0)])
    snapshot = book("snapshot", [("10", "3.0")], [("11", "2")], checksum=naive_checksum({"10": "3.0"}, {"11": "2"}))
    assert [type(output) for output in decoder.decode(snapshot, NOW_NS)] == [Book]
    assert decoder.audits == {"A-USDT": Audit(checksums_passed=2, checksums_failed=1)}


def test_broken_chains_and_crossed_books_are_noticed_beside_checksums() -> None:
    decoder = OkxUntil202606Decoder()
    decoder.decode(SNAPSHOT, NOW_NS)
    broken = book("update", [("9", "1")], checksum=5, seqId=150, prevSeqId=120)
    assert [type(output) for output in decoder.decode(broken, NOW_NS)] == [Resync, Book]
    decoder.decode(SNAPSHOT, NOW_NS)
    crossed = book("update", [("11", "1")], checksum=0, seqId=101, prevSeqId=100)
    assert [type(output) for output in decoder.decode(crossed, NOW_NS)] == [Resync, Book]
    decoder.decode(SNAPSHOT, NOW_NS)
    assert decoder.decode(book("update", seqId=100, prevSeqId=100), NOW_NS) == (Alive(Stream("book", "A-USDT")),)


def test_a_wrong_checksum_requests_a_new_book_once() -> None:
    decoder = OkxUntil202606Decoder()
    right = naive_checksum({"10": "3"}, {"11": "2"})
    decoder.decode(book("snapshot", [("10", "3")], [("11", "2")], checksum=right), NOW_NS)
    resync, kept = decoder.decode(book("update", [("9", "1")], checksum=right), NOW_NS)
    assert isinstance(resync, Resync)
    assert resync.cause == "checksum"
    assert kept == row(None, [(9.0, 1.0)])
    assert [type(output) for output in decoder.decode(book("update", [("8", "1")], checksum=1), NOW_NS)] == [Book]
    assert decoder.audits == {"A-USDT": Audit(checksums_passed=1, checksums_failed=1)}


def test_a_snapshot_that_fails_its_checksum_comes_before_the_request_for_another() -> None:
    frame = book("snapshot", [("10", "3")], [("11", "2")], checksum=7)
    assert [type(output) for output in OkxUntil202606Decoder().decode(frame, NOW_NS)] == [Book, Resync]


def test_a_side_that_is_exhausted_is_passed_over_in_the_checksum() -> None:
    bids = {f"{10 - number / 10:g}": "1" for number in range(30)}
    for asks in ({}, {"11": "2"}):
        right = naive_checksum(bids, asks)
        decoder = OkxUntil202606Decoder()
        decoder.decode(book("snapshot", list(bids.items()), list(asks.items()), checksum=right), NOW_NS)
        assert decoder.audits == {"A-USDT": Audit(checksums_passed=1)}


def test_a_constant_zero_is_no_checksum_and_neither_is_its_absence() -> None:
    for decoder in (Okx().decoder(), OkxUntil202606Decoder()):
        for one in lines(OWN / "okx/handmade.jsonl"):
            assert not [output for output in decoder.decode(one, NOW_NS) if isinstance(output, Resync)]
        assert decoder.audits == {}


@pytest.mark.parametrize("name", CHECKED)
def test_the_rows_of_a_capture_are_the_same_with_and_without_its_checksums(name: str) -> None:
    captured = lines(CAPTURES / name)
    decoder = OkxUntil202606Decoder()
    assert [output for one in captured for output in decoder.decode(one, NOW_NS)] == decode_all(Okx(), captured)


# ---- answers -----------------------------------------------------------------------------------------------


def test_text_pongs_and_other_notices_are_alive_and_no_data() -> None:
    for one in (b"pong", b'{"event":"notice","code":"1","msg":"x"}', b'{"event":"channel-conn-count","connCount":"1"}'):
        assert decode_all(Okx(), [one]) == [Alive()]


def test_the_notice_of_an_upgrade_announces_the_end() -> None:
    assert decode_all(Okx(), [b'{"event":"notice","code":"64008","msg":"soon"}']) == [Ending("64008: soon")]


def test_answers_name_their_streams_under_current_and_earlier_names() -> None:
    def answered(channel: str) -> list[Output]:
        arg = {"channel": channel, "instId": "A-USDT"}
        return decode_all(Okx(), [json.dumps({"event": "subscribe", "arg": arg, "connId": "x"}).encode()])

    assert answered("trades") == [Accepted(Stream("trade", "A-USDT"))]
    assert answered("bbo-tbt") == answered("tickers") == [Accepted(Stream("quote", "A-USDT"))]
    assert answered("books") == answered("books-l2-tbt") == [Accepted(Stream("book", "A-USDT"))]
    assert answered("candle1m") == []


def test_a_refusal_names_its_stream_where_its_text_does() -> None:
    def refusal(text: str) -> list[Output]:
        return decode_all(Okx(), [json.dumps({"event": "error", "code": "60018", "msg": text}).encode()])

    known = "Wrong URL or channel:books,instId:X-Y doesn't exist. Please use the correct URL"
    assert refusal(known) == [Refused(Stream("book", "X-Y"), f"60018: {known}")]
    assert refusal("Please log in") == [Refused(None, "60018: Please log in")]
    assert refusal("channel:candle1m,instId:X-Y doesn't exist") == [
        Refused(None, "60018: channel:candle1m,instId:X-Y doesn't exist")
    ]


@pytest.mark.parametrize(
    "bad", [frame("surprise", {}), frame("books", action="update"), b'{"event":"surprise"}', b"ping"]
)
def test_an_unknown_message_is_refused(bad: bytes) -> None:
    with pytest.raises(DecodeError):
        decode_all(Okx(), [bad])


def test_a_message_whose_keys_come_in_another_order_means_the_same() -> None:
    for usual in (trade(), SNAPSHOT):
        turned = json.dumps(dict(reversed(json.loads(usual).items()))).encode()
        assert decode_all(Okx(), [turned]) == decode_all(Okx(), [usual])


def test_todays_delta_of_a_capture_is_understood() -> None:
    refused, resync, delta = decode_all(Okx(), lines(CAPTURES / "okx/v5_single_20260808.jsonl"))
    assert refused == Refused(None, "60011: Please log in")
    assert isinstance(resync, Resync)
    assert isinstance(delta, Book)
    assert (delta.sequence, delta.bids) == (8693644373, [(64835.8, 0.00459528), (64010.0, 0.0)])


def test_a_real_list_of_instruments_is_understood() -> None:
    (line,) = lines(CAPTURES / "okx/rest_instruments_spot_20220513.rest.jsonl")
    listings = Okx().listings(json.loads(line)["raw"].encode())
    assert listings[0] == Listing("BTC-USDT", "BTC", "USDT", "spot", "0.1", "0.00001", "live")
    assert len(listings) == 12


def test_a_refused_list_gives_the_reason() -> None:
    with pytest.raises(DecodeError, match="51001"):
        Okx().listings(b'{"code":"51001","msg":"Instrument ID does not exist","data":[]}')


def test_a_depth_cannot_be_chosen() -> None:
    with pytest.raises(ConfigError, match="400 levels"):
        Okx(book_depth=10)
