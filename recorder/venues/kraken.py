"""Kraken spot, websocket v2: trades, best bid and offer, books proved by their CRC32 checksum.

The protocol, with sources and what to watch for, is in kraken.md beside this file.
"""

import json
from collections.abc import Iterable, Sequence
from typing import ClassVar
from zlib import crc32

import msgspec

from recorder.errors import ConfigError, DecodeError
from recorder.events import Accepted, Alive, Book, Channel, Levels, Output, Quote, Refused, Resync, Stream, Trade
from recorder.orderbook import RankedSide
from recorder.timestamps import EARLIEST_NS, NS_PER_DAY, Rfc3339
from recorder.venues.base import MALFORMED, Amount, Audit, Day, Heartbeat, Int64, Limits, Listing, RestLimits

WIRE_CHANNEL: dict[Channel, str] = {"trade": "trade", "quote": "ticker", "book": "book"}
CHANNEL_OF_WIRE: dict[str, Channel] = {wire: channel for channel, wire in WIRE_CHANNEL.items()}
REQUEST_ID: dict[Channel, int] = {"trade": 1, "quote": 2, "book": 3}  # names the channel in a refusal
CHANNEL_OF_REQUEST: dict[int, Channel] = {number: channel for channel, number in REQUEST_ID.items()}
AGGRESSOR = {"buy": "b", "sell": "s"}  # side is the taker's
DEPTHS = (10, 25, 100, 500, 1000)
CHECKED_LEVELS = 10

Digits = list[tuple[float, bytes]]
"""Levels as a RankedSide takes them: digits of price and size as the checksum reads them; b"" removes the level."""


class _Level(msgspec.Struct, gc=False):
    price: msgspec.Raw  # the checksum is over the text, trailing zeros included
    qty: msgspec.Raw


class _BookData(msgspec.Struct, gc=False):
    symbol: str
    bids: list[_Level]
    asks: list[_Level]
    checksum: int
    timestamp: str | None = None  # older snapshots have none


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
    bid: Amount
    bid_qty: Amount
    ask: Amount
    ask_qty: Amount
    timestamp: str | None = None


class _TickerMessage(msgspec.Struct, gc=False):
    data: list[_TickerData]


class _Result(msgspec.Struct, gc=False):
    channel: str
    symbol: str | None = None
    depth: int | None = None


class _Envelope(msgspec.Struct, gc=False):
    """Everything that is no trade, ticker or book."""

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


class KrakenBook:
    """The top of one book, to the subscribed depth, with the digits its checksum needs."""

    __slots__ = ("_ask_sum", "_bid_digits", "_sum", "asks", "bids", "depth")

    def __init__(self, depth: int, bids: Digits, asks: Digits) -> None:
        self.depth = depth
        self.bids = RankedSide(bids)
        self.asks = RankedSide(asks)
        self._ask_sum: int | None = None
        self._bid_digits: bytes | None = None
        self._sum: int | None = None

    def apply(self, bids: Digits, asks: Digits) -> None:
        # The venue sends no deletion for a level that falls out of the window: cut, or checksums fail.
        if bids:
            side = self.bids
            if side.apply(bids) < CHECKED_LEVELS:
                self._bid_digits = self._sum = None
            if len(side.ranks) > self.depth:
                side.keep(self.depth)
        if asks:
            side = self.asks
            if side.apply(asks) < CHECKED_LEVELS:
                self._ask_sum = self._sum = None
            if len(side.ranks) > self.depth:
                side.keep(self.depth)

    def checksum(self) -> int:
        """CRC-32 of the ten best asks, rising, then the ten best bids, falling."""
        if self._sum is None:
            if self._ask_sum is None:
                self._ask_sum = crc32(b"".join(self.asks.texts[:CHECKED_LEVELS]))
            if self._bid_digits is None:
                self._bid_digits = b"".join(self.bids.texts[:CHECKED_LEVELS])
            self._sum = crc32(self._bid_digits, self._ask_sum)
        return self._sum


