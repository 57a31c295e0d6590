"""What each step of the hot path costs per message, for every venue, on frames of its simulator.

    .venv/bin/python tests/bench/stages.py

Figures of one invocation compare with each other, not with those of another machine or another day: a change of the
hot path shows its ratio by running this before and after, several times.
"""

import gc
import random
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.table import Table

from recorder.clock import SystemClock
from recorder.connection import Connection
from recorder.continuity import Continuity
from recorder.events import Session, Stream
from recorder.frames import FrameReader, Oversized
from recorder.intake import Intake
from recorder.journal import Journal
from recorder.settings import JournalSettings
from recorder.simulator.running import running
from recorder.tape import Tape
from recorder.venues import VENUES
from recorder.venues.base import Venue

MESSAGES = 40_000
CHUNK = 170  # messages in 64 KiB of a busy feed
FLUSH_EVERY = 4  # chunks
ROUNDS = 5


def collect(name: str, count: int) -> tuple[list[bytes], list[Stream]]:
    """Frames as the simulated venue sends them, subscriptions first."""
    with running(name, rate=0.0, seed=7) as fake:
        symbols = [fake.venue.symbol_of(market) for market in fake.venue.market.symbols]
        venue = VENUES[name](fake.url)
        streams = [Stream(channel, symbol) for symbol in symbols for channel in venue.channels]
        connection = Connection(fake.url, 1 << 25, "bench")
        for request in venue.subscribe(streams):
            connection.send(request)
        frames: list[bytes] = []
        while len(frames) < count:
            frames += [frame for frame in connection.receive(5.0) or [] if not isinstance(frame, Oversized)]
        connection.close()
    return frames, streams


def framed(payload: bytes) -> bytes:
    """A text frame as a server sends it."""
    size = len(payload)
    if size < 126:
        return bytes((0x81, size)) + payload
    if size < 1 << 16:
        return b"\x81\x7e" + size.to_bytes(2, "big") + payload
    return b"\x81\x7f" + size.to_bytes(8, "big") + payload


def cut(wire: bytes) -> None:
    reader = FrameReader(1 << 25)
    offset = 0
    while offset < len(wire):
        room = reader.room()
        count = min(len(room), len(wire) - offset)
        room[:count] = wire[offset : offset + count]
        offset += count
        reader.received(count)


def decode(venue: Venue, frames: list[bytes]) -> None:
    session, ts_ns = venue.session(), time.time_ns()
    for frame in frames:
        session.decode(frame, ts_ns)


def record(venue: Venue, frames: list[bytes], streams: list[Stream], *, flush: bool) -> None:
    """Decode, account, encode; with `flush` compress and write the journal too."""
    clock = SystemClock()
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal(Path(folder) / "bench", venue.name, JournalSettings(reserve_mb=0), clock)
        continuity = Continuity(venue.contiguous, lambda: random.getrandbits(63))
        tape = Tape(journal, continuity, venue.name, 1 << 32, clock)
        now_ns = clock.wall_ns()
        session = Session(1, venue.name, "bench", 0, "", now_ns, None, None, None, 0, 0, 0, 0, 0, 0, 1)
        intake = Intake(session, venue.session(), tape)
        for stream in streams:
            continuity.watch(stream, 1, now_ns)
        for number, first in enumerate(range(0, len(frames), CHUNK)):
            intake.take(frames[first : first + CHUNK], clock.wall_ns())
            if flush and number % FLUSH_EVERY == 0:
                tape.flush()
        journal.close()


def cost_us(action: Callable[[], None], count: int) -> float:
    """Best CPU time of several rounds, per message: the least disturbed one."""
    best = float("inf")
    for _ in range(ROUNDS):
        gc.collect()
        gc.disable()
        began_s = time.process_time()
        action()
        best = min(best, time.process_time() - began_s)
        gc.enable()
    return best / count * 1e6


def main() -> None:
    """Measure and print."""
    table = Table(title="CPU per message, microseconds")
    for column in ("venue", "bytes", "cut frames", "decode", "+ account, encode", "+ compress, journal"):
        table.add_column(column, justify="left" if column == "venue" else "right")
    for name in ("coinbase", "kraken"):
        frames, streams = collect(name, MESSAGES)
        venue = VENUES[name]()
        wire = b"".join(map(framed, frames))
        steps: list[Callable[[], None]] = [
            partial(cut, wire),
            partial(decode, venue, frames),
            partial(record, venue, frames, streams, flush=False),
            partial(record, venue, frames, streams, flush=True),
        ]
        costs = [cost_us(step, len(frames)) for step in steps]
        table.add_row(name, f"{len(wire) / len(frames):.0f}", *(f"{cost:.2f}" for cost in costs))
    Console().print(table)


if __name__ == "__main__":
    main()
