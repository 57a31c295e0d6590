"""How often each stream brings data, learned by hour of the week (UTC) from its own history. Pure: no clock, no I/O.

Learned is the share of seconds in which a stream brought anything, so a burst counts once. It is forgotten by half in
`HALF_LIFE_WEEKS`. An hour with little history of its own is judged by the same hour of the other days, and that by all
hours. Markets are burstier than any constant rate, so the longest silence that ended by itself is kept too, by the hour
of the day it began in.
"""

import math
import struct
from array import array
from collections.abc import Collection, Iterable, Iterator
from typing import NamedTuple
from zlib import crc32

import msgspec
import zstandard

from recorder.events import Channel, Stream

HALF_LIFE_WEEKS = 2.0
KNOWN_S = 1800.0  # so many seconds of history speak for themselves
NOTEWORTHY_S = 10.0  # shorter silences are not remembered
MOST_STREAMS = 10_000  # in a file; those looked at last are kept
HOURS = 168
_WEEK_S = 604_800.0
_CELLS = struct.Struct(f"<{HOURS * 2 + 24}e")  # half floats: three digits are plenty, and a stream takes 720 bytes
_HEAD = struct.Struct("<22sII")  # what it is and its version, CRC-32 and length of the rest before compression
_MAGIC = b"tapedeck expectation 1"


class Rate(NamedTuple):
    """What is expected of a stream now."""

    per_s: float  # of seconds with data, if they came independently; above 0
    known: bool  # from this hour of the day; else from whatever there is
    longest_s: float  # silence that began at this hour of the day and ended by itself


class _Record(msgspec.Struct, array_like=True):
    channel: Channel
    symbol: str
    seen_s: float
    cells: bytes


class _File(msgspec.Struct, array_like=True):
    saved_s: float
    hour: int
    streams: list[_Record]


class _History:
    """One stream: by hour of the week, from Thursday 00:00 UTC as unix time does."""

    __slots__ = ("active", "active_now", "from_tick", "longest", "looked", "seen_s")

    def __init__(self) -> None:
        self.looked = array("f", bytes(4 * HOURS))  # seconds looked at
        self.active = array("f", bytes(4 * HOURS))  # of them with data
        self.longest = array("f", bytes(4 * 24))  # seconds, by hour of the day
        self.from_tick = -1  # first sample not yet in `looked`; -1 while nobody looks
        self.active_now = 0  # samples with data not yet in `active`
        self.seen_s = 0.0


