"""One stream in two sessions while the second takes over from the first: whose rows count. Pure.

The rows of a session must follow from its own frames, or a replay could not reproduce them. So each decision about a
session is written among its frames, as a control record:

    {"tapedeck":"subscribed","streams":[["trade","BTC-USD"]]}    the session subscribed to these
    {"tapedeck":"unsubscribed","streams":[...]}                  and ended these
    {"tapedeck":"overlap_start"}                                 its predecessor still carries its streams
    {"tapedeck":"overlap_end"}                                   the predecessor is gone
    {"tapedeck":"handed_over","streams":[["book","BTC-USD"]]}    its successor carries these from here on

An answer of REST about one of its streams, which decides nothing about rows, is a record too:

    {"tapedeck":"witness","streams":[["trade","BTC-USD"]],"path":"/...","status":200,"body":"..."}

Trades of both sessions are kept: their key makes them one row in the database. Quotes switch at the first quote of the
new session, books at its first snapshot.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from recorder.errors import ConfigError
from recorder.events import Book, Channel, Output, Quote, Stream

CONTROL_PREFIX = b'{"tapedeck":'
_EARLIER = tuple(CONTROL_PREFIX + b'"%s"' % kind for kind in (b"joins", b"over", b"alone", b"asked", b"dropped"))

Kind = Literal["subscribed", "unsubscribed", "overlap_start", "overlap_end", "handed_over", "witness"]


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
            return msgspec.json.decode(frame, type=cls)
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


class Overlap:
    """Which outputs of a session count. A session that shares no stream with another has none."""

    def __init__(self) -> None:
        self._starting = False  # the predecessor still carries the streams
        self._with_snapshot: set[str] = set()  # symbols of which this session brought a snapshot
        self._handed_over: set[Stream] = set()

    def apply(self, record: ControlRecord) -> None:
        """Follow a control record."""
        if record.tapedeck == "handed_over":
            self._handed_over.update(record.named)
        elif record.tapedeck in ("overlap_start", "overlap_end"):
            self._starting = record.tapedeck == "overlap_start"

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
            if output.snapshot:
                self._with_snapshot.add(output.symbol)
            elif self._starting and output.symbol not in self._with_snapshot:
                return False
            return not self._handed_over or Stream("book", output.symbol) not in self._handed_over
        if isinstance(output, Quote):
            return not self._handed_over or Stream("quote", output.symbol) not in self._handed_over
        return True