class KrakenSession:
    """Decoder of one connection."""

    def __init__(self) -> None:
        self.audits: dict[str, Audit] = {}
        self._books: dict[str, KrakenBook] = {}
        self._depths: dict[str, int] = {}  # as acknowledged
        self._asked: set[str] = set()  # symbols whose snapshot is on its way: ask once
        self._ns = Rfc3339().ns

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        # The channel is always the first key on the wire; a frame that orders its keys otherwise takes the
        # slower way round by the envelope.
        try:
            if frame.startswith(b'{"channel":"book"'):
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
        if len(trades) > 1:  # a snapshot's order is not documented
            trades.sort(key=lambda trade: trade.trade_id)
        return trades

    def _quote(self, row: _TickerData, ts_recv_ns: int) -> Quote:
        time_ns = self._clock(row.timestamp, ts_recv_ns)
        return Quote(row.symbol, time_ns, ts_recv_ns, None, row.bid, row.bid_qty, row.ask, row.ask_qty)

    def _book_message(self, message: _BookMessage, ts_recv_ns: int) -> Sequence[Output]:
        snapshot = message.type == "snapshot"
        if not snapshot and message.type != "update":
            raise DecodeError(f"unknown type of book message {message.type!r}")
        if len(message.data) > 1:
            for (
                row
            ) in message.data:  # a frame counts whole or not at all: what is wrong must raise before any is applied
                _sides(row)
                self._clock(row.timestamp, ts_recv_ns)
        return [output for row in message.data for output in self._book_row(snapshot, row, ts_recv_ns)]

    def _book_row(self, snapshot: bool, row: _BookData, ts_recv_ns: int) -> Sequence[Output]:
        symbol = row.symbol
        bids, bid_digits, asks, ask_digits = _sides(row)
        time_ns = None
        text = row.timestamp
        if text is not None:
            time_ns = self._ns(text)
            if not EARLIEST_NS <= time_ns <= ts_recv_ns + NS_PER_DAY:
                time_ns = None
        event = Book(symbol, time_ns, ts_recv_ns, snapshot, None, bids, asks)
        book = self._books.get(symbol)
        if snapshot:
            depth = self._depths.get(symbol) or _depth_of(len(bids), len(asks))
            book = KrakenBook(depth, bid_digits, ask_digits)
            self._asked.discard(symbol)
        elif book is not None:
            book.apply(bid_digits, ask_digits)
        # A Resync goes before the row it follows from: the gap begins after the last good message.
        if book is None:
            if symbol in self._asked:
                return (event,)
            self._asked.add(symbol)
            return Resync(symbol, "no_snapshot", "delta before a snapshot"), event
        if book.checksum() == row.checksum:
            if snapshot:
                self._books[symbol] = book
            audit = self.audits.get(symbol)
            if audit is None:
                audit = self._audit(symbol)
            audit.checksums_passed += 1
            return (event,)
        self._books.pop(symbol, None)
        self._asked.add(symbol)
        self._audit(symbol).checksums_failed += 1
        resync = Resync(symbol, "checksum", f"ours {book.checksum()}, the venue's {row.checksum}")
        # A snapshot ends a gap: its own failure must open one behind it.
        return (event, resync) if snapshot else (resync, event)

    def _audit(self, symbol: str) -> Audit:
        audit = self.audits.get(symbol)
        if audit is None:
            audit = self.audits[symbol] = Audit()
        return audit

    def _control(self, m: _Envelope, frame: bytes) -> Sequence[Output]:
        match m:
            case _Envelope(channel="heartbeat" | "status" | "pong") | _Envelope(method="pong" | "ping"):
                return (Alive(),)
            case _Envelope(channel="ohlc" | "instrument"):
                return ()  # known, not recorded as rows; the frame is in the journal
            case _Envelope(method="unsubscribe"):
                return ()
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

    def _clock(self, text: str | None, ts_recv_ns: int) -> int | None:
        if text is None:
            return None
        time_ns = self._ns(text)
        return time_ns if EARLIEST_NS <= time_ns <= ts_recv_ns + NS_PER_DAY else None


def _sides(row: _BookData) -> tuple[Levels, Digits, Levels, Digits]:
    """Bids as numbers and as digits, and asks.

    Raises:
        ValueError: a price or size is no finite, non-negative number.
    """
    bids: Levels = []
    bid_digits: Digits = []
    asks: Levels = []
    ask_digits: Digits = []
    # One loop a side, with nothing called that could stand here: this is where the time of a book goes.
    for level in row.bids:
        price_text, size_text = bytes(level.price), bytes(level.qty)
        price, size = float(price_text), float(size_text)
        if not (0.0 <= size <= 1e300 and 0.0 <= price <= 1e300):
            raise ValueError(f"level out of range: {price_text!r} {size_text!r}")
        bids.append((price, size))
        digits = b""
        if size:
            digits = price_text.replace(b".", b"").lstrip(b"0") + size_text.replace(b".", b"").lstrip(b"0")
        bid_digits.append((-price, digits))
    for level in row.asks:
        price_text, size_text = bytes(level.price), bytes(level.qty)
        price, size = float(price_text), float(size_text)
        if not (0.0 <= size <= 1e300 and 0.0 <= price <= 1e300):
            raise ValueError(f"level out of range: {price_text!r} {size_text!r}")
        asks.append((price, size))
        digits = b""
        if size:
            digits = price_text.replace(b".", b"").lstrip(b"0") + size_text.replace(b".", b"").lstrip(b"0")
        ask_digits.append((price, digits))
    return bids, bid_digits, asks, ask_digits


def checksum_digits(price_text: bytes, size_text: bytes) -> bytes:
    """One level as the checksum reads it."""
    return price_text.replace(b".", b"").lstrip(b"0") + size_text.replace(b".", b"").lstrip(b"0")


