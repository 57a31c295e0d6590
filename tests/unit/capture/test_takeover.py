"""A venue changes its number of processes: each stream's history moves with it, and the time between is one gap."""

import itertools
import os
from pathlib import Path

import pytest
from structlog.testing import capture_logs
from support.write_buffers import NOW, Read, Row, S, integer, nanoseconds, trade

from recorder.capture.buffer import WriteBuffer
from recorder.capture.continuity import Continuity
from recorder.capture.ingest import Ingest
from recorder.capture.takeover import close_abandoned, initial_checkpoints
from recorder.clock import ManualClock
from recorder.events import SessionRow, Stream
from recorder.journal.reader import segments
from recorder.journal.writer import Journal, recover
from recorder.settings import JournalSettings
from recorder.shards import Shard, shard_of
from recorder.venues.coinbase.stream import Coinbase

STAYS, MOVES = "BTC-USD", "ETH-USD"  # with two processes they are in shards 0 and 1
ids = itertools.count(1)


class Process:
    """A recorder process without sockets: journal, continuity and buffer, wired as `Recorder` wires them."""

    def __init__(self, home: Path, clock: ManualClock, number: int, processes: int) -> None:
        shard = Shard(number, processes)
        settings = JournalSettings(dir=home, reserve_mb=0)
        now_ns = clock.wall_ns()
        self.clock = clock
        self.journal = Journal.open(home / shard.recorder("coinbase"), "coinbase", settings, clock)
        close_abandoned(settings, "coinbase", shard, "coinbase", clock)
        self.continuity = Continuity(Coinbase.contiguous, lambda: next(ids))
        checkpoints = initial_checkpoints(self.journal, "coinbase", shard, now_ns)
        self.continuity.restore(checkpoints, self.journal.recovered.last_frame_ns, now_ns)
        self.buffer = WriteBuffer(self.journal, self.continuity, "coinbase", 1 << 20, clock)
        self.buffer.close_sessions(self.journal.recovered.sessions)
        self.buffer.flush()
        self.ingest: Ingest
        self.streams = [Stream("trade", symbol) for symbol in (STAYS, MOVES) if shard.carries(symbol)]

    def connect(self) -> "Process":
        """Open a session with every stream of the shard."""
        number, now_ns = next(ids), self.clock.wall_ns()
        session = SessionRow(number, "coinbase", self.journal.name, 0, "ws://x", now_ns)
        self.ingest = Ingest(session, Coinbase().decoder(), self.buffer)
        self.ingest.watch(self.streams, now_ns)
        self.ingest.report()
        return self

    def trade(self, symbol: str, *numbers: int) -> "Process":
        """Receive trades, one a second."""
        for number in numbers:
            self.clock.advance(1)
            self.ingest.take([trade(number, symbol)], self.clock.wall_ns())
        self.buffer.flush()
        return self

    def kill(self) -> None:
        """End without a report."""
        self.buffer.flush()
        self.journal._close_segment()
        os.close(self.journal._lock)


@pytest.fixture
def clock() -> ManualClock:
    assert [shard_of(symbol, 2) for symbol in (STAYS, MOVES)] == [0, 1]
    return ManualClock(NOW)


def gaps(home: Path, symbol: str) -> list[Row]:
    """Gaps of the trades of a symbol as the database will have them: the highest revision of each, of all journals."""
    latest: dict[bytes | None, Row] = {}
    for folder in sorted(home.iterdir()):
        for row in Read(folder).gaps("trade", symbol):
            known = latest.get(row["gap_id"])
            if known is None or (known["revision"] or b"") < (row["revision"] or b""):
                latest[row["gap_id"]] = row
    return sorted(latest.values(), key=lambda row: row["started_at"] or b"")


