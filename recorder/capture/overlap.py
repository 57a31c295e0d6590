"""One stream in two sessions while the second takes over from the first: whose rows count. Pure.

The rows of a session must follow from its own frames, or a replay could not reproduce them. So each decision about a
session is written among its frames, as a control record:

    {"tapedeck":"subscribed","streams":[["trade","BTC-USD"]]}    the session subscribed to these
    {"tapedeck":"unsubscribed","streams":[...]}                  and ended these
    {"tapedeck":"overlap_start"}                                 its predecessor still carries its streams
    {"tapedeck":"overlap_end"}                                   the predecessor is gone
    {"tapedeck":"handed_over","streams":[["book","BTC-USD"]]}    its successor carries these from here on
    {"tapedeck":"took_over","streams":[["book","BTC-USD"]],"skip":[["book","BTC-USD",1,4]]}
                                                                 its process takes these over from another process;
                                                                 rows 1 to 3 of this book, from 0, do not count

An answer of REST about one of its streams, which decides nothing about rows, is a record too:

    {"tapedeck":"witness","streams":[["trade","BTC-USD"]],"path":"/...","status":200,"body":"..."}

Trades of both sessions are kept: their key makes them one row in the database. Quotes switch at the first quote of the
new session, books at its first snapshot. Between two processes the change is at one moment for all streams: what the
new session received before is kept in memory until then, so the record comes first in its journal.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import msgspec

from recorder.errors import ConfigError
from recorder.events import Book, Channel, Output, Quote, Stream

CONTROL_PREFIX = b'{"tapedeck":'
_EARLIER = tuple(CONTROL_PREFIX + b'"%s"' % kind for kind in (b"joins", b"over", b"alone", b"asked", b"dropped"))

Kind = Literal["subscribed", "unsubscribed", "overlap_start", "overlap_end", "handed_over", "witness", "took_over"]


class ControlRecord(msgspec.Struct):
    """A record of ours among the frames of a session."""

    tapedeck: Kind
    streams: list[tuple[Channel, str]] = []

    @classmethod
    def about(cls, kind: Kind, streams: Iterable[Stream] = ()) -> "ControlRecord":
        """Return a record that names some streams."""
        return cls(kind, [(stream.channel, stream.symbol) for stream in streams])

    def encode(self) -> bytes:
        """Return the frame."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, frame: bytes) -> "ControlRecord | None":
        """Return the control record in a frame; None for a frame of the venue, however it begins.

        Raises:
            ConfigError: A version before 0.1.0 wrote it. Without it, a replay would store rows of an overlap twice.
        """
        if not frame.startswith(CONTROL_PREFIX):
            return None
        if frame.startswith(_EARLIER):
            raise ConfigError("a version before 0.1.0 wrote this journal; it can be loaded, but not replayed")
        try:
            record = msgspec.json.decode(frame, type=cls)
            return msgspec.json.decode(frame, type=TookOverRecord) if record.tapedeck == "took_over" else record
        except msgspec.MsgspecError:
            return None

    @property
    def named(self) -> list[Stream]:
        """The streams that it names."""
        return [Stream(channel, symbol) for channel, symbol in self.streams]


class WitnessRecord(ControlRecord, kw_only=True):
    """An answer of REST about a stream of the session."""

    path: str
    status: int
    body: str  # what is no UTF-8 is replaced


class TookOverRecord(ControlRecord, kw_only=True):
    """Streams that a session has from another process."""

    skip: list[tuple[Channel, str, int, int]] = []  # which rows of quotes and books the other process stored

    @classmethod
    def of(cls, streams: Iterable[Stream], skip: Mapping[Stream, tuple[int, int]]) -> "TookOverRecord":
        """Return the record of some streams, and which of their rows do not count: from a place up to another."""
        rows = sorted((stream.channel, stream.symbol, *places) for stream, places in skip.items() if any(places))
        return cls("took_over", [(stream.channel, stream.symbol) for stream in streams], skip=rows)


class Overlap:
    """Which outputs of a session count. A session that shares no stream with another has none."""

    def __init__(self) -> None:
        self._starting = False  # the predecessor still carries the streams
        self._with_snapshot: set[str] = set()  # symbols of which this session brought a snapshot
        self._handed_over: set[Stream] = set()
        self._skip: dict[tuple[Channel, str], tuple[int, int]] = {}  # rows to keep, then rows to leave out
        self._until_snapshot: set[str] = set()  # books whose changes another process stored

    @property
    def settled(self) -> bool:
        """Whether every row counts from now on."""
        return not (self._skip or self._until_snapshot or self._starting or self._handed_over)

    def apply(self, record: ControlRecord) -> None:
        """Follow a control record."""
        if record.tapedeck == "handed_over":
            self._handed_over.update(record.named)
        elif record.tapedeck in ("overlap_start", "overlap_end"):
            self._starting = record.tapedeck == "overlap_start"
        elif isinstance(record, TookOverRecord):
            places = ((channel, symbol, max(0, first), end) for channel, symbol, first, end in record.skip)
            self._skip = {(one, symbol): (first, end - first) for one, symbol, first, end in places if end > first}
            self._until_snapshot = {stream.symbol for stream in record.named if stream.channel == "book"}

    def has_snapshot(self, symbol: str) -> bool:
        """Return whether this session brought a snapshot of a symbol's book."""
        return symbol in self._with_snapshot

    def handed_over(self, stream: Stream) -> bool:
        """Return whether the successor carries the stream."""
        return stream in self._handed_over

    def keep(self, outputs: Sequence[Output]) -> list[Output]:
        """Return the outputs that count."""
        return [output for output in outputs if self._counts(output)]

    def _counts(self, output: Output) -> bool:
        if isinstance(output, Book):
            if self._skip and self._skips("book", output.symbol):
                return False
            if output.snapshot:
                self._with_snapshot.add(output.symbol)
                self._until_snapshot.discard(output.symbol)
            elif output.symbol in self._until_snapshot or (self._starting and output.symbol not in self._with_snapshot):
                return False
            return not self._handed_over or Stream("book", output.symbol) not in self._handed_over
        if isinstance(output, Quote):
            if self._skip and self._skips("quote", output.symbol):
                return False
            return not self._handed_over or Stream("quote", output.symbol) not in self._handed_over
        return True

    def _skips(self, channel: Channel, symbol: str) -> bool:
        keep, leave = self._skip.pop((channel, symbol), (0, 0))
        if keep:
            self._skip[channel, symbol] = keep - 1, leave
        elif leave > 1:
            self._skip[channel, symbol] = 0, leave - 1
        return leave > 0 and not keep
