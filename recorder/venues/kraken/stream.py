"""Kraken spot, websocket version 2: trades, best bid and offer, and books verified by their CRC-32 checksum.

kraken.md beside this file describes the protocol, with sources and known faults.
"""

import json
from collections.abc import Iterable, Sequence
from typing import ClassVar

import msgspec

from recorder.errors import DecodeError
from recorder.events import Accepted, Alive, Book, Channel, Levels, Output, Quote, Refused, Stream, Trade
from recorder.timestamps import Rfc3339
from recorder.venues.base import Day, Heartbeat, Limits, ListingPage, RestLimits, Venue
from recorder.venues.book_sync import BookSync
from recorder.venues.kraken import listing
from recorder.venues.kraken.book import Digits, KrakenBook
from recorder.venues.kraken.candles import MINUTE_CANDLES
from recorder.venues.kraken.history import TRADE_HISTORY
from recorder.venues.kraken.witness import WITNESS_QUESTIONS
from recorder.venues.wire import MALFORMED, Amount, Int64, best, event_time, json_amount, with_nulls

WIRE_CHANNEL: dict[Channel, str] = {"trade": "trade", "quote": "ticker", "book": "book"}
CHANNEL_OF_WIRE: dict[str, Channel] = {wire: channel for channel, wire in WIRE_CHANNEL.items()}
REQUEST_ID: dict[Channel, int] = {"trade": 1, "quote": 2, "book": 3}  # identifies the channel in a refusal
CHANNEL_OF_REQUEST: dict[int, Channel] = {number: channel for channel, number in REQUEST_ID.items()}
AGGRESSOR = {"buy": "b", "sell": "s"}  # the side on the wire is the taker's
DEPTHS = (10, 25, 100, 500, 1000)


class _Level(msgspec.Struct, gc=False):
    price: msgspec.Raw  # the checksum covers the text, trailing zeros included
    qty: msgspec.Raw


class _BookData(msgspec.Struct, gc=False):
    symbol: str
    bids: list[_Level] | None
    asks: list[_Level] | None
    checksum: int
    timestamp: str | None = None  # absent in older snapshots


class _BookMessage(msgspec.Struct, gc=False):
    type: str
    data: list[_BookData]


class _TradeData(msgspec.Struct, gc=False):
    symbol: str
    side: str
    price: Amount
    qty: Amount
    trade_id: Int64
    timestamp: str


class _TradeMessage(msgspec.Struct, gc=False):
    data: list[_TradeData]


class _TickerData(msgspec.Struct, gc=False):
    symbol: str
    bid: Amount | None = None
    bid_qty: Amount | None = None
    ask: Amount | None = None
    ask_qty: Amount | None = None
    timestamp: str | None = None


class _TickerMessage(msgspec.Struct, gc=False):
    data: list[_TickerData]


class _Result(msgspec.Struct, gc=False):
    channel: str = ""  # absent in the answers of other methods than subscribe
    symbol: str | None = None
    depth: int | None = None


class _Envelope(msgspec.Struct, gc=False):
    """Any message that is not a trade, ticker or book."""

    channel: str | None = None
    method: str | None = None
    success: bool | None = None
    result: _Result | None = None
    error: str | None = None
    symbol: str | None = None
    req_id: int | None = None


