"""Coinbase Advanced Trade: the second wire dialect of Coinbase, with full books and one sequence per connection.

It names the same instruments as coinbase.py. The protocol is in coinbase_advanced.md beside this file.
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
    Lost,
    Output,
    Quote,
    Refused,
    Resync,
    Stream,
    Trade,
)
from recorder.orderbook import Side
from recorder.timestamps import Rfc3339, plausible
from recorder.venues.base import MALFORMED, Amount, Audit, Heartbeat, Int64, Limits, Listing, RestLimits

WIRE_CHANNEL: dict[Channel, str] = {"trade": "market_trades", "quote": "ticker", "book": "level2"}
CHANNEL_OF_WIRE: dict[str, Channel] = {wire: channel for channel, wire in WIRE_CHANNEL.items()}
TAKER_OF_MAKER: dict[str, Literal["b", "s"]] = {"BUY": "s", "SELL": "b"}
KIND = {"SPOT": "spot", "FUTURE": "future"}


class _Message(msgspec.Struct, tag_field="channel", gc=False):
    sequence_num: Int64
    timestamp: str


class _Level(msgspec.Struct, gc=False):
    side: Literal["bid", "offer"]
    price_level: Amount
    new_quantity: Amount


class _BookEvent(msgspec.Struct, gc=False):
    type: Literal["snapshot", "update"]
    product_id: str
    updates: list[_Level]


class _Books(_Message, tag="l2_data", gc=False):
    events: list[_BookEvent]


class _TradeData(msgspec.Struct, gc=False):
    product_id: str
    trade_id: Int64
    price: Amount
    size: Amount
    time: str
    side: Literal["BUY", "SELL"]


class _TradeEvent(msgspec.Struct, gc=False):
    trades: list[_TradeData]


class _Trades(_Message, tag="market_trades", gc=False):
    events: list[_TradeEvent]


class _TickerData(msgspec.Struct, gc=False):
    product_id: str
    best_bid: Amount
    best_ask: Amount
    best_bid_quantity: Amount
    best_ask_quantity: Amount


class _TickerEvent(msgspec.Struct, gc=False):
    tickers: list[_TickerData]


class _Tickers(_Message, tag="ticker", gc=False):
    events: list[_TickerEvent]


class _SubscriptionsEvent(msgspec.Struct, gc=False):
    subscriptions: dict[str, list[str]]


class _Subscriptions(_Message, tag="subscriptions", gc=False):
    events: list[_SubscriptionsEvent]


class _Heartbeats(_Message, tag="heartbeats", gc=False):
    pass


class _Candles(_Message, tag="candles", gc=False):
    pass


class _TickerBatch(_Message, tag="ticker_batch", gc=False):
    pass


class _Status(_Message, tag="status", gc=False):
    pass


class _Error(msgspec.Struct, tag_field="type", tag="error", gc=False):
    message: str


_Any = _Books | _Trades | _Tickers | _Heartbeats | _Subscriptions | _Candles | _TickerBatch | _Status
_decode = msgspec.json.Decoder(_Any, strict=False).decode  # lax: numbers arrive as strings
_decode_error = msgspec.json.Decoder(_Error).decode


class CoinbaseAdvancedSession:
    """Decoder of one connection."""

    def __init__(self) -> None:
        self.audits: dict[str, Audit] = {}
        # Bids and asks, these by their negated prices: both end with the best level, where most changes are. In a list
        # of 27,000 asks a level put in at the other end moves them all.
        self._books: dict[str, tuple[Side[float], Side[float]]] = {}
        self._asked: set[str] = set()  # symbols whose snapshot is on its way: ask once
        self._sequence: int | None = None  # of the last message understood
        self._unread = 0  # messages since then that were not: their numbers are not missing
        self._ns = Rfc3339().ns
        self._handlers: dict[type[_Message], Callable[[Any, int], Sequence[Output]]] = {
            _Books: self._book_events,
            _Trades: self._trades,
            _Tickers: self._quotes,
            _Subscriptions: self._subscriptions,
            _Heartbeats: lambda _m, _ts: (Alive(),),
        }

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        try:
            if frame.startswith(b'{"type":"error"'):
                return (Refused(None, _decode_error(frame).message),)
            message = _decode(frame)
            handler = self._handlers.get(type(message))
            # The others are known and not recorded as rows; the frame is in the journal.
            outputs = () if handler is None else handler(message, ts_recv_ns)
        except MALFORMED as error:
            self._unread += 1
            raise DecodeError(str(error)) from error
        number, last, unread = message.sequence_num, self._sequence, self._unread
        self._sequence, self._unread = number, 0
        if last is None or last < number <= last + 1 + unread:
            return outputs
        # The number counts all messages of the connection: what is missing may be of any product and channel.
        return Lost(f"message {number} after {last}"), *outputs

    def _trades(self, m: _Trades, ts_recv_ns: int) -> Sequence[Output]:
        # `side` is the maker's: see coinbase_advanced.md for the proof. The order inside a message is not sorted.
        rows = sorted((row for event in m.events for row in event.trades), key=lambda row: row.trade_id)
        return [
            Trade(
                row.product_id, row.trade_id, self._ns(row.time), ts_recv_ns, row.price, row.size,
                TAKER_OF_MAKER[row.side],
            )
            for row in rows
        ]  # fmt: skip

    def _quotes(self, m: _Tickers, ts_recv_ns: int) -> Sequence[Output]:
        time_ns = self._clock(m.timestamp, ts_recv_ns)
        return [
            Quote(
                row.product_id, time_ns, ts_recv_ns, m.sequence_num, row.best_bid, row.best_bid_quantity,
                row.best_ask, row.best_ask_quantity,
            )
            for event in m.events
            for row in event.tickers
        ]  # fmt: skip

    def _book_events(self, m: _Books, ts_recv_ns: int) -> Sequence[Output]:
        time_ns = self._clock(m.timestamp, ts_recv_ns)
        outputs: list[Output] = []
        for event in m.events:
            bids: Levels = []
            asks: Levels = []
            ask_ranks: Levels = []
            for level in event.updates:
                price, size = level.price_level, level.new_quantity
                if level.side == "bid":
                    bids.append((price, size))
                else:
                    asks.append((price, size))
                    ask_ranks.append((-price, size))
            snapshot = event.type == "snapshot"
            row = Book(event.product_id, time_ns, ts_recv_ns, snapshot, m.sequence_num, bids, asks)
            resync = self._apply(row, ask_ranks)
            if resync is not None:  # a gap begins before the row it follows from
                outputs.append(resync)
            outputs.append(row)
        return outputs

    def _apply(self, row: Book, ask_ranks: Levels) -> Resync | None:
        symbol = row.symbol
        if row.snapshot:
            self._books[symbol] = (Side(row.bids), Side(ask_ranks))
            self._asked.discard(symbol)
            return None
        book = self._books.get(symbol)
        if book is None:
            if symbol in self._asked:
                return None
            self._asked.add(symbol)
            return Resync(symbol, "no_snapshot", "delta before a snapshot")
        bid_side, ask_side = book
        bid_side.apply(row.bids)
        ask_side.apply(ask_ranks)
        bids, asks = bid_side.prices, ask_side.prices
        if bids and asks and bids[-1] >= -asks[-1]:
            del self._books[symbol]
            self._asked.add(symbol)
            self.audits.setdefault(symbol, Audit()).crossed += 1
            return Resync(symbol, "crossed", f"bid {bids[-1]} at or above ask {-asks[-1]}")
        return None

    def _subscriptions(self, m: _Subscriptions, _ts_recv_ns: int) -> Sequence[Output]:
        return [
            Accepted(Stream(CHANNEL_OF_WIRE[wire], symbol))
            for event in m.events
            for wire, symbols in event.subscriptions.items()
            if wire in CHANNEL_OF_WIRE
            for symbol in symbols
        ]

    def _clock(self, text: str, ts_recv_ns: int) -> int | None:
        time_ns = self._ns(text)
        return time_ns if plausible(time_ns, ts_recv_ns) else None


class CoinbaseAdvanced:
    """The public Advanced Trade feed."""

    name: ClassVar[str] = "coinbase"  # whose instruments it names; the dialect's own name is its key in VENUES
    url: ClassVar[str] = "wss://advanced-trade-ws.coinbase.com"
    rest_url: ClassVar[str] = "https://api.coinbase.com"
    # 8 frames a second without a key; about 30 level2 streams a connection were carried; 8 connects a second.
    limits: ClassVar[Limits] = Limits(streams_per_link=90, frames_per_s=5, connects_per_minute=60)
    rest: ClassVar[RestLimits] = RestLimits(per_s=4, burst=4)  # the public part: 10 requests a second and address
    heartbeat: ClassVar[Heartbeat] = Heartbeat(every_s=5, frame=None, silence_s=15)
    channels: ClassVar[tuple[Channel, ...]] = ("trade", "quote", "book")
    contiguous: ClassVar[frozenset[Channel]] = frozenset({"trade"})
    listing_paths: ClassVar[tuple[str, ...]] = ("/api/v3/brokerage/market/products",)

    def __init__(self, url: str | None = None, *, book_depth: int | None = None) -> None:
        if book_depth is not None:
            raise ConfigError("coinbase_advanced sends whole books: remove book_depth from its settings")
        self.endpoint = url or self.url

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        requests = _requests("subscribe", streams)
        if requests:  # keeps a quiet connection open: one without messages for a minute is closed
            requests.append(json.dumps({"type": "subscribe", "channel": "heartbeats"}))
        return requests

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return _requests("unsubscribe", streams)

    def session(self) -> CoinbaseAdvancedSession:
        return CoinbaseAdvancedSession()

    def listings(self, body: bytes) -> list[Listing]:
        try:
            return [_listing(row) for row in msgspec.json.decode(body, type=_Products).products]
        except MALFORMED as error:
            raise DecodeError(f"product list: {error}") from error


class _Product(msgspec.Struct, gc=False):
    product_id: str
    base_currency_id: str
    quote_currency_id: str
    product_type: str
    status: str
    price_increment: str = ""
    base_min_size: str = ""
    is_disabled: bool = False
    trading_disabled: bool = False
    price: str = ""
    approximate_quote_24h_volume: str = ""
    alias: str = ""  # BTC-USD for BTC-USDC: one book under two names, its data comes under the first


class _Products(msgspec.Struct, gc=False):
    products: list[_Product]


def _listing(row: _Product) -> Listing:
    return Listing(
        row.product_id, row.base_currency_id, row.quote_currency_id,
        KIND.get(row.product_type, row.product_type.lower()),
        row.price_increment or None, row.base_min_size or None, row.status,
        trades=row.status == "online" and not (row.is_disabled or row.trading_disabled),
        price=_amount(row.price), volume=_amount(row.approximate_quote_24h_volume), alias_of=row.alias or None,
    )  # fmt: skip


def _amount(text: str) -> float | None:
    """A figure that is empty where the venue has none."""
    return msgspec.convert(text, type=Amount, strict=False) if text else None


def _requests(kind: str, streams: Iterable[Stream]) -> list[str]:
    """One frame a channel: the venue takes no more in one."""
    symbols: dict[str, list[str]] = {}
    for stream in streams:
        symbols.setdefault(WIRE_CHANNEL[stream.channel], []).append(stream.symbol)
    return [json.dumps({"type": kind, "product_ids": names, "channel": channel}) for channel, names in symbols.items()]
