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
_SURE = 8  # rows that agree at one place only do not agree there by chance


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


def stored_already(held: Sequence[Held], tail: RowTail, later_ns: int | None) -> tuple[int, int] | None:
    """Return which of the rows that the successor holds are stored by the old process.

    Both connections carry the rows of a stream in one order, so where the newest row of the old process stands, those
    before it agree, back to the subscription of the successor. What the venue sent it alone at its subscription, such
    as the state at that time, stands before them. Rows may repeat, without a time or number of the venue, so that
    several places agree: the one of the right time of receipt counts, and where that is not known the first one,
    because a row that is stored twice is better than one that is lost.

    Args:
        held: What the successor holds of the stream, oldest first.
        tail: The newest rows of the old process.
        later_ns: How much later than the old process the successor receives; None where that is not known.

    Returns:
        The places of the first of them and of the first behind them; None where the newest row of the old process is
        not among them.
    """
    agreeing = _agreements(held, tail.fingerprints)
    if not agreeing:
        return None
    complete = [one for one in agreeing if _complete(one, tail)]
    if not complete:
        return max(agreeing, key=lambda one: (one[1] - one[0], one[1]))
    if later_ns is None:
        chosen = max(complete, key=lambda one: one[1] - one[0])
        for one in reversed(complete):  # rows that repeat agree at many places; much shorter ones agree by chance
            if chosen[1] - chosen[0] > one[1] - one[0] >= (chosen[1] - chosen[0]) / 2:
                chosen = one
        return chosen
    expected_ns = tail.last_recv_ns + later_ns
    return min(complete, key=lambda one: abs(held[one[1] - 1].ts_recv_ns - expected_ns))


def later_by(held: Sequence[Held], tail: RowTail) -> int | None:
    """Return how much later the successor received the newest row of the old process, ns; None where that is unsure."""
    complete = [one for one in _agreements(held, tail.fingerprints) if _complete(one, tail)]
    if len(complete) != 1 or complete[0][1] - complete[0][0] < _SURE:
        return None
    return held[complete[0][1] - 1].ts_recv_ns - tail.last_recv_ns


def _complete(place: tuple[int, int], tail: RowTail) -> bool:
    """Return whether everything agrees that can: up to the answer to the subscription, or to the first row noted."""
    first, end = place
    return first <= 1 or end - first == len(tail.fingerprints)


def _agreements(held: Sequence[Held], known: Sequence[int]) -> list[tuple[int, int]]:
    """Return each place that holds the newest known row: where the rows that agree begin, and where they end.

    The common ends of all beginnings of `held` with `known` are found in linear time (Gusfield's Z algorithm).
    """
    if not known or not held:
        return []
    known = known[-len(held) - 1 :]  # no more can agree
    text: list[int | None] = [*reversed(known), None, *(row.fingerprint for row in reversed(held))]
    lengths = [0] * len(text)
    left = right = 0
    for at in range(1, len(text)):
        length = min(right - at, lengths[at - left]) if at < right else 0
        while at + length < len(text) and text[length] == text[at + length]:
            length += 1
        lengths[at] = length
        if at + length > right:
            left, right = at, at + length
    ends = range(len(held), 0, -1)
    found = [(end - length, end) for end, length in zip(ends, lengths[len(known) + 1 :], strict=True) if length]
    return found[::-1]
