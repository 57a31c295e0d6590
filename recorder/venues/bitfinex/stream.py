"""Bitfinex version 2: trades, ticker quotes, books P0 with checksums, and one sequence for each connection.

bitfinex.md beside this file describes the protocol, with sources and known faults.
"""

import json
import re
from collections.abc import Iterable, Sequence
from typing import ClassVar

from recorder.errors import DecodeError, NotAFeedFrame
from recorder.events import Accepted, Alive, Book, Channel, Ending, Lost, Output, Quote, Refused, Reply, Stream, Trade
from recorder.venues.base import Day, Heartbeat, Limits, ListingPage, RestLimits, Venue
from recorder.venues.bitfinex import listing
from recorder.venues.bitfinex.candles import MINUTE_CANDLES
from recorder.venues.bitfinex.feed import EarlyFrame, EarlyFrames, Feed
from recorder.venues.bitfinex.history import TRADE_HISTORY
from recorder.venues.bitfinex.messages import (
    HEARTBEAT,
    UPDATE,
    WIRE_CHANNEL,
    BookRows,
    Content,
    Event,
    TickerRow,
    decode_event,
    decode_int,
    decode_parts,
    read,
)
from recorder.venues.bitfinex.witness import WITNESS_QUESTIONS
from recorder.venues.book_sync import BookSync
from recorder.venues.checksums import interleaved_crc32
from recorder.venues.orderbook import RankedSide
from recorder.venues.wire import MALFORMED, json_number

TIMESTAMP, SEQ_ALL, OB_CHECKSUM = 1 << 15, 1 << 16, 1 << 17
CONFIGURE = json.dumps({"event": "conf", "flags": SEQ_ALL | OB_CHECKSUM})
DEPTHS = (1, 25, 100, 250)
CHECKED_LEVELS = 25


