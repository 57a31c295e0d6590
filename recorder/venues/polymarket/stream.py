"""Polymarket, market channel of the order book service: a symbol is one outcome token.

polymarket.md beside this file describes the protocol, with sources and known faults.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

import msgspec

from recorder.errors import DecodeError, NotAFeedFrame
from recorder.events import Alive, Book, Channel, Levels, Lost, Output, Quote, Stream, Trade
from recorder.identity import stable_hash64
from recorder.venues.base import Heartbeat, Limits, ListingPage, RestLimits, Venue
from recorder.venues.book_sync import BookSync
from recorder.venues.orderbook import Side
from recorder.venues.polymarket import listing
from recorder.venues.polymarket.messages import (
    KNOWN_TYPES,
    BestBidAsk,
    BookMessage,
    Change,
    LastTrade,
    Message,
    PriceChange,
    decode_many,
    decode_one,
    decode_raws,
    decode_type,
)
from recorder.venues.polymarket.subscriptions import PING, PONG_NS, Subscriptions
from recorder.venues.polymarket.witness import WITNESS_QUESTIONS
from recorder.venues.wire import MALFORMED, event_time_of_ms, with_nulls

TOKENS_PER_LINK = 400  # above 500 the entire connection goes silent, without an error
CONTRADICTIONS_TO_RESYNC = 5  # messages in a row; the two halves of a match cross a book for one or two of them
AHEAD_NS = 5 * 10**9  # a book stamped further ahead of its receipt proves nothing about later changes
BEHIND_NS = 3 * 10**9  # changes that a book contains arrive no later than this after it
PRINTS_REMEMBERED = 8192
TAKER: dict[str, Literal["b", "s"]] = {"BUY": "b", "SELL": "s"}  # the side on the wire is the taker's


class _TokenBook:
    """The book of one token, from its snapshot on."""

    __slots__ = ("asks", "bids", "contradictions", "passed", "received_ns", "since_ms")

    def __init__(self, since_ms: int, received_ns: int, bids: Levels, asks: Levels) -> None:
        self.since_ms = since_ms
        self.received_ns = received_ns
        self.passed: list[Book] = []  # changes stamped before it, which it contains if its stamp is true
        self.bids: Side[float] = Side(bids)
        self.asks: Side[float] = Side(asks)
        self.contradictions = 0

    @property
    def best(self) -> tuple[float | None, float | None]:
        """The best bid and the best ask."""
        bids, asks = self.bids.prices, self.asks.prices
        return bids[-1] if bids else None, asks[0] if asks else None


class PolymarketDecoder:
    """Decoder of one connection. Changes come for both tokens of a market, so it keeps what was subscribed."""

    def __init__(self) -> None:
        self._sync = BookSync[_TokenBook]()
        self.audits = self._sync.audits
        self._subscriptions = Subscriptions()
        self._wants = self._subscriptions.wants
        self._unordered: set[str] = set()  # tokens whose books and changes are stamped by different clocks
        self._unknown: Counter[str] = Counter()  # messages by event_type
        self._prints: dict[str, int] = {}  # how often each print was seen; equal prints are separate trades

    # ---- requests --------------------------------------------------------------------------------------

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        return self._subscriptions.subscribe(streams)

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        streams = list(streams)
        for stream in streams:
            if stream.channel == "book":
                self._sync.books.pop(stream.symbol, None)
        return self._subscriptions.unsubscribe(streams)

    def pinged(self) -> None:
        self._subscriptions.pinged()

    # ---- frames ----------------------------------------------------------------------------------------

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        if frame == b"PONG":
            self._subscriptions.pong()
            return (Alive(),)
        if self._subscriptions.waits_in_vain(ts_recv_ns):
            return (Lost(f"no answer to a ping in {PONG_NS // 10**9} s, and tokens wait for it"),)
        try:
            messages = self._messages(frame)
        except MALFORMED as error:
            filled = with_nulls(frame)
            if filled is not None:
                return self.decode(filled, ts_recv_ns)
            word = frame.strip().upper()
            if word in (b"PING", b"PONG"):
                return (Alive(),) if word == b"PING" else self.decode(b"PONG", ts_recv_ns)
            known = self._without_unknown(frame)
            if known is not None:
                return self.decode(known, ts_recv_ns)
            if _without_type(frame):
                raise NotAFeedFrame("no event_type: an answer of REST, not a frame of the feed") from error
            raise DecodeError(str(error)) from error
        if len(messages) == 1:
            return self._message(messages[0], ts_recv_ns)
        return [o for message in messages for o in self._message(message, ts_recv_ns)] if messages else (Alive(),)

    def _messages(self, frame: bytes) -> Sequence[Message]:
        """Return the messages of a frame, which is one object or an array of them."""
        return (decode_one(frame),) if frame[:1] != b"[" else decode_many(frame)

    def _without_unknown(self, frame: bytes) -> bytes | None:
        """Return a frame without messages of unknown types; None where that is not what is wrong with it.

        Raises:
            DecodeError: It holds nothing else. Of many messages of a type, only some are samples.
        """
        try:
            messages = decode_raws(frame) if frame[:1] == b"[" else [frame]
            types = [decode_type(message).event_type for message in messages]
        except MALFORMED:
            return None
        known = [bytes(one) for one, kind in zip(messages, types, strict=True) if kind in KNOWN_TYPES]
        if len(known) == len(messages):
            return None
        unknown = Counter(kind for kind in types if kind not in KNOWN_TYPES)
        if known:
            rest = b"[%b]" % b",".join(known)
            decode_many(rest)
            self._unknown += unknown
            return rest
        self._unknown += unknown
        kind = max(unknown, key=lambda kind: self._unknown[kind])
        count = self._unknown[kind]
        if count & (count - 1):  # the 1st, 2nd, 4th, 8th ... is a sample
            return b"[]"
        raise DecodeError(f"unknown event_type {kind[:40]!r}, message {count} of it on this connection", no_data=True)

    def _message(self, m: Message, ts_recv_ns: int) -> Sequence[Output]:
        # No class has a subclass, and identity costs a fifth of a class pattern.
        if type(m) is PriceChange:
            return self._changed(m, ts_recv_ns)
        if type(m) is BestBidAsk:
            return self._quote(m, ts_recv_ns)
        if type(m) is LastTrade:
            return self._trade(m, ts_recv_ns)
        if type(m) is BookMessage:
            return self._book(m, ts_recv_ns)
        return ()  # news of markets: known, but not recorded as rows; the frame is in the journal

    def _quote(self, m: BestBidAsk, ts_recv_ns: int) -> Sequence[Output]:
        if not self._wants("quote", m.asset_id):
            return ()
        time_ns = event_time_of_ms(_ms(m.timestamp), ts_recv_ns)
        quote = Quote(m.asset_id, time_ns, ts_recv_ns, None, m.best_bid or None, None, _ask(m.best_ask), None)
        return (*self._subscriptions.accepted(m.asset_id, ("quote",)), quote)

    def _book(self, m: BookMessage, ts_recv_ns: int) -> Sequence[Output]:
        token = m.asset_id
        outputs: list[Output] = [*self._subscriptions.accepted_by_book(token)]
        if self._wants("book", token):
            bids: Levels = [(level.price, level.size) for level in m.bids or ()]
            asks: Levels = [(level.price, level.size) for level in m.asks or ()]
            stamp_ms = _ms(m.timestamp)
            time_ns = event_time_of_ms(stamp_ms, ts_recv_ns)
            ordered = token not in self._unordered and stamp_ms * 10**6 <= ts_recv_ns + AHEAD_NS
            self._sync.start(token, _TokenBook(stamp_ms if ordered else 0, ts_recv_ns, bids, asks))
            outputs.append(Book(token, time_ns, ts_recv_ns, True, None, bids, asks))
        return outputs

    def _changed(self, m: PriceChange, ts_recv_ns: int) -> Sequence[Output]:
        outputs: list[Output] = []
        stamp_ms = _ms(m.timestamp)
        time_ns = event_time_of_ms(stamp_ms, ts_recv_ns)
        bids: dict[str, Levels] = {}
        asks: dict[str, Levels] = {}
        latest: dict[str, Change] = {}
        for change in m.price_changes:
            token = change.asset_id
            if token not in latest:
                bids[token], asks[token] = [], []
            latest[token] = change
            (bids if change.side == "BUY" else asks)[token].append((change.price, change.size))
        for token, change in latest.items():
            if not self._wants("book", token):
                continue  # the other half of a market
            book = self._sync.books.get(token)
            row = Book(token, time_ns, ts_recv_ns, False, None, bids[token], asks[token])
            if book is None:
                outputs += self._sync.without_snapshot(row)
            elif stamp_ms < book.since_ms:
                outputs += self._contained(row, book, change)
            else:
                book.bids.apply(row.bids)
                book.asks.apply(row.asks)
                outputs += self._verdict(row, book, change)
        return outputs

    def _contained(self, row: Book, book: _TokenBook, last: Change) -> Sequence[Output]:
        """Handle a change stamped before its book. The book contains it, unless two clocks made the stamps.

        It is doubtful where the best prices that it names are not the book's, and seconds after the book.
        """
        book.passed.append(row)
        agrees = _names_best(last) and book.best == (last.best_bid or None, _ask(last.best_ask))
        book.contradictions = 0 if agrees else book.contradictions + 1
        late = row.ts_recv_ns - book.received_ns > BEHIND_NS
        if not late and book.contradictions < CONTRADICTIONS_TO_RESYNC:
            return ()
        self._unordered.add(row.symbol)
        reason = f"{len(book.passed)} changes are stamped before their book"
        return self._sync.resync(row.symbol, "sequence", reason), *book.passed

    def _verdict(self, row: Book, book: _TokenBook, last: Change) -> Sequence[Output]:
        """Compare a book with itself and with the best prices the venue names, the only evidence there is."""
        bid, ask = book.best
        crossed = bid is not None and ask is not None and bid >= ask
        named = _names_best(last)
        differs = named and (bid, ask) != (last.best_bid or None, _ask(last.best_ask))
        if not (crossed or differs):
            book.contradictions = 0
            if named:
                self._sync.audit(row.symbol).checksums_passed += 1
            return (row,)
        book.contradictions += 1
        if book.contradictions < CONTRADICTIONS_TO_RESYNC:
            return (row,)
        if crossed:
            self._sync.audit(row.symbol).crossed += 1
            reason = f"bid {bid} at or above ask {ask}, {book.contradictions} messages in a row"
            return self._sync.reject(row, "crossed", reason)
        self._sync.audit(row.symbol).checksums_failed += 1
        reason = f"best {bid} / {ask}, the venue's {last.best_bid} / {last.best_ask}"
        return self._sync.reject(row, "checksum", reason)

    def _trade(self, m: LastTrade, ts_recv_ns: int) -> Sequence[Output]:
        if not self._wants("trade", m.asset_id):
            return ()
        # There is no trade id. Equal prints are distinguished by their order.
        print_key = f"{m.asset_id} {m.timestamp} {m.price!r} {m.size!r} {m.side} {m.transaction_hash or ''}"
        count = self._prints.pop(print_key, 0) + 1
        self._prints[print_key] = count
        if len(self._prints) > PRINTS_REMEMBERED:
            del self._prints[next(iter(self._prints))]
        trade_id, time_ns = stable_hash64(f"{print_key} {count}"), _ms(m.timestamp) * 10**6
        taker, hashed = TAKER[m.side], m.transaction_hash
        trade = Trade(m.asset_id, trade_id, time_ns, ts_recv_ns, m.price, m.size, taker, hashed)
        return (*self._subscriptions.accepted(m.asset_id, ("trade",)), trade)


def _ms(stamp: int) -> int:
    """Return milliseconds of a stamp that may also be in microseconds or nanoseconds."""
    if stamp < 10**14:  # the year 5138
        return stamp
    return stamp // 1000 if stamp < 10**17 else stamp // 10**6


def _names_best(change: Change) -> bool:
    return change.best_bid is not None or change.best_ask is not None


def _without_type(frame: bytes) -> bool:
    """Tell whether a frame is JSON as REST answers, in which no message names its type."""
    try:
        value = msgspec.json.decode(frame)
    except MALFORMED:
        return False
    rows = value if isinstance(value, list) else [value]
    return bool(rows) and all(isinstance(row, dict) and row and "event_type" not in row for row in rows)


def _ask(price: float | None) -> float | None:
    """Return a best ask. The venue names an empty side 1 (and an empty best bid 0), which are no prices here."""
    return None if price == 1.0 else price or None


class Polymarket(Venue):
    """The public market channel; a symbol is a token id."""

    name = "polymarket"
    prediction_markets = True
    url = "wss://ws-subscriptions-clob.polymarket.com/ws/market"
    rest_url = "https://gamma-api.polymarket.com"
    # Bursts of connects are answered with 429.
    limits = Limits(
        streams_per_link=3 * TOKENS_PER_LINK, frames_per_s=5, connects_per_minute=30, symbols_per_link=TOKENS_PER_LINK
    )
    rest = RestLimits(per_s=10, burst=10)  # 300 requests in 10 s for markets: a third of it
    heartbeat = Heartbeat(every_s=10, frame=PING, silence_s=30)
    contiguous = frozenset()  # no ids and no sequence: nothing proves that all messages arrived
    book_checks_best = True
    channel_words: ClassVar[dict[str, Channel]] = {
        "last_trade_price": "trade", "best_bid_ask": "quote", "book": "book", "price_change": "book",
    }  # fmt: skip
    listing_paths = listing.LISTING_PATHS
    witness_questions = WITNESS_QUESTIONS

    def decoder(self) -> PolymarketDecoder:
        return PolymarketDecoder()

    def listings(self, body: bytes) -> ListingPage:
        return listing.listings(body)

    def next_page(self, path: str, body: bytes) -> str | None:
        return listing.next_page(path, body)