_decode_book = msgspec.json.Decoder(_BookMessage).decode
_decode_trade = msgspec.json.Decoder(_TradeMessage).decode
_decode_ticker = msgspec.json.Decoder(_TickerMessage).decode
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class KrakenDecoder:
    """Decoder of one connection."""

    def __init__(self) -> None:
        self._sync = BookSync[KrakenBook]()
        self._books, self.audits = self._sync.books, self._sync.audits
        self._depths: dict[str, int] = {}  # as acknowledged
        self._ns = Rfc3339().ns
        self._second, self._second_ns = "", 0  # of the latest book message whose time can be true

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        # The channel is always the first key on the wire. A frame with another order of keys takes the slower
        # path through the envelope.
        try:
            if frame[:17] == b'{"channel":"book"':  # a slice costs less than startswith()
                message = _decode_book(frame)
                if message.type == "update" and len(message.data) == 1:
                    return self._book_row(False, message.data[0], ts_recv_ns)
                return self._book_message(message, ts_recv_ns)
            if frame.startswith(b'{"channel":"ticker"'):
                return [self._quote(row, ts_recv_ns) for row in _decode_ticker(frame).data]
            if frame.startswith(b'{"channel":"trade"'):
                return self._trades(frame, ts_recv_ns)
            envelope = _decode_envelope(frame)
            match envelope.channel:
                case "book":
                    return self._book_message(_decode_book(frame), ts_recv_ns)
                case "ticker":
                    return [self._quote(row, ts_recv_ns) for row in _decode_ticker(frame).data]
                case "trade":
                    return self._trades(frame, ts_recv_ns)
            return self._control(envelope, frame)
        except MALFORMED as error:
            filled = with_nulls(frame)
            if filled is not None:
                return self.decode(filled, ts_recv_ns)
            raise DecodeError(str(error)) from error

    def _trades(self, frame: bytes, ts_recv_ns: int) -> list[Trade]:
        rows = _decode_trade(frame).data
        try:
            trades = [
                Trade(
                    row.symbol,
                    row.trade_id,
                    self._ns(row.timestamp),
                    ts_recv_ns,
                    row.price,
                    row.qty,
                    AGGRESSOR[row.side],  # type: ignore[arg-type]
                )
                for row in rows
            ]
        except KeyError as error:
            raise DecodeError(f"unknown side {error}") from None
        if len(trades) > 1:  # the order of a snapshot is not documented
            trades.sort(key=lambda trade: trade.trade_id)
        return trades

    def _quote(self, row: _TickerData, ts_recv_ns: int) -> Quote:
        time_ns = None if row.timestamp is None else event_time(self._ns(row.timestamp), ts_recv_ns)
        if row.bid and row.ask:
            return Quote(row.symbol, time_ns, ts_recv_ns, None, row.bid, row.bid_qty, row.ask, row.ask_qty)
        return Quote(row.symbol, time_ns, ts_recv_ns, None, *best(row.bid, row.bid_qty), *best(row.ask, row.ask_qty))

    def _book_message(self, message: _BookMessage, ts_recv_ns: int) -> Sequence[Output]:
        snapshot = message.type == "snapshot"
        if not snapshot and message.type != "update":
            raise DecodeError(f"unknown type of book message {message.type!r}")
        if len(message.data) > 1:
            # A frame is applied completely or not at all: a fault in a later row has to raise before the first one.
            for row in message.data:
                _side(row.bids or [], -1.0)
                _side(row.asks or [], 1.0)
                if row.timestamp is not None:
                    self._ns(row.timestamp)
        return [output for row in message.data for output in self._book_row(snapshot, row, ts_recv_ns)]

    def _book_row(self, snapshot: bool, row: _BookData, ts_recv_ns: int) -> Sequence[Output]:
        symbol = row.symbol
        bids, bid_digits = _side(row.bids, -1.0) if row.bids else ([], [])
        asks, ask_digits = _side(row.asks, 1.0) if row.asks else ([], [])
        time_ns = None
        text = row.timestamp
        if text is not None:
            second, fraction = text[:20], text[20:26]
            if second == self._second and text[26:] == "Z" and fraction.isdecimal():  # the usual text, read in place
                time_ns = self._second_ns + int(fraction) * 1000
            else:
                time_ns = event_time(self._ns(text), ts_recv_ns)
                if time_ns is not None:
                    self._second, self._second_ns = second, time_ns - time_ns % 10**9
        event = Book(symbol, time_ns, ts_recv_ns, snapshot, None, bids, asks)
        book = self._books.get(symbol)
        if snapshot:
            depth = self._depths.get(symbol) or _depth_of(len(bids), len(asks))
            book = KrakenBook(depth, bid_digits, ask_digits)
        elif book is None:
            return self._sync.without_snapshot(event)
        else:
            book.apply(bid_digits, ask_digits)
        checksum = book.checksum()
        if checksum != row.checksum:
            return self._sync.checksum_failed(event, checksum, row.checksum)
        if snapshot:
            self._sync.start(symbol, book)
        audit = self.audits.get(symbol)
        if audit is None:
            audit = self._sync.audit(symbol)
        audit.checksums_passed += 1
        return (event,)

    def _control(self, m: _Envelope, frame: bytes) -> Sequence[Output]:
        match m:
            case _Envelope(channel="heartbeat" | "status" | "pong") | _Envelope(method="pong" | "ping"):
                return (Alive(),)
            case _Envelope(channel="ohlc" | "instrument") | _Envelope(method="unsubscribe"):
                return ()  # known, but not recorded as rows; the frame is in the journal
            case _Envelope(method="subscribe", success=True, result=_Result(channel=wire, symbol=str(symbol))):
                if m.result is not None and m.result.depth is not None:
                    self._depths[symbol] = m.result.depth
                channel = CHANNEL_OF_WIRE.get(wire)
                return () if channel is None else (Accepted(Stream(channel, symbol)),)
            case _Envelope(method="subscribe", success=True):
                return ()
            case _Envelope(method="subscribe", success=False):
                channel = CHANNEL_OF_REQUEST.get(m.req_id or 0)
                stream = Stream(channel, m.symbol) if channel is not None and m.symbol is not None else None
                return (Refused(stream, m.error or "refused without a reason"),)
            case _Envelope(error=str(error)):
                return (Refused(None, error),)
        raise DecodeError(f"unknown message {frame[:200]!r}")


