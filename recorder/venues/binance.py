"""Binance spot: trades, best bid and ask, books joined from a REST snapshot and their deltas.

The protocol, with sources and what to watch for, is in binance.md beside this file.
"""

import json
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Generic, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

import msgspec

from recorder.errors import ConfigError, DecodeError
from recorder.events import (
    Accepted,
    Alive,
    Book,
    Channel,
    Ending,
    Fetch,
    GapCause,
    Levels,
    Output,
    Quote,
    Refused,
    Resync,
    Stream,
    Trade,
)
from recorder.orderbook import Side
from recorder.timestamps import plausible
from recorder.venues.base import MALFORMED, Amount, Audit, Day, Heartbeat, Int64, Limits, Listing, RestLimits

WIRE_CHANNEL: dict[Channel, str] = {"trade": "trade", "quote": "bookTicker", "book": "depth@100ms"}
CHANNEL_OF_WIRE: dict[str, Channel] = {wire: channel for channel, wire in WIRE_CHANNEL.items()}
# Known, not recorded as rows: candles and aggregates are derived, and an aggregate's ids are not those of trades.
OTHER_EVENTS = frozenset({"aggTrade", "kline", "24hrTicker", "24hrMiniTicker", "avgPrice"})
DEPTHS = (100, 500, 1000, 5000)  # levels a side of a snapshot: weight 5, 25, 50, 250 of 6,000 a minute
STREAMS_PER_REQUEST = 100
BUFFERED = 6000  # deltas kept while a snapshot is on its way: ten minutes of a busy symbol
ABSENT = msgspec.Raw()
_KIND = re.compile(rb'\{"stream":"[^"@]+@(\w+)(?:@100ms)?","data":\{')


class _Trade(msgspec.Struct, gc=False):
    s: str
    t: Int64
    p: Amount
    q: Amount
    T: Int64
    m: bool


class _Ticker(msgspec.Struct, gc=False):
    u: Int64
    s: str
    b: Amount
    B: Amount
    a: Amount
    A: Amount


class _Depth(msgspec.Struct, gc=False):
    E: Int64
    s: str
    U: Int64
    u: Int64
    b: list[tuple[Amount, Amount]]
    a: list[tuple[Amount, Amount]]


class _Snapshot(msgspec.Struct, gc=False):
    lastUpdateId: Int64  # noqa: N815
    bids: list[tuple[Amount, Amount]]
    asks: list[tuple[Amount, Amount]]


class _Error(msgspec.Struct, gc=False):
    code: int
    msg: str


class _Envelope(msgspec.Struct, gc=False):
    """Everything whose kind is not told by its first bytes."""

    stream: str | None = None
    data: msgspec.Raw = ABSENT
    e: str | None = None
    u: msgspec.Raw = ABSENT
    rest: str | None = None
    status: int = 0
    body: msgspec.Raw = ABSENT
    result: list[str] | bool | None = None
    id: int | str | None = None
    error: _Error | None = None
    code: int | None = None
    msg: str = ""


_Data = TypeVar("_Data")


class _Wrapped(msgspec.Struct, Generic[_Data], gc=False):
    data: _Data


def _decoder(kind: Any) -> Callable[[bytes | msgspec.Raw], Any]:
    return msgspec.json.Decoder(kind, strict=False).decode  # lax: numbers arrive as strings


_decode_trade, _decode_wrapped_trade = _decoder(_Trade), _decoder(_Wrapped[_Trade])
_decode_ticker, _decode_wrapped_ticker = _decoder(_Ticker), _decoder(_Wrapped[_Ticker])
_decode_depth, _decode_wrapped_depth = _decoder(_Depth), _decoder(_Wrapped[_Depth])
_decode_snapshot = _decoder(_Snapshot)
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class _BinanceBook:
    """A book proved up to one update id."""

    __slots__ = ("asks", "bids", "last_id")

    def __init__(self, last_id: int, bids: Levels, asks: Levels) -> None:
        self.last_id = last_id
        self.bids = Side(bids)
        self.asks = Side(asks)

    def apply(self, delta: _Depth) -> None:
        self.bids.apply(delta.b)
        self.asks.apply(delta.a)
        self.last_id = delta.u

    def crossed(self) -> bool:
        bids, asks = self.bids.prices, self.asks.prices
        return bool(bids and asks and bids[-1] >= asks[0])


