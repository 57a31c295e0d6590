"""Figure Markets: trades with textual ids, market quotes, and a complete book in every book frame.

figure.md beside this file describes the protocol, with sources and known faults.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from uuid import UUID

import msgspec

from recorder.errors import DecodeError
from recorder.events import Accepted, Alive, Book, Channel, Levels, Output, Quote, Refused, Stream, Trade
from recorder.identity import stable_hash64
from recorder.timestamps import Rfc3339
from recorder.venues.base import Audit, Heartbeat, Limits, ListingPage, RestLimits, Venue
from recorder.venues.figure import listing
from recorder.venues.figure.history import TRADE_HISTORY
from recorder.venues.figure.witness import WITNESS_QUESTIONS
from recorder.venues.wire import MALFORMED, Amount, event_time, with_nulls
from recorder.venues.witness import SeenBook, best_first

WIRE_CHANNEL: dict[Channel, str] = {"trade": "TRADES", "quote": "MARKET", "book": "ORDER_BOOK"}
CHANNEL_OF_WIRE: dict[str, Channel] = {wire: channel for channel, wire in WIRE_CHANNEL.items()}
LIST = json.dumps({"action": "LIST_SUBSCRIPTIONS"})
_NAMED = b'{"channelUuid":"'
_BEGINNING = len(_NAMED) + 37  # up to the quote after the id
LIST_EVERY = 16  # requests between two lists: at four a second, each is answered before the link stops waiting


class _Message(msgspec.Struct, tag_field="channel", rename="camel", gc=False):
    pass


class _Level(msgspec.Struct, gc=False):
    price: Amount
    quantity: Amount


class _OrderBook(_Message, tag="ORDER_BOOK", gc=False):
    channel_uuid: str
    bids: msgspec.Raw  # _Level, like the asks: nineteen frames in twenty repeat the text of the previous one
    asks: msgspec.Raw


class _Trade(_Message, tag="TRADES", gc=False):
    channel_uuid: str
    id: str
    price: Amount
    quantity: Amount
    created: str


class _Market(_Message, tag="MARKET", gc=False):
    market_id: str
    publish_time: str
    best_bid: Amount | None = None  # absent without a book
    best_ask: Amount | None = None


class _Candles(_Message, tag="CANDLES", gc=False):
    pass


class _Answer(msgspec.Struct, rename="camel", gc=False):
    """A message without a channel: an error, or the end of a subscription."""

    message: str | None = None
    code: int | None = None
    channel_uuid: str | None = None


class _Subscription(msgspec.Struct, rename="camel", gc=False):
    channel_uuid: str
    channel: str
    symbol: str


# Lenient: books spell numbers as strings, trades spelled them as numbers (seen July 2025).
_decode_data = msgspec.json.Decoder(_OrderBook | _Market | _Trade | _Candles, strict=False).decode
_decode_levels = msgspec.json.Decoder(list[_Level], strict=False).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_list = msgspec.json.Decoder(list[_Subscription]).decode


def channel_uuid(stream: Stream) -> str:
    """Return the id under which a stream is subscribed, the only name on its data; it is the same in every process."""
    digest = hashlib.blake2b(f"figure:{stream.channel}:{stream.symbol}".encode(), digest_size=16).digest()
    return str(UUID(bytes=digest, version=4))


class FigureDecoder:
    """Decoder of one connection. Data names only the id of its subscription, so the decoder maps ids to streams."""

    def __init__(self) -> None:
        self.audits: dict[str, Audit] = {}
        self._streams: dict[str, Stream] = {}  # by channelUuid
        self._texts: dict[str, tuple[bytes, bytes]] = {}  # both sides of the last book frame, by channelUuid
        self._books: dict[str, tuple[Levels, Levels]] = {}  # the levels of those texts
        # The last book frame by its beginning, which holds its id, and the outputs of a repeat of it.
        self._repeats: dict[bytes, tuple[bytes, Sequence[Output]]] = {}
        self._ns = Rfc3339().ns

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        frames: list[str] = []
        for number, stream in enumerate(streams, start=1):
            name = channel_uuid(stream)
            self._streams[name] = stream
            self._repeats.clear()  # their streams may have been unknown
            frames.append(_request("SUBSCRIBE", name, channel=WIRE_CHANNEL[stream.channel], symbol=stream.symbol))
            if number % LIST_EVERY == 0:
                frames.append(LIST)
        # Nothing is acknowledged, and trades may not come for hours: only the list confirms a subscription.
        return [*frames, LIST] if frames and frames[-1] != LIST else frames

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return [_request("UNSUBSCRIBE", channel_uuid(stream)) for stream in streams]

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        repeat = self._repeats.get(frame[:_BEGINNING])
        if repeat is not None and repeat[0] == frame:
            return repeat[1]
        try:
            if frame[:1] == b"[":
                return self._listed(_decode_list(frame))
            match _decode_data(frame):
                case _OrderBook() as message:
                    outputs = self._book(message, ts_recv_ns)
                    if frame.startswith(_NAMED):
                        alive = Alive(Stream("book", self._symbol(message.channel_uuid)))
                        self._repeats[frame[:_BEGINNING]] = frame, (alive,)
                    return outputs
                case _Trade() as message:
                    return self._trade(message, ts_recv_ns)
                case _Market() as message:
                    time_ns = event_time(self._ns(message.publish_time), ts_recv_ns)
                    bid, ask = message.best_bid or None, message.best_ask or None  # 0 without orders of that side
                    return (Quote(message.market_id, time_ns, ts_recv_ns, None, bid, None, ask, None),)
            return ()
        except MALFORMED as error:
            filled = with_nulls(frame) if b'"MARKET"' in frame else None
            return self._answered(frame, error) if filled is None else self.decode(filled, ts_recv_ns)

    def book_of(self, symbol: str) -> SeenBook | None:
        book = self._books.get(channel_uuid(Stream("book", symbol)))
        return None if book is None else best_first(*book)

    def _book(self, m: _OrderBook, ts_recv_ns: int) -> Sequence[Output]:
        name = m.channel_uuid
        symbol = self._symbol(name)
        texts = bytes(m.bids), bytes(m.asks)
        if self._texts.get(name) != texts:
            bids, asks = (_levels(text) for text in texts)
            self._texts[name] = texts
            if self._books.get(name) != (bids, asks):
                self._books[name] = bids, asks
                return (Book(symbol, None, ts_recv_ns, True, None, bids, asks),)
        return (Alive(Stream("book", symbol)),)  # the venue repeats the book every few seconds

    def _trade(self, m: _Trade, ts_recv_ns: int) -> Sequence[Output]:
        if not m.id:
            raise ValueError("a trade without an id")
        # No side is given, and none can be derived: trades of one block come together, after the book they changed.
        symbol, time_ns = self._symbol(m.channel_uuid), self._ns(m.created)
        return (Trade(symbol, stable_hash64(m.id), time_ns, ts_recv_ns, m.price, m.quantity, None, m.id),)

    def _symbol(self, name: str) -> str:
        """Return the symbol of a subscription id, or the id itself in a file of frames that does not name it."""
        stream = self._streams.get(name)
        return name if stream is None else stream.symbol

    def _listed(self, rows: list[_Subscription]) -> Sequence[Output]:
        accepted = []
        self._repeats.clear()
        for row in rows:
            channel = CHANNEL_OF_WIRE.get(row.channel)
            if channel is not None:
                stream = self._streams[row.channel_uuid] = Stream(channel, row.symbol)
                accepted.append(Accepted(stream))
        return accepted

    def _answered(self, frame: bytes, error: Exception) -> Sequence[Output]:
        try:
            answer = _decode_answer(frame)
        except MALFORMED:
            raise DecodeError(str(error)) from error
        match answer:
            case _Answer(message="UNSUBSCRIBED", channel_uuid=str(name)):
                # After a new subscription the next frame is a row even if it did not change.
                self._repeats.clear()
                self._texts.pop(name, None)
                self._books.pop(name, None)
                return ()
            case _Answer(message=str(), code=2 | 5):
                return ()  # subscribed already, or no longer subscribed: nothing was refused
            case _Answer(message=str(message), channel_uuid=None):
                return (Refused(None, message if answer.code is None else f"{answer.code}: {message}"),)
        stream = self._streams.get(answer.channel_uuid or "")
        raise DecodeError(str(error), None if stream is None else stream.symbol) from error


def _levels(text: bytes) -> Levels:
    return [(level.price, level.quantity) for level in _decode_levels(text)]


class Figure(Venue):
    """The public feed of market data."""

    name = "figure"
    url = "wss://www.figuremarkets.com/service-hft-exchange-websocket/ws/v1"
    rest_url = "https://api.figuremarkets.com/public/v1"
    # 50 subscriptions by document. Errors name no subscription: 200 ms between requests at least.
    limits = Limits(streams_per_link=48, frames_per_s=4, connects_per_minute=10, session_s=1800)
    rest = RestLimits(per_s=1, burst=2)  # no limit is published; one request a second was accepted
    heartbeat = Heartbeat(every_s=15, frame=None, silence_s=40)
    contiguous = frozenset()  # ids are texts without an order
    channel_words = CHANNEL_OF_WIRE
    listing_paths = listing.LISTING_PATHS
    witness_questions = WITNESS_QUESTIONS
    trade_history = TRADE_HISTORY

    def decoder(self) -> FigureDecoder:
        return FigureDecoder()

    def listings(self, body: bytes) -> ListingPage:
        return listing.listings(body)

    def next_page(self, path: str, body: bytes) -> str | None:
        return listing.next_page(body)


def _request(action: str, name: str, **more: str) -> str:
    return json.dumps({"action": action, "channelUuid": name, **more})
