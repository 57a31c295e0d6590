"""What a session received since the last flush: its frames, and the rows that came of them, encoded for COPY."""

import hashlib
from array import array
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from recorder.events import BookAudit, SessionRow
from recorder.identity import instrument_id
from recorder.journal.block import Receipt
from recorder.pgcopy import scalars
from recorder.position import Position
from recorder.venues.base import Audit

_SAMPLE_BYTES = 1024


class Quarantined(msgspec.Struct, gc=False):
    """A frame that could not be decoded, or not all of it."""

    item: int  # its index among the frames of the batch
    symbol: str | None
    ts_recv_ns: int
    reason: str
    sample: bytes
    payload_sha256: bytes


def quarantined(item: int, symbol: str | None, ts_recv_ns: int, reason: str, payload: bytes) -> Quarantined:
    """Return the record of a frame that could not be decoded."""
    return Quarantined(item, symbol, ts_recv_ns, reason, payload[:_SAMPLE_BYTES], hashlib.sha256(payload).digest())


def audit_rows(session_id: int, started_ns: int, ended_ns: int, audits: Mapping[str, Audit]) -> list[BookAudit]:
    """Return the rows of what was found about the books of a session, by symbol, in a range of time."""
    return [
        BookAudit(
            session_id=session_id,
            symbol=symbol,
            started_ns=started_ns,
            ended_ns=ended_ns,
            checksums_passed=audit.checksums_passed,
            checksums_failed=audit.checksums_failed,
            crossed=audit.crossed,
            resyncs=audit.resyncs,
        )
        for symbol, audit in audits.items()
    ]


class Rows:
    """Encoded rows of one table."""

    __slots__ = ("count", "data", "days")

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.count = 0
        self.days: set[int] = set()

    def add(self, data: bytes, count: int, days: Iterable[int]) -> None:
        """Add encoded rows."""
        self.data.append(data)
        self.count += count
        self.days.update(days)

    def extend(self, other: "Rows") -> None:
        """Add the rows of another."""
        self.data += other.data
        self.count += other.count
        self.days |= other.days


class Batch:
    """What one session received since the last flush.

    Rows are encoded as soon as a chunk is decoded, while it is in the processor's cache; encoding them at the
    flush cost a third more (tests/bench).
    """

    __slots__ = (
        "audits",
        "book",
        "first_seq",
        "frames",
        "last_ns",
        "lengths",
        "quarantined",
        "quote",
        "receipts",
        "session_id",
        "sessions",
        "size",
        "totals",
        "trade",
    )

    def __init__(self, session_id: int, first_seq: int, last_ns: int) -> None:
        """
        Args:
            session_id: The session.
            first_seq: Number of its next frame.
            last_ns: Receipt of its latest frame, in this batch or before it.
        """
        self.session_id = session_id
        self.first_seq = first_seq
        self.frames: list[bytes] = []  # each holds several frames, one after the other
        self.lengths = array("I")  # of each frame
        self.receipts: list[Receipt] = []
        self.trade, self.quote, self.book = Rows(), Rows(), Rows()
        self.quarantined: list[Quarantined] = []
        self.sessions: list[SessionRow] = []
        self.audits: list[BookAudit] = []
        self.last_ns = last_ns
        self.totals = (0, 0, 0, 0, 0)  # of the session: bytes, trades, quotes, books, quarantined
        self.size = 0  # approximate bytes of memory

    def add_frames(self, frames: Sequence[bytes], ts_ns: int) -> int:
        """Add frames that arrived together, and return their size in bytes."""
        joined = b"".join(frames)
        self.frames.append(joined)
        self.lengths.extend(map(len, frames))
        self.receipts.append((ts_ns, len(frames)))
        self.size += len(joined)
        return len(joined)

    def extend(self, other: "Batch") -> None:
        """Add a later batch of the same session."""
        offset = len(self.lengths)
        for item in other.quarantined:
            item.item += offset
        self.quarantined += other.quarantined
        self.frames += other.frames
        self.lengths += other.lengths
        self.receipts += other.receipts
        self.trade.extend(other.trade)
        self.quote.extend(other.quote)
        self.book.extend(other.book)
        self.sessions += other.sessions
        self.audits += other.audits
        self.last_ns = max(self.last_ns, other.last_ns)
        self.totals = other.totals
        self.size += other.size


class Instruments(dict[str, int]):
    """symbol -> instrument_id of one venue. New symbols are kept in `fresh`, so that their names are stored too."""

    def __init__(self, venue: str) -> None:
        super().__init__()
        self.venue = venue
        self.fresh: list[tuple[int, str, str]] = []

    def __missing__(self, symbol: str) -> int:
        number = self[symbol] = instrument_id(self.venue, symbol)
        self.fresh.append((number, self.venue, symbol))
        return number


def quarantine_rows(batches: Iterable[Batch], journal_id: str, position: Position, ids: Instruments) -> list[bytes]:
    """Return the encoded rows of `quarantine` of the frames of a block that is written at a position."""
    encoded = []
    offset = 0
    for batch in batches:
        for item in batch.quarantined:
            fields = (
                scalars.text(journal_id),
                scalars.int4(position.segment),
                scalars.int8(position.offset),
                scalars.int4(offset + item.item),
                scalars.text("frame"),
                scalars.text(None),
                scalars.int8(ids[item.symbol] if item.symbol else None),
                scalars.int8(batch.session_id),
                scalars.instant(item.ts_recv_ns),
                scalars.text(item.reason),
                scalars.binary(item.sample),
                scalars.binary(item.payload_sha256),
            )
            encoded.append(scalars.tuple_of(*fields))
        offset += len(batch.lengths)
    return encoded
