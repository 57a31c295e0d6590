"""The contract of a venue: constants, and pure translation.

A `Venue` is built once, for one endpoint. A `Decoder` is built for each connection and is dropped with it, so a
reconnect cannot inherit a stale book. Neither does any I/O; commands to the link are returned as values.
`tests/support/venues/contract.py` holds the tests that every venue must pass.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Protocol, runtime_checkable

import msgspec

from recorder.errors import ConfigError
from recorder.events import CHANNELS, Channel, Output, Stream
from recorder.venues.history import MinuteCandles, TimedHistory, TradeHistory
from recorder.venues.witness import NOTHING_TO_ASK, WitnessQuestions


class Limits(msgspec.Struct, frozen=True):
    """What the venue allows per address and per connection."""

    streams_per_link: int
    frames_per_s: float  # frames we may send on one link
    connects_per_minute: float
    session_s: float | None = None  # age at which the venue closes a connection
    symbols_per_link: int | None = None  # where one subscription carries all channels of a symbol


class RestLimits(msgspec.Struct, frozen=True):
    """Our REST budget. It stays below the venue's limit per address, because several processes share that."""

    per_s: float  # units regained per second
    burst: float  # units that may be spent at once
    weights: tuple[tuple[str, float], ...] = ()  # (pattern in the path, units): the first match counts, else 1 unit
    attempts: int = 5  # at one request, where the failure may pass
    failures_to_open: int = 5  # in a row; then the circuit breaker opens
    open_s: float = 30.0  # between two trials while it is open


class Heartbeat(msgspec.Struct, frozen=True):
    """How a connection is kept open, and when it counts as dead."""

    every_s: float  # between our pings
    frame: str | None  # text to send as ping; None sends a protocol ping
    silence_s: float  # without any frame for this long, the connection is dead


class Listing(msgspec.Struct, frozen=True):
    """One instrument in the venue's REST list. Numbers keep the venue's text."""

    symbol: str
    base: str
    quote: str
    kind: str  # spot, perpetual, future, outcome
    tick_size: str | None
    min_size: str | None
    status: str
    base_unit: str | None = None  # the venue's smallest unit of base and of quote, where it settles in one
    quote_unit: str | None = None
    trades: bool = True  # whether its status allows trading now
    price: float | None = None  # of the last trade
    volume: float | None = None  # of the last 24 hours, quote units
    rest_symbol: str | None = None  # its name in REST answers, where the feed uses another one
    alias_of: str | None = None  # symbol of the listing under which the venue sends its data
    canonical: str | None = None  # BASE-QUOTE in the common names of the assets; set by the catalog


class ListingPage(list[Listing]):
    """The instruments in one answer.

    Attributes:
        odd: Names of the rows that are not understood, each with the reason.
    """

    def __init__(self, listings: Iterable[Listing] = ()) -> None:
        super().__init__(listings)
        self.odd: list[str] = []


class Day(msgspec.Struct, frozen=True):
    """The last 24 hours of one instrument."""

    price: float  # of the last trade
    volume: float  # quote units


class Audit(msgspec.Struct, gc=False):
    """Running verdicts on the book of one symbol in one connection."""

    checksums_passed: int = 0
    checksums_failed: int = 0
    crossed: int = 0
    resyncs: int = 0


class Decoder(Protocol):
    """The decoder of one connection. It holds the books and sequence numbers of that connection only."""

    audits: dict[str, Audit]  # by symbol; the link reports and clears them

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        """Translate one frame.

        Raises:
            DecodeError: The frame is not understood. No part of it was applied.
        """
        ...


class Requests(Protocol):
    """The source of the frames that begin and end streams on an open connection."""

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        """Return text frames that subscribe these streams."""
        ...

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        """Return text frames that end these streams."""
        ...


@runtime_checkable
class Conversation(Decoder, Requests, Protocol):
    """A decoder that makes the requests of its connection, because the meaning of its frames depends on them.

    A venue needs one where it numbers a stream and ends it by that number, where data carries only an id that we
    invented, or where it also sends data that was not requested.
    """


@runtime_checkable
class CountsPings(Protocol):
    """A decoder that tells the answers to its own pings from those to heartbeats, by their number."""

    def pinged(self) -> None:
        """Note that the heartbeat of the venue was sent."""
        ...


@runtime_checkable
class BooksByRest(Protocol):
    """A venue whose books begin with a REST snapshot instead of a subscription."""

    def snapshot_path(self, symbol: str) -> str:
        """Return the REST path of a symbol's book; the decoder receives the answer."""
        ...


@runtime_checkable
class Paged(Protocol):
    """A venue that lists its instruments page by page."""

    def next_page(self, path: str, body: bytes) -> str | None:
        """Return the path of the page after the one answered at `path`; None after the last.

        Raises:
            DecodeError: The answer is not understood.
        """
        ...


