"""One stream carried by two sessions while the second takes over from the first: whose rows count. Pure.

What a session's rows are must follow from its own frames, or a replay could not make them again. So what we decide
about a session is written among its frames, as a note of our own:

    {"tapedeck":"asked","streams":[["trade","BTC-USD"]]}   the session asked for these
    {"tapedeck":"dropped","streams":[...]}                  and ended these
    {"tapedeck":"joins"}                                    another session carries its streams still
    {"tapedeck":"alone"}                                    not any more
    {"tapedeck":"over","streams":[["book","BTC-USD"]]}     another session carries these from here on

Trades of both are kept, their key tells the database. Quotes switch at the first of the new session, books at its
first snapshot.
"""

from collections.abc import Iterable, Sequence
from typing import Literal

import msgspec

from recorder.events import Book, Channel, Output, Quote, Stream

NOTE = b'{"tapedeck":'

Kind = Literal["asked", "dropped", "joins", "alone", "over"]


class Note(msgspec.Struct):
    """What we wrote among the frames of a session."""

    tapedeck: Kind
    streams: list[tuple[Channel, str]] = []

    @classmethod
    def about(cls, kind: Kind, streams: Iterable[Stream] = ()) -> "Note":
        """A note on some streams."""
        return cls(kind, [(stream.channel, stream.symbol) for stream in streams])

    def encode(self) -> bytes:
        """The frame."""
        return msgspec.json.encode(self)

    @classmethod
    def decode(cls, frame: bytes) -> "Note":
        """A frame that begins with NOTE.

        Raises:
            msgspec.MsgspecError: it is none of ours after all.
        """
        return msgspec.json.decode(frame, type=cls)

    @property
    def named(self) -> list[Stream]:
        """The streams."""
        return [Stream(channel, symbol) for channel, symbol in self.streams]


class Overlap:
    """Which outputs of a session count. A session that shares nothing with another has none."""

    def __init__(self) -> None:
        self._joining = False
        self._begun: set[str] = set()  # symbols of which this session brought a snapshot
        self._over: set[Stream] = set()

    def take(self, note: Note) -> None:
        """Follow a note."""
        if note.tapedeck == "over":
            self._over.update(note.named)
        elif note.tapedeck in ("joins", "alone"):
            self._joining = note.tapedeck == "joins"

    def begun(self, symbol: str) -> bool:
        """Whether this session brought a snapshot of a symbol's book."""
        return symbol in self._begun

    def over(self, stream: Stream) -> bool:
        """Whether another session carries the stream."""
        return stream in self._over

    def keep(self, outputs: Sequence[Output]) -> list[Output]:
        """Those that count."""
        return [output for output in outputs if self._counts(output)]

    def _counts(self, output: Output) -> bool:
        if isinstance(output, Book):
            if output.snapshot:
                self._begun.add(output.symbol)
            elif self._joining and output.symbol not in self._begun:
                return False
            return not self._over or Stream("book", output.symbol) not in self._over
        if isinstance(output, Quote):
            return not self._over or Stream("quote", output.symbol) not in self._over
        return True
