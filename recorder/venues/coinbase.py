"""Coinbase Exchange: trades, trade-driven quotes, books by level2_batch, heartbeats that name the last trade.

The protocol, with sources and what to watch for, is in coinbase.md beside this file.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from recorder.errors import ConfigError, DecodeError
from recorder.events import (
    Accepted,
    Alive,
    Book,
    Channel,
    Levels,
    Output,
    Quote,
    Refused,
    Resync,
    Stream,
    Trade,
    Witness,
)
from recorder.orderbook import Side
from recorder.timestamps import EARLIEST_NS, NS_PER_DAY, Rfc3339
from recorder.venues.base import MALFORMED, Amount, Audit, Day, Heartbeat, Int64, Limits, Listing, RestLimits

WIRE_CHANNEL: dict[Channel, str] = {"trade": "matches", "quote": "ticker", "book": "level2_batch"}
# level2_batch is acknowledged as level2_50 (seen 2026-08-25); level2 was the open channel until 2023.
CHANNEL_OF_WIRE: dict[str, Channel] = {
    "matches": "trade", "ticker": "quote", "level2_batch": "book", "level2_50": "book", "level2": "book",
}  # fmt: skip
TAKER_OF_MAKER: dict[str, Literal["b", "s"]] = {"buy": "s", "sell": "b"}


class _Message(msgspec.Struct, tag_field="type", gc=False):
    pass


class _Match(_Message, tag="match", gc=False):
    trade_id: Int64
    side: Literal["buy", "sell"]
    size: Amount
    price: Amount
    product_id: str
    time: str


class _LastMatch(_Match, tag="last_match", gc=False):
    pass


class _Ticker(_Message, tag="ticker", gc=False):
    sequence: Int64
    product_id: str
    best_bid: Amount
    best_ask: Amount
    time: str | None = None
    best_bid_size: Amount | None = None  # absent before about 2022
    best_ask_size: Amount | None = None


class _L2Update(_Message, tag="l2update", gc=False):
    product_id: str
    changes: list[tuple[str, Amount, Amount]]
    time: str


class _Snapshot(_Message, tag="snapshot", gc=False):
    product_id: str
    bids: list[tuple[Amount, Amount]]
    asks: list[tuple[Amount, Amount]]
    time: str | None = None


class _Heartbeat(_Message, tag="heartbeat", gc=False):
    last_trade_id: Int64
    product_id: str
    time: str


class _Subscribed(msgspec.Struct, gc=False):
    name: str
    product_ids: list[str] = []


class _Subscriptions(_Message, tag="subscriptions", gc=False):
    channels: list[_Subscribed]


class _Error(_Message, tag="error", gc=False):
    message: str
    reason: str = ""


class _Status(_Message, tag="status", gc=False):
    pass


_Any = _Match | _Ticker | _L2Update | _Heartbeat | _Snapshot | _LastMatch | _Subscriptions | _Error | _Status
_decode = msgspec.json.Decoder(_Any, strict=False).decode  # lax: numbers arrive as strings


class CoinbaseSession:
    """Decoder of one connection."""

    def __init__(self) -> None:
        self.audits: dict[str, Audit] = {}
        self._books: dict[str, tuple[Side[float], Side[float]]] = {}
        self._asked: set[str] = set()  # symbols whose snapshot is on its way: ask once
        self._ns = Rfc3339().ns
        self._handlers: dict[type[_Message], Callable[[Any, int], Sequence[Output]]] = {
            _L2Update: self._delta,
            _Ticker: self._quote,
            _Match: self._trade,
            _LastMatch: self._trade,
            _Snapshot: self._snapshot,
        }

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        try:
            message = _decode(frame)
            handler = self._handlers.get(type(message))
            return self._control(message) if handler is None else handler(message, ts_recv_ns)
        except MALFORMED as error:
            raise DecodeError(str(error)) from error

    def _trade(self, m: _Match, ts_recv_ns: int) -> Sequence[Output]:
        # `side` is the maker's: 97 of 97 matches of captures/coinbase/exchange_20210417_a oppose the
        # ticker of the same sequence, whose side is the taker's.
        aggressor = TAKER_OF_MAKER[m.side]
        return (Trade(m.product_id, m.trade_id, self._ns(m.time), ts_recv_ns, m.price, m.size, aggressor),)

    def _quote(self, m: _Ticker, ts_recv_ns: int) -> Sequence[Output]:
        time_ns = None
        if m.time is not None:
            time_ns = self._ns(m.time)
            if not EARLIEST_NS <= time_ns <= ts_recv_ns + NS_PER_DAY:
                time_ns = None
        return (
            Quote(
                m.product_id, time_ns, ts_recv_ns, m.sequence, m.best_bid, m.best_bid_size, m.best_ask, m.best_ask_size
            ),
        )  # fmt: skip

    def _delta(self, m: _L2Update, ts_recv_ns: int) -> Sequence[Output]:
        symbol, changes = m.product_id, m.changes
        bids: Levels = []
        asks: Levels = []
        for side, price, size in changes:
            if side == "buy":
                bids.append((price, size))
            elif side == "sell":
                asks.append((price, size))
            else:
                raise DecodeError("a change is neither buy nor sell")
        # As _clock() says; a call costs a thirtieth of the usual frame.
        time_ns: int | None = self._ns(m.time)
        if not EARLIEST_NS <= time_ns <= ts_recv_ns + NS_PER_DAY:  # type: ignore[operator]
            time_ns = None
        row = Book(symbol, time_ns, ts_recv_ns, False, None, bids, asks)
        book = self._books.get(symbol)
        if book is None:
            if symbol in self._asked:
                return (row,)
            self._asked.add(symbol)
            return Resync(symbol, "no_snapshot", "delta before a snapshot"), row
        bid_side, ask_side = book
        if bids:
            bid_side.apply(bids)
        if asks:
            ask_side.apply(asks)
        bid_prices, ask_prices = bid_side.prices, ask_side.prices
        if bid_prices and ask_prices and bid_prices[-1] >= ask_prices[0]:
            # No sequence and no checksum on this channel: a crossed book is the only sign of a lost delta.
            del self._books[symbol]
            self._asked.add(symbol)
            self.audits.setdefault(symbol, Audit()).crossed += 1
            return Resync(symbol, "crossed", f"bid {bid_prices[-1]} at or above ask {ask_prices[0]}"), row
        return (row,)

    def _snapshot(self, m: _Snapshot, ts_recv_ns: int) -> Sequence[Output]:
        self._books[m.product_id] = (Side(m.bids), Side(m.asks))
        self._asked.discard(m.product_id)
        time_ns = None if m.time is None else self._clock(m.time, ts_recv_ns)
        return (Book(m.product_id, time_ns, ts_recv_ns, True, None, m.bids, m.asks),)

    def _control(self, m: _Message) -> Sequence[Output]:
        match m:
            case _Heartbeat():
                return (Witness(m.product_id, m.last_trade_id, self._ns(m.time)),)
            case _Subscriptions():
                return tuple(
                    Accepted(Stream(CHANNEL_OF_WIRE[channel.name], symbol))
                    for channel in m.channels
                    if channel.name in CHANNEL_OF_WIRE
                    for symbol in channel.product_ids
                )
            case _Error():
                return (_refused(m),)
        return (Alive(),)

    def _clock(self, text: str, ts_recv_ns: int) -> int | None:
        """The venue's time; None where it is absurd. An l2update of year 1 was seen (tardis-node's tests)."""
        time_ns = self._ns(text)
        return time_ns if EARLIEST_NS <= time_ns <= ts_recv_ns + NS_PER_DAY else None


def _refused(error: _Error) -> Refused:
    return Refused(None, f"{error.message}: {error.reason}" if error.reason else error.message)


class Coinbase:
    """The public Exchange feed (ws-feed)."""

    name: ClassVar[str] = "coinbase"
    url: ClassVar[str] = "wss://ws-feed.exchange.coinbase.com"
    rest_url: ClassVar[str] = "https://api.exchange.coinbase.com"
    # 10 subscriptions per product and channel and address; 8 connects a second; 100 frames a second.
    limits: ClassVar[Limits] = Limits(streams_per_link=300, frames_per_s=20, connects_per_minute=120)
    rest: ClassVar[RestLimits] = RestLimits(per_s=5, burst=5)  # 10 requests a second and address
    heartbeat: ClassVar[Heartbeat] = Heartbeat(every_s=5, frame=None, silence_s=15)
    channels: ClassVar[tuple[Channel, ...]] = ("trade", "quote", "book")
    contiguous: ClassVar[frozenset[Channel]] = frozenset({"trade"})
    listing_paths: ClassVar[tuple[str, ...]] = ("/products",)
    volume_paths: ClassVar[tuple[str, ...]] = ("/products/stats",)

    def __init__(self, url: str | None = None, *, book_depth: int | None = None) -> None:
        if book_depth is not None:
            raise ConfigError("coinbase sends whole books: remove book_depth from its settings")
        self.endpoint = url or self.url

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        return _requests("subscribe", streams)

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return _requests("unsubscribe", streams)

    def session(self) -> CoinbaseSession:
        return CoinbaseSession()

    def listings(self, body: bytes) -> list[Listing]:
        try:
            products = msgspec.json.decode(body, type=list[_Product])
        except MALFORMED as error:
            raise DecodeError(f"product list: {error}") from error
        return [
            Listing(
                product.id,
                product.base_currency,
                product.quote_currency,
                "spot",
                product.quote_increment,
                product.base_increment,
                product.status,
                trades=product.status == "online" and not product.trading_disabled,
            )
            for product in products
        ]

    def volumes(self, body: bytes) -> dict[str, Day]:
        try:
            rows = msgspec.json.decode(body, type=dict[str, _Stats], strict=False)
        except MALFORMED as error:
            raise DecodeError(f"product stats: {error}") from error
        return {
            symbol: Day(day.last, day.last * day.volume)  # the volume is in base units
            for symbol, row in rows.items()
            if (day := row.stats_24hour) is not None and day.last is not None and day.volume is not None
        }


class _Product(msgspec.Struct, gc=False):
    id: str
    base_currency: str
    quote_currency: str
    quote_increment: str
    base_increment: str
    status: str
    trading_disabled: bool = False


class _DayStats(msgspec.Struct, gc=False):
    last: Amount | None = None  # absent or null where nothing traded
    volume: Amount | None = None


class _Stats(msgspec.Struct, gc=False):
    stats_24hour: _DayStats | None = None


def _requests(kind: str, streams: Iterable[Stream]) -> list[str]:
    """One frame a channel, so that a refused channel takes no other with it; trades bring their heartbeat."""
    symbols: dict[str, list[str]] = {}
    for stream in streams:
        symbols.setdefault(WIRE_CHANNEL[stream.channel], []).append(stream.symbol)
    if "matches" in symbols:
        symbols["heartbeat"] = symbols["matches"]
    return [
        json.dumps({"type": kind, "product_ids": names, "channels": [channel]}) for channel, names in symbols.items()
    ]