@runtime_checkable
class Ranked(Protocol):
    """A venue that publishes the volumes of the last 24 hours apart from its list."""

    volume_paths: ClassVar[tuple[str, ...]]

    def volumes(self, body: bytes) -> dict[str, Day]:
        """Decode the answer at one of `volume_paths`: by `rest_symbol` where a listing has one, else by symbol.

        Raises:
            DecodeError: The answer is not understood.
        """
        ...


class Venue(ABC):
    """The constants of a venue, and the text of its requests."""

    name: ClassVar[str]  # "kraken"; the key in settings, journal and tables
    url: ClassVar[str]  # public websocket endpoint
    rest_url: ClassVar[str]  # public REST endpoint
    limits: Limits  # of the venue; a venue made with settings may have lower ones
    rest: RestLimits  # likewise
    heartbeat: ClassVar[Heartbeat]
    channels: ClassVar[tuple[Channel, ...]] = CHANNELS
    contiguous: ClassVar[frozenset[Channel]]  # channels whose ids rise by exactly one per symbol
    connection_sequences: ClassVar[bool] = False  # sequences of rows number the messages of one connection
    book_sequences: ClassVar[bool] = False  # a book message names the one before it, and the decoder checks that
    book_checks_best: ClassVar[bool] = False  # its checks of books compare the best prices only
    channel_words: ClassVar[Mapping[str, Channel]] = {}  # names that frames with data of a channel contain
    assets: ClassVar[Mapping[str, str]] = {}  # common names of assets, by the venue's codes that differ from them
    listing_paths: ClassVar[tuple[str, ...]]  # REST paths of the instrument list; of its first pages if `Paged`
    book_depths: ClassVar[tuple[int, ...]] = ()  # levels a side that the venue offers; empty where it does not ask
    default_book_depth: ClassVar[int] = 0
    prediction_markets: ClassVar[bool] = False  # its instruments are the outcomes of the markets in table market
    book_is_cut: ClassVar[bool] = False  # a level that leaves the requested depth is gone, and no message deletes it
    fixed_books: ClassVar[str] = "complete books"  # what the venue sends where no depth can be chosen
    witness_questions: ClassVar[WitnessQuestions] = NOTHING_TO_ASK  # to its REST service
    trade_history: ClassVar[TradeHistory | TimedHistory | None] = None  # None: its gaps are not healed
    minute_candles: ClassVar[MinuteCandles | None] = None  # None: no id is proved never to have been issued

    def __init__(self, url: str | None = None, *, book_depth: int | None = None) -> None:
        """
        Args:
            url: Websocket endpoint, if not the venue's public one.
            book_depth: Levels a side to request, where the venue offers a choice.

        Raises:
            ConfigError: The venue does not offer this depth.
        """
        if book_depth is not None and book_depth not in self.book_depths:
            if not self.book_depths:
                raise ConfigError(f"{self.name} sends {self.fixed_books}: remove book_depth from its settings")
            offered = ", ".join(map(str, self.book_depths))
            raise ConfigError(f"{self.name} offers book_depth {offered}; not {book_depth}")
        self.endpoint = url or self.url
        self.book_depth = book_depth or self.default_book_depth

    @classmethod
    def cut_depth(cls, levels: int) -> int:
        """Return the depth to which a book is cut after each message; 0 where the venue deletes every level itself.

        A full snapshot shows the depth that was requested. A thinner one was requested with more levels than it has:
        with the usual depth, or with the next one.

        Args:
            levels: Of the longer side of the snapshot that the book began with.
        """
        if not cls.book_is_cut or levels in cls.book_depths:
            return levels if cls.book_is_cut else 0
        return next((depth for depth in cls.book_depths if depth >= max(levels, cls.default_book_depth)), 0)

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        """Return text frames that subscribe these streams on a new connection."""
        return self._conversation().subscribe(streams)

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        """Return text frames that end these streams on a new connection."""
        return self._conversation().unsubscribe(streams)

    def asset_name(self, asset: str) -> str:
        """Return the common name of an asset in a listing of the venue."""
        return self.assets.get(asset, asset)

    @abstractmethod
    def decoder(self) -> Decoder:
        """Return a new decoder for a new connection."""

    @abstractmethod
    def listings(self, body: bytes) -> list[Listing]:
        """Decode the answer at one of `listing_paths`, or a further page of it; a `ListingPage` names odd rows.

        Raises:
            DecodeError: The answer is not understood.
        """

    def _conversation(self) -> Conversation:
        decoder = self.decoder()
        if not isinstance(decoder, Conversation):
            raise NotImplementedError(f"{self.name}: neither the venue nor its decoder makes requests")
        return decoder


def requests_of(venue: Venue, decoder: Decoder) -> Requests:
    """Return the source of a connection's requests: its decoder if that is a `Conversation`, else the venue."""
    return decoder if isinstance(decoder, Conversation) else venue
