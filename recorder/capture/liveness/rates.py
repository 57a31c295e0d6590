"""How often each stream delivers data, learned by hour of the week (UTC) from its own history. Pure: no clock, no I/O.

The learned value is the fraction of seconds in which a stream delivered anything, so a burst counts once. It fades by
half in `HALF_LIFE_WEEKS`. An hour with little history of its own uses the same hour of the other days, and that uses
all hours. Markets are burstier than any constant rate, so the longest silence that ended by itself is kept too, by the
hour of the day in which it began.
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
KNOWN_S = 1800.0  # a rate is known after this many seconds of history
REMEMBERED_S = 10.0  # shorter silences are not remembered
MAX_STREAMS = 10_000  # in a file; the most recently observed are kept
HOURS = 168
_WEEK_S = 604_800.0
_CELLS = struct.Struct(f"<{HOURS * 2 + 24}e")  # half floats: three digits are plenty, and a stream takes 720 bytes
_HEAD = struct.Struct("<22sII")  # magic with the version, CRC-32 and length of the rest before compression
_MAGIC = b"tapedeck expectation 1"


class Rate(NamedTuple):
    """What is expected of a stream at some hour."""

    per_s: float  # of seconds with data, if they come independently; above 0
    known: bool  # whether from this hour of the day; else from all hours
    longest_s: float  # the longest silence that began at this hour of the day and ended by itself


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

    __slots__ = ("active", "active_now", "from_tick", "longest", "observed", "seen_s")

    def __init__(self) -> None:
        self.observed = array("f", bytes(4 * HOURS))  # seconds
        self.active = array("f", bytes(4 * HOURS))  # of them with data
        self.longest = array("f", bytes(4 * 24))  # seconds, by hour of the day
        self.from_tick = -1  # first sample not yet in `observed`; -1 while it is not watched
        self.active_now = 0  # samples with data not yet in `active`
        self.seen_s = 0.0


class ExpectedRates:
    """The streams of one recorder."""

    def __init__(self) -> None:
        self._streams: dict[Stream, _History] = {}
        self._last_watched: object = None  # the last `watched` object, to see that it did not change
        self._watched: frozenset[Stream] = frozenset()
        self._hour = -1  # since 1970
        self._tick = 0

    def sample(self, active: Iterable[Stream], watched: Collection[Stream], now_s: float) -> None:
        """Account for one second.

        Args:
            active: Streams that delivered data in it; those that are not watched are ignored.
            watched: Streams that could have; another object than before whenever the streams differ.
            now_s: Unix time.
        """
        hour = int(now_s // 3600)
        if hour != self._hour:
            self._enter_hour(hour)
        if watched is not self._last_watched:
            self._last_watched, watched = watched, frozenset(watched)
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
        """Learn from a silence that ended by itself: this long is usual at this time of day."""
        history = self._streams.get(stream)
        if history is not None and silence_s >= REMEMBERED_S:
            began = int((now_s - silence_s) // 3600) % 24
            history.longest[began] = max(history.longest[began], silence_s)

    def rate(self, stream: Stream, now_s: float) -> Rate:
        """Return what is expected of a stream at this hour of the week."""
        history = self._streams.get(stream)
        if history is None:
            return Rate(_per_s(0.0, 0.0), False, 0.0)
        self._fold(history)
        hour = int(now_s // 3600) % HOURS
        observed, active = history.observed[hour], history.active[hour]
        known = True
        if observed < KNOWN_S:
            observed, active = sum(history.observed[hour % 24 :: 24]), sum(history.active[hour % 24 :: 24])
            known = observed >= KNOWN_S
        if not known:
            observed, active = sum(history.observed), sum(history.active)
        return Rate(_per_s(active, observed), known, history.longest[hour % 24])

    # ---- as bytes --------------------------------------------------------------------------------------

    def encode(self, now_s: float) -> bytes:
        """Return all that was learned, compressed; at most `MAX_STREAMS`."""
        for stream in self._watched:
            self._fold(self._streams[stream])
        kept = sorted(self._streams.items(), key=lambda item: -item[1].seen_s)[:MAX_STREAMS]
        records = [
            _Record(stream.channel, stream.symbol, history.seen_s, _CELLS.pack(*_numbers(history)))
            for stream, history in kept
        ]
        raw = msgspec.msgpack.encode(_File(now_s, self._hour, records))
        return _HEAD.pack(_MAGIC, crc32(raw), len(raw)) + zstandard.compress(raw, 1)

    @classmethod
    def decode(cls, data: bytes, now_s: float) -> "ExpectedRates":
        """Return what `encode` wrote, faded by the time since.

        Raises:
            ValueError: the data is something else, of another version, or damaged.
        """
        if not data.startswith(_MAGIC):
            raise ValueError("no rates of this version")
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
            history.observed, history.active = array("f", numbers[:HOURS]), array("f", numbers[HOURS : 2 * HOURS])
            history.longest, history.seen_s = array("f", numbers[2 * HOURS :]), record.seen_s
        return result

    # ---- inside ----------------------------------------------------------------------------------------

    def _enter_hour(self, hour: int) -> None:
        """Begin an hour: what was learned of it a week ago and earlier counts less from now on."""
        for stream in self._watched:
            self._fold(self._streams[stream])
        self._hour = hour
        cell, of_day = hour % HOURS, hour % 24
        week, day = 0.5 ** (1 / HALF_LIFE_WEEKS), 0.5 ** (1 / HALF_LIFE_WEEKS / 7)
        for history in self._streams.values():
            history.observed[cell] *= week
            history.active[cell] *= week
            history.longest[of_day] *= day

    def _fold(self, history: _History) -> None:
        """Add the counts since the last call to the cell of the hour in which they were counted."""
        if history.from_tick >= 0 and history.from_tick != self._tick:
            cell = self._hour % HOURS
            history.observed[cell] += self._tick - history.from_tick
            history.active[cell] += history.active_now
            history.from_tick, history.active_now = self._tick, 0
            history.seen_s = self._hour * 3600.0


def _per_s(active: float, observed: float) -> float:
    return -math.log1p(-min((active + 0.5) / (observed + 1.0), 0.999))


def _numbers(history: _History) -> Iterator[float]:
    yield from history.observed
    yield from history.active
    for silence_s in history.longest:
        yield min(silence_s, 60_000.0)  # the largest half float is 65,504