class BinanceSession:
    """Decoder of one connection."""

    def __init__(self, snapshot_path: Callable[[str], str]) -> None:
        """
        Args:
            snapshot_path: REST path of the snapshot of a symbol's book.
        """
        self.audits: dict[str, Audit] = {}
        self._snapshot_path = snapshot_path
        self._books: dict[str, _BinanceBook] = {}
        self._waiting: dict[str, deque[_Depth]] = {}  # without a book: deltas since its snapshot was asked for

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        try:
            # A frame whose keys come in another order takes the slower way round by the envelope.
            kind = _KIND.match(frame)
            match kind and kind[1]:
                case b"bookTicker":
                    return _quote(_decode_wrapped_ticker(frame).data, ts_recv_ns)
                case b"trade":
                    return _trade(_decode_wrapped_trade(frame).data, ts_recv_ns)
                case b"depth":
                    return self._delta(_decode_wrapped_depth(frame).data, ts_recv_ns)
            return self._other(_decode_envelope(frame), frame, ts_recv_ns)
        except MALFORMED as error:
            raise DecodeError(str(error)) from error

    def _delta(self, m: _Depth, ts_recv_ns: int) -> Sequence[Output]:
        symbol = m.s
        row = Book(symbol, _clock(m.E, ts_recv_ns), ts_recv_ns, False, m.u, m.b, m.a)
        book = self._books.get(symbol)
        if book is not None:
            last_id = book.last_id
            if m.U <= last_id + 1 <= m.u:
                book.apply(m)
                if not book.crossed():
                    return (row,)
                self._audit(symbol).crossed += 1
                bid, ask = book.bids.prices[-1], book.asks.prices[0]
                return self._ask(m, "crossed", f"bid {bid} at or above ask {ask}", row)
            if m.u <= last_id:
                return ()  # older than the snapshot, which holds it already
            return self._ask(m, "sequence", f"update {m.U} after {last_id}", row)
        waiting = self._waiting.get(symbol)
        if waiting is None:
            return self._ask(m, "no_snapshot", "delta before a snapshot", row)
        if waiting and waiting[-1].u + 1 != m.U:
            waiting.clear()  # what came before the hole can be joined to nothing
        waiting.append(m)
        return (row,)

    def _ask(self, m: _Depth, cause: GapCause, reason: str, row: Book) -> Sequence[Output]:
        """Wait for a snapshot from this delta on."""
        self._books.pop(m.s, None)
        self._waiting[m.s] = deque([m], BUFFERED)
        return Resync(m.s, cause, reason), Fetch(m.s, self._snapshot_path(m.s)), row

    def _rest(self, m: _Envelope, ts_recv_ns: int) -> Sequence[Output]:
        """An answer to a Fetch: a snapshot that may be older than the deltas that came meanwhile."""
        assert m.rest is not None
        symbol = parse_qs(urlsplit(m.rest).query).get("symbol", [""])[0]
        if not symbol:
            raise DecodeError(f"an answer to a request that is not ours: {m.rest[:200]}")
        book = self._books.get(symbol)
        if book is None and m.status != 200:
            return (Fetch(symbol, m.rest),)
        snapshot: _Snapshot | None = _decode_snapshot(m.body) if m.status == 200 else None
        if snapshot is not None and (book is None or snapshot.lastUpdateId > book.last_id):
            last_id = snapshot.lastUpdateId
            newer = [delta for delta in self._waiting.get(symbol, ()) if delta.u > last_id]
            if newer and last_id + 1 < newer[0].U:
                return (Fetch(symbol, m.rest),)  # older than the deltas: there is a hole between them
            book = _BinanceBook(last_id, snapshot.bids, snapshot.asks)
            for delta in newer:
                book.apply(delta)
            self._waiting.pop(symbol, None)
            self._books[symbol] = book
            time_ns = _clock(newer[-1].E, ts_recv_ns) if newer else None
        else:
            time_ns = None  # the link asked: our book is proved up to its last delta, and no older than the answer
        assert book is not None
        bids, asks = book.bids, book.asks
        # The row holds the deltas joined to it, so that it replaces all rows before it, like any snapshot.
        return (
            Book(
                symbol, time_ns, ts_recv_ns, True, book.last_id,
                [(price, bids.values[price]) for price in reversed(bids.prices)],
                [(price, asks.values[price]) for price in asks.prices],
            ),
        )  # fmt: skip

    def _other(self, m: _Envelope, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        match m:
            case _Envelope(rest=str()):
                return self._rest(m, ts_recv_ns)
            case _Envelope(stream=str(name), data=data) if data is not ABSENT:
                if name.endswith("@bookTicker"):
                    return _quote(_decode_ticker(data), ts_recv_ns)
                return self._other(_decode_envelope(data), bytes(data), ts_recv_ns)
            case _Envelope(e="trade"):
                return _trade(_decode_trade(frame), ts_recv_ns)
            case _Envelope(e="depthUpdate"):
                return self._delta(_decode_depth(frame), ts_recv_ns)
            case _Envelope(e="serverShutdown"):
                return (Ending("serverShutdown"),)
            case _Envelope(e=str(event)) if event in OTHER_EVENTS:
                return ()
            case _Envelope(e=None, u=update_id) if (
                update_id is not ABSENT
            ):  # without the wrapper its fields are all that tells it
                return _quote(_decode_ticker(frame), ts_recv_ns)
            case _Envelope(error=_Error(code, text)) | _Envelope(code=int(code), msg=text):
                return (Refused(None, f"{code}: {text}"),)
            case _Envelope(result=list(names)):
                streams = [name.partition("@") for name in names]
                return [
                    Accepted(Stream(CHANNEL_OF_WIRE[wire], symbol.upper()))
                    for symbol, _, wire in streams
                    if wire in CHANNEL_OF_WIRE
                ]
            case _Envelope(result=None, id=int() | str()):
                return (Alive(),)  # a request was read; it names no stream and is no promise
        raise DecodeError(f"unknown message {frame[:200]!r}")

    def _audit(self, symbol: str) -> Audit:
        return self.audits.setdefault(symbol, Audit())


def _trade(m: _Trade, ts_recv_ns: int) -> Sequence[Output]:
    # m: the buyer was the maker, so the taker sold (web-socket-streams.md, "Is the buyer the market maker?").
    return (Trade(m.s, m.t, _ns(m.T), ts_recv_ns, m.p, m.q, "s" if m.m else "b"),)


def _quote(m: _Ticker, ts_recv_ns: int) -> Sequence[Output]:
    return (Quote(m.s, None, ts_recv_ns, m.u, m.b, m.B, m.a, m.A),)


def _ns(time: int) -> int:
    """Nanoseconds of a time in milliseconds, or in the microseconds that `timeUnit=MICROSECOND` on the URL asks for."""
    return time * (1_000_000 if abs(time) < 10**14 else 1000)  # 10**14 ms is the year 5138, 10**14 us 1973


def _clock(time: int, ts_recv_ns: int) -> int | None:
    time_ns = _ns(time)
    return time_ns if plausible(time_ns, ts_recv_ns) else None


class Binance:
    """The public spot feed, combined streams."""

    name: ClassVar[str] = "binance"
    url: ClassVar[str] = "wss://stream.binance.com:9443/stream"
    rest_url: ClassVar[str] = "https://api.binance.com"
    # 1,024 streams a connection, 5 frames a second with pings and pongs, 300 connects in 5 minutes and address.
    limits: ClassVar[Limits] = Limits(
        streams_per_link=1024, frames_per_s=4, connects_per_minute=60, session_s=86_400
    )  # fmt: skip
    # 6,000 units a minute and address (GET /api/v3/exchangeInfo, rateLimits): half of it here. A list costs 20, the
    # day's figures of all symbols 80, a book by its depth.
    rest: ClassVar[RestLimits] = RestLimits(
        per_s=25,
        burst=1500,
        weights=(
            (r"/depth\?.*limit=(\d\d?|100)\b", 5),
            (r"/depth\?.*limit=([1-4]\d\d|500)\b", 25),
            (r"/depth\?.*limit=([5-9]\d\d|1000)\b", 50),
            (r"/depth\?", 250),
            (r"/ticker/24hr", 80),
            (r"/exchangeInfo", 20),
        ),
    )
    heartbeat: ClassVar[Heartbeat] = Heartbeat(every_s=10, frame=None, silence_s=30)
    channels: ClassVar[tuple[Channel, ...]] = ("trade", "quote", "book")
    contiguous: ClassVar[frozenset[Channel]] = frozenset({"trade"})
    listing_paths: ClassVar[tuple[str, ...]] = ("/api/v3/exchangeInfo?showPermissionSets=false",)  # else above 10 MB
    volume_paths: ClassVar[tuple[str, ...]] = ("/api/v3/ticker/24hr?type=MINI",)

    def __init__(self, url: str | None = None, *, book_depth: int | None = None) -> None:
        if book_depth is not None and book_depth not in DEPTHS:
            raise ConfigError(f"binance offers book_depth {', '.join(map(str, DEPTHS))}; not {book_depth}")
        self.endpoint = url or self.url
        self._book_depth = book_depth or 1000

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        requests = _requests("SUBSCRIBE", streams)
        if requests:  # the answer to SUBSCRIBE names no stream, this one's does
            requests.append(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": len(requests) + 1}))
        return requests

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return _requests("UNSUBSCRIBE", streams)

    def session(self) -> BinanceSession:
        return BinanceSession(self.snapshot_path)

    def snapshot_path(self, symbol: str) -> str:
        """REST path of a symbol's book."""
        return f"/api/v3/depth?symbol={quote(symbol)}&limit={self._book_depth}"

    def listings(self, body: bytes) -> list[Listing]:
        try:
            symbols = msgspec.json.decode(body, type=_ExchangeInfo).symbols
        except MALFORMED as error:
            raise DecodeError(f"symbol list: {error}") from error
        listings = []
        for row in symbols:
            tick_size = next((rule.tickSize for rule in row.filters if rule.filterType == "PRICE_FILTER"), None)
            min_size = next((rule.minQty for rule in row.filters if rule.filterType == "LOT_SIZE"), None)
            listings.append(
                Listing(
                    row.symbol, row.baseAsset, row.quoteAsset, "spot", tick_size, min_size, row.status,
                    trades=row.status == "TRADING",
                )
            )  # fmt: skip
        return listings

    def volumes(self, body: bytes) -> dict[str, Day]:
        try:
            rows = msgspec.json.decode(body, type=list[_DayTicker], strict=False)
        except MALFORMED as error:
            raise DecodeError(f"tickers of 24 hours: {error}") from error
        return {row.symbol: Day(row.lastPrice, row.quoteVolume) for row in rows}


class _Filter(msgspec.Struct, gc=False):
    filterType: str  # noqa: N815
    tickSize: str | None = None  # noqa: N815
    minQty: str | None = None  # noqa: N815


class _Symbol(msgspec.Struct, gc=False):
    symbol: str
    status: str
    baseAsset: str  # noqa: N815
    quoteAsset: str  # noqa: N815
    filters: list[_Filter]


class _DayTicker(msgspec.Struct, gc=False):
    symbol: str
    lastPrice: Amount  # noqa: N815
    quoteVolume: Amount  # noqa: N815


class _ExchangeInfo(msgspec.Struct, gc=False):
    symbols: list[_Symbol]


def _requests(method: str, streams: Iterable[Stream]) -> list[str]:
    names = [f"{stream.symbol.lower()}@{WIRE_CHANNEL[stream.channel]}" for stream in streams]
    parts = [names[at : at + STREAMS_PER_REQUEST] for at in range(0, len(names), STREAMS_PER_REQUEST)]
    return [json.dumps({"method": method, "params": part, "id": number}) for number, part in enumerate(parts, 1)]
