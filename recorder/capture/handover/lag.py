"""How far the connections of a successor are behind those of the process that records. Pure.

What the old process stores during a handover must come to the successor as well, or nothing shows which rows both have.
So the old process is asked to stop only when its newest rows come to the successor within seconds.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from recorder.events import Book, Quote, Stream, Trade
from recorder.journal.block import StreamCheckpoint

LAG_MAX_S = 2.0

_AGAIN_S = 10.0  # a row of a quiet stream that the old process received before us never comes: measure without it


class Progress(NamedTuple):
    """How far a stream has come, by the venue's time or else by its number."""

    ts_event_ns: int | None
    number: int | None

    def reached(self, other: "Progress") -> bool:
        """Return whether this is as far as another; True where they cannot be compared."""
        if other.ts_event_ns is not None:
            return self.ts_event_ns is not None and self.ts_event_ns >= other.ts_event_ns
        return other.number is None or (self.number is not None and self.number >= other.number)


def progress_of(row: Trade | Quote | Book, *, connection_sequences: bool) -> Progress:
    """Return how far a stream has come with a row."""
    if isinstance(row, Trade):
        return Progress(row.ts_event_ns, None)
    return Progress(row.ts_event_ns, None if connection_sequences else row.sequence)


def progress_of_checkpoints(
    checkpoints: Iterable[StreamCheckpoint], *, connection_sequences: bool
) -> dict[Stream, Progress]:
    """Return how far each stream of a journal has come."""
    return {
        Stream(one.channel, one.symbol): Progress(
            one.last_ts_event_ns, None if connection_sequences or one.channel == "trade" else one.last_id
        )
        for one in checkpoints
    }


class Lag:
    """Measures how long after the old process the successor has the newest rows.

    Attributes:
        behind_s: Seconds of the latest measurement; it goes on where nothing has been reached yet.
    """

    def __init__(self) -> None:
        self.behind_s = 0.0
        self._before: dict[Stream, Progress] | None = None  # what the old process had when the measurement began
        self._aim: dict[Stream, Progress] = {}  # what it has received since; the successor must have these
        self._aim_s: float | None = None

    @property
    def aims(self) -> bool:
        """Whether the rows that the successor must have are known."""
        return self._aim_s is not None

    def note(self, theirs: dict[Stream, Progress], now_s: float) -> None:
        """Note how far the old process is: at the beginning, and again after a while.

        Args:
            theirs: Its streams.
            now_s: Monotonic time.
        """
        if self._before is None:
            self._before = theirs
        else:
            self._aim = {stream: one for stream, one in theirs.items() if one != self._before.get(stream)}
            self._aim_s = now_s

    def small(self, mine: Mapping[Stream, Progress], carried: Iterable[Stream], now_s: float) -> bool:
        """Return whether everything aimed at came within `LAG_MAX_S`; where it did not, a new measurement begins.

        Args:
            mine: The streams of the successor.
            carried: Those of them that it is to record.
            now_s: Monotonic time.
        """
        if self._aim_s is None:
            return False
        nothing = Progress(None, None)
        self.behind_s = now_s - self._aim_s
        here = all(mine.get(one, nothing).reached(self._aim[one]) for one in carried if one in self._aim)
        if here or self.behind_s > _AGAIN_S:
            self._before, self._aim_s = None, None
        return here and self.behind_s <= LAG_MAX_S
