"""The outputs of a decoder and the rows of the recorder itself, in the column order of their tables.

Prices are float64 in quote units per base unit, sizes float64 in base units: float64 reproduces any decimal of up to
15 significant digits exactly. Times are integer nanoseconds since 1970, UTC.
`gc=False`: an event holds no cycle, and the collector would cost more than the decoder.
"""

from typing import Literal, final

import msgspec

Channel = Literal["trade", "quote", "book"]
CHANNELS: tuple[Channel, ...] = ("trade", "quote", "book")

Levels = list[tuple[float, float]]
"""Price levels of one side as (price, size), in the order of the wire; in a delta size 0 removes."""


class Stream(msgspec.Struct, frozen=True, gc=False):
    """One channel of one symbol: the unit of subscription, of continuity and of gaps."""

    channel: Channel
    symbol: str

    def __str__(self) -> str:
        return f"{self.channel} {self.symbol}"


@final
class Trade(msgspec.Struct, gc=False):
    """One print."""

    symbol: str
    trade_id: int
    ts_event_ns: int
    ts_recv_ns: int
    price: float
    size: float
    aggressor: Literal["b", "s"] | None = None  # side of the taker; None where the venue does not say
    venue_trade_id: str | None = None  # the venue's own text, where trade_id is a hash of it
    count: int = 1  # prints the venue merged into this one; trade_id is the last of their ids


@final
class Quote(msgspec.Struct, gc=False):
    """Best bid and ask as the venue published them; a side or a size it did not give is None."""

    symbol: str
    ts_event_ns: int | None
    ts_recv_ns: int
    sequence: int | None
    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None
    frame_seq: int = 0  # number of the frame in its session; Ingest sets it


@final
class Book(msgspec.Struct, gc=False):
    """One book message: a snapshot replaces the book, a delta sets absolute sizes."""

    symbol: str
    ts_event_ns: int | None
    ts_recv_ns: int
    snapshot: bool
    sequence: int | None
    bids: Levels
    asks: Levels
    frame_seq: int = 0  # number of the frame in its session; Ingest sets it


GapState = Literal["open", "healed", "unhealable"]
GapCause = Literal[
    "disconnect",
    "restart",
    "sequence",
    "sequence_reset",
    "checksum",
    "crossed",
    "no_snapshot",
    "refused",
    "overflow",
    "disk_full",
    "unreadable",
    "row_refused",
    "overtaken",
    "silent",
    "journal_damage",
    "unsubscribed",
    "partition_dropped",  # declared by the database: sql/0014_access.sql
    "let_go",  # declared by the keeper: archived rows that the disk budget left no room for, sql/0031_keeper.sql
    "history",  # declared by the poller: ids that a backfill found missing in the history of a venue
]


class Gap(msgspec.Struct, gc=False):
    """A range of a stream that may be incomplete. A later revision of one `gap_id` replaces the earlier."""

    gap_id: int
    symbol: str
    channel: Channel
    session_id: int | None  # the session in which it was noticed
    cause: GapCause
    state: GapState
    reason: str | None  # why it is healed or unhealable, for a person
    last_id: int | None  # last trade id or sequence known good
    first_id: int | None  # first one after the gap
    started_ns: int  # receipt time of the last frame known good
    ended_ns: int | None  # receipt time of the first frame that is good again; None while it lasts
    last_ts_event_ns: int | None  # the same two points by the venue's clock
    first_ts_event_ns: int | None
    revision: int  # 1, 2, ...: the highest counts

    @classmethod
    def opened(
        cls,
        gap_id: int,
        stream: Stream,
        cause: GapCause,
        started_ns: int,
        *,
        session_id: int | None,
        last_id: int | None,
        last_ts_event_ns: int | None,
    ) -> "Gap":
        """Return the first revision of a gap that begins after the last good data of a stream."""
        return cls(
            gap_id=gap_id,
            symbol=stream.symbol,
            channel=stream.channel,
            session_id=session_id,
            cause=cause,
            state="open",
            reason=None,
            last_id=last_id,
            first_id=None,
            started_ns=started_ns,
            ended_ns=None,
            last_ts_event_ns=last_ts_event_ns,
            first_ts_event_ns=None,
            revision=1,
        )


