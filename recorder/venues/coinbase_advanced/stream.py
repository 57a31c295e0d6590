"""Coinbase Advanced Trade: full books, and one sequence per connection; the second wire dialect of Coinbase.

It names the same instruments as the Exchange feed. coinbase_advanced.md beside this file describes the protocol.
"""

import json
from collections.abc import Callable, Iterable, Sequence
from typing import Any, ClassVar, Literal

import msgspec

from recorder.errors import DecodeError
from recorder.events import Accepted, Alive, Book, Channel, Levels, Lost, Output, Quote, Refused, Stream, Trade
from recorder.timestamps import Rfc3339
from recorder.venues.base import Heartbeat, Limits, ListingPage, RestLimits, Venue
from recorder.venues.book_sync import BookSync
from recorder.venues.coinbase_advanced import listing
from recorder.venues.coinbase_advanced.witness import WITNESS_QUESTIONS
from recorder.venues.orderbook import Side
from recorder.venues.wire import MALFORMED, Amount, Int64, best, event_time, is_text, lenient, with_nulls
from recorder.venues.witness import LEVELS_COMPARED, SeenBook, levels_at

WIRE_CHANNEL: dict[Channel, str] = {"trade": "market_trades", "quote": "ticker", "book": "level2"}
CHANNEL_OF_WIRE: dict[str, Channel] = {wire: channel for channel, wire in WIRE_CHANNEL.items()}
TAKER_OF_MAKER: dict[str, Literal["b", "s"]] = {"BUY": "s", "SELL": "b"}


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
    updates: list[_Level] | None


class _Books(_Message, tag="l2_data", gc=False):
    events: list[_BookEvent] | None


class _TradeData(msgspec.Struct, gc=False):
    product_id: str
    trade_id: Int64
    price: Amount
    size: Amount
    time: str
    side: Literal["BUY", "SELL"]


class _TradeEvent(msgspec.Struct, gc=False):
    trades: list[_TradeData] | None


class _Trades(_Message, tag="market_trades", gc=False):
    events: list[_TradeEvent] | None


class _TickerData(msgspec.Struct, gc=False):
    product_id: str
    best_bid: Amount | None = None
    best_ask: Amount | None = None
    best_bid_quantity: Amount | None = None
    best_ask_quantity: Amount | None = None


class _TickerEvent(msgspec.Struct, gc=False):
    tickers: list[_TickerData] | None


class _Tickers(_Message, tag="ticker", gc=False):
    events: list[_TickerEvent] | None


class _SubscriptionsEvent(msgspec.Struct, gc=False):
    subscriptions: dict[str, list[str] | None] | None


class _Subscriptions(_Message, tag="subscriptions", gc=False):
    events: list[_SubscriptionsEvent] | None


class _Heartbeats(_Message, tag="heartbeats", gc=False):
    pass


class _Candles(_Message, tag="candles", gc=False):
    pass


class _TickerBatch(_Message, tag="ticker_batch", gc=False):
    pass


class _Status(_Message, tag="status", gc=False):
    pass


class _Head(msgspec.Struct, gc=False):
    """What tells whether the venue counted a message."""

    sequence_num: Int64 | None = None
    type: object = None
    message: object = None


_Any = _Books | _Trades | _Tickers | _Heartbeats | _Subscriptions | _Candles | _TickerBatch | _Status
_decode = msgspec.json.Decoder(_Any, strict=False).decode  # lenient: numbers arrive as strings
_decode_head = lenient(_Head)


