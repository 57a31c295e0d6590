"""Rows that reach a session after its successor has taken their stream over: repeated by the successor, or lost. Pure.

The venue sends everything on both connections while both carry a stream, so a late row that the successor brings too is
stored. One that it never brings was made before the successor subscribed and came late: it is lost, and declared.

What the predecessor had not read when it ended cannot be compared. A row that came on both connections proves that
there is no such thing. In a quiet market no row may come for minutes; there an empty socket is the evidence.
"""

from collections import Counter
from typing import NamedTuple

from recorder.events import Book, Quote, Stream

_BEFORE_NS = 2 * 10**9  # a late row without a time of the venue was made at most this long before the switch
_SURE_NS = 10**9  # the successor brings what the venue stamps this long after the switch, the old one what is older


class LostRange(NamedTuple):
    """Late rows of one stream that no session stored, by our clock and by the venue's."""

    stream: Stream
    started_ns: int
    ended_ns: int
    last_ts_event_ns: int | None
    first_ts_event_ns: int | None


class LateRows:
    """What a session and its successor brought of the streams that the successor has taken over."""

    def __init__(self, *, connection_sequences: bool = False) -> None:
        """
        Args:
            connection_sequences: Whether one message has another sequence on each connection.
        """
        self._connection_sequences = connection_sequences
        self._switched_ns: dict[Stream, int] = {}
        self._brought: dict[Stream, Counter[int]] = {}
        self._brought_ns: dict[Stream, dict[int, int]] = {}  # the latest receipt of each row
        self._late: dict[Stream, list[tuple[int, Quote | Book]]] = {}
        self._late_numbers: dict[Stream, set[int]] = {}  # the same, to find a row among thousands
        self._contained: dict[Stream, int] = {}  # the newest change that a snapshot of the successor contains
        self._brought_more = False  # of some stream, more than the row with which it switched
        self._met_ns = 0  # when the successor had the latest row that came on both connections
        self._met_of: set[Stream] = set()  # the streams of such rows

    def switched(self, stream: Stream, now_ns: int) -> None:
        """Note that the successor carries a stream from now on."""
        self._switched_ns[stream] = now_ns

    def brought(self, stream: Stream, row: Quote | Book) -> None:
        """Note a row that the successor brought and that is stored."""
        rows = self._brought.setdefault(stream, Counter())
        self._brought_more = self._brought_more or bool(rows)
        sequence = self._sequence(row)
        number = _fingerprint(row, sequence)
        rows[number] += 1
        self._brought_ns.setdefault(stream, {})[number] = row.ts_recv_ns
        if number in self._late_numbers.get(stream, ()):
            self._meet(stream, row.ts_recv_ns)
        if isinstance(row, Book) and row.snapshot and sequence is not None:
            self._contained[stream] = max(sequence, self._contained.get(stream, sequence))

    def late(self, stream: Stream, row: Quote | Book) -> None:
        """Note a row that the predecessor brought after its stream had switched, and that is not stored."""
        number = _fingerprint(row, self._sequence(row))
        self._late.setdefault(stream, []).append((number, row))
        self._late_numbers.setdefault(stream, set()).add(number)
        if number in self._brought.get(stream, ()):
            self._meet(stream, self._brought_ns[stream][number])

    def _meet(self, stream: Stream, brought_ns: int) -> None:
        self._met_of.add(stream)
        self._met_ns = max(self._met_ns, brought_ns)

    def _behind(self, drained_ns: int) -> list[tuple[Stream, int]]:
        """Return the streams of which the predecessor may not have read all that was sent before they switched.

        A connection keeps the order of its messages. So a row that came on both, and to the successor after a stream
        had switched, shows that the predecessor has read everything before that switch. An empty socket shows it only
        where the successor had nothing more either, because a connection that died is empty, too.
        """
        return [
            (stream, switched_ns)
            for stream, switched_ns in self._switched_ns.items()
            if stream not in self._met_of
            and self._met_ns <= switched_ns
            and (self._brought_more or drained_ns < switched_ns + _SURE_NS)
        ]

    def caught_up(self, drained_ns: int) -> bool:
        """Return whether the predecessor has received what was sent before the successor subscribed.

        Args:
            drained_ns: When the predecessor last found nothing more to read.
        """
        return not self._behind(drained_ns)

    def lost(self) -> list[LostRange]:
        """Return the range of the lost rows of each stream."""
        ranges = []
        for stream, late in self._late.items():
            switched_ns = self._switched_ns.get(stream, 0)
            rows = self._unmatched(stream, late, switched_ns + _SURE_NS)
            if rows:
                stamps = [row.ts_event_ns for row in rows if row.ts_event_ns is not None]
                timed = len(stamps) == len(rows)
                ranges.append(
                    LostRange(
                        stream,
                        switched_ns if timed else switched_ns - _BEFORE_NS,
                        max(row.ts_recv_ns for row in rows),
                        min(stamps) if timed else None,
                        max(stamps) if timed else None,
                    )
                )
        return ranges

    def _unmatched(self, stream: Stream, late: list[tuple[int, Quote | Book]], limit_ns: int) -> list[Quote | Book]:
        """Return the late rows that the successor neither brought nor has in a snapshot."""
        # Equal rows are matched one to one, the latest first: a deletion of the same level may come again.
        brought, contained = self._brought.get(stream, Counter()).copy(), self._contained.get(stream)
        rows: list[Quote | Book] = []
        matched = False
        for number, row in reversed(late):
            if brought[number]:
                brought[number] -= 1
                if not matched:
                    matched = True
                    rows = []  # the venue sends what follows to the successor too, which has not read it yet
                continue
            sequence = self._sequence(row)
            if _made_before(row, limit_ns) and (sequence is None or contained is None or sequence > contained):
                rows.append(row)
        return rows

    def _sequence(self, row: Quote | Book) -> int | None:
        """Return the sequence by which the rows of two connections can be compared."""
        return None if self._connection_sequences else row.sequence

    def unread(self, last_frame_ns: int, drained_ns: int) -> list[LostRange]:
        """Return the range of each stream that may have ended unread with the connection of the predecessor.

        A predecessor that reads late may have its last frame after a switch, and yet not have all from before it.

        Args:
            last_frame_ns: Receipt of the predecessor's last frame.
            drained_ns: When the predecessor last found nothing more to read.
        """
        return [
            LostRange(stream, min(last_frame_ns, drained_ns, switched_ns), max(last_frame_ns, switched_ns), None, None)
            for stream, switched_ns in self._behind(drained_ns)
        ]


def stream_of(row: Quote | Book) -> Stream:
    """Return the stream of a row."""
    return Stream("quote" if isinstance(row, Quote) else "book", row.symbol)


def _made_before(row: Quote | Book, limit_ns: int) -> bool:
    return row.ts_event_ns is None or row.ts_event_ns <= limit_ns


def _fingerprint(row: Quote | Book, sequence: int | None) -> int:
    if isinstance(row, Quote):
        return hash((row.ts_event_ns, sequence, row.bid, row.bid_size, row.ask, row.ask_size))
    return hash((row.ts_event_ns, sequence, row.snapshot, tuple(row.bids), tuple(row.asks)))
