"""Polymarket, market channel of the order book service: a symbol is one outcome token.

The protocol, with sources and what to watch for, is in polymarket.md beside this file.
"""

import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import ClassVar, Literal
from urllib.parse import quote

import msgspec

from recorder.errors import ConfigError, DecodeError, NoFrame
from recorder.events import Accepted, Alive, Book, Channel, Levels, Output, Quote, Resync, Stream, Trade
from recorder.instruments import stable_hash64
from recorder.orderbook import Side
from recorder.timestamps import plausible
from recorder.venues.base import MALFORMED, Amount, Audit, Heartbeat, Int64, Limits, Listing, RestLimits

TOKENS_PER_LINK = 400  # above 500 the whole connection goes silent, without an error
PATIENCE = 5  # messages in a row that contradict a book; the two halves of a match cross it for one or two
PRINTS_REMEMBERED = 8192
TAKER: dict[str, Literal["b", "s"]] = {"BUY": "b", "SELL": "s"}  # side is the taker's

_Side = Literal["BUY", "SELL"]


class _Message(msgspec.Struct, tag_field="event_type", gc=False):
    pass


class _Level(msgspec.Struct, gc=False):
    price: Amount
    size: Amount


class _Book(_Message, tag="book", gc=False):
    asset_id: str
    timestamp: Int64
    bids: list[_Level] | None = None
    asks: list[_Level] | None = None
    buys: list[_Level] | None = None  # the names of old
    sells: list[_Level] | None = None


class _Change(msgspec.Struct, gc=False):
    price: Amount
    size: Amount  # the new total, 0 removes
    side: _Side
    asset_id: str | None = None
    best_bid: Amount | None = None
    best_ask: Amount | None = None


class _PriceChange(_Message, tag="price_change", gc=False):
    timestamp: Int64
    price_changes: list[_Change] | None = None  # since 2025-09-15; each names its token
    changes: list[_Change] | None = None  # before; the token stands at the top
    asset_id: str | None = None
    price: Amount | None = None  # before that: one change, at the top itself
    size: Amount | None = None
    side: _Side | None = None


class _LastTrade(_Message, tag="last_trade_price", gc=False):
    asset_id: str
    price: Amount
    size: Amount
    side: _Side
    timestamp: Int64
    transaction_hash: str | None = None


class _BestBidAsk(_Message, tag="best_bid_ask", gc=False):
    asset_id: str
    timestamp: Int64
    best_bid: Amount | None = None
    best_ask: Amount | None = None


class _TickSizeChange(_Message, tag="tick_size_change", gc=False):
    pass


class _NewMarket(_Message, tag="new_market", gc=False):
    pass


class _MarketResolved(_Message, tag="market_resolved", gc=False):
    pass


_Any = _Book | _PriceChange | _LastTrade | _BestBidAsk | _TickSizeChange | _NewMarket | _MarketResolved
_decode_one = msgspec.json.Decoder(_Any, strict=False).decode  # lax: all numbers are strings
_decode_many = msgspec.json.Decoder(list[_Any], strict=False).decode


class _TokenBook:
    __slots__ = ("asks", "bids", "doubts", "since_ms")

    def __init__(self, since_ms: int, bids: Levels, asks: Levels) -> None:
        self.since_ms = since_ms
        self.bids: Side[float] = Side(bids)
        self.asks: Side[float] = Side(asks)
        self.doubts = 0


