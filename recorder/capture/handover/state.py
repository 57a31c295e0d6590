"""What the old process leaves to its successor, in its last block; and which rows both have. Pure.

The last block of the old journal is the offer. Its own checkpoints say that the journal has no stream any longer, so
that nothing in it seems to be open; the true ones are in its state, for the successor, or for the old recorder itself
where no successor accepts.

Trades need no care: their key makes those of both processes one row. Quotes stand alone, so the successor leaves out
those that the old process has stored: the newest fingerprints of each stream show where they end. A book begins in the
successor with the last snapshot before that place, and every change after it is stored there, or its rows could not be
read without those of another session.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

import msgspec

from recorder.events import Book, Channel, Quote, Stream
from recorder.journal.block import StreamCheckpoint
from recorder.journal.writer import Recovered

_TAIL = 1 << 14  # rows of a stream; a successor is ready long before more have come
_LEVELS = 3


class RowTail(msgspec.Struct, array_like=True):
    """The newest quotes or book messages of a stream that a process stored."""

    channel: Channel
    symbol: str
    fingerprints: list[int]  # oldest first
    last_recv_ns: int


class Held(NamedTuple):
    """A row that a successor keeps."""

    fingerprint: int
    ts_recv_ns: int


class HandedOver(msgspec.Struct):
    """The state of a last block. Fields are added only with a default, so that one release understands the next."""

    token: str  # of the successor's request
    checkpoints: list[StreamCheckpoint]  # of every stream
    tails: list[RowTail]
    drained_ns: int  # everything that had arrived until then was received
    kind: str = "handed_over"


def left_by(recovered: Recovered) -> HandedOver | None:
    """Return what a journal ends with where its process offered its streams to a successor."""
    if not recovered.state:
        return None
    try:
        return msgspec.msgpack.decode(recovered.state, type=HandedOver)
    except msgspec.MsgspecError:
        return None


def checkpoints_of(recovered: Recovered) -> list[StreamCheckpoint]:
    """Return the streams as a journal leaves them, also where it offered them."""
    left = left_by(recovered)
    return recovered.checkpoints if left is None else left.checkpoints


def given_up(checkpoint: StreamCheckpoint) -> StreamCheckpoint:
    """Return a stream as a journal has it that has it no longer."""
    return msgspec.structs.replace(
        checkpoint, session_id=None, watched=False, gap=None, first_id=None, first_ts_event_ns=None, missing=()
    )


def identified(row: Quote | Book, *, connection_sequences: bool) -> bool:
    """Return whether the venue gave a row a time or a number that are the same on every connection."""
    return row.ts_event_ns is not None or (row.sequence is not None and not connection_sequences)


def fingerprint(row: Quote | Book, *, connection_sequences: bool) -> int:
    """Return a number that is the same for one row in every process and on every connection.

    Args:
        row: As it was decoded.
        connection_sequences: Whether one message has another sequence on each connection.
    """
    sequence = None if connection_sequences else row.sequence
    values: tuple[object, ...]
    if isinstance(row, Quote):
        values = row.ts_event_ns, sequence, row.bid, row.bid_size, row.ask, row.ask_size
    else:  # the first levels are enough beside the times and the rows before
        sizes = len(row.bids), len(row.asks)
        values = row.ts_event_ns, sequence, row.snapshot, *sizes, row.bids[:_LEVELS], row.asks[:_LEVELS]
    return int.from_bytes(blake2b(repr(values).encode(), digest_size=8).digest(), "big")


class RowTails:
    """The newest rows of every stream of quotes and books, noted while a successor waits."""

    def __init__(self, *, connection_sequences: bool) -> None:
        self._connection_sequences = connection_sequences
        self._tails: dict[Stream, tuple[deque[int], int]] = {}

    def note(self, channel: Channel, rows: Iterable[Quote | Book]) -> None:
        """Note rows that are stored."""
        for row in rows:
            stream = Stream(channel, row.symbol)
            tail = self._tails.get(stream)
            known = tail[0] if tail is not None else deque[int](maxlen=_TAIL)
            known.append(fingerprint(row, connection_sequences=self._connection_sequences))
            self._tails[stream] = known, row.ts_recv_ns

    def all(self) -> list[RowTail]:
        """Return the tail of each stream."""
        return [
            RowTail(stream.channel, stream.symbol, list(known), at_ns) for stream, (known, at_ns) in self._tails.items()
        ]


def stored_already(held: Sequence[Held], tail: RowTail) -> tuple[int, int] | None:
    """Return which of the rows that the successor holds are stored by the old process.

    Both connections carry the rows of a stream in one order, so where the newest row of the old process stands, those
    before it agree, back to the subscription of the successor. What the venue sent it alone at its subscription, such
    as the state at that time, stands before them. Rows may repeat, without a time or number of the venue: among the
    places where everything agrees, the one received closest to the newest row of the old process counts.

    Args:
        held: What the successor holds of the stream, oldest first.
        tail: The newest rows of the old process.

    Returns:
        The places of the first of them and of the first behind them; None where the newest row of the old process is
        not among them.
    """
    known = tail.fingerprints
    best: tuple[tuple[bool, int, int], int, int] | None = None
    for place, row in enumerate(held):
        if not known or row.fingerprint != known[-1]:
            continue
        length = 0
        while length <= place and length < len(known) and held[place - length].fingerprint == known[-1 - length]:
            length += 1
        complete = length > place or length == len(known)
        apart_ns = abs(row.ts_recv_ns - tail.last_recv_ns)
        rank = (complete, 0, -apart_ns) if complete else (complete, length, place)
        if best is None or rank > best[0]:
            best = rank, place + 1 - length, place + 1
    return None if best is None else best[1:]