class BitfinexDecoder:
    """Decoder of one connection; it maps each chanId of that connection to its stream."""

    def __init__(self, length: int = 100) -> None:
        self._sync = BookSync[tuple[RankedSide, RankedSide]]()  # bids and asks, with the digits for the checksum
        self._books, self.audits = self._sync.books, self._sync.audits
        self._length = length
        self._feeds: dict[bytes, Feed] = {}  # by the digits of the chanId
        self._sequenced = False
        # The sequence of the last frame, and of the last one that was unreadable but belongs to a known stream.
        self._last = self._vouched = 0
        self._restart = False  # the count may restart at 1
        self._configured = False
        self._unwanted: set[Stream] = set()  # unsubscribed before they were acknowledged
        self._again: set[Stream] = set()  # to be subscribed again once their end is acknowledged
        self._unanswered: set[Stream] = set()  # subscribed and not acknowledged yet
        self._ended: set[bytes] = set()  # chanIds whose end was acknowledged
        self._early = EarlyFrames()

    # ---- requests --------------------------------------------------------------------------------------

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        streams = list(streams)
        self._unwanted.difference_update(streams)
        self._unanswered.update(streams)
        frames = [self._request(stream) for stream in streams]
        if frames and not self._configured:  # flags apply to what is subscribed after them
            self._configured = True
            frames.insert(0, CONFIGURE)
        return frames

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        wanted = set(streams)
        frames = []
        for number, feed in self._feeds.items():
            if feed.stream in wanted and not feed.closing:
                frames.append(feed.end(number))
        self._unwanted |= wanted - {feed.stream for feed in self._feeds.values()}
        return frames

    def _request(self, stream: Stream) -> str:
        request = {"event": "subscribe", "channel": WIRE_CHANNEL[stream.channel], "symbol": stream.symbol}
        if stream.channel == "book":
            request |= {"prec": "P0", "freq": "F0", "len": str(self._length)}
        return json.dumps(request)

    # ---- frames ----------------------------------------------------------------------------------------

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        update = UPDATE.fullmatch(frame)
        if update is not None:
            rows = self._update(update, ts_recv_ns)
            if rows is not None:
                return rows
        stream = sequence = None
        early = False
        try:
            if frame[:1] == b"{":
                return self._event(decode_event(frame), frame)
            parts = decode_parts(frame)
            number, what = bytes(parts[0]), bytes(parts[1])
            sequence = decode_int(parts[-1]) if self._sequenced else None
            feed = self._feeds.get(number)
            stream = None if feed is None else feed.stream
            if feed is None and number[:1] == b"[":  # seen in captures/bitfinex/single_messages_msgparser
                raise NotAFeedFrame("levels without a channel: an answer of REST, not a frame of the feed")
            if feed is None and what != HEARTBEAT:  # a heartbeat may overtake its acknowledgement (seen 2021-04-17)
                early = self._may_begin(number)
                if not early:
                    raise ValueError(f"data of an unknown channel {number[:40]!r}")
            content = None if stream is None else read(stream.channel, parts)
        except (*MALFORMED, IndexError) as error:
            symbol, channel = (None, None) if stream is None else (stream.symbol, stream.channel)
            if sequence == self._vouched + 1:
                self._vouched = sequence  # only its own stream has a gap: the others lost nothing
            raise DecodeError(str(error) or "too short", symbol, channel) from error
        previous = self._last
        if early and (sequence is None or sequence > previous):
            self._early.add(number, EarlyFrame(parts, ts_recv_ns, sequence))
        if sequence is None or self._follows(sequence):
            return self._apply(feed, content, ts_recv_ns, sequence)
        if sequence == previous:
            return ()  # a repeat
        lost = self._lost(f"sequence {sequence} after {previous}")
        if sequence < previous:
            return (lost,)  # overtaken or repeated: its content is out of date
        return lost, *self._apply(feed, content, ts_recv_ns, sequence)

    def _update(self, update: re.Match[bytes], ts_recv_ns: int) -> Sequence[Output] | None:
        """Apply one level of a book, in the next frame of its connection; return None for any other frame."""
        number, price_text, count, amount_text, tail = update.groups()
        feed = self._feeds.get(number)
        symbol = None if feed is None else feed.book_of
        if symbol is None or (tail is not None) != self._sequenced:
            return None
        sequence = None
        if tail is not None:
            sequence = int(tail)
            if sequence != self._last + 1:
                return None
        try:
            price, amount = json_number(price_text), json_number(amount_text)
        except MALFORMED:
            return None
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
        book = self._books.get(symbol)
        if amount > 0.0:
            row = Book(symbol, None, ts_recv_ns, False, sequence, [(price, size)], [])
            if book is not None:
                book[0].apply(((-price, text),))
        else:
            row = Book(symbol, None, ts_recv_ns, False, sequence, [], [(price, size)])
            if book is not None:
                book[1].apply(((price, text),))
        return (row,) if book is not None else self._sync.without_snapshot(row)

    def _may_begin(self, number: bytes) -> bool:
        """Return whether a channel may be acknowledged after its first data. A file of frames has no requests."""
        expected = bool(self._unanswered) or (not self._configured and number not in self._ended)
        return expected and number.isdigit() and not self._early.full

    def _follows(self, sequence: int) -> bool:
        follows = sequence in (self._last + 1, self._vouched + 1) or (self._restart and sequence == 1)
        self._last = self._vouched = sequence
        self._restart = False
        return follows

    def _lost(self, reason: str) -> Lost:
        """Return the loss that every stream of the connection may have; the link requests all its books again."""
        self._sync.distrust(feed.book_of for feed in self._feeds.values() if feed.book_of is not None)
        return Lost(reason)

    def _apply(self, feed: Feed | None, content: Content, ts_recv_ns: int, sequence: int | None) -> Sequence[Output]:
        if feed is None or feed.stream is None:
            return (Alive(),)
        symbol = feed.stream.symbol
        match content:
            case BookRows(snapshot, bids, asks, bid_digits, ask_digits):
                row = Book(symbol, None, ts_recv_ns, snapshot, sequence, bids, asks)
                if snapshot:
                    self._sync.start(symbol, (RankedSide(bid_digits), RankedSide(ask_digits)))
                elif symbol not in self._books:
                    return self._sync.without_snapshot(row)
                else:
                    self._books[symbol][0].apply(bid_digits)
                    self._books[symbol][1].apply(ask_digits)
                return (row,)
            case list():
                return [
                    Trade(
                        symbol, row.id, row.ms * 10**6, ts_recv_ns, row.price, abs(row.amount),
                        "b" if row.amount > 0 else "s",
                    )
                    for row in feed.unseen(content)
                ]  # fmt: skip
            case TickerRow(bid=bid, ask=ask):
                return (Quote(symbol, None, ts_recv_ns, sequence, bid or None, None, ask or None, None),)
            case int():
                return self._checked(feed.stream, content)
        return (Alive(feed.stream),)

    def _checked(self, stream: Stream, checksum: int) -> Sequence[Output]:
        book = self._books.get(stream.symbol)
        if book is None:
            return (Alive(stream),)
        bids, asks = book
        ours = interleaved_crc32(bids.texts[:CHECKED_LEVELS], asks.texts[:CHECKED_LEVELS])
        audit = self._sync.audit(stream.symbol)
        if ours == checksum:
            audit.checksums_passed += 1
            return (Alive(stream),)
        audit.checksums_failed += 1
        return (self._sync.resync(stream.symbol, "checksum", f"ours {ours}, the venue's {checksum}"),)

    # ---- events ----------------------------------------------------------------------------------------

    def _event(self, m: Event, frame: bytes) -> Sequence[Output]:
        match m:
            case Event(event="info", code=20051):
                return (Ending(f"info 20051: {m.msg or 'the server restarts'}"),)
            case Event(event="info", code=20060):
                return (self._lost(f"info 20060: {m.msg or 'maintenance began, data stops'}"),)
            case Event(event="info", code=20061):  # no subscription from before is continued
                reason = f"info 20061: {m.msg or 'maintenance is over, subscriptions are void'}"
                return self._lost(reason), Ending(reason)
            case Event(event="info" | "pong"):
                return (Alive(),)
            case Event(event="conf", status="OK", flags=int(flags)) if not flags & TIMESTAMP:
                self._sequenced, self._restart = bool(flags & SEQ_ALL), True
                return (Alive(),)
            case Event(event="subscribed", chan_id=int(number)):
                return self._subscribed(b"%d" % number, m.stream)
            case Event(event="unsubscribed", chan_id=int(number)):
                ended = self._feeds.pop(b"%d" % number, None)
                self._ended.add(b"%d" % number)
                if ended is not None and ended.stream in self._again:
                    self._again.discard(ended.stream)
                    self._unanswered.add(ended.stream)
                    return (Reply(self._request(ended.stream)),)
                return ()
            case Event(event="error", code=10400 | 10401):
                return ()  # the subscription to end has already ended
            case Event(event="error"):
                if m.stream is not None:
                    self._unanswered.discard(m.stream)
                if m.code == 10301 and m.stream is not None:
                    return self._subscribed_already(m.stream)
                return (Refused(m.stream, f"{m.code}: {m.msg or 'refused without a reason'}"),)
        raise DecodeError(f"unknown message {frame[:200]!r}")

    def _subscribed(self, number: bytes, stream: Stream | None) -> Sequence[Output]:
        feed = self._feeds[number] = Feed(stream)
        self._ended.discard(number)
        early = self._early.take(number)
        if stream is None:
            return ()
        self._unanswered.discard(stream)
        if feed.book_of is not None:
            self._sync.forget(feed.book_of)
        if stream in self._unwanted:
            self._unwanted.discard(stream)
            return (Reply(feed.end(number)),)
        return Accepted(stream), *self._begin(feed, stream, early)

    def _begin(self, feed: Feed, stream: Stream, early: list[EarlyFrame]) -> Sequence[Output]:
        """Return the outputs of frames that came before the acknowledgement."""
        outputs: list[Output] = []
        for frame in early:
            try:
                content = read(stream.channel, frame.parts)
            except (*MALFORMED, IndexError) as error:
                return *outputs, self._lost(f"unreadable {stream} before its acknowledgement: {error}")
            if isinstance(content, BookRows) and not content.snapshot and stream.symbol not in self._books:
                continue  # of an earlier subscription with this chanId
            outputs += self._apply(feed, content, frame.ts_recv_ns, frame.sequence)
        return outputs

    def _subscribed_already(self, stream: Stream) -> Sequence[Output]:
        """Handle a duplicate request. Only a fresh snapshot is requested twice, and it needs a new subscription."""
        for number, feed in self._feeds.items():
            if feed.stream == stream:
                if stream.channel != "book":
                    return (Accepted(stream),)
                self._again.add(stream)
                return () if feed.closing else (Reply(feed.end(number)),)
        return ()  # its acknowledgement has not arrived yet


