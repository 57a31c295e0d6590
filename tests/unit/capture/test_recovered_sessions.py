"""A recorder that was killed cannot close its sessions: the next one does, with exact counts."""

import json
import os
from pathlib import Path

from recorder.capture.buffer import WriteBuffer
from recorder.capture.continuity import Continuity
from recorder.capture.ingest import Ingest
from recorder.clock import ManualClock
from recorder.events import SessionRow, Stream
from recorder.journal.reader import JournalReader, StoredBlock
from recorder.journal.writer import Journal
from recorder.settings import JournalSettings
from recorder.venues.coinbase.stream import Coinbase

SETTINGS = JournalSettings(reserve_mb=0, segment_mb=1)


def match(trade_id: int) -> bytes:
    return json.dumps(
        {"type": "match", "trade_id": trade_id, "side": "buy", "size": "1.5", "price": "10.25", "product_id": "A-B",
         "time": f"2023-11-14T22:13:{trade_id % 60:02d}.000000Z"}
    ).encode()  # fmt: skip


def crash(journal: Journal) -> None:
    """Release the lock without a sync or a report, as the kernel does for a killed process."""
    os.close(journal._lock)


def test_the_counts_of_a_killed_session_are_those_of_what_it_journalled(tmp_path: Path) -> None:
    clock = ManualClock()
    journal = Journal.open(tmp_path / "recorder-coinbase", "coinbase", SETTINGS, clock)
    buffer = WriteBuffer(journal, Continuity(Coinbase.contiguous, lambda: 1), "coinbase", 1 << 20, clock)
    now_ns = clock.wall_ns()
    session = SessionRow(77, "coinbase", "recorder-coinbase", 0, "ws://x", now_ns)
    ingest = Ingest(session, Coinbase().decoder(), buffer)
    ingest.watch([Stream("trade", "A-B")], clock.wall_ns())
    ingest.report()
    buffer.flush()
    for first in range(1, 31, 3):
        clock.advance(0.5)
        ingest.take([match(first), match(first + 1), b"no json"], clock.wall_ns())
        buffer.flush()
    ingest.take([match(99)], clock.wall_ns())  # not flushed: it dies with the process
    crash(journal)

    clock.advance(5)
    again = Journal.open(tmp_path / "recorder-coinbase", "coinbase", SETTINGS, clock)
    (dead,) = again.recovered.sessions
    assert (dead.session_id, dead.frames, dead.trades, dead.quarantined) == (77, 30, 20, 10)
    assert dead.last_frame_ns == now_ns + 5 * 10**9

    fresh = WriteBuffer(again, Continuity(Coinbase.contiguous, lambda: 1), "coinbase", 1 << 20, clock)
    fresh.close_sessions(again.recovered.sessions)
    fresh.flush()
    again.close()
    last = Journal.open(tmp_path / "recorder-coinbase", "coinbase", SETTINGS, clock)
    assert last.recovered.sessions == []
    reader = JournalReader(tmp_path / "recorder-coinbase")
    rows = [row for item in reader.read(reader.first(), 1 << 30) if isinstance(item, StoredBlock)
            for row in item.header.sessions]  # fmt: skip
    assert rows[-1].ended_ns == now_ns + 5 * 10**9
    assert rows[-1].end_reason == "the recorder was killed"


def test_a_session_that_outlives_its_segment_is_still_known_after_a_kill(tmp_path: Path) -> None:
    clock = ManualClock()
    journal = Journal.open(tmp_path / "recorder-coinbase", "coinbase", SETTINGS, clock)
    buffer = WriteBuffer(journal, Continuity(Coinbase.contiguous, lambda: 1), "coinbase", 1 << 20, clock)
    session = SessionRow(78, "coinbase", "recorder-coinbase", 0, "ws://x", clock.wall_ns())
    ingest = Ingest(session, Coinbase().decoder(), buffer)
    ingest.watch([Stream("trade", "A-B")], clock.wall_ns())
    ingest.report()
    for trade_id in range(1, 5):
        clock.advance(3600)  # every block begins a segment
        ingest.take([match(trade_id)], clock.wall_ns())
        buffer.flush()
    crash(journal)
    again = Journal.open(tmp_path / "recorder-coinbase", "coinbase", SETTINGS, clock)
    (dead,) = again.recovered.sessions
    assert (dead.session_id, dead.frames, dead.trades) == (78, 4, 4)