class CoinbaseAdvancedDecoder:
    """Decoder of one connection."""

    def __init__(self) -> None:
        # Bids, and asks by their negated prices: both lists end with the best level, where most changes happen. At the
        # other end of a list of 27,000 asks each insertion would move all of them.
        self._sync = BookSync[tuple[Side[float], Side[float]]]()
        self._books, self.audits = self._sync.books, self._sync.audits
        self._sequence: int | None = None  # of the last message that was understood
        self._unread = 0  # messages since then that were not understood: their numbers are not missing
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
            message = _decode(frame)
            handler = self._handlers.get(type(message))
            # Other channels are known, but not recorded as rows; the frame is in the journal.
            outputs = () if handler is None else handler(message, ts_recv_ns)
        except MALFORMED as error:
            filled = with_nulls(frame)
            return self._uncounted(frame, error) if filled is None else self.decode(filled, ts_recv_ns)
        number, last, unread = message.sequence_num, self._sequence, self._unread
        self._sequence, self._unread = number, 0
        if last is None or last < number <= last + 1 + unread:
            return outputs
        # The number counts all messages of the connection: a missing one may belong to any product and channel.
        return Lost(f"message {number} after {last}"), *outputs

    def book_of(self, symbol: str) -> SeenBook | None:
        book = self._books.get(symbol)
        if book is None:
            return None
        bids, asks = ((side.prices[: -LEVELS_COMPARED - 1 : -1], side.values) for side in book)
        return SeenBook(levels_at(*bids), levels_at(*asks))

    def _uncounted(self, frame: bytes, error: Exception) -> Sequence[Output]:
        """Return what a frame means that is no message of a channel: an error; any other is not understood.

        A message that the venue counts and we do not understand leaves no gap in the count.
        """
        try:
            head = _decode_head(frame)
        except MALFORMED:  # it may have held a number
            self._unread += not is_text(frame)
            raise DecodeError(str(error)) from error
        if head.type == "error" and isinstance(head.message, str):
            return (Refused(None, head.message),)
        following = (self._sequence or 0) + self._unread + 1
        self._unread += head.sequence_num is not None and (self._sequence is None or head.sequence_num == following)
        raise DecodeError(str(error)) from error

    def _trades(self, m: _Trades, ts_recv_ns: int) -> Sequence[Output]:
        # `side` is the maker's, as coinbase_advanced.md proves. Trades inside a message are not in order.
        rows = sorted((row for event in m.events or () for row in event.trades or ()), key=lambda row: row.trade_id)
        return [
            Trade(
                row.product_id, row.trade_id, self._ns(row.time), ts_recv_ns, row.price, row.size,
                TAKER_OF_MAKER[row.side],
            )
            for row in rows
        ]  # fmt: skip

    def _quotes(self, m: _Tickers, ts_recv_ns: int) -> Sequence[Output]:
        time_ns = event_time(self._ns(m.timestamp), ts_recv_ns)
        return [
            Quote(
                row.product_id, time_ns, ts_recv_ns, m.sequence_num,
                *best(row.best_bid, row.best_bid_quantity), *best(row.best_ask, row.best_ask_quantity),
            )
            for event in m.events or ()
            for row in event.tickers or ()
        ]  # fmt: skip

    def _book_events(self, m: _Books, ts_recv_ns: int) -> Sequence[Output]:
        time_ns = event_time(self._ns(m.timestamp), ts_recv_ns)
        outputs: list[Output] = []
        for event in m.events or ():
            bids: Levels = []
            asks: Levels = []
            ask_ranks: Levels = []
            for level in event.updates or ():
                price, size = level.price_level, level.new_quantity
                if level.side == "bid":
                    bids.append((price, size))
                else:
                    asks.append((price, size))
                    ask_ranks.append((-price, size))
            snapshot = event.type == "snapshot"
            row = Book(event.product_id, time_ns, ts_recv_ns, snapshot, m.sequence_num, bids, asks)
            outputs += self._apply(row, ask_ranks)
        return outputs

    def _apply(self, row: Book, ask_ranks: Levels) -> Sequence[Output]:
        if row.snapshot:
            self._sync.start(row.symbol, (Side(row.bids), Side(ask_ranks)))
            return (row,)
        book = self._books.get(row.symbol)
        if book is None:
            return self._sync.without_snapshot(row)
        bid_side, ask_side = book
        bid_side.apply(row.bids)
        ask_side.apply(ask_ranks)
        bids, asks = bid_side.prices, ask_side.prices
        if bids and asks and bids[-1] >= -asks[-1]:
            return self._sync.crossed(row, bids[-1], -asks[-1])
        return (row,)

    def _subscriptions(self, m: _Subscriptions, _ts_recv_ns: int) -> Sequence[Output]:
        return [
            Accepted(Stream(CHANNEL_OF_WIRE[wire], symbol))
            for event in m.events or ()
            for wire, symbols in (event.subscriptions or {}).items()
            if wire in CHANNEL_OF_WIRE
            for symbol in symbols or ()
        ]


class CoinbaseAdvanced(Venue):
    """The public Advanced Trade feed."""

    name = "coinbase"  # whose instruments it names; the key of the dialect in VENUES is its own name
    url = "wss://advanced-trade-ws.coinbase.com"
    rest_url = "https://api.coinbase.com"
    # 8 frames a second without a key; about 30 level2 streams a connection were carried; 8 connects a second.
    limits = Limits(streams_per_link=90, frames_per_s=5, connects_per_minute=60)
    rest = RestLimits(per_s=4, burst=4)  # the public part: 10 requests a second and address
    heartbeat = Heartbeat(every_s=5, frame=None, silence_s=15)
    contiguous = frozenset({"trade"})
    connection_sequences = True
    channel_words: ClassVar[dict[str, Channel]] = {**CHANNEL_OF_WIRE, "l2_data": "book"}
    listing_paths = listing.LISTING_PATHS
    witness_questions = WITNESS_QUESTIONS

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        requests = _requests("subscribe", streams)
        if requests:  # the venue closes a connection without messages for a minute; heartbeats keep a quiet one open
            requests.append(json.dumps({"type": "subscribe", "channel": "heartbeats"}))
        return requests

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return _requests("unsubscribe", streams)

    def decoder(self) -> CoinbaseAdvancedDecoder:
        return CoinbaseAdvancedDecoder()

    def listings(self, body: bytes) -> ListingPage:
        return listing.listings(body)


def _requests(kind: str, streams: Iterable[Stream]) -> list[str]:
    """Return one frame a channel: the venue accepts no more in one."""
    symbols: dict[str, list[str]] = {}
    for stream in streams:
        symbols.setdefault(WIRE_CHANNEL[stream.channel], []).append(stream.symbol)
    return [json.dumps({"type": kind, "product_ids": names, "channel": channel}) for channel, names in symbols.items()]
