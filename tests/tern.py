"""Tern, an invented exchange: fills with the side of the maker, the top of the book, and counted changes of books."""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Literal

import msgspec

from recorder.errors import ConfigError, DecodeError
from recorder.events import Accepted, Book, Channel, Output, Quote, Refused, Resync, Stream, Trade
from recorder.venues.base import MALFORMED, Amount, Audit, Heartbeat, Int64, Limits, Listing, RestLimits

OURS: dict[str, Channel] = {"fills": "trade", "top": "quote", "depth": "book"}
WIRE = {ours: theirs for theirs, ours in OURS.items()}


class Message(msgspec.Struct, tag_field="kind", tag=str.lower, gc=False):
    market: str
    t: Int64  # nanoseconds


class Said(Message, gc=False):
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
    whole: bool
    bids: list[tuple[Amount, Amount]]
    asks: list[tuple[Amount, Amount]]


_decode = msgspec.json.Decoder(Said | Fills | Top | Depth, strict=False).decode


class TernSession:
    def __init__(self) -> None:
        self.audits: dict[str, Audit] = {}
        self._last: dict[str, int | None] = {}  # None: a fresh book was asked for

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        try:
            m = _decode(frame)
        except MALFORMED as error:
            raise DecodeError(str(error)) from error
        match m:
            case Fills():  # the maker's side: the taker's is the other
                return (Trade(m.market, m.id, m.t, ts_recv_ns, *m.at, "s" if m.maker == "buy" else "b"),)
            case Top():
                return (Quote(m.market, m.t, ts_recv_ns, None, *m.bid, *m.ask),)
            case Depth():
                return self._depth(m, Book(m.market, m.t, ts_recv_ns, m.whole, m.n, m.bids, m.asks))
        stream = Stream(OURS[m.channel], m.market)
        return (Refused(stream, m.error) if m.error else Accepted(stream),)

    def _depth(self, m: Depth, row: Book) -> Sequence[Output]:
        last = self._last.get(m.market, -1)
        if m.whole or last == m.n - 1:
            self._last[m.market] = m.n
        elif last is not None:
            self._last[m.market] = None
            return Resync(m.market, "no_snapshot" if last < 0 else "sequence", f"{m.n} after {last}"), row
        return (row,)


class Tern:
    name: ClassVar[str] = "tern"
    url: ClassVar[str] = "wss://feed.tern.example"
    rest_url: ClassVar[str] = "https://api.tern.example"
    limits: ClassVar[Limits] = Limits(streams_per_link=60, frames_per_s=10, connects_per_minute=30)
    rest: ClassVar[RestLimits] = RestLimits(per_s=1, burst=5)
    heartbeat: ClassVar[Heartbeat] = Heartbeat(every_s=5, frame=None, silence_s=15)
    channels: ClassVar[tuple[Channel, ...]] = ("trade", "quote", "book")
    contiguous: ClassVar[frozenset[Channel]] = frozenset({"trade"})
    listing_paths: ClassVar[tuple[str, ...]] = ("/markets",)

    def __init__(self, url: str | None = None, *, book_depth: int | None = None) -> None:
        if book_depth is not None:
            raise ConfigError("tern sends whole books: remove book_depth from its settings")
        self.endpoint = url or self.url

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        return [msgspec.json.encode({"want": WIRE[one.channel], "market": one.symbol}).decode() for one in streams]

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return [msgspec.json.encode({"leave": WIRE[one.channel], "market": one.symbol}).decode() for one in streams]

    def session(self) -> TernSession:
        return TernSession()

    def listings(self, body: bytes) -> list[Listing]:
        try:
            return msgspec.json.decode(body, type=list[Listing])  # it happens to use our names
        except MALFORMED as error:
            raise DecodeError(f"market list: {error}") from error
