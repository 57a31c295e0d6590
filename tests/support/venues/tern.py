"""Tern, an invented exchange: fills with the maker's side, the top of the book, and numbered changes of books."""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from recorder.errors import DecodeError
from recorder.events import Accepted, Book, Channel, Output, Quote, Refused, Stream, Trade
from recorder.venues.base import Heartbeat, Limits, Listing, RestLimits, Venue
from recorder.venues.book_sync import BookSync
from recorder.venues.wire import MALFORMED, Amount, Int64

OURS: dict[str, Channel] = {"fills": "trade", "top": "quote", "depth": "book"}
WIRE = {ours: theirs for theirs, ours in OURS.items()}


class Message(msgspec.Struct, tag_field="kind", tag=str.lower, gc=False):
    market: str
    t: Int64  # nanoseconds


class Answer(Message, gc=False):
    channel: Literal["fills", "top", "depth"]
    error: str


class Fills(Message, gc=False):
    id: Int64
    at: tuple[Amount, Amount]
    maker: Literal["buy", "sell"]


class Top(Message, gc=False):
    bid: tuple[Amount, Amount]
    ask: tuple[Amount, Amount]


class Depth(Message, gc=False):
    n: Int64  # counts the messages of a market
    full: bool
    bids: list[tuple[Amount, Amount]]
    asks: list[tuple[Amount, Amount]]


_decode = msgspec.json.Decoder(Answer | Fills | Top | Depth, strict=False).decode


class TernDecoder:
    def __init__(self) -> None:
        self._sync = BookSync[int]()  # of a book, only the number of its last message
        self.audits = self._sync.audits

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        try:
            m = _decode(frame)
        except MALFORMED as error:
            raise DecodeError(str(error)) from error
        match m:
            case Fills():  # the side on the wire is the maker's: the taker's is the other
                return (Trade(m.market, m.id, m.t, ts_recv_ns, *m.at, "s" if m.maker == "buy" else "b"),)
            case Top():
                return (Quote(m.market, m.t, ts_recv_ns, None, *m.bid, *m.ask),)
            case Depth():
                return self._depth(m, Book(m.market, m.t, ts_recv_ns, m.full, m.n, m.bids, m.asks))
        stream = Stream(OURS[m.channel], m.market)
        return (Refused(stream, m.error) if m.error else Accepted(stream),)

    def _depth(self, m: Depth, row: Book) -> Sequence[Output]:
        last = self._sync.books.get(m.market)
        if not m.full:
            if last is None:
                return self._sync.without_snapshot(row)
            if m.n != last + 1:
                return self._sync.reject(row, "sequence", f"{m.n} after {last}")
        self._sync.start(m.market, m.n)
        return (row,)


class Tern(Venue):
    name = "tern"
    url = "wss://feed.tern.example"
    rest_url = "https://api.tern.example"
    limits = Limits(streams_per_link=60, frames_per_s=10, connects_per_minute=30)
    rest = RestLimits(per_s=1, burst=5)
    heartbeat = Heartbeat(every_s=5, frame=None, silence_s=15)
    contiguous = frozenset({"trade"})
    listing_paths = ("/markets",)

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        return [msgspec.json.encode({"want": WIRE[one.channel], "market": one.symbol}).decode() for one in streams]

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return [msgspec.json.encode({"leave": WIRE[one.channel], "market": one.symbol}).decode() for one in streams]

    def decoder(self) -> TernDecoder:
        return TernDecoder()

    def listings(self, body: bytes) -> list[Listing]:
        try:
            return msgspec.json.decode(body, type=list[Listing])  # Tern happens to use our names
        except MALFORMED as error:
            raise DecodeError(f"market list: {error}") from error
