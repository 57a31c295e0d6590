"""OKX v5 public: merged trades, best bid and ask tick by tick, books chained by seqId and once proved by a CRC32.

The protocol, with sources and what to watch for, is in okx.md beside this file.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, ClassVar, Literal
from zlib import crc32

import msgspec

from recorder.errors import ConfigError, DecodeError
from recorder.events import (
    Accepted,
    Alive,
    Book,
    Channel,
    Ending,
    GapCause,
    Levels,
    Output,
    Quote,
    Refused,
    Resync,
    Stream,
    Trade,
)
from recorder.orderbook import RankedSide
from recorder.timestamps import plausible
from recorder.venues.base import MALFORMED, Amount, Audit, Day, Heartbeat, Int64, Limits, Listing, RestLimits

WIRE_CHANNEL: dict[Channel, str] = {"trade": "trades", "quote": "bbo-tbt", "book": "books"}
CHANNEL_OF_WIRE: dict[str, Channel] = {
    "trades": "trade", "bbo-tbt": "quote", "tickers": "quote",
    "books": "book", "books-l2-tbt": "book", "books50-l2-tbt": "book",  # the last two need a login today
}  # fmt: skip
AGGRESSOR: dict[str, Literal["b", "s"]] = {"buy": "b", "sell": "s"}  # side is the taker's
CHECKED_LEVELS = 25
UPGRADE = "64008"  # notice: the connection will be cut in about a minute
LISTED = ("SPOT", "SWAP", "FUTURES")  # options are listed per underlying only
KIND = {"SPOT": "spot", "SWAP": "perpetual", "FUTURES": "future", "OPTION": "option"}
_CHANNEL = re.compile(rb'\{"arg":\{"channel":"([\w-]+)"')
_LEVEL = re.compile(rb'\["([0-9.]+","[0-9.]+)","')  # price and size as spelled
_NAMED = re.compile(r"channel:([\w-]+),instId:([\w-]+)")  # how an error names what it refuses

_Row = tuple[Amount, Amount, str, str]  # price, size, a dead field, number of orders


class _Arg(msgspec.Struct, gc=False):
    channel: str
    instId: str = ""  # noqa: N815


class _TradeData(msgspec.Struct, gc=False):
    instId: str  # noqa: N815
    tradeId: Int64  # noqa: N815
    px: Amount
    sz: Amount
    side: Literal["buy", "sell"]
    ts: Int64
    count: Annotated[int, msgspec.Meta(ge=1, le=2**31)] = 1  # before 2023 each trade came alone


class _TradeMessage(msgspec.Struct, gc=False):
    data: list[_TradeData]


class _TopData(msgspec.Struct, gc=False):
    asks: list[_Row]
    bids: list[_Row]
    ts: Int64
    seqId: Int64 | None = None  # noqa: N815


class _TopMessage(msgspec.Struct, gc=False):
    arg: _Arg
    data: list[_TopData]


class _TickerData(msgspec.Struct, gc=False):
    instId: str  # noqa: N815
    askPx: Amount  # noqa: N815
    askSz: Amount  # noqa: N815
    bidPx: Amount  # noqa: N815
    bidSz: Amount  # noqa: N815
    ts: Int64


class _TickerMessage(msgspec.Struct, gc=False):
    data: list[_TickerData]


class _OneSidedData(msgspec.Struct, gc=False):
    """The same where a side is empty: its numbers are empty texts."""

    instId: str  # noqa: N815
    askPx: str  # noqa: N815
    askSz: str  # noqa: N815
    bidPx: str  # noqa: N815
    bidSz: str  # noqa: N815
    ts: Int64


class _OneSidedMessage(msgspec.Struct, gc=False):
    data: list[_OneSidedData]


class _BookData(msgspec.Struct, gc=False):
    asks: list[_Row]
    bids: list[_Row]
    ts: Int64
    checksum: int | None = None  # constant 0 since 2026-06-23: not provided
    seqId: Int64 | None = None  # noqa: N815
    prevSeqId: Int64 | None = None  # noqa: N815


class _BookMessage(msgspec.Struct, gc=False):
    arg: _Arg
    action: Literal["snapshot", "update"]
    data: list[_BookData]


class _SpelledData(msgspec.Struct, gc=False):
    """The same levels as the venue spelled them: the checksum is over the text."""

    asks: list[tuple[str, str, str, str]]
    bids: list[tuple[str, str, str, str]]


class _SpelledMessage(msgspec.Struct, gc=False):
    data: list[_SpelledData]


class _Envelope(msgspec.Struct, gc=False):
    """Everything that is no trade, quote or book."""

    event: str | None = None
    arg: _Arg | None = None
    code: str = ""
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw()


def _decoder(kind: Any) -> Any:
    return msgspec.json.Decoder(kind, strict=False).decode  # lax: numbers arrive as strings


_decode_trade, _decode_top, _decode_ticker = _decoder(_TradeMessage), _decoder(_TopMessage), _decoder(_TickerMessage)
_decode_one_sided = _decoder(_OneSidedMessage)
_decode_book, _decode_spelled = _decoder(_BookMessage), _decoder(_SpelledMessage)
_decode_envelope = msgspec.json.Decoder(_Envelope).decode

_Ranked = list[tuple[float, bytes]]
"""Levels as a RankedSide takes them: `price:size` as spelled where checksums are to be read, else a mark."""


class _OkxBook:
    """One book, to be proved by checksums where it is spelled."""

    __slots__ = ("_sum", "asks", "bids", "sequence", "spelled")

    def __init__(self, sequence: int | None, spelled: bool, bids: _Ranked, asks: _Ranked) -> None:
        self.sequence = sequence
        self.spelled = spelled
        self.bids = RankedSide(bids)
        self.asks = RankedSide(asks)
        self._sum: int | None = None  # of the best levels as they stand

    def apply(self, bids: _Ranked, asks: _Ranked) -> None:
        if bids and self.bids.apply(bids) < CHECKED_LEVELS:
            self._sum = None
        if asks and self.asks.apply(asks) < CHECKED_LEVELS:
            self._sum = None

    def checksum(self) -> int:
        """Signed CRC-32 of the 25 best levels, a bid and an ask in turn; a side that has ended is passed over."""
        if self._sum is None:
            bids, asks = self.bids.texts[:CHECKED_LEVELS], self.asks.texts[:CHECKED_LEVELS]
            texts = bids + asks
            if len(bids) == len(asks):
                texts[::2], texts[1::2] = bids, asks
            else:
                both = min(len(bids), len(asks))
                texts[: 2 * both : 2], texts[1 : 2 * both : 2] = bids[:both], asks[:both]
                texts[2 * both :] = bids[both:] or asks[both:]
            number = crc32(b":".join(texts))
            self._sum = number - (1 << 32) if number >= 1 << 31 else number
        return self._sum


class OkxSession:
    """Decoder of one connection."""

    def __init__(self) -> None:
        self.audits: dict[str, Audit] = {}
        self._books: dict[str, _OkxBook] = {}
        self._asked: set[str] = set()  # symbols whose snapshot is on its way: ask once

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        if frame == b"pong":
            return (Alive(),)
        try:
            kind = _CHANNEL.match(frame)
            if kind is not None:
                return self._data(kind[1].decode(), frame, ts_recv_ns)
            envelope = _decode_envelope(frame)
            if envelope.event is None and envelope.arg is not None and envelope.data:
                return self._data(envelope.arg.channel, frame, ts_recv_ns)
            return _control(envelope, frame)
        except MALFORMED as error:
            raise DecodeError(str(error)) from error

    def _data(self, wire: str, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        match wire:
            case "books" | "books-l2-tbt" | "books50-l2-tbt":
                return self._book_message(_decode_book(frame), frame, ts_recv_ns)
            case "bbo-tbt":
                message = _decode_top(frame)
                return [_top(message.arg.instId, row, ts_recv_ns) for row in message.data]
            case "trades":
                return [_trade(row, ts_recv_ns) for row in _decode_trade(frame).data]
            case "tickers":
                return _tickers(frame, ts_recv_ns)
            case "instruments" | "books5" | "status":
                return ()  # known, not recorded as rows; the frame is in the journal
        if wire.startswith("candle"):
            return ()
        raise DecodeError(f"unknown channel {wire[:40]!r}")

    def _book_message(self, m: _BookMessage, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        symbol = m.arg.instId
        snapshot = m.action == "snapshot"
        if not symbol or len(m.data) != 1:  # never seen otherwise; more than one could not be applied whole or not
            raise DecodeError(f"a book message of {len(m.data)} books for {symbol!r}")
        (data,) = m.data
        book = self._books.get(symbol)
        if not data.bids and not data.asks and data.seqId is not None and data.seqId == data.prevSeqId:
            return self._unchanged(symbol, book, data)
        spelled = bool(data.checksum) if snapshot else book is not None and book.spelled
        if spelled:
            texts = _texts(frame, data)
            bids, bid_ranks = _spelled(data.bids, texts, len(data.asks), -1.0)
            asks, ask_ranks = _spelled(data.asks, texts, 0, 1.0)
        else:
            bids, bid_ranks = _marked(data.bids, -1.0)
            asks, ask_ranks = _marked(data.asks, 1.0)
        row = Book(symbol, _clock(data.ts, ts_recv_ns), ts_recv_ns, snapshot, data.seqId, bids, asks)
        if snapshot:
            self._asked.discard(symbol)
            book = self._books[symbol] = _OkxBook(data.seqId, spelled, bid_ranks, ask_ranks)
        elif book is None:
            if symbol in self._asked:
                return (row,)
            return self._ask(symbol, "no_snapshot", "delta before a snapshot", row)
        else:
            if data.seqId is not None and data.prevSeqId != book.sequence:
                return self._ask(symbol, "sequence", f"update after {data.prevSeqId}, ours is {book.sequence}", row)
            book.apply(bid_ranks, ask_ranks)
            book.sequence = data.seqId  # smaller after maintenance: a new epoch, chained to the old one all the same
        return self._verdict(symbol, book, data, row)

    def _unchanged(self, symbol: str, book: _OkxBook | None, data: _BookData) -> Sequence[Output]:
        """Nothing changed for a minute: no row, whatever became of our book."""
        if symbol in self._asked:
            return ()
        if book is not None and data.seqId == book.sequence:
            return (Alive(Stream("book", symbol)),)
        self._books.pop(symbol, None)
        self._asked.add(symbol)
        if book is None:
            return (Resync(symbol, "no_snapshot", "keep-alive before a snapshot"),)
        return (Resync(symbol, "sequence", f"keep-alive at {data.seqId}, ours is {book.sequence}"),)

    def _verdict(self, symbol: str, book: _OkxBook, data: _BookData, row: Book) -> Sequence[Output]:
        """The row, and a request for a new book where the checksum or the best prices refute this one."""
        if data.checksum:
            if not book.spelled:
                return self._ask(symbol, "checksum", "the venue gives checksums again: a whole book can be proved", row)
            audit = self.audits.get(symbol)
            if audit is None:
                audit = self.audits[symbol] = Audit()
            ours = book.checksum()
            if ours != data.checksum:
                audit.checksums_failed += 1
                return self._ask(symbol, "checksum", f"ours {ours}, the venue's {data.checksum}", row)
            audit.checksums_passed += 1
        bids, asks = book.bids.ranks, book.asks.ranks
        if bids and asks and -bids[0] >= asks[0]:
            self.audits.setdefault(symbol, Audit()).crossed += 1
            return self._ask(symbol, "crossed", f"bid {-bids[0]} at or above ask {asks[0]}", row)
        return (row,)

    def _ask(self, symbol: str, cause: GapCause, reason: str, row: Book) -> Sequence[Output]:
        self._books.pop(symbol, None)
        self._asked.add(symbol)
        resync = Resync(symbol, cause, reason)
        # A gap begins before the row it follows from; but a snapshot ends gaps: its own failure opens one behind it.
        return (row, resync) if row.snapshot else (resync, row)


def _marked(rows: list[_Row], sign: float) -> tuple[Levels, _Ranked]:
    """One side as numbers, and ranked."""
    levels: Levels = [(price, size) for price, size, _, _ in rows]
    return levels, [(price * sign, b"-" if size else b"") for price, size in levels]


def _spelled(rows: list[_Row], texts: list[bytes], at: int, sign: float) -> tuple[Levels, _Ranked]:
    """The same with texts for the checksum, which begin at a place among those of the frame."""
    levels: Levels = []
    ranked: _Ranked = []
    for price, size, _, _ in rows:  # counted beside, as zip() costs more: most sides have a level or two
        levels.append((price, size))
        ranked.append((price * sign, texts[at].replace(b'","', b":") if size else b""))
        at += 1
    return levels, ranked


def _texts(frame: bytes, data: _BookData) -> list[bytes]:
    """Price and size as spelled, `","` between them: of the asks, then of the bids.

    They are looked for in the frame: to decode it once more costs twice that.
    """
    texts = _LEVEL.findall(frame)
    if len(texts) == len(data.asks) + len(data.bids) and frame.find(b'"asks":') < frame.find(b'"bids":'):
        return texts
    (spelled,) = _decode_spelled(frame).data
    return [b'%b","%b' % (price.encode(), size.encode()) for price, size, _, _ in (*spelled.asks, *spelled.bids)]


def _trade(row: _TradeData, ts_recv_ns: int) -> Trade:
    aggressor = AGGRESSOR[row.side]
    return Trade(
        row.instId, row.tradeId, row.ts * 1_000_000, ts_recv_ns, row.px, row.sz, aggressor, None, row.count
    )  # fmt: skip


def _top(symbol: str, row: _TopData, ts_recv_ns: int) -> Quote:
    bid, bid_size = row.bids[0][:2] if row.bids else (None, None)
    ask, ask_size = row.asks[0][:2] if row.asks else (None, None)
    return Quote(symbol, _clock(row.ts, ts_recv_ns), ts_recv_ns, row.seqId, bid, bid_size, ask, ask_size)


def _tickers(frame: bytes, ts_recv_ns: int) -> list[Quote]:
    try:
        rows = _decode_ticker(frame).data
        return [_ticker(row, ts_recv_ns, row.bidPx, row.bidSz, row.askPx, row.askSz) for row in rows]
    except msgspec.ValidationError:
        return [
            _ticker(row, ts_recv_ns, *map(_amount, (row.bidPx, row.bidSz, row.askPx, row.askSz)))
            for row in _decode_one_sided(frame).data
        ]


def _amount(text: str) -> float | None:
    return msgspec.convert(text, Amount, strict=False) if text else None  # empty where a side is


def _ticker(
    row: _TickerData | _OneSidedData,
    ts_recv_ns: int,
    bid: float | None,
    bid_size: float | None,
    ask: float | None,
    ask_size: float | None,
) -> Quote:
    return Quote(row.instId, _clock(row.ts, ts_recv_ns), ts_recv_ns, None, bid, bid_size, ask, ask_size)


def _clock(time_ms: int, ts_recv_ns: int) -> int | None:
    time_ns = time_ms * 1_000_000
    return time_ns if plausible(time_ns, ts_recv_ns) else None


def _control(m: _Envelope, frame: bytes) -> Sequence[Output]:
    match m:
        case _Envelope(event="subscribe", arg=_Arg(wire, symbol)):
            channel = CHANNEL_OF_WIRE.get(wire)
            return () if channel is None else (Accepted(Stream(channel, symbol)),)
        case _Envelope(event="unsubscribe"):
            return ()
        case _Envelope(event="error"):
            named = _NAMED.search(m.msg)
            channel = CHANNEL_OF_WIRE.get(named[1]) if named else None
            stream = Stream(channel, named[2]) if named and channel else None
            return (Refused(stream, f"{m.code}: {m.msg}"),)
        case _Envelope(event="notice", code=code):
            return (Ending(f"{code}: {m.msg}") if code == UPGRADE else Alive(),)
        case _Envelope(event="channel-conn-count" | "channel-conn-count-error"):
            return (Alive(),)
    raise DecodeError(f"unknown message {frame[:200]!r}")


class Okx:
    """The public feed of the global entity."""

    name: ClassVar[str] = "okx"
    url: ClassVar[str] = "wss://ws.okx.com:8443/ws/v5/public"
    rest_url: ClassVar[str] = "https://www.okx.com"
    # Fewer than 30 books a connection are advised; 480 requests an hour and connection; 3 connects a second.
    limits: ClassVar[Limits] = Limits(streams_per_link=90, frames_per_s=3, connects_per_minute=60)
    rest: ClassVar[RestLimits] = RestLimits(per_s=5, burst=5)  # 20 requests in 2 s for instruments and for tickers
    heartbeat: ClassVar[Heartbeat] = Heartbeat(every_s=10, frame="ping", silence_s=30)
    channels: ClassVar[tuple[Channel, ...]] = ("trade", "quote", "book")
    contiguous: ClassVar[frozenset[Channel]] = frozenset({"trade"})  # by Trade.count
    listing_paths: ClassVar[tuple[str, ...]] = tuple(f"/api/v5/public/instruments?instType={kind}" for kind in LISTED)
    volume_paths: ClassVar[tuple[str, ...]] = tuple(f"/api/v5/market/tickers?instType={kind}" for kind in LISTED)

    def __init__(self, url: str | None = None, *, book_depth: int | None = None) -> None:
        if book_depth is not None:
            raise ConfigError("okx sends books of 400 levels: remove book_depth from its settings")
        self.endpoint = url or self.url

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        return _requests("subscribe", streams)

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return _requests("unsubscribe", streams)

    def session(self) -> OkxSession:
        return OkxSession()

    def listings(self, body: bytes) -> list[Listing]:
        try:
            answer = msgspec.json.decode(body, type=_Instruments)
        except MALFORMED as error:
            raise DecodeError(f"instrument list: {error}") from error
        if answer.code != "0":  # with HTTP status 200
            raise DecodeError(f"instrument list refused: {answer.code} {answer.msg}")
        listings = []
        for row in answer.data:
            base, _, quote = row.uly.partition("-")  # derivatives name their underlying instead
            kind = KIND.get(row.instType, row.instType.lower())
            base, quote = row.baseCcy or base, row.quoteCcy or quote
            listings.append(
                Listing(
                    row.instId, base, quote, kind, row.tickSz or None, row.minSz or None, row.state,
                    trades=row.state == "live",
                )
            )  # fmt: skip
        return listings

    def volumes(self, body: bytes) -> dict[str, Day]:
        try:
            answer = msgspec.json.decode(body, type=_DayTickers)
            if answer.code != "0":
                raise DecodeError(f"tickers refused: {answer.code} {answer.msg}")
            days = {}
            for row in answer.data:
                if not row.last or not row.volCcy24h:  # never traded
                    continue
                price, volume = msgspec.convert((row.last, row.volCcy24h), type=tuple[Amount, Amount], strict=False)
                # In quote currency for spot, in base currency for derivatives.
                days[row.instId] = Day(price, volume if row.instType == "SPOT" else volume * price)
            return days
        except MALFORMED as error:
            raise DecodeError(f"tickers: {error}") from error


class _Instrument(msgspec.Struct, gc=False):
    instId: str  # noqa: N815
    instType: str  # noqa: N815
    state: str
    baseCcy: str = ""  # noqa: N815
    quoteCcy: str = ""  # noqa: N815
    uly: str = ""
    tickSz: str = ""  # noqa: N815
    minSz: str = ""  # noqa: N815


class _DayTicker(msgspec.Struct, gc=False):
    instId: str  # noqa: N815
    instType: str  # noqa: N815
    last: str = ""
    volCcy24h: str = ""  # noqa: N815


class _DayTickers(msgspec.Struct, gc=False):
    code: str
    msg: str
    data: list[_DayTicker] = []


class _Instruments(msgspec.Struct, gc=False):
    code: str
    msg: str
    data: list[_Instrument] = []


def _requests(operation: str, streams: Iterable[Stream]) -> list[str]:
    """One frame: the venue answers each argument on its own."""
    args = [{"channel": WIRE_CHANNEL[stream.channel], "instId": stream.symbol} for stream in streams]
    return [json.dumps({"op": operation, "args": args})] if args else []