class Bitfinex(Venue):
    """The public feed, version 2."""

    name = "bitfinex"
    url = "wss://api-pub.bitfinex.com/ws/2"
    rest_url = "https://api-pub.bitfinex.com"
    # 25 or 30 channels a connection by document; 20 connects a minute and address, then a block of 60 s.
    limits = Limits(streams_per_link=25, frames_per_s=10, connects_per_minute=15)
    rest = RestLimits(per_s=0.1, burst=4)  # 10 to 90 requests a minute by endpoint, then a block of 60 s
    heartbeat = Heartbeat(every_s=10, frame='{"event":"ping","cid":1}', silence_s=30)
    contiguous = frozenset()  # trade ids are counted over all pairs
    connection_sequences = True
    channel_words: ClassVar[dict[str, Channel]] = {wire: channel for channel, wire in WIRE_CHANNEL.items()}
    assets: ClassVar[dict[str, str]] = listing.ASSETS
    listing_paths = listing.LISTING_PATHS
    witness_questions = WITNESS_QUESTIONS
    trade_history = TRADE_HISTORY
    minute_candles = MINUTE_CANDLES
    volume_paths: ClassVar[tuple[str, ...]] = listing.VOLUME_PATHS
    book_depths = DEPTHS
    default_book_depth = 100

    def asset_name(self, asset: str) -> str:
        return super().asset_name(asset.removesuffix(listing.PERPETUAL))

    def decoder(self) -> BitfinexDecoder:
        return BitfinexDecoder(self.book_depth)

    def listings(self, body: bytes) -> ListingPage:
        return listing.listings(body)

    def volumes(self, body: bytes) -> dict[str, Day]:
        return listing.volumes(body)