class PolymarketSession:
    """Decoder of one connection. Changes come for both tokens of a market: it must know which were asked for."""

    def __init__(self) -> None:
        self.audits: dict[str, Audit] = {}
        self._opened = False
        # What was asked for; None until then, as in a file of frames: there everything is taken.
        self._wanted: dict[str, set[Channel]] | None = None
        self._unanswered: set[str] = set()
        self._books: dict[str, _TokenBook] = {}
        self._asked: set[str] = set()  # tokens whose book is on its way: ask once
        self._prints: dict[str, int] = {}  # how often each print was seen: equal ones are real

    # ---- requests --------------------------------------------------------------------------------------

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        wanted = self._wanted = self._wanted or {}
        streams = list(streams)
        tokens = dict.fromkeys(stream.symbol for stream in streams)
        again = [token for token in tokens if token in wanted]  # carried already: its book comes only if asked anew
        for stream in streams:
            wanted.setdefault(stream.symbol, set()).add(stream.channel)
        if not tokens:
            return []
        self._unanswered.update(tokens)
        if self._opened:
            request: dict[str, object] = {"operation": "subscribe", "assets_ids": list(tokens)}
        else:
            self._opened = True
            request = {"type": "market", "assets_ids": list(tokens), "initial_dump": True}
        return [*_ends(again), json.dumps(request | {"custom_feature_enabled": True})]

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        """One subscription carries all channels of a token: it ends with the last of them."""
        wanted = {} if self._wanted is None else self._wanted
        ended = []
        for stream in streams:
            channels = wanted.get(stream.symbol, set())
            channels.discard(stream.channel)
            if not channels:
                wanted.pop(stream.symbol, None)
                ended.append(stream.symbol)
            if stream.channel == "book":
                self._books.pop(stream.symbol, None)
        return _ends(dict.fromkeys(ended))

    def _wants(self, channel: Channel, token: str) -> bool:
        return self._wanted is None or channel in self._wanted.get(token, ())

    # ---- frames ----------------------------------------------------------------------------------------

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        if frame == b"PONG":
            return (Alive(),)
        try:
            if frame[:1] != b"[":
                return self._message(_decode_one(frame), ts_recv_ns)
            messages = _decode_many(frame)
            for message in messages:  # a frame counts whole or not at all
                if isinstance(message, _PriceChange):
                    _by_token(message)
            return [o for message in messages for o in self._message(message, ts_recv_ns)] if messages else (Alive(),)
        except MALFORMED as error:
            if _without_type(frame):
                raise NoFrame("no event_type: an answer of REST, no frame of the feed") from error
            raise DecodeError(str(error)) from error

    def _message(self, m: _Message, ts_recv_ns: int) -> Sequence[Output]:
        match m:
            case _PriceChange():
                return self._changed(m, ts_recv_ns)
            case _Book():
                return self._book(m, ts_recv_ns)
            case _LastTrade():
                return self._trade(m, ts_recv_ns)
            case _BestBidAsk(asset_id=token):
                if not self._wants("quote", token):
                    return ()
                time_ns = _clock(m.timestamp, ts_recv_ns)
                return (Quote(token, time_ns, ts_recv_ns, None, m.best_bid or None, None, _ask(m.best_ask), None),)
        return ()  # news of markets: known, not recorded as rows; the frame is in the journal

    def _book(self, m: _Book, ts_recv_ns: int) -> Sequence[Output]:
        token = m.asset_id
        outputs: list[Output] = []
        if token in self._unanswered and self._wanted is not None:
            # Nothing is acknowledged; the first book of a token tells that all of it was accepted.
            self._unanswered.discard(token)
            outputs += [Accepted(Stream(channel, token)) for channel in sorted(self._wanted.get(token, ()))]
        if self._wants("book", token):
            bids: Levels = [(level.price, level.size) for level in m.bids or m.buys or ()]
            asks: Levels = [(level.price, level.size) for level in m.asks or m.sells or ()]
            self._books[token] = _TokenBook(m.timestamp, bids, asks)
            self._asked.discard(token)
            outputs.append(Book(token, _clock(m.timestamp, ts_recv_ns), ts_recv_ns, True, None, bids, asks))
        return outputs

    def _changed(self, m: _PriceChange, ts_recv_ns: int) -> Sequence[Output]:
        outputs: list[Output] = []
        time_ns = _clock(m.timestamp, ts_recv_ns)
        for token, changes in _by_token(m).items():
            if not self._wants("book", token):
                continue  # the other half of a market
            book = self._books.get(token)
            if book is not None and m.timestamp < book.since_ms:
                continue  # in the snapshot already
            bids: Levels = [(change.price, change.size) for change in changes if change.side == "BUY"]
            asks: Levels = [(change.price, change.size) for change in changes if change.side == "SELL"]
            if book is None:
                if token not in self._asked:
                    self._asked.add(token)
                    outputs.append(Resync(token, "no_snapshot", "change before a book"))
            else:
                book.bids.apply(bids)
                book.asks.apply(asks)
                resync = self._doubt(token, book, changes[-1])
                if resync is not None:
                    outputs.append(resync)
            outputs.append(Book(token, time_ns, ts_recv_ns, False, None, bids, asks))
        return outputs

    def _doubt(self, token: str, book: _TokenBook, last: _Change) -> Resync | None:
        """Compare a book with itself and with the best prices the venue names; the only evidence there is."""
        bid = book.bids.prices[-1] if book.bids.prices else None
        ask = book.asks.prices[0] if book.asks.prices else None
        crossed = bid is not None and ask is not None and bid >= ask
        named = last.best_bid is not None or last.best_ask is not None
        differs = named and (bid, ask) != (last.best_bid or None, _ask(last.best_ask))
        if not (crossed or differs):
            book.doubts = 0
            if named:
                self.audits.setdefault(token, Audit()).checksums_passed += 1
            return None
        book.doubts += 1
        if book.doubts < PATIENCE:
            return None
        del self._books[token]
        self._asked.add(token)
        audit = self.audits.setdefault(token, Audit())
        if crossed:
            audit.crossed += 1
            return Resync(token, "crossed", f"bid {bid} at or above ask {ask}, {PATIENCE} messages in a row")
        audit.checksums_failed += 1
        return Resync(token, "checksum", f"best {bid} / {ask}, the venue's {last.best_bid} / {last.best_ask}")

    def _trade(self, m: _LastTrade, ts_recv_ns: int) -> Sequence[Output]:
        if not self._wants("trade", m.asset_id):
            return ()
        # There is no id. Prints that are equal in all they say are told apart by their order.
        print_key = f"{m.asset_id} {m.timestamp} {m.price!r} {m.size!r} {m.side} {m.transaction_hash or ''}"
        count = self._prints.pop(print_key, 0) + 1
        self._prints[print_key] = count
        if len(self._prints) > PRINTS_REMEMBERED:
            del self._prints[next(iter(self._prints))]
        trade_id = stable_hash64(f"{print_key} {count}")
        time_ns = m.timestamp * 10**6
        return (
            Trade(m.asset_id, trade_id, time_ns, ts_recv_ns, m.price, m.size, TAKER[m.side], m.transaction_hash),
        )  # fmt: skip