class SessionRow(msgspec.Struct, gc=False):
    """One connection, from handshake to its end. A later revision of one `session_id` replaces the earlier."""

    session_id: int
    venue: str
    recorder: str
    link: int
    url: str
    started_ns: int
    ended_ns: int | None = None
    end_reason: str | None = None
    last_frame_ns: int | None = None
    frames: int = 0
    bytes: int = 0
    trades: int = 0
    quotes: int = 0
    books: int = 0
    quarantined: int = 0
    revision: int = 1

    @property
    def totals(self) -> tuple[int, int, int, int, int]:
        """Bytes, trades, quotes, books, quarantined."""
        return self.bytes, self.trades, self.quotes, self.books, self.quarantined


class BookAudit(msgspec.Struct, gc=False):
    """Verdicts on one symbol's book over a span of one session."""

    session_id: int
    symbol: str
    started_ns: int
    ended_ns: int
    checksums_passed: int
    checksums_failed: int
    crossed: int
    resyncs: int


WitnessVerdict = Literal["quiet", "dead", "agrees", "differs", "not comparable"]


class WitnessRow(msgspec.Struct, gc=False):
    """What the REST service of a venue said about a silent stream or a book."""

    witness_id: int
    recorder: str
    symbol: str
    channel: Channel
    cause: Literal["silence", "schedule"]
    asked_ns: int
    silent_since_ns: int | None = None
    verdict: WitnessVerdict = "not comparable"
    reason: str = ""
    answered_ns: int | None = None
    request_id: str | None = None
    session_id: int | None = None
    last_id: int | None = None  # ours
    last_ts_event_ns: int | None = None
    venue_id: int | None = None  # in the answer
    venue_ts_event_ns: int | None = None
    levels: int | None = None  # compared, of both sides
    levels_different: int | None = None


# ---- outputs that are not data: answers of the venue, requests to the session --------------------


class Accepted(msgspec.Struct, frozen=True, gc=False):
    """The venue confirmed a subscription."""

    stream: Stream


class Refused(msgspec.Struct, frozen=True, gc=False):
    """The venue refused a subscription; `stream` is None where it does not name one."""

    stream: Stream | None
    reason: str


class Alive(msgspec.Struct, frozen=True, gc=False):
    """A heartbeat or status: the socket works. It is not data."""

    stream: Stream | None = None  # a stream whose last message the venue repeated: it lives, though nothing is new


class Witness(msgspec.Struct, frozen=True, gc=False):
    """The venue named its latest trade of a symbol outside the trade stream (heartbeat)."""

    symbol: str
    trade_id: int
    ts_event_ns: int


class Reply(msgspec.Struct, frozen=True, gc=False):
    """A text frame for the session to send."""

    frame: str


class Resync(msgspec.Struct, frozen=True, gc=False):
    """The decoder's book of a symbol cannot be trusted: request a fresh snapshot, declare a gap."""

    symbol: str
    cause: GapCause
    reason: str


class Fetch(msgspec.Struct, frozen=True, gc=False):
    """A path below the venue's REST endpoint to GET; the decoder gets the answer.

    The answer comes as a frame of its own, journalled like the venue's, so that a replay has it too:
    `{"rest":"<path>","status":200,"body":<the answer>}`. Every request is answered once: without an answer `status` is
    0 and `body` null; where the answer is not JSON, `body` is its beginning as a string.
    """

    symbol: str
    path: str


class Lost(msgspec.Struct, frozen=True, gc=False):
    """Something of this connection is missing and cannot be named: every stream of it has a gap."""

    reason: str


class Ending(msgspec.Struct, frozen=True, gc=False):
    """The venue will end this connection soon: open the next one before that."""

    reason: str


Event = Trade | Quote | Book
Output = Trade | Quote | Book | Accepted | Refused | Alive | Witness | Reply | Resync | Fetch | Lost | Ending
