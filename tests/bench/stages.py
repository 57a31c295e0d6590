"""CPU of each step of the hot path per message, for two venues, on frames of their simulators.

Figures of one invocation compare with each other, not with those of another machine or another day. A change of the
hot path shows its ratio when this runs before and after it, several times and alternating.
"""

import gc
import random
import tempfile
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from bench.measure import print_table
from recorder.capture.buffer import WriteBuffer
from recorder.capture.continuity import Continuity
from recorder.capture.ingest import Ingest
from recorder.capture.websocket.connection import Connection
from recorder.capture.websocket.frames import FrameReader, Oversized
from recorder.clock import SystemClock
from recorder.events import SessionRow, Stream
from recorder.journal.writer import Journal
from recorder.settings import JournalSettings
from recorder.simulator.running import running
from recorder.venues import VENUES
from recorder.venues.base import Venue

MESSAGES = 40_000
CHUNK = 170  # messages in 64 KiB of a busy feed
FLUSH_EVERY = 4  # chunks
VENUE_NAMES = ("coinbase", "kraken")


class StageCosts(msgspec.Struct):
    """CPU microseconds per message; each step from `encode` on includes the ones before it, except for cutting."""

    venue: str
    frame_bytes: float
    cut: float  # the byte stream into messages
    decode: float
    encode: float  # decode, account and encode
    write: float  # decode, account, encode, compress and write the journal


def collect(name: str, count: int) -> tuple[list[bytes], list[Stream]]:
    """Return frames as the simulated venue sends them, subscriptions first."""
    with running(name, rate=0.0, seed=7) as fake:
        symbols = [fake.venue.symbol_of(market) for market in fake.venue.market.symbols]
        venue = VENUES[name](fake.url)
        streams = [Stream(channel, symbol) for symbol in symbols for channel in venue.channels]
        connection = Connection(fake.url, 1 << 25, "bench", None, SystemClock(), threading.Event())
        for request in venue.subscribe(streams):
            connection.send(request)
        frames: list[bytes] = []
        while len(frames) < count:
            frames += [frame for frame in connection.receive(5.0) or [] if not isinstance(frame, Oversized)]
        connection.close()
    return frames, streams


def framed(payload: bytes) -> bytes:
    """Return a text frame as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def cut(wire: bytes) -> None:
    """Cut a byte stream into messages, as they arrive in a receive buffer."""
    reader = FrameReader(1 << 25)
    offset = 0
    while offset < len(wire):
        room = reader.room()
        count = min(len(room), len(wire) - offset)
        room[:count] = wire[offset : offset + count]
        offset += count
        reader.received(count)


def decode(venue: Venue, frames: list[bytes]) -> None:
    """Decode frames, and nothing more."""
    decoder, ts_ns = venue.decoder(), time.time_ns()
    for frame in frames:
        decoder.decode(frame, ts_ns)


def record(venue: Venue, frames: list[bytes], streams: list[Stream], *, flush: bool) -> None:
    """Decode, account and encode; with `flush` also compress and write the journal."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.open(Path(folder) / "bench", venue.name, JournalSettings(reserve_mb=0), clock)
        continuity = Continuity(venue.contiguous, lambda: random.getrandbits(63))
        buffer = WriteBuffer(journal, continuity, venue.name, 1 << 32, clock)
        now_ns = clock.wall_ns()
        row = SessionRow(1, venue.name, "bench", 0, "", now_ns)
        ingest = Ingest(row, venue.decoder(), buffer)
        ingest.watch(streams, now_ns)
        for number, first in enumerate(range(0, len(frames), CHUNK)):
            ingest.take(frames[first : first + CHUNK], clock.wall_ns())
            if flush and number % FLUSH_EVERY == 0:
                buffer.flush()
        journal.close()


def cost_us(action: Callable[[], None], count: int, rounds: int) -> float:
    """Return the CPU time per message of the least disturbed of several rounds."""
    best = float("inf")
    for _ in range(rounds):
        gc.collect()
        gc.disable()
        began_s = time.process_time()
        action()
        best = min(best, time.process_time() - began_s)
        gc.enable()
    return best / count * 1e6


def measure(rounds: int) -> list[StageCosts]:
    """Measure every step for every venue."""
    measured = []
    for name in VENUE_NAMES:
        frames, streams = collect(name, MESSAGES)
        venue = VENUES[name]()
        wire = b"".join(map(framed, frames))
        steps: list[Callable[[], None]] = [
            partial(cut, wire),
            partial(decode, venue, frames),
            partial(record, venue, frames, streams, flush=False),
            partial(record, venue, frames, streams, flush=True),
        ]
        costs = [cost_us(step, len(frames), rounds) for step in steps]
        measured.append(StageCosts(name, len(wire) / len(frames), *costs))
    return measured


def show(measured: list[StageCosts]) -> None:
    """Print the costs."""
    columns = ("venue", "bytes", "cut frames", "decode", "+ account, encode", "+ compress, journal")
    rows = [
        (one.venue, f"{one.frame_bytes:.0f}", *(f"{cost:.2f}" for cost in (one.cut, one.decode, one.encode, one.write)))
        for one in measured
    ]
    print_table("Steps of the hot path: CPU microseconds per message", columns, rows)
