"""Binance spot: trades, best bid and ask, and books joined from a REST snapshot and their deltas.

binance.md beside this file describes the protocol, with sources and known faults.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from typing import ClassVar, Generic, TypeVar
from urllib.parse import parse_qs, quote, urlsplit

import msgspec

from recorder.errors import DecodeError
from recorder.events import (
    Accepted,
    Alive,
    Book,
    Channel,
    Ending,
    Fetch,
    GapCause,
    Output,
    Quote,
    Refused,
    Stream,
    Trade,
)
from recorder.venues.base import Day, Heartbeat, Limits, ListingPage, RestLimits, Venue
from recorder.venues.binance import listing
from recorder.venues.binance.book import BinanceBook, Depth, Join, Snapshot
from recorder.venues.binance.candles import MINUTE_CANDLES
from recorder.venues.binance.history import TRADE_HISTORY
from recorder.venues.binance.witness import WITNESS_QUESTIONS
from recorder.venues.book_sync import BookSync
from recorder.venues.orderbook import side_tops
from recorder.venues.wire import MALFORMED, Amount, Int64, best, event_time, lenient, with_nulls
from recorder.venues.witness import SeenBook

WIRE_CHANNEL: dict[Channel, str] = {"trade": "trade", "quote": "bookTicker", "book": "depth@100ms"}
CHANNEL_OF_WIRE: dict[str, Channel] = {wire: channel for channel, wire in WIRE_CHANNEL.items()}
# Known, but not recorded as rows: candles and aggregates are derived, and the ids of aggregates are not trade ids.
OTHER_EVENTS = frozenset({"aggTrade", "kline", "24hrTicker", "24hrMiniTicker", "avgPrice"})
DEPTHS = (100, 500, 1000, 5000)  # levels a side of a snapshot: weight 5, 25, 50, 250 of 6,000 a minute
STREAMS_PER_REQUEST = 100
PATIENCE_NS = 3 * 10**9  # what a book contains already arrives no later than this
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
    b: Amount | None = None
    B: Amount | None = None
    a: Amount | None = None
    A: Amount | None = None


class _Error(msgspec.Struct, gc=False):
    code: int
    msg: str


class _Envelope(msgspec.Struct, gc=False):
    """Any message whose kind its first bytes do not tell."""

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


_decode_trade, _decode_wrapped_trade = lenient(_Trade), lenient(_Wrapped[_Trade])
_decode_ticker, _decode_wrapped_ticker = lenient(_Ticker), lenient(_Wrapped[_Ticker])
_decode_depth, _decode_wrapped_depth = lenient(Depth), lenient(_Wrapped[Depth])
_decode_snapshot = lenient(Snapshot)
_decode_envelope = msgspec.json.Decoder(_Envelope).decode


class BinanceDecoder:
    """Decoder of one connection."""

    def __init__(self, snapshot_path: Callable[[str], str]) -> None:
        """
        Args:
            snapshot_path: Returns the REST path of the snapshot of a symbol's book.
        """
        self._snapshot_path = snapshot_path
        self._sync = BookSync[BinanceBook]()
        self._books, self.audits = self._sync.books, self._sync.audits
        self._joins: dict[str, Join] = {}  # of symbols whose snapshot is requested; some have a book meanwhile

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        try:
            # A frame with another order of keys takes the slower path through the envelope.
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
            filled = with_nulls(frame)
            if filled is not None:
                return self.decode(filled, ts_recv_ns)
            raise DecodeError(str(error)) from error

    def book_of(self, symbol: str) -> SeenBook | None:
        book = self._books.get(symbol)
        return None if book is None else side_tops(book.bids, book.asks, book.last_id)

    def _delta(self, m: Depth, ts_recv_ns: int) -> Sequence[Output]:
        symbol = m.s
        row = Book(symbol, event_time(_ns(m.E), ts_recv_ns), ts_recv_ns, False, m.u, m.b, m.a)
        book = self._books.get(symbol)
        if book is not None:
            last_id = book.last_id
            if m.U <= last_id + 1 <= m.u:
                book.apply(m)
                if self._joins and symbol in self._joins:
                    return self._hold(m, row)
                bids, asks = book.bids.prices, book.asks.prices
                if not (bids and asks and bids[-1] >= asks[0]):
                    return (row,)
                return self._crossed(m, book, row)
            if m.u <= last_id:
                return self._contained(book, m, row)
            return self._request(m, "sequence", f"update {m.U} after {last_id}", row)
        if symbol not in self._joins:
            return self._request(m, "no_snapshot", "delta before a snapshot", row)
        return self._hold(m, row)

    def _request(self, m: Depth, cause: GapCause, reason: str, row: Book) -> Sequence[Output]:
        """Request a snapshot, and hold the deltas from this one on."""
        join = self._joins[m.s] = Join(m.U - 1)
        join.add(m)
        return self._sync.resync(m.s, cause, reason), Fetch(m.s, self._snapshot_path(m.s)), row

    def _crossed(self, m: Depth, book: BinanceBook, row: Book) -> Sequence[Output]:
        self._sync.audit(m.s).crossed += 1
        reason = f"bid {book.bids.prices[-1]} at or above ask {book.asks.prices[0]}"
        return self._request(m, "crossed", reason, row)

    def _hold(self, m: Depth, row: Book) -> Sequence[Output]:
        """Keep a delta that a snapshot may have to be joined with."""
        fresh = self._joins[m.s].add(m)
        if fresh is not None:
            return row, *self._started(m.s, fresh, row.ts_recv_ns)
        book = self._books.get(m.s)
        return (row,) if book is None or not book.crossed else self._crossed(m, book, row)

    def _contained(self, book: BinanceBook, m: Depth, row: Book) -> Sequence[Output]:
        """Handle a delta at or below the book's last id: the book contains it, or its ids belong to another count.

        Ids that begin again lower, and a snapshot of another cluster, would otherwise silence the book for ever.
        """
        passed = book.passed(m, row)
        if m.s in self._joins:
            self._joins[m.s].silent = False
        cause: GapCause = "sequence"
        if book.time is not None and _ns(m.E) > _ns(book.time):
            cause, reason = "sequence_reset", f"update {m.u} is not after {book.last_id}, but was made later"
        else:
            since_ns = book.received_ns if book.time is None else passed[0][1].ts_recv_ns
            if row.ts_recv_ns - since_ns <= PATIENCE_NS:
                return ()
            reason = f"update {m.u} is still not after {book.last_id}"
        resync, fetch, *_ = self._request(passed[0][0], cause, reason, row)
        for delta, _ in passed[1:]:
            self._joins[m.s].add(delta)
        return resync, fetch, *(one for _, one in passed)  # those were no repeats, so they are rows after all

    def _rest(self, path: str, m: _Envelope, ts_recv_ns: int) -> Sequence[Output]:
        """Join the answer to a Fetch: a snapshot that may be older or newer than the deltas that came meanwhile.

        Only an answer becomes a snapshot row, with the unbroken deltas after it. Our own book proves nothing, even
        if it seems complete: there was a reason to request another.
        """
        symbol = parse_qs(urlsplit(path).query).get("symbol", [""])[0]
        if not symbol:
            raise DecodeError(f"an answer to a request that is not ours: {path[:200]}")
        snapshot = _decode_snapshot(m.body) if m.status == 200 else None
        join, ours = self._joins.get(symbol), self._books.get(symbol)
        if join is None and ours is not None:
            join = self._joins[symbol] = Join(ours.last_id)
        if snapshot is None:
            return (Fetch(symbol, path),)
        answer = BinanceBook(snapshot.last_update_id, snapshot.bids, snapshot.asks, ts_recv_ns)
        if join is None:  # no delta came yet, which would have requested a snapshot
            return self._started(symbol, answer, ts_recv_ns)
        if join.precedes(answer):
            return (Fetch(symbol, path),)
        book = join.join(answer)
        return () if book is None else self._started(symbol, book, ts_recv_ns)

    def _started(self, symbol: str, book: BinanceBook, ts_recv_ns: int) -> Sequence[Output]:
        """Begin with a book, and return it as a snapshot row, which replaces all rows before it."""
        if book.crossed:
            self._sync.audit(symbol).crossed += 1
            reason = f"the snapshot and its deltas are crossed at {book.last_id}"
            return self._sync.resync(symbol, "crossed", reason), Fetch(symbol, self._snapshot_path(symbol))
        self._joins.pop(symbol, None)
        self._sync.start(symbol, book)
        time_ns = None if book.time is None else event_time(_ns(book.time), ts_recv_ns)
        return (book.row(symbol, time_ns, ts_recv_ns),)

    def _other(self, m: _Envelope, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        match m:
            case _Envelope(rest=str(path)):
                return self._rest(path, m, ts_recv_ns)
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
            case _Envelope(e=None, u=number) if number is not ABSENT:  # a bookTicker has no event type
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
                return (Alive(),)  # the request was read; the answer names no stream and promises nothing
        raise DecodeError(f"unknown message {frame[:200]!r}")


def _trade(m: _Trade, ts_recv_ns: int) -> Sequence[Output]:
    # m: the buyer was the maker, so the taker sold (web-socket-streams.md, "Is the buyer the market maker?").
    return (Trade(m.s, m.t, _ns(m.T), ts_recv_ns, m.p, m.q, "s" if m.m else "b"),)


def _quote(m: _Ticker, ts_recv_ns: int) -> Sequence[Output]:
    if m.b and m.a:
        return (Quote(m.s, None, ts_recv_ns, m.u, m.b, m.B, m.a, m.A),)
    return (Quote(m.s, None, ts_recv_ns, m.u, *best(m.b, m.B), *best(m.a, m.A)),)


def _ns(time: int) -> int:
    """Return nanoseconds of milliseconds, or of the microseconds that `timeUnit=MICROSECOND` in the URL asks for."""
    return time * (1_000_000 if abs(time) < 10**14 else 1000)  # 10**14 ms is the year 5138, 10**14 us 1973


class Binance(Venue):
    """The public spot feed, combined streams."""

    name = "binance"
    url = "wss://stream.binance.com:9443/stream"
    rest_url = "https://api.binance.com"
    # 1,024 streams a connection, 5 frames a second with pings and pongs, 300 connects in 5 minutes and address.
    limits = Limits(streams_per_link=1024, frames_per_s=4, connects_per_minute=60, session_s=86_400)
    # 6,000 units a minute and address (GET /api/v3/exchangeInfo, rateLimits); half of it here. A list costs 20, the
    # day's figures of all symbols 80, a book by its depth.
    rest = RestLimits(
        per_s=25,
        burst=1500,
        weights=(
            (r"/depth\?.*limit=(\d\d?|100)\b", 5),
            (r"/depth\?.*limit=([1-4]\d\d|500)\b", 25),
            (r"/depth\?.*limit=([5-9]\d\d|1000)\b", 50),
            (r"/depth\?", 250),
            (r"/ticker/24hr", 80),
            (r"/trades\?|/historicalTrades\?", 25),
            (r"/exchangeInfo", 20),
            (r"/klines\?", 2),
        ),
    )
    heartbeat = Heartbeat(every_s=10, frame=None, silence_s=30)
    contiguous = frozenset({"trade"})
    book_sequences = True
    channel_words: ClassVar[dict[str, Channel]] = {
        "trade": "trade", "bookTicker": "quote", "depth": "book", "depthUpdate": "book",
    }  # fmt: skip
    listing_paths = listing.LISTING_PATHS
    witness_questions = WITNESS_QUESTIONS
    trade_history = TRADE_HISTORY
    minute_candles = MINUTE_CANDLES
    volume_paths: ClassVar[tuple[str, ...]] = listing.VOLUME_PATHS
    book_depths = DEPTHS
    default_book_depth = 1000

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        requests = _requests("SUBSCRIBE", streams)
        if requests:  # the answer to SUBSCRIBE names no stream, the list does
            requests.append(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": len(requests) + 1}))
        return requests

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return _requests("UNSUBSCRIBE", streams)

    def decoder(self) -> BinanceDecoder:
        return BinanceDecoder(self.snapshot_path)

    def snapshot_path(self, symbol: str) -> str:
        """Return the REST path of a symbol's book."""
        return f"/api/v3/depth?symbol={quote(symbol)}&limit={self.book_depth}"

    def listings(self, body: bytes) -> ListingPage:
        return listing.listings(body)

    def volumes(self, body: bytes) -> dict[str, Day]:
        return listing.volumes(body)


def _requests(method: str, streams: Iterable[Stream]) -> list[str]:
    names = [f"{stream.symbol.lower()}@{WIRE_CHANNEL[stream.channel]}" for stream in streams]
    parts = [names[at : at + STREAMS_PER_REQUEST] for at in range(0, len(names), STREAMS_PER_REQUEST)]
    return [json.dumps({"method": method, "params": part, "id": number}) for number, part in enumerate(parts, 1)]