def _side(rows: list[_Level], sign: float) -> tuple[Levels, Digits]:
    """Return one side as numbers, and ranked with its digits.

    Raises:
        ValueError: A price or size is not a finite, non-negative number.
    """
    levels: Levels = []
    ranked: Digits = []
    # Most of the time of a book goes here, so helpers are written out instead of called.
    for row in rows:
        price, size = json_amount(row.price), json_amount(row.qty)
        levels.append((price, size))
        if size:
            digits = (bytes(row.price).lstrip(b"0.") + bytes(row.qty).lstrip(b"0.")).replace(b".", b"")
            ranked.append((price * sign, digits))
        else:
            ranked.append((price * sign, b""))
    return levels, ranked


def _depth_of(bids: int, asks: int) -> int:
    """Return the smallest depth on offer that holds a snapshot of this many levels."""
    return next((depth for depth in DEPTHS if depth >= max(bids, asks)), DEPTHS[-1])


class Kraken(Venue):
    """The public spot feed, version 2."""

    name = "kraken"
    url = "wss://ws.kraken.com/v2"
    rest_url = "https://api.kraken.com"
    # About 150 connects per 10 minutes and address, then a ban; no published cap on subscriptions.
    limits = Limits(streams_per_link=300, frames_per_s=10, connects_per_minute=12)
    rest = RestLimits(per_s=1, burst=2)  # about one request a second and address
    heartbeat = Heartbeat(every_s=5, frame='{"method":"ping"}', silence_s=15)
    contiguous = frozenset({"trade"})
    channel_words = CHANNEL_OF_WIRE
    assets: ClassVar[dict[str, str]] = listing.V2_ASSETS
    listing_paths = listing.LISTING_PATHS
    volume_paths: ClassVar[tuple[str, ...]] = listing.VOLUME_PATHS
    book_depths = DEPTHS
    default_book_depth = 100
    book_is_cut = True
    witness_questions = WITNESS_QUESTIONS
    trade_history = TRADE_HISTORY
    minute_candles = MINUTE_CANDLES

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        return self._requests("subscribe", streams)

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return self._requests("unsubscribe", streams)

    def decoder(self) -> KrakenDecoder:
        return KrakenDecoder()

    def _requests(self, method: str, streams: Iterable[Stream]) -> list[str]:
        symbols: dict[Channel, list[str]] = {}
        for stream in streams:
            symbols.setdefault(stream.channel, []).append(stream.symbol)
        requests = []
        for channel, names in symbols.items():
            params: dict[str, object] = {"channel": WIRE_CHANNEL[channel], "symbol": names}
            if channel == "trade" and method == "subscribe":
                params["snapshot"] = True  # the last 50 trades, which close most gaps by themselves
            if channel == "quote":
                params["event_trigger"] = "bbo"
            if channel == "book":
                params["depth"] = self.book_depth
            requests.append(json.dumps({"method": method, "params": params, "req_id": REQUEST_ID[channel]}))
        return requests

    def listings(self, body: bytes) -> ListingPage:
        return listing.listings(body)

    def volumes(self, body: bytes) -> dict[str, Day]:
        return listing.volumes(body)
