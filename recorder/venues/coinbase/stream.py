"""Coinbase Exchange: trades, trade-driven quotes, books of level2_batch, and heartbeats that name the last trade.

coinbase.md beside this file describes the protocol, with sources and known faults.
"""

import json
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

import msgspec

from recorder.errors import DecodeError
from recorder.events import Accepted, Alive, Book, Channel, Levels, Output, Quote, Refused, Stream, Trade, Witness
from recorder.timestamps import EARLIEST_NS, NS_PER_DAY, Rfc3339
from recorder.venues.base import Day, Heartbeat, Limits, ListingPage, RestLimits, Venue
from recorder.venues.best_price import BestPriceSide
from recorder.venues.book_sync import BookSync
from recorder.venues.coinbase import listing
from recorder.venues.coinbase.candles import MINUTE_CANDLES
from recorder.venues.coinbase.history import TRADE_HISTORY
from recorder.venues.coinbase.witness import WITNESS_QUESTIONS
from recorder.venues.wire import MALFORMED, Amount, Int64, best, event_time, with_nulls
from recorder.venues.witness import SeenBook, best_first

WIRE_CHANNEL: dict[Channel, str] = {"trade": "matches", "quote": "ticker", "book": "level2_batch"}
# level2_batch is acknowledged as level2_50 (seen 2026-08-25); level2 needed no key until 2023.
CHANNEL_OF_WIRE: dict[str, Channel] = {
    "matches": "trade", "ticker": "quote", "level2_batch": "book", "level2_50": "book", "level2": "book",
}  # fmt: skip
CHANNEL_WORDS: dict[str, Channel] = {
    "match": "trade", "last_match": "trade", "ticker": "quote", "snapshot": "book", "l2update": "book",
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
    product_id: str
    sequence: Int64 | None = None  # absent, like the best prices, for a product that never traded
    best_bid: Amount | None = None
    best_ask: Amount | None = None
    time: str | None = None
    best_bid_size: Amount | None = None  # absent before about 2022
    best_ask_size: Amount | None = None


class _L2Update(_Message, tag="l2update", gc=False):
    product_id: str
    changes: list[tuple[Literal["buy", "sell"], Amount, Amount]]
    time: str


class _Snapshot(_Message, tag="snapshot", gc=False):
    product_id: str
    bids: list[tuple[Amount, Amount]] | None  # null for an empty side
    asks: list[tuple[Amount, Amount]] | None
    time: str | None = None


class _Heartbeat(_Message, tag="heartbeat", gc=False):
    last_trade_id: Int64 | None
    product_id: str
    time: str


class _Subscribed(msgspec.Struct, gc=False):
    name: str
    product_ids: list[str] | None = None


class _Subscriptions(_Message, tag="subscriptions", gc=False):
    channels: list[_Subscribed] | None


class _Error(_Message, tag="error", gc=False):
    message: str
    reason: str = ""


class _Status(_Message, tag="status", gc=False):
    pass


_Any = _Match | _Ticker | _L2Update | _Heartbeat | _Snapshot | _LastMatch | _Subscriptions | _Error | _Status
_decode = msgspec.json.Decoder(_Any, strict=False).decode  # lenient: numbers arrive as strings


class CoinbaseDecoder:
    """Decoder of one connection."""

    def __init__(self) -> None:
        self._sync = BookSync[tuple[BestPriceSide, BestPriceSide]]()
        self._books, self.audits = self._sync.books, self._sync.audits
        self._ns = Rfc3339().ns

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        try:
            m = _decode(frame)
            # Quotes and trades are most of the messages: their rows are made here, without a further call.
            kind = type(m)
            if kind is _Ticker:
                time_ns: int | None = None if m.time is None else self._ns(m.time)
                if time_ns is not None and not EARLIEST_NS <= time_ns <= ts_recv_ns + NS_PER_DAY:
                    time_ns = None
                bid, ask = m.best_bid, m.best_ask
                if bid and ask:
                    return (
                        Quote(
                            m.product_id, time_ns, ts_recv_ns, m.sequence, bid, m.best_bid_size, ask, m.best_ask_size
                        ),
                    )  # fmt: skip
                sides = *best(bid, m.best_bid_size), *best(ask, m.best_ask_size)
                return (Quote(m.product_id, time_ns, ts_recv_ns, m.sequence, *sides),)
            if kind is _Match or kind is _LastMatch:
                # `side` is the maker's: 97 of 97 matches of captures/coinbase/exchange_20210417_a oppose the
                # ticker of the same sequence, whose side is the taker's.
                aggressor = TAKER_OF_MAKER[m.side]
                return (Trade(m.product_id, m.trade_id, self._ns(m.time), ts_recv_ns, m.price, m.size, aggressor),)
            if kind is _L2Update:
                return self._delta(m, ts_recv_ns)
            if kind is _Snapshot:
                return self._snapshot(m, ts_recv_ns)
            return self._control(m)
        except MALFORMED as error:
            filled = with_nulls(frame)
            if filled is not None:
                return self.decode(filled, ts_recv_ns)
            raise DecodeError(str(error)) from error

    def book_of(self, symbol: str) -> SeenBook | None:
        book = self._books.get(symbol)
        return None if book is None else best_first(book[0].values.items(), book[1].values.items())

    def _delta(self, m: _L2Update, ts_recv_ns: int) -> Sequence[Output]:
        symbol = m.product_id
        bids: Levels = []
        asks: Levels = []
        add_bid, add_ask = bids.append, asks.append
        for side, price, size in m.changes:
            if side == "buy":
                add_bid((price, size))
            else:
                add_ask((price, size))
        # Written out from event_time(): a call costs a thirtieth of the usual frame.
        time_ns: int | None = self._ns(m.time)
        if not EARLIEST_NS <= time_ns <= ts_recv_ns + NS_PER_DAY:  # type: ignore[operator]
            time_ns = None
        row = Book(symbol, time_ns, ts_recv_ns, False, None, bids, asks)
        book = self._books.get(symbol)
        if book is None:
            return self._sync.without_snapshot(row)
        bid_side, ask_side = book
        if bids:
            bid_side.apply(bids)
        if asks:
            ask_side.apply(asks)
        if bid_side.best >= ask_side.best:
            # This channel has no sequence and no checksum: a crossed book is the only sign of a lost delta.
            return self._sync.crossed(row, bid_side.best, ask_side.best)
        return (row,)

    def _snapshot(self, m: _Snapshot, ts_recv_ns: int) -> Sequence[Output]:
        bids, asks = m.bids or [], m.asks or []
        self._sync.start(m.product_id, (BestPriceSide(bids, bids=True), BestPriceSide(asks, bids=False)))
        time_ns = None if m.time is None else event_time(self._ns(m.time), ts_recv_ns)
        return (Book(m.product_id, time_ns, ts_recv_ns, True, None, bids, asks),)

    def _control(self, m: _Message) -> Sequence[Output]:
        match m:
            case _Heartbeat(last_trade_id=int(number)):
                return (Witness(m.product_id, number, self._ns(m.time)),)
            case _Subscriptions():
                return tuple(
                    Accepted(Stream(CHANNEL_OF_WIRE[channel.name], symbol))
                    for channel in m.channels or ()
                    if channel.name in CHANNEL_OF_WIRE
                    for symbol in channel.product_ids or ()
                )
            case _Error():
                return (_refused(m),)
        return (Alive(),)


def _refused(error: _Error) -> Refused:
    return Refused(None, f"{error.message}: {error.reason}" if error.reason else error.message)


class Coinbase(Venue):
    """The public Exchange feed (ws-feed)."""

    name = "coinbase"
    url = "wss://ws-feed.exchange.coinbase.com"
    rest_url = "https://api.exchange.coinbase.com"
    # 10 subscriptions per product and channel and address; 8 connects a second; 100 frames a second.
    limits = Limits(streams_per_link=300, frames_per_s=20, connects_per_minute=120)
    rest = RestLimits(per_s=5, burst=5)  # 10 requests a second and address
    heartbeat = Heartbeat(every_s=5, frame=None, silence_s=15)
    contiguous = frozenset({"trade"})
    channel_words = CHANNEL_WORDS
    listing_paths = listing.LISTING_PATHS
    volume_paths: ClassVar[tuple[str, ...]] = listing.VOLUME_PATHS
    witness_questions = WITNESS_QUESTIONS
    trade_history = TRADE_HISTORY
    minute_candles = MINUTE_CANDLES

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        return _requests("subscribe", streams)

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return _requests("unsubscribe", streams)

    def decoder(self) -> CoinbaseDecoder:
        return CoinbaseDecoder()

    def listings(self, body: bytes) -> ListingPage:
        return listing.listings(body)

    def volumes(self, body: bytes) -> dict[str, Day]:
        return listing.volumes(body)


def _requests(kind: str, streams: Iterable[Stream]) -> list[str]:
    """Return one frame a channel, so that a refused channel refuses no other; trades bring their heartbeat."""
    symbols: dict[str, list[str]] = {}
    for stream in streams:
        symbols.setdefault(WIRE_CHANNEL[stream.channel], []).append(stream.symbol)
    if "matches" in symbols:
        symbols["heartbeat"] = symbols["matches"]
    return [
        json.dumps({"type": kind, "product_ids": names, "channels": [channel]}) for channel, names in symbols.items()
    ]