def mirrored(trade: Trade, token: str) -> Trade:
    """The same trade told of the other token of its market: to buy No at p is to sell Yes at 1 - p.

    Rows keep the token the venue named; who counts a market in Yes turns the trades of No with this.
    """
    aggressor: Literal["b", "s"] | None = None if trade.aggressor is None else "s" if trade.aggressor == "b" else "b"
    price = float(1 - Decimal(repr(trade.price)))  # in decimals: 1 - 0.9 is 0.1
    return msgspec.structs.replace(trade, symbol=token, price=price, aggressor=aggressor)


def _by_token(m: _PriceChange) -> dict[str, list[_Change]]:
    """The changes of a message in any of its three shapes.

    Raises:
        ValueError: a change has no token, price, size or side.
    """
    changes = m.price_changes if m.price_changes is not None else m.changes
    if changes is None:
        if m.price is None or m.size is None or m.side is None:
            raise ValueError("a price_change without changes")
        changes = [_Change(m.price, m.size, m.side)]
    by_token: dict[str, list[_Change]] = {}
    for change in changes:
        token = change.asset_id or m.asset_id
        if not token:
            raise ValueError("a change without a token")
        by_token.setdefault(token, []).append(change)
    return by_token


def _without_type(frame: bytes) -> bool:
    """Whether it is JSON as REST answers, of which nothing says what message it is."""
    try:
        value = msgspec.json.decode(frame)
    except MALFORMED:
        return False
    rows = value if isinstance(value, list) else [value]
    return bool(rows) and all(isinstance(row, dict) and row and "event_type" not in row for row in rows)


