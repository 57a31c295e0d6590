"""OKX version 5, public channels: merged trades, best bid and ask tick by tick, and books chained by sequence ids.

okx.md beside this file describes the protocol, with sources and known faults.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal

import msgspec

from recorder.errors import DecodeError
from recorder.events import Accepted, Alive, Book, Channel, Ending, Levels, Output, Quote, Refused, Stream, Trade
from recorder.venues.base import Day, Heartbeat, Limits, ListingPage, RestLimits, Venue
from recorder.venues.book_sync import BookSync
from recorder.venues.okx import listing
from recorder.venues.okx.candles import MINUTE_CANDLES
from recorder.venues.okx.history import TRADE_HISTORY
from recorder.venues.okx.witness import WITNESS_QUESTIONS
from recorder.venues.orderbook import Side, side_tops
from recorder.venues.wire import MALFORMED, Amount, Int64, best, event_time_of_ms, lenient, with_nulls
from recorder.venues.witness import SeenBook

WIRE_CHANNEL: dict[Channel, str] = {"trade": "trades", "quote": "bbo-tbt", "book": "books"}
CHANNEL_OF_WIRE: dict[str, Channel] = {
    "trades": "trade", "bbo-tbt": "quote", "tickers": "quote",
    "books": "book", "books-l2-tbt": "book", "books50-l2-tbt": "book",  # the last two need a login today
}  # fmt: skip
AGGRESSOR: dict[str, Literal["b", "s"]] = {"buy": "b", "sell": "s"}  # the side on the wire is the taker's
UPGRADE = "64008"  # notice: the venue will cut the connection in about a minute
_CHANNEL = re.compile(rb'\{"arg":\{"channel":"([\w-]+)"')
_NAMED = re.compile(r"channel:([\w-]+),instId:([\w-]+)")  # the stream in the text of an error

_Row = tuple[Amount, Amount, object, object]  # price, size, an unused field, number of orders
_Best = tuple[Amount | None, Amount | None, object, object]


class Argument(msgspec.Struct, rename="camel", gc=False):
    """The channel and instrument of a message."""

    channel: str
    inst_id: str = ""


class _TradeData(msgspec.Struct, rename="camel", gc=False):
    inst_id: str
    trade_id: Int64
    px: Amount
    sz: Amount
    side: Literal["buy", "sell"]
    ts: Int64
    count: Annotated[int, msgspec.Meta(ge=1, le=2**31)] = 1  # before 2023 each trade came alone


class _TradeMessage(msgspec.Struct, gc=False):
    data: list[_TradeData]


class _TopData(msgspec.Struct, rename="camel", gc=False):
    asks: list[_Best] | None
    bids: list[_Best] | None
    ts: Int64
    seq_id: Int64 | None = None


class _TopMessage(msgspec.Struct, gc=False):
    arg: Argument
    data: list[_TopData]


class _TickerData(msgspec.Struct, rename="camel", gc=False):
    inst_id: str
    ask_px: Amount | None  # empty where the side is empty, like its size
    ask_sz: Amount | None
    bid_px: Amount | None
    bid_sz: Amount | None
    ts: Int64


class _TickerMessage(msgspec.Struct, gc=False):
    data: list[_TickerData]


class _BookData(msgspec.Struct, rename="camel", gc=False):
    asks: list[_Row] | None
    bids: list[_Row] | None
    ts: Int64
    seq_id: Int64 | None = None
    prev_seq_id: Int64 | None = None


class _BookMessage(msgspec.Struct, gc=False):
    arg: Argument
    action: Literal["snapshot", "update"]
    data: list[_BookData]


class _Envelope(msgspec.Struct, gc=False):
    """Any message that is not a trade, quote or book."""

    event: str | None = None
    arg: Argument | None = None
    code: str = ""
    msg: str = ""
    data: msgspec.Raw = msgspec.Raw()


_decode_trade, _decode_top = lenient(_TradeMessage), lenient(_TopMessage)
_decode_ticker, _decode_book = lenient(_TickerMessage), lenient(_BookMessage)
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class _OkxBook:
    """One book, proved up to a sequence id."""

    __slots__ = ("asks", "bids", "sequence")

    def __init__(self, sequence: int | None, bids: Levels, asks: Levels) -> None:
        self.sequence = sequence
        self.bids = Side(bids)
        self.asks = Side(asks)


class OkxDecoder:
    """Decoder of one connection."""

    def __init__(self) -> None:
        self._sync = BookSync[_OkxBook]()
        self._books, self.audits = self._sync.books, self._sync.audits

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
            filled = with_nulls(frame)
            if filled is not None:
                return self.decode(filled, ts_recv_ns)
            raise DecodeError(str(error)) from error

    def book_of(self, symbol: str) -> SeenBook | None:
        book = self._books.get(symbol)
        return None if book is None else side_tops(book.bids, book.asks, book.sequence)

    def _data(self, wire: str, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        match wire:
            case "books" | "books-l2-tbt" | "books50-l2-tbt":
                return self._book(frame, ts_recv_ns)
            case "bbo-tbt":
                message = _decode_top(frame)
                return [_top(message.arg.inst_id, row, ts_recv_ns) for row in message.data]
            case "trades":
                return [_trade(row, ts_recv_ns) for row in _decode_trade(frame).data]
            case "tickers":
                return [_ticker(row, ts_recv_ns) for row in _decode_ticker(frame).data]
            case "instruments" | "books5" | "status":
                return ()  # known, but not recorded as rows; the frame is in the journal
        if wire.startswith("candle"):
            return ()
        raise DecodeError(f"unknown channel {wire[:40]!r}")

    def _book(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        m = _decode_book(frame)
        symbol = m.arg.inst_id
        if not symbol or len(m.data) != 1:  # never seen; several books could not be applied completely or not at all
            raise DecodeError(f"a book message of {len(m.data)} books for {symbol!r}")
        (data,) = m.data
        sequence, previous = data.seq_id, data.prev_seq_id
        if not data.bids and not data.asks and sequence is not None and sequence == previous:
            return self._unchanged(symbol, sequence)
        bids: Levels = [(price, size) for price, size, _, _ in data.bids or ()]
        asks: Levels = [(price, size) for price, size, _, _ in data.asks or ()]
        snapshot = m.action == "snapshot"
        row = Book(symbol, event_time_of_ms(data.ts, ts_recv_ns), ts_recv_ns, snapshot, sequence, bids, asks)
        if snapshot:
            book = _OkxBook(sequence, bids, asks)
            self._sync.start(symbol, book)
        elif symbol not in self._books:
            return self._sync.without_snapshot(row)
        else:
            book = self._books[symbol]
            if sequence is not None and previous != book.sequence:
                return self._sync.reject(row, "sequence", f"update after {previous}, ours is {book.sequence}")
            book.bids.apply(bids)
            book.asks.apply(asks)
            book.sequence = sequence  # after maintenance it is smaller: a new epoch, still chained to the previous one
        bid_prices, ask_prices = book.bids.prices, book.asks.prices
        if bid_prices and ask_prices and bid_prices[-1] >= ask_prices[0]:
            return self._sync.crossed(row, bid_prices[-1], ask_prices[0])
        return (row,)

    def _unchanged(self, symbol: str, sequence: int) -> Sequence[Output]:
        """Handle the keep-alive of a book that did not change for a minute; it is never a row."""
        if symbol in self._sync.requested:
            return ()
        book = self._books.get(symbol)
        if book is None:
            return (self._sync.resync(symbol, "no_snapshot", "keep-alive before a snapshot"),)
        if sequence != book.sequence:
            reason = f"keep-alive at {sequence}, ours is {book.sequence}"
            return (self._sync.resync(symbol, "sequence", reason),)
        return (Alive(Stream("book", symbol)),)


def _trade(row: _TradeData, ts_recv_ns: int) -> Trade:
    time_ns, aggressor = row.ts * 1_000_000, AGGRESSOR[row.side]
    return Trade(row.inst_id, row.trade_id, time_ns, ts_recv_ns, row.px, row.sz, aggressor, None, row.count)


def _top(symbol: str, row: _TopData, ts_recv_ns: int) -> Quote:
    bid, bid_size = row.bids[0][:2] if row.bids else (None, None)
    ask, ask_size = row.asks[0][:2] if row.asks else (None, None)
    time_ns = event_time_of_ms(row.ts, ts_recv_ns)
    if bid and ask:
        return Quote(symbol, time_ns, ts_recv_ns, row.seq_id, bid, bid_size, ask, ask_size)
    return Quote(symbol, time_ns, ts_recv_ns, row.seq_id, *best(bid, bid_size), *best(ask, ask_size))


def _ticker(row: _TickerData, ts_recv_ns: int) -> Quote:
    bid, ask = best(row.bid_px, row.bid_sz), best(row.ask_px, row.ask_sz)
    return Quote(row.inst_id, event_time_of_ms(row.ts, ts_recv_ns), ts_recv_ns, None, *bid, *ask)


def _control(m: _Envelope, frame: bytes) -> Sequence[Output]:
    match m:
        case _Envelope(event="subscribe", arg=Argument(wire, symbol)):
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


class Okx(Venue):
    """The public feed of the global entity."""

    name = "okx"
    url = "wss://ws.okx.com:8443/ws/v5/public"
    rest_url = "https://www.okx.com"
    # Fewer than 30 books a connection are advised; 480 requests an hour and connection; 3 connections a second.
    limits = Limits(streams_per_link=90, frames_per_s=3, connects_per_minute=60)
    rest = RestLimits(per_s=5, burst=5)  # 20 requests in 2 s for instruments and for tickers
    heartbeat = Heartbeat(every_s=10, frame="ping", silence_s=30)
    contiguous = frozenset({"trade"})  # by Trade.count
    book_sequences = True
    channel_words = CHANNEL_OF_WIRE
    listing_paths = listing.LISTING_PATHS
    volume_paths: ClassVar[tuple[str, ...]] = listing.VOLUME_PATHS
    fixed_books = "books of 400 levels"
    witness_questions = WITNESS_QUESTIONS
    trade_history = TRADE_HISTORY
    minute_candles = MINUTE_CANDLES

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        return _requests("subscribe", streams)

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return _requests("unsubscribe", streams)

    def decoder(self) -> OkxDecoder:
        return OkxDecoder()

    def listings(self, body: bytes) -> ListingPage:
        return listing.listings(body)

    def volumes(self, body: bytes) -> dict[str, Day]:
        return listing.volumes(body)


def _requests(operation: str, streams: Iterable[Stream]) -> list[str]:
    """Return one frame for all streams: the venue answers each argument on its own."""
    args = [{"channel": WIRE_CHANNEL[stream.channel], "instId": stream.symbol} for stream in streams]
    return [json.dumps({"op": operation, "args": args})] if args else []
