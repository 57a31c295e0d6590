"""A session that receives before its process records: everything is kept in memory, and nothing is written.

It decodes what arrives, so that subscriptions, books and pings work, and keeps frames and outputs in order. When the
process takes over, all of it goes through the usual path as if it arrived then, with its own times of receipt. A
process that ends before leaves no trace.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence

from recorder.capture.buffer import WriteBuffer
from recorder.capture.continuity import Continuity
from recorder.capture.handover.lag import Progress, progress_of
from recorder.capture.handover.state import Held, RowTail, fingerprint, identified, later_by, stored_already
from recorder.capture.ingest import Decoded, Ingest
from recorder.capture.overlap import ControlRecord, TookOverRecord
from recorder.capture.websocket.frames import Oversized
from recorder.events import (
    Accepted,
    Alive,
    Book,
    Channel,
    GapCause,
    Output,
    Quote,
    Resync,
    SessionRow,
    Stream,
    Trade,
    Witness,
)
from recorder.venues.base import Decoder


class Standby:
    """The sessions of a process that does not record yet.

    Attributes:
        size: Bytes of frames that are kept.
    """

    def __init__(self, limit_bytes: int) -> None:
        """
        Args:
            limit_bytes: Most bytes of frames to keep.
        """
        self.size = 0
        self._limit = limit_bytes
        self._lock = threading.Lock()
        self._sessions: list[StandbyIngest] = []
        self._over = False

    @property
    def over(self) -> bool:
        """Whether the process records now."""
        return self._over

    @property
    def full(self) -> bool:
        """Whether nothing more can be kept: the process cannot take over any longer."""
        return self.size > self._limit

    def all(self) -> list["StandbyIngest"]:
        """Return the sessions that live."""
        with self._lock:
            return list(self._sessions)

    def end(self) -> list["StandbyIngest"]:
        """Keep nothing of later sessions, and return those whose rows are kept."""
        with self._lock:
            self._over = True
            return list(self._sessions)

    def add(self, session: "StandbyIngest") -> bool:
        """Keep what a new session receives; return False where the process records already."""
        with self._lock:
            if not self._over:
                self._sessions.append(session)
            return not self._over

    def drop(self, session: "StandbyIngest", size: int) -> None:
        """Forget a session that ended, and what it had kept."""
        with self._lock:
            self._sessions.remove(session)
            self.size -= size

    def kept(self, size: int) -> None:
        """Count bytes."""
        with self._lock:
            self.size += size


class StandbyIngest(Ingest):
    """The ingest of such a session; after `release` it is a usual one. Any thread may call it until then.

    Attributes:
        progress: How far each of its streams has come.
    """

    def __init__(
        self,
        row: SessionRow,
        decoder: Decoder,
        buffer: WriteBuffer,
        standby: Standby,
        channel_words: Mapping[str, Channel],
        *,
        connection_sequences: bool,
    ) -> None:
        super().__init__(row, decoder, buffer, None, channel_words, connection_sequences=connection_sequences)
        self._connection_sequences = connection_sequences
        self._standby = standby
        self._holds = threading.RLock()
        self._over = False  # it ended before
        self._operations: list[Callable[[], object]] = []  # what is written when the process takes over
        self._size = 0
        self._with_snapshot: set[str] = set()
        self._rows_held: dict[Stream, list[Held]] = {}
        self.progress: dict[Stream, Progress] = {}
        self._known_by_values: set[Stream] = set()  # their rows have neither time nor number
        self._snapshots_held: dict[str, list[int]] = {}  # of each book: the places of its snapshots among its rows
        self._unclaimed: set[Stream] = set()
        self._releasing = self._released = False
        if not standby.add(self):
            self._released = True

    # ---- before -------------------------------------------------------------------------------------------------

    def lacks(self) -> set[Stream]:
        """Return the books without a snapshot, and the streams whose new subscription has not begun."""
        with self._holds:
            books = {one for one in self.streams if one.channel == "book" and one.symbol not in self._with_snapshot}
            return books | self.unbegun

    def later_by(self, tail: RowTail) -> int | None:
        """Return how much later than the old process this session received its newest row; None if that is unsure."""
        with self._holds:
            return later_by(self._rows_held.get(Stream(tail.channel, tail.symbol), ()), tail)

    def stored_already(self, tail: RowTail, later_ns: int | None) -> tuple[int, int] | None:
        """Return which of the rows that are kept of a stream need not be stored again: from a place up to another.

        Args:
            tail: The newest rows of the old process.
            later_ns: How much later this session receives; None where that is not known.

        Returns:
            None where the newest row of the old process is not among them, or cannot have come yet.
        """
        stream = Stream(tail.channel, tail.symbol)
        with self._holds:
            held = self._rows_held.get(stream, ())
            if (
                later_ns is not None
                and stream in self._known_by_values
                and self.last_frame_ns < tail.last_recv_ns + later_ns
            ):
                return None
            found = stored_already(held, tail, later_ns)
            if found is None:
                return None
            if tail.channel == "quote":  # an answer to our subscription may repeat the values of an earlier quote
                return max(int(stream in self._known_by_values), found[0]), found[1]
            # A book is readable from a snapshot on: the last of those that the old process has, too.
            return 0, max((place for place in self._snapshots_held.get(tail.symbol, ()) if place < found[1]), default=0)

    def take(self, messages: Sequence[bytes | Oversized], ts_ns: int) -> Decoded:
        if self._released:
            return super().take(messages, ts_ns)
        with self._holds:
            return super().take(messages, ts_ns) if self._released else self._hold(messages, ts_ns)

    def _hold(self, messages: Sequence[bytes | Oversized], ts_ns: int) -> Decoded:
        found = Decoded([], [], [], 0, [])
        results: list[Sequence[Output] | Exception] = []
        for message in messages:
            try:
                outputs: Sequence[Output] = list(self._decoder.decode(message, ts_ns))  # type: ignore[arg-type]
            except Exception as error:  # its frame is judged when the process takes over
                results.append(error)
                continue
            results.append(outputs)
            for output in outputs:
                match output:
                    case Trade():
                        found.trades.append(output)
                        self._came("trade", output)
                    case Quote():
                        found.quotes.append(output)
                        self._held("quote", output)
                    case Book():
                        found.books.append(output)
                        rows = self._held("book", output)
                        if output.snapshot:
                            self._with_snapshot.add(output.symbol)
                            self._snapshots_held.setdefault(output.symbol, []).append(rows - 1)
                    case Alive() | Witness():
                        pass
                    case _:
                        if isinstance(output, Accepted):
                            self.unbegun.discard(output.stream)
                        elif isinstance(output, Resync):
                            self._with_snapshot.discard(output.symbol)
                        found.control.append(output)
        self.last_frame_ns = ts_ns
        size = sum(len(one.sample) if isinstance(one, Oversized) else len(one) for one in messages)
        self._size += size
        self._standby.kept(size)
        self._operations.append(lambda: self._take_again(messages, results, ts_ns))
        return found

    def _held(self, channel: Channel, row: Quote | Book) -> int:
        """Note a row, and return how many of its stream are kept."""
        stream = Stream(channel, row.symbol)
        held = self._rows_held.setdefault(stream, [])
        if not identified(row, connection_sequences=self._connection_sequences):
            self._known_by_values.add(stream)
        held.append(Held(fingerprint(row, connection_sequences=self._connection_sequences), row.ts_recv_ns))
        self._came(channel, row)
        return len(held)

    def _came(self, channel: Channel, row: Trade | Quote | Book) -> None:
        stream = Stream(channel, row.symbol)
        now = progress_of(row, connection_sequences=self._connection_sequences)
        before = self.progress.get(stream)
        if before is None or now.reached(before):
            self.progress[stream] = now

    def _take_again(
        self, messages: Sequence[bytes | Oversized], results: list[Sequence[Output] | Exception], ts_ns: int
    ) -> None:
        decoder, self._decoder = self._decoder, _Decoded(self._decoder, results)
        try:
            super().take(messages, ts_ns)
        finally:
            self._decoder = decoder

    # ---- the rest is done later, in the same order --------------------------------------------------------------

    def _later(self, operation: Callable[[], object]) -> bool:
        """Keep an operation for the moment of the change; return False when that has been."""
        if self._released:
            return False
        with self._holds:
            if not (self._released or self._releasing):
                self._operations.append(operation)
                return True
        return False

    def watch(self, streams: Sequence[Stream], now_ns: int) -> None:
        watch = super().watch
        if self._later(lambda: watch(streams, now_ns)):
            self.streams.update(streams)
        else:
            watch(streams, now_ns)

    def unwatch(self, streams: frozenset[Stream] | set[Stream]) -> None:
        unwatch, ended = super().unwatch, frozenset(streams)
        if self._later(lambda: unwatch(ended)):
            self.streams -= ended
            self.unbegun -= ended
        else:
            unwatch(ended)

    def declare_lost(self, streams: Sequence[Stream], cause: GapCause) -> None:
        declare = super().declare_lost
        if not self._later(lambda: declare(streams, cause)):
            declare(streams, cause)

    def declare_interrupted(self, streams: Sequence[Stream], *, books_unasked: bool) -> None:
        declare = super().declare_interrupted
        if not self._later(lambda: declare(streams, books_unasked=books_unasked)):
            declare(streams, books_unasked=books_unasked)
        elif books_unasked:
            self.unbegun.update(streams)

    def record(self, record: ControlRecord) -> None:
        write = super().record
        if not self._later(lambda: write(record)):
            write(record)

    def report(self, *, ended_ns: int | None = None, reason: str | None = None, lost: GapCause | None = None) -> None:
        if not self._released:
            with self._holds:
                if not self._released:
                    if ended_ns is not None and not self._over:  # it leaves nothing; the old process has all of it
                        self._over = True
                        self._operations.clear()
                        self._standby.drop(self, self._size)
                    return
        super().report(ended_ns=ended_ns, reason=reason, lost=lost)

    def carries(self, stream: Stream) -> bool:
        return stream in self.streams if not self._released else super().carries(stream)

    def books_with_gap(self, streams: set[Stream]) -> dict[str, bool]:
        if self._released:
            return super().books_with_gap(streams)
        books = (stream for stream in streams & self.streams if stream.channel == "book")
        return {stream.symbol: stream.symbol not in self._with_snapshot for stream in books}

    # ---- the change -----------------------------------------------------------------------------------------------

    def release(self, skip: Mapping[Stream, tuple[int, int]], unclaimed: set[Stream]) -> None:
        """Write everything that is kept, and be a usual ingest from now on.

        Args:
            skip: Which of the rows that are kept of a stream are not stored again, as `stored_already` returns them.
            unclaimed: Streams without a gap that the old process had, and no session of ours has yet. Those that this
                session carries leave it.
        """
        with self._holds:
            if self._over:
                return
            streams, self.streams, self.unbegun = self.streams, set(), set()
            operations, self._operations = self._operations, []
            self._unclaimed = unclaimed
            self.last_frame_ns = self.row.started_ns
            self._releasing = True
            mine = [one for one in streams if one in unclaimed]
            super().record(TookOverRecord.of(mine, {one: skip[one] for one in self._rows_held.keys() & skip.keys()}))
            super().report()
            for operation in operations:
                operation()
            with self._buffer as continuity:
                for stream in [one for one in mine if one in unclaimed]:
                    self._own(continuity, stream)
                    if stream.channel == "book":
                        continuity.lost((stream,), "no_snapshot", self.last_frame_ns, self.row.session_id)
            self._unclaimed = set()
            if self._overlap is not None and self._overlap.settled:
                self._overlap = None
            self._released = True  # last: until then every other thread waits for the lock

    def _own(self, continuity: Continuity, stream: Stream) -> None:
        self._unclaimed.discard(stream)
        self._claim(continuity, stream, self.last_frame_ns)

    def _decode_shared(self, continuity: Continuity, frame: bytes, ts_ns: int) -> Sequence[Output]:
        outputs = super()._decode_shared(continuity, frame, ts_ns)
        if self._unclaimed:
            for output in outputs:
                if isinstance(output, Quote) or (isinstance(output, Book) and output.snapshot):
                    channel: Channel = "quote" if isinstance(output, Quote) else "book"
                    stream = Stream(channel, output.symbol)
                    if stream in self._unclaimed and stream in self.streams:
                        self._own(continuity, stream)
        return outputs


class _Decoded:
    """Returns outputs that were decoded before, one frame after the other."""

    def __init__(self, decoder: Decoder, results: Iterable[Sequence[Output] | Exception]) -> None:
        self.audits = decoder.audits
        self._results = iter(results)

    def decode(self, _frame: str | bytes, _ts_recv_ns: int) -> Sequence[Output]:
        result = next(self._results)
        if isinstance(result, Exception):
            raise result
        return result