def _ask(price: float | None) -> float | None:
    """A best ask; an empty side is told as 1 (and a best bid as 0), which is no price here."""
    return None if price == 1.0 else price or None


def _clock(timestamp_ms: int, ts_recv_ns: int) -> int | None:
    time_ns = timestamp_ms * 10**6
    return time_ns if plausible(time_ns, ts_recv_ns) else None


def _ends(tokens: Iterable[str]) -> list[str]:
    tokens = list(tokens)
    return [json.dumps({"operation": "unsubscribe", "assets_ids": tokens})] if tokens else []


class Polymarket:
    """The public market channel; a symbol is a token id."""

    name: ClassVar[str] = "polymarket"
    url: ClassVar[str] = "wss://ws-subscriptions-clob.polymarket.com/ws/market"
    rest_url: ClassVar[str] = "https://gamma-api.polymarket.com"
    # Bursts of connects are answered with 429.
    limits: ClassVar[Limits] = Limits(
        streams_per_link=3 * TOKENS_PER_LINK, frames_per_s=5, connects_per_minute=30, symbols_per_link=TOKENS_PER_LINK
    )
    rest: ClassVar[RestLimits] = RestLimits(per_s=10, burst=10)  # 300 requests in 10 s for markets: a third of it
    heartbeat: ClassVar[Heartbeat] = Heartbeat(every_s=10, frame="PING", silence_s=30)
    channels: ClassVar[tuple[Channel, ...]] = ("trade", "quote", "book")
    contiguous: ClassVar[frozenset[Channel]] = frozenset()  # no ids and no sequence: nothing proves that all came
    listing_paths: ClassVar[tuple[str, ...]] = ("/markets/keyset?closed=false&limit=100",)

    def __init__(self, url: str | None = None, *, book_depth: int | None = None) -> None:
        if book_depth is not None:
            raise ConfigError("polymarket sends whole books: remove book_depth from its settings")
        self.endpoint = url or self.url

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        return self.session().subscribe(streams)

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return self.session().unsubscribe(streams)

    def session(self) -> PolymarketSession:
        return PolymarketSession()

    def listings(self, body: bytes) -> list[Listing]:
        try:
            markets = msgspec.json.decode(body, type=_Markets).markets
            return [listing for market in markets for listing in _listings(market)]
        except MALFORMED as error:
            raise DecodeError(f"market list: {error}") from error

    def next_page(self, path: str, body: bytes) -> str | None:
        try:
            cursor = msgspec.json.decode(body, type=_Markets).next_cursor
        except MALFORMED as error:
            raise DecodeError(f"market list: {error}") from error
        # Any other name of the parameter is ignored, and page one comes for ever.
        return f"{path.partition('&after_cursor=')[0]}&after_cursor={quote(cursor, safe='')}" if cursor else None


class _Market(msgspec.Struct, rename="camel", gc=False):
    slug: str
    outcomes: str | None = None  # arrays, encoded as JSON once more
    clob_token_ids: str | None = None  # absent on markets older than the order book
    order_price_min_tick_size: float | None = None
    order_min_size: float | None = None
    closed: bool = False
    accepting_orders: bool = False
    volume24hr: float | None = None  # USDC, of both tokens together


class _Markets(msgspec.Struct, gc=False):
    markets: list[_Market]
    next_cursor: str | None = None


_decode_texts = msgspec.json.Decoder(list[str]).decode


def _listings(market: _Market) -> list[Listing]:
    """A listing per token; outcome and token of one index belong together, whatever the outcome is called."""
    if not market.clob_token_ids or not market.outcomes:
        return []
    tick, least = (
        None if number is None else f"{Decimal(repr(number)).normalize():f}"
        for number in (market.order_price_min_tick_size, market.order_min_size)
    )
    status = "closed" if market.closed else "open" if market.accepting_orders else "paused"
    return [
        Listing(
            token,
            f"{market.slug}:{outcome}",
            "USDC",
            "outcome",
            tick,
            least,
            status,
            trades=status == "open",
            volume=market.volume24hr,
        )
        for token, outcome in zip(_decode_texts(market.clob_token_ids), _decode_texts(market.outcomes), strict=True)
    ]