def _depth_of(bids: int, asks: int) -> int:
    """The smallest depth on offer that holds a snapshot of this many levels."""
    return next((depth for depth in DEPTHS if depth >= max(bids, asks)), DEPTHS[-1])


class Kraken:
    """The public spot feed, version 2."""

    name: ClassVar[str] = "kraken"
    url: ClassVar[str] = "wss://ws.kraken.com/v2"
    rest_url: ClassVar[str] = "https://api.kraken.com"
    # About 150 connects per 10 minutes and address, then a ban; no published cap on subscriptions.
    limits: ClassVar[Limits] = Limits(streams_per_link=300, frames_per_s=10, connects_per_minute=12)
    rest: ClassVar[RestLimits] = RestLimits(per_s=1, burst=2)  # about one a second and address
    heartbeat: ClassVar[Heartbeat] = Heartbeat(every_s=5, frame='{"method":"ping"}', silence_s=15)
    channels: ClassVar[tuple[Channel, ...]] = ("trade", "quote", "book")
    contiguous: ClassVar[frozenset[Channel]] = frozenset({"trade"})
    listing_paths: ClassVar[tuple[str, ...]] = ("/0/public/AssetPairs",)
    volume_paths: ClassVar[tuple[str, ...]] = ("/0/public/Ticker",)

    def __init__(self, url: str | None = None, *, book_depth: int | None = None) -> None:
        if book_depth is not None and book_depth not in DEPTHS:
            raise ConfigError(f"kraken offers book_depth {', '.join(map(str, DEPTHS))}; not {book_depth}")
        self.endpoint = url or self.url
        self._book_depth = book_depth or 100

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        return self._requests("subscribe", streams)

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return self._requests("unsubscribe", streams)

    def session(self) -> KrakenSession:
        return KrakenSession()

    def _requests(self, method: str, streams: Iterable[Stream]) -> list[str]:
        symbols: dict[Channel, list[str]] = {}
        for stream in streams:
            symbols.setdefault(stream.channel, []).append(stream.symbol)
        requests = []
        for channel, names in symbols.items():
            params: dict[str, object] = {"channel": WIRE_CHANNEL[channel], "symbol": names}
            if channel == "trade" and method == "subscribe":
                params["snapshot"] = True  # the last 50 trades: closes most holes by itself
            if channel == "quote":
                params["event_trigger"] = "bbo"
            if channel == "book":
                params["depth"] = self._book_depth
            requests.append(json.dumps({"method": method, "params": params, "req_id": REQUEST_ID[channel]}))
        return requests

    def listings(self, body: bytes) -> list[Listing]:
        # v2 refuses REST's names (XBT, XDG): the two assets it spells otherwise are mapped, as its page says.
        try:
            answer = msgspec.json.decode(body, type=_Pairs)
        except MALFORMED as error:
            raise DecodeError(f"pair list: {error}") from error
        if answer.error:
            raise DecodeError(f"pair list refused: {', '.join(answer.error)}")
        return [
            Listing(
                f"{base}/{quote}", base, quote, "spot", pair.tick_size, pair.ordermin, pair.status,
                trades=pair.status in TRADING, rest_symbol=legacy,
            )
            for legacy, pair in answer.result.items()
            if pair.wsname and pair.wsname.count("/") == 1
            for base, quote in [_v2_assets(pair.wsname)]
        ]  # fmt: skip

    def volumes(self, body: bytes) -> dict[str, Day]:
        try:
            answer = msgspec.json.decode(body, type=_Tickers, strict=False)
        except MALFORMED as error:
            raise DecodeError(f"tickers: {error}") from error
        if answer.error:
            raise DecodeError(f"tickers refused: {', '.join(answer.error)}")
        return {legacy: Day(row.c[0], row.c[0] * row.v[1]) for legacy, row in answer.result.items()}


TRADING = frozenset({"online", "post_only", "limit_only", "reduce_only"})


class _DayTicker(msgspec.Struct, gc=False):
    c: tuple[Amount, Amount]  # price and size of the last trade
    v: tuple[Amount, Amount]  # volume of today and of 24 hours, base units


class _Tickers(msgspec.Struct, gc=False):
    error: list[str]
    result: dict[str, _DayTicker] = {}


class _Pair(msgspec.Struct, gc=False):
    wsname: str | None = None
    tick_size: str | None = None
    ordermin: str | None = None
    status: str = "unknown"


class _Pairs(msgspec.Struct, gc=False):
    error: list[str]
    result: dict[str, _Pair] = {}


def _v2_assets(wsname: str) -> tuple[str, str]:
    legacy = {"XBT": "BTC", "XDG": "DOGE"}
    base, quote = wsname.split("/")
    return legacy.get(base, base), legacy.get(quote, quote)