class Expectation:
    """The streams of one recorder."""

    def __init__(self) -> None:
        self._streams: dict[Stream, _History] = {}
        self._given: object = None  # the last `watched`, to see that it is the same again
        self._watched: frozenset[Stream] = frozenset()
        self._hour = -1  # since 1970
        self._tick = 0

    def sample(self, active: Iterable[Stream], watched: Collection[Stream], now_s: float) -> None:
        """Take in one second.

        Args:
            active: Streams that brought data in it; others than the watched are ignored.
            watched: Streams that could have; another object than the last time where they are others.
            now_s: Unix time.
        """
        hour = int(now_s // 3600)
        if hour != self._hour:
            self._enter(hour)
        if watched is not self._given:
            self._given, watched = watched, frozenset(watched)
            for stream in self._watched - watched:
                self._fold(self._streams[stream])
                self._streams[stream].from_tick = -1
            for stream in watched - self._watched:
                history = self._streams.get(stream)
                if history is None:
                    history = self._streams[stream] = _History()
                history.from_tick, history.active_now = self._tick, 0
            self._watched = watched
        self._tick += 1
        for stream in active:
            history = self._streams.get(stream)
            if history is not None:
                history.active_now += 1

    def silence_ended(self, stream: Stream, silence_s: float, now_s: float) -> None:
        """A silence ended by itself: this long is usual about now."""
        history = self._streams.get(stream)
        if history is not None and silence_s >= NOTEWORTHY_S:
            began = int((now_s - silence_s) // 3600) % 24
            history.longest[began] = max(history.longest[began], silence_s)

    def rate(self, stream: Stream, now_s: float) -> Rate:
        """What is expected of a stream at this hour of the week."""
        history = self._streams.get(stream)
        if history is None:
            return Rate(_per_s(0.0, 0.0), False, 0.0)
        self._fold(history)
        hour = int(now_s // 3600) % HOURS
        looked, active = history.looked[hour], history.active[hour]
        known = True
        if looked < KNOWN_S:
            looked, active = sum(history.looked[hour % 24 :: 24]), sum(history.active[hour % 24 :: 24])
            known = looked >= KNOWN_S
        if not known:
            looked, active = sum(history.looked), sum(history.active)
        return Rate(_per_s(active, looked), known, history.longest[hour % 24])

    # ---- as bytes --------------------------------------------------------------------------------------

    def encode(self, now_s: float) -> bytes:
        """All that was learned, compressed; at most `MOST_STREAMS`."""
        for stream in self._watched:
            self._fold(self._streams[stream])
        kept = sorted(self._streams.items(), key=lambda item: -item[1].seen_s)[:MOST_STREAMS]
        records = [
            _Record(stream.channel, stream.symbol, history.seen_s, _CELLS.pack(*_numbers(history)))
            for stream, history in kept
        ]
        raw = msgspec.msgpack.encode(_File(now_s, self._hour, records))
        return _HEAD.pack(_MAGIC, crc32(raw), len(raw)) + zstandard.compress(raw, 1)

    @classmethod
    def decode(cls, data: bytes, now_s: float) -> "Expectation":
        """What `encode` wrote, faded by the time since.

        Raises:
            ValueError: this is not it, or of another version, or damaged.
        """
        if not data.startswith(_MAGIC):
            raise ValueError("no expectation of this version")
        try:
            _, crc, size = _HEAD.unpack_from(data)
            raw = zstandard.ZstdDecompressor().stream_reader(data[_HEAD.size :]).read(size)
            if crc32(raw) != crc:
                raise ValueError("damaged")
            file = msgspec.msgpack.decode(raw, type=_File)
            cells = [_CELLS.unpack(record.cells) for record in file.streams]
        except (zstandard.ZstdError, msgspec.MsgspecError, struct.error) as error:
            raise ValueError(f"damaged: {error}") from error
        result = cls()
        result._hour = file.hour
        fade = 0.5 ** (max(0.0, now_s - file.saved_s) / _WEEK_S / HALF_LIFE_WEEKS)
        for record, written in zip(file.streams, cells, strict=True):
            numbers = [number * fade for number in written]
            history = result._streams[Stream(record.channel, record.symbol)] = _History()
            history.looked, history.active = array("f", numbers[:HOURS]), array("f", numbers[HOURS : 2 * HOURS])
            history.longest, history.seen_s = array("f", numbers[2 * HOURS :]), record.seen_s
        return result

    # ---- inside ----------------------------------------------------------------------------------------

    def _enter(self, hour: int) -> None:
        """Another hour begins: what it was a week ago and longer counts less now."""
        for stream in self._watched:
            self._fold(self._streams[stream])
        self._hour = hour
        cell, of_day = hour % HOURS, hour % 24
        week, day = 0.5 ** (1 / HALF_LIFE_WEEKS), 0.5 ** (1 / HALF_LIFE_WEEKS / 7)
        for history in self._streams.values():
            history.looked[cell] *= week
            history.active[cell] *= week
            history.longest[of_day] *= day

    def _fold(self, history: _History) -> None:
        """Bring what was counted since the last time into the cell of the hour it was counted in."""
        if history.from_tick >= 0 and history.from_tick != self._tick:
            cell = self._hour % HOURS
            history.looked[cell] += self._tick - history.from_tick
            history.active[cell] += history.active_now
            history.from_tick, history.active_now = self._tick, 0
            history.seen_s = self._hour * 3600.0


def _per_s(active: float, looked: float) -> float:
    return -math.log1p(-min((active + 0.5) / (looked + 1.0), 0.999))


def _numbers(history: _History) -> Iterator[float]:
    yield from history.looked
    yield from history.active
    for silence_s in history.longest:
        yield min(silence_s, 60_000.0)  # the largest half float is 65,504
