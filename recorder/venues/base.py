"""The contract of a venue: constant data, and pure translation.

A `Venue` is made once from its endpoint; a `Session` is born with each connection and dies with it, so a
reconnect cannot inherit a stale book. Neither does I/O; commands to the link are returned as values.
`tests/unit/venues/contract.py` holds what every venue must satisfy.
"""

from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Protocol, runtime_checkable

import msgspec

from recorder.events import Channel, Output, Stream

Amount = Annotated[float, msgspec.Meta(ge=0.0, le=1e300)]
"""A price or a size on the wire: finite and not negative. The bounds refuse the texts "nan" and "inf"."""

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An id or sequence that fits its column."""

MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)
"""What a decoder raises for a frame that is not of the wire's shape."""


class Limits(msgspec.Struct, frozen=True):
    """What the venue allows one address or one connection."""

    streams_per_link: int
    frames_per_s: float  # frames we may send on one link
    connects_per_minute: float
    session_s: float | None = None  # age at which the venue ends a connection
    symbols_per_link: int | None = None  # where one subscription carries all channels of a symbol


class RestLimits(msgspec.Struct, frozen=True):
    """What we allow ourselves at the venue's REST, below what it allows one address: several processes share that."""

    per_s: float  # units regained a second
    burst: float  # units that may be spent at once
    weights: tuple[tuple[str, float], ...] = ()  # (pattern found in the path, units); the first counts, else 1 unit


class Heartbeat(msgspec.Struct, frozen=True):
    """How a connection is kept and judged alive."""

    every_s: float  # between our pings
    frame: str | None  # text to send as ping; None sends a protocol ping
    silence_s: float  # no frame of any kind for this long: the session is dead


class Listing(msgspec.Struct, frozen=True):
    """One instrument as the venue lists it over REST. Numbers keep the venue's text."""

    symbol: str
    base: str
    quote: str
    kind: str  # spot, perpetual, future, outcome
    tick_size: str | None
    min_size: str | None
    status: str
    base_unit: str | None = None  # the venue's own smallest unit of base and of quote, where it settles in one
    quote_unit: str | None = None
    trades: bool = True  # whether its status lets it trade now
    price: float | None = None  # of the last trade
    volume: float | None = None  # of the last 24 hours, quote units
    rest_symbol: str | None = None  # what the venue's REST calls it, where its stream calls it otherwise
    alias_of: str | None = None  # another listing's symbol, under which the venue sends its data


class Day(msgspec.Struct, frozen=True):
    """What the venue says of one instrument's last 24 hours."""

    price: float  # of the last trade
    volume: float  # quote units


class Audit(msgspec.Struct, gc=False):
    """Running verdicts on one symbol's book in one session."""

    checksums_passed: int = 0
    checksums_failed: int = 0
    crossed: int = 0
    resyncs: int = 0


class Session(Protocol):
    """The decoder of one connection; holds the books and sequences of that connection only."""

    audits: dict[str, Audit]  # by symbol; the link reports and clears them

    def decode(self, frame: bytes, ts_recv_ns: int) -> Sequence[Output]:
        """Translate one frame.

        Raises:
            DecodeError: the frame is not understood; nothing of it was applied.
        """
        ...


class Requests(Protocol):
    """Where the frames come from that begin and end streams on an open connection."""

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        """Text frames that subscribe these streams."""
        ...

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        """Text frames that end these streams."""
        ...


@runtime_checkable
class Conversation(Session, Requests, Protocol):
    """A session that must be asked for its requests: what its frames mean depends on what was asked there.

    Needed where a stream is named by a number the venue gives (its end needs that number), by an id we invent
    (data carries nothing else), or where the venue also sends what nobody asked for.
    """


@runtime_checkable
class BooksByRest(Protocol):
    """A venue whose books begin with a snapshot by REST, not with a subscription."""

    def snapshot_path(self, symbol: str) -> str:
        """REST path of a symbol's book; the session takes the answer."""
        ...


def requests_of(venue: "Venue", session: Session) -> Requests:
    """Who makes the requests of a connection: its session where that must know them, else the venue."""
    return session if isinstance(session, Conversation) else venue


@runtime_checkable
class Paged(Protocol):
    """A venue that lists its instruments page by page."""

    def next_page(self, path: str, body: bytes) -> str | None:
        """The path of the page that follows the one answered at `path`; None after the last.

        Raises:
            DecodeError: the answer is not understood.
        """
        ...


@runtime_checkable
class Ranked(Protocol):
    """A venue that tells the trading of the last 24 hours apart from its list."""

    volume_paths: ClassVar[tuple[str, ...]]

    def volumes(self, body: bytes) -> dict[str, Day]:
        """Decode the answer at one of `volume_paths`: by `rest_symbol` where a listing has one, else by symbol.

        Raises:
            DecodeError: the answer is not understood.
        """
        ...


class Venue(Protocol):
    """A venue: data and translation."""

    name: ClassVar[str]  # "kraken"; the key in settings, journal and tables
    url: ClassVar[str]  # public websocket endpoint
    rest_url: ClassVar[str]  # public REST endpoint
    limits: ClassVar[Limits]
    rest: ClassVar[RestLimits]
    heartbeat: ClassVar[Heartbeat]
    channels: ClassVar[tuple[Channel, ...]]
    contiguous: ClassVar[frozenset[Channel]]  # channels whose ids rise by exactly one per symbol
    listing_paths: ClassVar[tuple[str, ...]]  # REST paths of the instrument list; of their first pages if `Paged`
    endpoint: str  # the websocket endpoint in use

    def __init__(self, url: str | None = None, *, book_depth: int | None = None) -> None:
        """
        Args:
            url: Websocket endpoint instead of the venue's public one.
            book_depth: Levels a side to ask for, where the venue lets one choose.

        Raises:
            ConfigError: the venue offers no such depth.
        """
        ...

    def subscribe(self, streams: Iterable[Stream]) -> list[str]:
        """Text frames that subscribe these streams on an open connection."""
        ...

    def unsubscribe(self, streams: Iterable[Stream]) -> list[str]:
        """Text frames that end these streams on an open connection."""
        ...

    def session(self) -> Session:
        """A new decoder for a new connection."""
        ...

    def listings(self, body: bytes) -> list[Listing]:
        """Decode the answer at one of `listing_paths`, or a further page of it.

        Raises:
            DecodeError: the answer is not understood.
        """
        ...
