"""The markets in memory survive a restart; what cannot be read counts as none."""

import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import msgspec
import pytest
from support.poller.polymarket_rounds import Gamma, GivenRound, intake
from support.venues.polymarket import HOUR_NS, NOW_NS, gamma_row, market

from recorder.clock import ManualClock
from recorder.poller.job import Mark
from recorder.poller.polymarket.memory import Memory, Tiers, WithMemory, load
from recorder.poller.polymarket.sweep import NewMarkets, Sweep


def file(folder: Path) -> Path:
    """Return the path of the file, whose folder does not exist yet."""
    return folder / "poller" / "polymarket.msgpack"


def test_a_restart_knows_markets_cases_and_the_newest_id(tmp_path: Path) -> None:
    clock, first = ManualClock(NOW_NS), intake()
    NewMarkets(first, clock).run(GivenRound(clock, Gamma(gamma_row())))
    first.board.books((), [1557558], NOW_NS)
    first.cases.open(market(), NOW_NS)
    Memory(first, file(tmp_path), clock).save()

    second = intake()
    Memory(second, file(tmp_path), clock).restore_once()
    assert second.board.snapshot() == first.board.snapshot()
    assert second.cases.snapshot() == first.cases.snapshot()
    assert second.newest == {1557558: None}
    assert len(second.board.polled("T3")) == 1
    assert second.complete


def test_an_unchanged_market_makes_no_row_after_a_restart(tmp_path: Path) -> None:
    clock, first = ManualClock(NOW_NS), intake()
    Sweep(first, clock).run(GivenRound(clock, Gamma(gamma_row())))
    Memory(first, file(tmp_path), clock).save()
    clock.advance(600)
    second = intake()
    handler = WithMemory(Sweep(second, clock), Memory(second, file(tmp_path), clock))
    round_ = GivenRound(clock, Gamma(gamma_row()))
    handler.run(round_)
    assert round_.rows == {}
    changed = GivenRound(clock, Gamma(gamma_row(orderPriceMinTickSize=0.001)))
    handler.run(changed)
    assert [row[1] for row in changed.rows["market_history"]] == ["tick_size"]


@pytest.mark.parametrize("data", [b"", b"\x00", b"\xc1" * 40, msgspec.msgpack.encode({"newest": "x"}), b"\x91" * 9000])
def test_a_damaged_file_counts_as_none(tmp_path: Path, data: bytes) -> None:
    path = file(tmp_path)
    path.parent.mkdir()
    path.write_bytes(data)
    memory = intake()
    Memory(memory, path, ManualClock(NOW_NS)).restore_once()
    assert len(memory.board) == 0
    assert not memory.complete


def test_tiers_follow_the_clock_and_the_memory_is_written_every_five_minutes(tmp_path: Path) -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    markets.board.put(market())
    markets.complete = True
    path = file(tmp_path)
    job = Tiers(markets, Memory(markets, path, clock), clock)
    details, written = [], []
    for _ in range(130):
        clock.advance(60)
        details.append(job.run(GivenRound(clock, Gamma())).detail)
        written.append(path.stat().st_ino)
    assert details[0] == "T0 0 T1 0 T2 0 T3 1 T4 0"
    assert details[61] == "T0 0 T1 0 T2 0 T3 0 T4 1"
    assert sum(one != other for one, other in pairwise(written)) == 25
    remembered = load(path)
    assert remembered is not None
    assert len(remembered.markets) == 1


class Rounds:
    """A journal in which a round may have answers whose rows are not written yet."""

    def __init__(self) -> None:
        self.open = False
        self.looks = 0

    def cut(self, note: Callable[[], None]) -> Mark | None:
        self.looks += 1
        if self.open:
            return None
        note()
        return Mark("journal", 3, 1000)


def test_the_memory_is_not_written_while_rows_of_an_answer_are_missing(tmp_path: Path) -> None:
    clock, markets, rounds = ManualClock(NOW_NS), intake(), Rounds()
    memory = Memory(markets, file(tmp_path), clock)
    assert memory.restore(rounds.cut) is None
    clock.advance(60)
    assert not memory.keep(clock.wall_ns())  # not all markets are known yet
    markets.complete = True
    rounds.open = True
    assert not memory.keep(clock.wall_ns())
    rounds.open = False
    assert memory.keep(clock.wall_ns())
    assert not memory.keep(clock.wall_ns())
    clock.set(-3600)
    assert memory.keep(clock.wall_ns())
    assert Memory(intake(), file(tmp_path), clock).restore(rounds.cut) == Mark("journal", 3, 1000)


def test_rounds_that_follow_each_other_without_a_pause_do_not_keep_the_memory_from_being_written(
    tmp_path: Path,
) -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    memory = Memory(markets, file(tmp_path), clock)
    handler = WithMemory(NewMarkets(markets, clock), memory)
    tiers = Tiers(markets, memory, clock)
    markets.complete = True
    written = set()
    for second in range(0, 1800, 4):
        handler.run(GivenRound(clock, Gamma(gamma_row())))
        if second % 60 == 0:
            tiers.run(GivenRound(clock, Gamma()))
        if file(tmp_path).exists():
            written.add(file(tmp_path).stat().st_mtime_ns)
        clock.advance(4)
    assert len(written) >= 5


def test_a_round_waits_for_an_overdue_file_until_the_others_have_ended(tmp_path: Path) -> None:
    clock, markets, rounds = ManualClock(NOW_NS), intake(), Rounds()
    memory = Memory(markets, file(tmp_path), clock)
    memory.restore(rounds.cut)
    markets.complete = rounds.open = True
    stop = threading.Event()
    memory.ready(stop)
    assert rounds.looks == 1, "it is due and not overdue: nothing waits"
    clock.advance(301)

    class Ending(threading.Event):
        """Lets the other round end after some looks."""

        def wait(self, timeout: float | None = None) -> bool:
            clock.advance(timeout or 0)
            rounds.open = rounds.looks < 10
            return False

    memory.ready(Ending())
    assert rounds.looks == 11
    assert file(tmp_path).exists()
    clock.advance(300)
    rounds.open = True
    memory.ready(stop)
    clock.advance(301)
    rounds.looks = -1000
    began_s = clock.monotonic_s()
    memory.ready(Ending())
    assert 60 <= clock.monotonic_s() - began_s < 61, "a round that hangs does not stop the others"


def test_a_file_that_cannot_be_written_does_not_stop_the_tiers(tmp_path: Path) -> None:
    clock, markets = ManualClock(NOW_NS - HOUR_NS), intake()
    (tmp_path / "poller").write_text("no folder")
    markets.complete = True
    memory = Memory(markets, file(tmp_path), clock)
    job = Tiers(markets, memory, clock)
    clock.advance(60)
    with pytest.raises(OSError, match="poller"):
        memory.keep(clock.wall_ns())
    assert [job.run(GivenRound(clock, Gamma())).state for _ in range(3)] == ["done"] * 3


def test_a_stop_keeps_what_happened_since_the_last_save(tmp_path: Path) -> None:
    clock, markets = ManualClock(NOW_NS), intake()
    memory = Memory(markets, file(tmp_path), clock)
    memory.stopped()
    assert not file(tmp_path).exists()  # memory does not have all markets
    Sweep(markets, clock).run(GivenRound(clock, Gamma(gamma_row())))
    memory.stopped()
    remembered = load(file(tmp_path))
    assert remembered is not None
    assert [market.market_id for market, _ in remembered.markets] == [1557558]
