"""Figure Markets: trades with textual ids, market quotes, a whole book in every book frame.

The protocol, with sources and what to watch for, is in figure.md beside this file.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import ClassVar
from uuid import UUID

import msgspec

from recorder.errors import ConfigError, DecodeError
from recorder.events import Accepted, Alive, Book, Channel, Levels, Output, Quote, Refused, Stream, Trade
from recorder.instruments import stable_hash64
from recorder.timestamps import Rfc3339, plausible
from recorder.venues.base import MALFORMED, Amount, Audit, Heartbeat, Limits, Listing, RestLimits

WIRE_CHANNEL: dict[Channel, str] = {"trade": "TRADES", "quote": "MARKET", "book": "ORDER_BOOK"}
CHANNEL_OF_WIRE: dict[str, Channel] = {wire: channel for channel, wire in WIRE_CHANNEL.items()}
LIST = json.dumps({"action": "LIST_SUBSCRIPTIONS"})
_NAMED = b'{"channelUuid":"'
_BEGINNING = len(_NAMED) + 37  # up to the quote after the id
_NAMED = b'{"channelUuid":"'
_BEGINNING = len(_NAMED) + 37  # up to the quote after the id
LIST_EVERY = 16  # requests between two lists: at four a second each is answered before the link stops waiting


class _Message(msgspec.Struct, tag_field="channel", rename="camel", gc=False):
    pass


class _Level(msgspec.Struct, gc=False):
    price: Amount
    quantity: Amount


class _OrderBook(_Message, tag="ORDER_BOOK", gc=False):
    channel_uuid: str
    bids: msgspec.Raw  # of _Level, as are asks: nineteen frames in twenty repeat the text of the last
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
    """What has no channel: errors, and the end of a subscription."""

    message: str | None = None
    code: int | None = None
    channel_uuid: str | None = None


class _Subscription(msgspec.Struct, rename="camel", gc=False):
    channel_uuid: str
    channel: str
    symbol: str


# Lax: books give numbers as strings, trades gave them as numbers (seen July 2025).
_decode_data = msgspec.json.Decoder(_OrderBook | _Market | _Trade | _Candles, strict=False).decode
_decode_levels = msgspec.json.Decoder(list[_Level], strict=False).decode
_decode_answer = msgspec.json.Decoder(_Answer).decode
_decode_list = msgspec.json.Decoder(list[_Subscription]).decode


def channel_uuid(stream: Stream) -> str:
    """The id we subscribe a stream under, and all its data names: the same in every process, so a replay has it too."""
    digest = hashlib.blake2b(f"figure:{stream.channel}:{stream.symbol}".encode(), digest_size=16).digest()
    return str(UUID(bytes=digest, version=4))


def smallest_units(amount: float, decimals: int) -> int:
    """A display amount in the smallest unit of its denomination, exactly; HASH has 9 decimals (nhash).

    Raises:
        ValueError: the amount is finer than that unit.
    """
    units = Decimal(repr(amount)).scaleb(decimals)
    if units != units.to_integral_value():
        raise ValueError(f"{amount!r} has more than {decimals} decimals")
    return int(units)


class FigureSession:
    """Decoder of one connection. Data names only the id of its subscription: the session keeps whose that is."""

    def __init__(self) -> None:
        self.audits: dict[str, Audit] = {}
        self._streams: dict[str, Stream] = {}  # by channelUuid
        self._texts: dict[str, tuple[bytes, bytes]] = {}  # sides of the last book frame, by channelUuid
        self._books: dict[str, tuple[Levels, Levels]] = {}  # and what they say
        # The last book frame by its beginning, which holds its id, and what a repeat of it says.
        self._repeats: dict[bytes, tuple[bytes, Sequence[Output]]] = {}
        self._ns = Rfc3339().ns

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        frames: list[str] = []
        for number, stream in enumerate(streams, start=1):
            name = channel_uuid(stream)
            self._streams[name] = stream
            self._repeats.clear()  # whose they are may have been unknown
            frames.append(_request("SUBSCRIBE", name, channel=WIRE_CHANNEL[stream.channel], symbol=stream.symbol))
            if number % LIST_EVERY == 0:
                frames.append(LIST)
        # Nothing is acknowledged, and trades may not come for hours: the list is what tells that they were accepted.
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
                    time_ns = self._ns(message.publish_time)
                    published_ns = time_ns if plausible(time_ns, ts_recv_ns) else None
                    bid, ask = message.best_bid, message.best_ask
                    return (Quote(message.market_id, published_ns, ts_recv_ns, None, bid, None, ask, None),)
            return ()
        except MALFORMED as error:
            return self._answered(frame, error)

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
        return (Alive(Stream("book", symbol)),)  # said again every few seconds

    def _trade(self, m: _Trade, ts_recv_ns: int) -> Sequence[Output]:
        if not m.id:
            raise ValueError("a trade without an id")
        # No side is given, and none can be known: trades of one block come together, after the book they changed.
        symbol, time_ns = self._symbol(m.channel_uuid), self._ns(m.created)
        return (Trade(symbol, stable_hash64(m.id), time_ns, ts_recv_ns, m.price, m.quantity, None, m.id),)

    def _symbol(self, name: str) -> str:
        """Whose data it is. In a file of frames alone nothing tells: there the id stands for the symbol."""
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
                self._repeats.clear()
                self._texts.pop(name, None)  # asked for again, the next frame is new even if it says the same
                self._books.pop(name, None)
                return ()
            case _Answer(message=str(), code=2 | 5):
                return ()  # carried already, or not carried any more: nothing was refused
            case _Answer(message=str(message), channel_uuid=None):
                return (Refused(None, message if answer.code is None else f"{answer.code}: {message}"),)
        stream = self._streams.get(answer.channel_uuid or "")
        raise DecodeError(str(error), None if stream is None else stream.symbol) from error


def _levels(text: bytes) -> Levels:
    return [(level.price, level.quantity) for level in _decode_levels(text)]


class Figure:
    """The public feed of market data."""

    name: ClassVar[str] = "figure"
    url: ClassVar[str] = "wss://www.figuremarkets.com/service-hft-exchange-websocket/ws/v1"
    rest_url: ClassVar[str] = "https://api.figuremarkets.com/public/v1"
    # 50 subscriptions by document. Errors name no subscription: 200 ms between requests at least.
    limits: ClassVar[Limits] = Limits(streams_per_link=48, frames_per_s=4, connects_per_minute=10, session_s=1800)
    rest: ClassVar[RestLimits] = RestLimits(per_s=1, burst=2)  # no limit is published; one a second was fine
    heartbeat: ClassVar[Heartbeat] = Heartbeat(every_s=15, frame=None, silence_s=40)
    channels: ClassVar[tuple[Channel, ...]] = ("trade", "quote", "book")
    contiguous: ClassVar[frozenset[Channel]] = frozenset()  # ids are texts without an order
    listing_paths: ClassVar[tuple[str, ...]] = ("/markets?page=1&size=50",)  # more than 50 a page is refused

    def __init__(self, url: str | None = None, *, book_depth: int | None = None) -> None:
        if book_depth is not None:
            raise ConfigError("figure sends whole books: remove book_depth from its settings")
        self.endpoint = url or self.url

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        return self.session().subscribe(streams)

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        return self.session().unsubscribe(streams)

    def session(self) -> FigureSession:
        return FigureSession()

    def listings(self, body: bytes) -> list[Listing]:
        try:
            markets = msgspec.json.decode(body, type=_Markets, strict=False).data
        except MALFORMED as error:
            raise DecodeError(f"market list: {error}") from error
        return [_listing(market) for market in markets]

    def next_page(self, path: str, body: bytes) -> str | None:
        try:
            pagination = msgspec.json.decode(body, type=_Markets, strict=False).pagination
        except MALFORMED as error:
            raise DecodeError(f"market list: {error}") from error
        if pagination is None or pagination.page >= pagination.total_pages:
            return None
        return f"/markets?page={pagination.page + 1}&size=50"


class _ListedMarket(msgspec.Struct, rename="camel", gc=False):
    symbol: str
    denom: str
    quote_denom: str
    market_type: str
    status: str
    display_name: str | None = None  # BTC-USD for BTC-USD-2S
    last_traded_price: Amount | None = None
    volume24h: Amount | None = None  # quote units


class _Pagination(msgspec.Struct, rename="camel", gc=False):
    page: int
    total_pages: int


class _Markets(msgspec.Struct, gc=False):
    data: list[_ListedMarket]
    pagination: _Pagination | None = None


def _listing(market: _ListedMarket) -> Listing:
    base, dash, quote = (market.display_name or market.symbol).partition("-")
    if not dash:
        quote = market.quote_denom
    kind = "spot" if market.market_type == "CRYPTO" else market.market_type.lower()
    # Increments are listed, under names no source quotes: left out until an answer has been seen.
    return Listing(
        market.symbol, base, quote, kind, None, None, market.status, market.denom, market.quote_denom,
        trades=market.status == "OPEN", price=market.last_traded_price, volume=market.volume24h,
    )  # fmt: skip


def _request(action: str, name: str, **more: str) -> str:
    return json.dumps({"action": action, "channelUuid": name, **more})
