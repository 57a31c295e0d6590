"""Bitfinex v2: trades, ticker quotes, books P0 with checksums, one sequence over all of a connection.

The protocol, with sources and what to watch for, is in bitfinex.md beside this file.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal
from zlib import crc32

import msgspec

from recorder.errors import ConfigError, DecodeError, NoFrame
from recorder.events import (
    Accepted,
    Alive,
    Book,
    Channel,
    Ending,
    Levels,
    Lost,
    Output,
    Quote,
    Refused,
    Reply,
    Resync,
    Stream,
    Trade,
)
from recorder.orderbook import RankedSide
from recorder.timestamps import plausible
from recorder.venues.base import MALFORMED, Amount, Audit, Day, Heartbeat, Int64, Limits, Listing, RestLimits

WIRE_CHANNEL: dict[Channel, str] = {"trade": "trades", "quote": "ticker", "book": "book"}
CHANNEL_OF_WIRE: dict[str, Channel] = {wire: channel for channel, wire in WIRE_CHANNEL.items()}
TIMESTAMP, SEQ_ALL, OB_CHECKSUM = 1 << 15, 1 << 16, 1 << 17
CONFIGURE = json.dumps({"event": "conf", "flags": SEQ_ALL | OB_CHECKSUM})
LENGTHS = (1, 25, 100, 250)
CHECKED_LEVELS = 25
HEARTBEAT = b'"hb"'
SEEN_TRADES = 512  # ids remembered per stream: te and tu are at most a few frames apart

_WHOLE = rb"(0|[1-9]\d{0,17})"
_NUMBER = rb"(-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)"
_UPDATE = re.compile(rb"\[%b,\[%b,%b,%b\](?:,%b)?\]" % (_WHOLE, _NUMBER, _WHOLE, _NUMBER, _WHOLE))
"""One level of a book with its sequence, or without: 19 frames of 20."""

Signed = Annotated[float, msgspec.Meta(ge=-1e300, le=1e300)]


class _Event(msgspec.Struct, gc=False):
    """Every object on the wire, and what a frame tells of its channel."""

    event: str = ""
    channel: str | None = None
    symbol: str | None = None
    chan_id: Int64 | None = msgspec.field(default=None, name="chanId")
    prec: str | None = None
    flags: int | None = None
    status: object = None
    code: int | None = None
    msg: str | None = None


class _Trade(msgspec.Struct, array_like=True, gc=False):
    id: Int64
    ms: Int64
    amount: Signed  # its sign is the taker's side
    price: Amount


class _Ticker(msgspec.Struct, array_like=True, gc=False):
    bid: Amount | None
    bid_size: object  # summed over 25 levels: no size at the best price
    ask: Amount | None


class _Level(msgspec.Struct, array_like=True, gc=False):
    price: msgspec.Raw  # the checksum is over the text
    count: int
    amount: msgspec.Raw


_decode_event = msgspec.json.Decoder(_Event).decode
_decode_parts = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_int = msgspec.json.Decoder(Int64).decode
_decode_trade = msgspec.json.Decoder(_Trade).decode
_decode_trades = msgspec.json.Decoder(list[_Trade]).decode
_decode_ticker = msgspec.json.Decoder(_Ticker).decode
_decode_level = msgspec.json.Decoder(_Level).decode
_decode_levels = msgspec.json.Decoder(list[_Level]).decode


class _Feed:
    """What one chanId of this connection carries."""

    __slots__ = ("asked", "book", "book_of", "closing", "seen", "stream")

    def __init__(self, stream: Stream | None) -> None:
        self.stream = stream  # None: known, but not recorded as rows
        self.seen: dict[int, None] = {}  # the latest trade ids
        self.book_of = stream.symbol if stream is not None and stream.channel == "book" else None
        self.book: tuple[RankedSide, RankedSide] | None = None  # bids, asks; digits for the checksum
        self.asked = False  # a snapshot is on its way: ask once
        self.closing = False  # its end was asked for


class BitfinexSession:
    """Decoder of one connection; knows which chanId is what there."""

    def __init__(self, length: int = 100) -> None:
        self.audits: dict[str, Audit] = {}
        self._length = length
        self._feeds: dict[bytes, _Feed] = {}  # by the chanId's digits
        self._flags = 0
        self._last = self._vouched = 0  # sequence of the last frame; of those after it that were unreadable
        self._restart = False  # the count may begin anew
        self._configured = False
        self._unwanted: set[Stream] = set()  # ended before they were acknowledged
        self._again: set[Stream] = set()  # to be asked for once their end is acknowledged

    # ---- requests --------------------------------------------------------------------------------------

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        streams = list(streams)
        self._unwanted.difference_update(streams)
        frames = [self._request(stream) for stream in streams]
        if frames and not self._configured:  # flags hold for what is subscribed after them
            self._configured = True
            frames.insert(0, CONFIGURE)
        return frames

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        wanted = set(streams)
        frames = []
        for number, feed in self._feeds.items():
            if feed.stream in wanted and not feed.closing:
                frames.append(_end(feed, number))
        self._unwanted |= wanted - {feed.stream for feed in self._feeds.values()}
        return frames

    def _request(self, stream: Stream) -> str:
        request = {"event": "subscribe", "channel": WIRE_CHANNEL[stream.channel], "symbol": stream.symbol}
        if stream.channel == "book":
            request |= {"prec": "P0", "freq": "F0", "len": str(self._length)}
        return json.dumps(request)

    # ---- frames ----------------------------------------------------------------------------------------

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        update = _UPDATE.fullmatch(frame)
        if update is not None:
            rows = self._update(update, ts_recv_ns)
            if rows is not None:
                return rows
        symbol = None
        try:
            if frame[:1] == b"{":
                return self._event(_decode_event(frame), frame)
            parts = _decode_parts(frame)
            number, what = bytes(parts[0]), bytes(parts[1])
            stamped = bool(self._flags & TIMESTAMP)
            sequence = _decode_int(parts[-2 if stamped else -1]) if self._flags & SEQ_ALL else None
            time_ns = _decode_int(parts[-1]) * 10**6 if stamped else None
            feed = self._feeds.get(number)
            if feed is None and number[:1] == b"{":  # crypto-crawler's files hold the subscription in place of chanId
                feed = self._described(_decode_event(number))
            if feed is not None and feed.stream is not None:
                symbol = feed.stream.symbol
            elif feed is None and number[:1] == b"[":  # seen in captures/bitfinex/single_messages_msgparser
                raise NoFrame("levels without a channel: an answer of REST, no frame of the feed")
            elif feed is None and what != HEARTBEAT:  # which may overtake its acknowledgement (seen 2021-04-17)
                raise ValueError(f"data of an unknown channel {number[:40]!r}")
            content = _read(feed, what, parts)
        except (*MALFORMED, IndexError) as error:
            if symbol is not None and sequence == self._vouched + 1:
                self._vouched = sequence  # its gap is its own stream's: the others lost nothing
            raise DecodeError(str(error) or "too short", symbol) from error
        if time_ns is not None and not plausible(time_ns, ts_recv_ns):
            time_ns = None
        previous = self._last
        if sequence is not None and not self._follows(sequence):
            if sequence == previous:
                return ()  # a repeat
            lost = Lost(f"sequence {sequence} after {previous}")
            for other in self._feeds.values():
                other.book, other.asked = None, True  # the link asks for all of them anew
            if sequence < previous:
                return (lost,)  # overtaken or sent again: what it says is no longer true
            return lost, *self._apply(feed, content, ts_recv_ns, time_ns, sequence)
        return self._apply(feed, content, ts_recv_ns, time_ns, sequence)

    def _update(self, update: re.Match[bytes], ts_recv_ns: int) -> Sequence[Output] | None:
        """One level of a book, the next frame of its connection; None for what is not all of that."""
        number, price_text, count, amount_text, tail = update.groups()
        feed = self._feeds.get(number)
        if feed is None or feed.book_of is None:
            return None
        sequence = None
        if self._flags & (SEQ_ALL | TIMESTAMP):
            if tail is None or self._flags & TIMESTAMP:
                return None
            sequence = int(tail)
            if sequence != self._last + 1:
                return None
        elif tail is not None:
            return None
        price, amount = float(price_text), float(amount_text)
        size = abs(amount)
        if not (0.0 <= price <= 1e300 and 0.0 < size <= 1e300):
            return None
        if sequence is not None:
            self._last = self._vouched = sequence
            self._restart = False
        text = b""
        if count == b"0":
            size = 0.0
        else:
            text = b"%b:%b" % (price_text, amount_text)
        book = feed.book
        if amount > 0.0:
            row = Book(feed.book_of, None, ts_recv_ns, False, sequence, [(price, size)], [])
            if book is not None:
                book[0].apply(((-price, text),))
        else:
            row = Book(feed.book_of, None, ts_recv_ns, False, sequence, [], [(price, size)])
            if book is not None:
                book[1].apply(((price, text),))
        if book is None and not feed.asked:
            feed.asked = True
            return Resync(feed.book_of, "no_snapshot", "update before a snapshot"), row
        return (row,)

    def _follows(self, sequence: int) -> bool:
        follows = sequence in (self._last + 1, self._vouched + 1) or (self._restart and sequence == 1)
        self._last = self._vouched = sequence
        self._restart = False
        return follows

    def _apply(
        self, feed: _Feed | None, content: "_Content", ts_recv_ns: int, time_ns: int | None, sequence: int | None
    ) -> Sequence[Output]:
        if feed is None or feed.stream is None:
            return (Alive(),)
        symbol = feed.stream.symbol
        match content:
            case _Rows(snapshot, bids, asks, bid_digits, ask_digits):
                row = Book(symbol, time_ns, ts_recv_ns, snapshot, sequence, bids, asks)
                if snapshot:
                    feed.book, feed.asked = (RankedSide(bid_digits), RankedSide(ask_digits)), False
                elif feed.book is not None:
                    feed.book[0].apply(bid_digits)
                    feed.book[1].apply(ask_digits)
                elif not feed.asked:
                    feed.asked = True
                    return Resync(symbol, "no_snapshot", "update before a snapshot"), row
                return (row,)
            case list():
                # te and tu are one trade told twice, with the same values: the first is taken.
                fresh = [row for row in sorted(content, key=lambda row: row.id) if row.id not in feed.seen]
                feed.seen |= dict.fromkeys(row.id for row in fresh)
                while len(feed.seen) > SEEN_TRADES:
                    del feed.seen[next(iter(feed.seen))]
                return [
                    Trade(symbol, row.id, row.ms * 10**6, ts_recv_ns, row.price, abs(row.amount), _taker(row))
                    for row in fresh
                ]
            case _Ticker(bid=bid, ask=ask):
                return (Quote(symbol, time_ns, ts_recv_ns, sequence, bid, None, ask, None),)
            case int():
                return self._checked(feed, symbol, content)
        return (Alive(feed.stream),)

    def _checked(self, feed: _Feed, symbol: str, checksum: int) -> Sequence[Output]:
        if feed.book is None:
            return (Alive(feed.stream),)
        audit = self.audits.setdefault(symbol, Audit())
        ours = _checksum(*feed.book)
        if ours == checksum:
            audit.checksums_passed += 1
            return (Alive(feed.stream),)
        audit.checksums_failed += 1
        feed.book, feed.asked = None, True
        return (Resync(symbol, "checksum", f"ours {ours}, the venue's {checksum}"),)

    # ---- events ----------------------------------------------------------------------------------------

    def _event(self, m: _Event, frame: bytes) -> Sequence[Output]:
        match m:
            case _Event(event="info", code=20051):
                return (Ending(f"info 20051: {m.msg or 'the server restarts'}"),)
            case _Event(event="info", code=20060):
                return (self._maintenance(f"info 20060: {m.msg or 'maintenance began, data stops'}"),)
            case _Event(event="info", code=20061):  # nothing subscribed before is carried on
                reason = f"info 20061: {m.msg or 'maintenance is over, subscriptions are void'}"
                return self._maintenance(reason), Ending(reason)
            case _Event(event="info" | "pong"):
                return (Alive(),)
            case _Event(event="conf", status="OK", flags=int(flags)):
                self._flags, self._restart = flags, True
                return (Alive(),)
            case _Event(event="subscribed", chan_id=int(number), symbol=str()):
                stream = _stream_of(m)
                feed = self._feeds[b"%d" % number] = _Feed(stream)
                if stream is None:
                    return ()
                if stream in self._unwanted:
                    self._unwanted.discard(stream)
                    return (Reply(_end(feed, b"%d" % number)),)
                return (Accepted(stream),)
            case _Event(event="subscribed", chan_id=int(number)):
                self._feeds[b"%d" % number] = _Feed(None)
                return ()
            case _Event(event="unsubscribed", chan_id=int(number)):
                ended = self._feeds.pop(b"%d" % number, None)
                if ended is not None and ended.stream in self._again:
                    self._again.discard(ended.stream)
                    return (Reply(self._request(ended.stream)),)
                return ()
            case _Event(event="error", code=10400 | 10401):
                return ()  # what was to end has ended
            case _Event(event="error"):
                stream = _stream_of(m)
                if m.code == 10301 and stream is not None:
                    return self._subscribed_already(stream)
                return (Refused(stream, f"{m.code}: {m.msg or 'refused without a reason'}"),)
        raise DecodeError(f"unknown message {frame[:200]!r}")

    def _maintenance(self, reason: str) -> Lost:
        for feed in self._feeds.values():
            feed.book, feed.asked = None, True
        return Lost(reason)

    def _subscribed_already(self, stream: Stream) -> Sequence[Output]:
        """Asked for twice. A book is asked for again only for its snapshot, which needs a new subscription."""
        for number, feed in self._feeds.items():
            if feed.stream == stream:
                if stream.channel != "book":
                    return (Accepted(stream),)
                self._again.add(stream)
                return () if feed.closing else (Reply(_end(feed, number)),)
        return ()  # its acknowledgement is on the way

    def _described(self, m: _Event) -> _Feed:
        stream = _stream_of(m)
        if stream is None:
            return _Feed(None)
        return self._feeds.setdefault(f"{stream.channel} {stream.symbol}".encode(), _Feed(stream))


class _Rows(msgspec.Struct, gc=False):
    """A decoded book message; digits by rank as the checksum reads them, b"" removes the level."""

    __match_args__ = ("snapshot", "bids", "asks", "bid_digits", "ask_digits")

    snapshot: bool
    bids: Levels
    asks: Levels
    bid_digits: list[tuple[float, bytes]]
    ask_digits: list[tuple[float, bytes]]


_Content = _Rows | list[_Trade] | _Ticker | int | None


def _read(feed: _Feed | None, what: bytes, parts: list[msgspec.Raw]) -> _Content:
    """What a frame of a channel holds.

    Raises:
        ValueError, IndexError: it is not of the wire's shape.
    """
    if feed is None or feed.stream is None or what == HEARTBEAT:
        return None
    channel = feed.stream.channel
    if what[:1] == b"[":
        listed = what[:2] in (b"[[", b"[]")
        if channel == "book":
            return _rows(_decode_levels(what) if listed else [_decode_level(what)], snapshot=listed)
        if channel == "trade":
            return _traded(_decode_trades(what))
        return _decode_ticker(what)
    if channel == "trade" and what in (b'"te"', b'"tu"'):
        return _traded([_decode_trade(parts[2])])
    if channel == "book" and what == b'"cs"':
        return _decode_int(parts[2])
    raise ValueError(f"unknown message {what[:40]!r} of channel {channel}")


def _traded(rows: list[_Trade]) -> list[_Trade]:
    if any(not row.amount for row in rows):
        raise ValueError("a trade of nothing has no side")
    return rows


def _rows(levels: list[_Level], *, snapshot: bool) -> _Rows:
    rows = _Rows(snapshot, [], [], [], [])
    for level in levels:
        price_text, amount_text = bytes(level.price), bytes(level.amount)
        price, amount = float(price_text), float(amount_text)
        if not (0.0 <= price <= 1e300 and 0.0 < abs(amount) <= 1e300 and level.count >= 0):
            raise ValueError(f"level out of range: {price_text!r} {level.count} {amount_text!r}")
        text = b"%b:%b" % (price_text, amount_text) if level.count else b""
        size = abs(amount) if level.count else 0.0
        if amount > 0:
            rows.bids.append((price, size))
            rows.bid_digits.append((-price, text))
        else:
            rows.asks.append((price, size))
            rows.ask_digits.append((price, text))
    return rows


def _checksum(bids: RankedSide, asks: RankedSide) -> int:
    """Signed CRC-32 of the best 25 of each side, bid and ask in turn; a side that ends first is skipped."""
    best_bids, best_asks = bids.texts[:CHECKED_LEVELS], asks.texts[:CHECKED_LEVELS]
    paired = min(len(best_bids), len(best_asks))
    texts = [text for pair in zip(best_bids, best_asks, strict=False) for text in pair]
    checksum = crc32(b":".join(texts + best_bids[paired:] + best_asks[paired:]))
    return checksum - (1 << 32) if checksum >> 31 else checksum


def _taker(row: _Trade) -> Literal["b", "s"]:
    return "b" if row.amount > 0 else "s"


def _end(feed: _Feed, number: bytes) -> str:
    feed.closing = True
    return json.dumps({"event": "unsubscribe", "chanId": int(number)})


def _stream_of(m: _Event) -> Stream | None:
    """The stream a message speaks of; None for what is not recorded as rows (candles, raw books, funding)."""
    channel = CHANNEL_OF_WIRE.get(m.channel or "")
    if channel is None or not m.symbol or (channel == "book" and m.prec not in (None, "P0")):
        return None
    return Stream(channel, m.symbol)


class Bitfinex:
    """The public feed, version 2."""

    name: ClassVar[str] = "bitfinex"
    url: ClassVar[str] = "wss://api-pub.bitfinex.com/ws/2"
    rest_url: ClassVar[str] = "https://api-pub.bitfinex.com"
    # 25 or 30 channels a connection by document; 20 connects a minute and address, then a block of 60 s.
    limits: ClassVar[Limits] = Limits(streams_per_link=25, frames_per_s=10, connects_per_minute=15)
    # 10 to 90 requests a minute by endpoint, then a block of 60 s.
    rest: ClassVar[RestLimits] = RestLimits(per_s=0.1, burst=4)
    heartbeat: ClassVar[Heartbeat] = Heartbeat(every_s=10, frame='{"event":"ping","cid":1}', silence_s=30)
    channels: ClassVar[tuple[Channel, ...]] = ("trade", "quote", "book")
    contiguous: ClassVar[frozenset[Channel]] = frozenset()  # trade ids are counted over all pairs
    listing_paths: ClassVar[tuple[str, ...]] = ("/v2/conf/pub:info:pair",)
    volume_paths: ClassVar[tuple[str, ...]] = ("/v2/tickers?symbols=ALL",)

    def __init__(self, url: str | None = None, *, book_depth: int | None = None) -> None:
        if book_depth is not None and book_depth not in LENGTHS:
            raise ConfigError(f"bitfinex offers book_depth {', '.join(map(str, LENGTHS))}; not {book_depth}")
        self.endpoint = url or self.url
        self._length = book_depth or 100

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        return self.session().subscribe(streams)

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        """Nothing: a stream ends by the chanId of its connection, which only the session knows."""
        return self.session().unsubscribe(streams)

    def session(self) -> BitfinexSession:
        return BitfinexSession(self._length)

    def listings(self, body: bytes) -> list[Listing]:
        try:
            (pairs,) = msgspec.json.decode(body, type=tuple[list[_Pair]])
            return [_listing(pair) for pair in pairs]
        except MALFORMED as error:
            raise DecodeError(f"pair list: {error}") from error

    def volumes(self, body: bytes) -> dict[str, Day]:
        try:
            rows = msgspec.json.decode(body, type=list[list[object]])
            # Funding (fUSD) is no pair. Else: symbol, 2 bid, 2 ask, 2 change, last price, volume in base units, ...
            return {
                str(row[0]): Day(price, price * volume)
                for row in rows
                if str(row[0]).startswith("t") and len(row) > 8 and None not in row[7:9]  # null: it never traded
                for price, volume in [msgspec.convert(row[7:9], type=tuple[Amount, Amount])]
            }
        except (*MALFORMED, IndexError) as error:
            raise DecodeError(f"tickers: {error}") from error


class _Pair(msgspec.Struct, array_like=True, gc=False):
    name: str
    info: list[object]


def _listing(pair: _Pair) -> Listing:
    # Codes longer than three letters are told apart by a colon.
    base, colon, quote = pair.name.partition(":")
    if not colon:
        base, quote = pair.name[:3], pair.name[3:]
    if not base or not quote:
        raise ValueError(f"no pair: {pair.name[:40]!r}")
    least = pair.info[3] if len(pair.info) > 3 else None
    kind = "perpetual" if base.endswith("F0") else "spot"
    # There is no tick size: a price has up to five significant digits. There is no status: what is listed is live.
    return Listing(f"t{pair.name}", base, quote, kind, None, least if isinstance(least, str) else None, "listed")