def span(gap: Row) -> tuple[int | None, int | None, int | None, int | None]:
    """Last id before, first id after, seconds of begin and end since NOW."""
    seconds = [None if ns is None else (ns - NOW) // S for ns in map(nanoseconds, (gap["started_at"], gap["ended_at"]))]
    return integer(gap["last_id"]), integer(gap["first_id"]), seconds[0], seconds[1]


def first_run(home: Path, clock: ManualClock) -> None:
    """One process records both symbols for six seconds, then is killed; ten seconds pass."""
    Process(home, clock, 0, 1).connect().trade(STAYS, 1, 2, 3).trade(MOVES, 11, 12, 13).kill()
    clock.advance(10)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_the_gap_of_a_stream_that_moved_ends_where_its_new_process_begins(
    tmp_path: Path, clock: ManualClock, order: tuple[int, int]
) -> None:
    first_run(tmp_path, clock)
    made = {number: Process(tmp_path, clock, number, 2) for number in order}
    made[0].connect().trade(STAYS, 6)
    made[1].connect().trade(MOVES, 16)
    (moved,), (stayed,) = gaps(tmp_path, MOVES), gaps(tmp_path, STAYS)
    assert span(moved) == (13, 16, 6, 18)
    assert span(stayed) == (3, 6, 6, 17)
    assert (moved["cause"], stayed["cause"]) == (b"restart", b"restart")
    assert [made[n].continuity.open_gaps() for n in (0, 1)] == [0, 0]


def test_a_stream_that_missed_nothing_on_its_way_is_healed_by_its_ids(tmp_path: Path, clock: ManualClock) -> None:
    first_run(tmp_path, clock)
    Process(tmp_path, clock, 0, 2)
    Process(tmp_path, clock, 1, 2).connect().trade(MOVES, 14)
    assert [gap["state"] for gap in gaps(tmp_path, MOVES)] == [b"healed"]


def test_a_stream_that_moves_there_and_back_has_one_gap_a_move_and_none_reopens(
    tmp_path: Path, clock: ManualClock
) -> None:
    first_run(tmp_path, clock)
    for _ in range(2):  # the second pair hands nothing over: both were killed and come back
        pair = [Process(tmp_path, clock, number, 2).connect() for number in (0, 1)]
        number = 16 + clock.wall_ns() // S % 1000
        pair[0].trade(STAYS, number)
        pair[1].trade(MOVES, number + 1)
        for process in pair:
            process.kill()
        clock.advance(5)
    assert len(gaps(tmp_path, MOVES)) == 2
    Process(tmp_path, clock, 0, 1).connect().trade(MOVES, 2000).trade(STAYS, 2000)
    assert len(gaps(tmp_path, MOVES)) == 3
    assert all(gap["ended_at"] is not None for symbol in (STAYS, MOVES) for gap in gaps(tmp_path, symbol))


def test_a_process_that_never_comes_leaves_the_gap_open_and_the_next_owner_ends_it(
    tmp_path: Path, clock: ManualClock
) -> None:
    first_run(tmp_path, clock)
    alone = Process(tmp_path, clock, 0, 2).connect().trade(STAYS, 4)  # process 1 is not started
    assert [span(gap) for gap in gaps(tmp_path, MOVES)] == [(13, None, 6, None)]
    assert alone.continuity.open_gaps() == 0  # the stream belongs to another process now
    alone.kill()
    Process(tmp_path, clock, 0, 1).connect().trade(MOVES, 20)
    assert [span(gap)[:3] for gap in gaps(tmp_path, MOVES)] == [(13, 20, 6)]


def test_journals_without_a_process_end_their_sessions_once(tmp_path: Path, clock: ManualClock) -> None:
    first_run(tmp_path, clock)
    alone = tmp_path / "recorder-coinbase"
    assert len(recover(alone)[0].sessions) == 1
    Process(tmp_path, clock, 0, 2).kill()
    left = recover(alone)[0]
    assert left.sessions == []
    assert not any(checkpoint.watched for checkpoint in left.checkpoints)
    written = segments(alone)
    Process(tmp_path, clock, 0, 2)
    assert segments(alone) == written


def test_a_journal_another_process_still_holds_is_left_alone(tmp_path: Path, clock: ManualClock) -> None:
    older = Process(tmp_path, clock, 0, 1).connect().trade(STAYS, 1)
    with capture_logs() as logs:
        Process(tmp_path, clock, 0, 2)
    assert [(entry["event"], entry["journal"]) for entry in logs] == [("journal.not_closed", "recorder-coinbase")]
    older.trade(STAYS, 2)
    assert gaps(tmp_path, MOVES) == []


def test_an_ended_subscription_stays_ended_wherever_it_moves(tmp_path: Path, clock: ManualClock) -> None:
    process = Process(tmp_path, clock, 0, 1).connect().trade(MOVES, 1)
    process.continuity.unwatch(Stream("trade", MOVES), clock.wall_ns())
    process.kill()
    clock.advance(10)
    Process(tmp_path, clock, 0, 2)
    second = Process(tmp_path, clock, 1, 2)
    assert second.continuity.open_gaps() == 0
    assert [(gap["cause"], gap["ended_at"]) for gap in gaps(tmp_path, MOVES)] == [(b"unsubscribed", None)]
    second.connect().trade(MOVES, 9)
    assert [span(gap)[:3] for gap in gaps(tmp_path, MOVES)] == [(1, 9, 1)]
