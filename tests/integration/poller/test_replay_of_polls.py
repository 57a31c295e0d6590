"""A replay of the poller's journal gives the rows that were stored, also of jobs that remember earlier answers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.poller.journals import rows
from support.poller.played_home import START_NS, PlayedHome

from recorder.clock import ManualClock
from recorder.journal.reader import segment_path, segments
from recorder.replay.polls import WARM_NS, PollTable
from recorder.simulator.services.running import running_services


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlayedHome]:
    clock = ManualClock(START_NS)
    with running_services(("gamma", "clob", "data"), markets=60, clock=clock) as services:
        home = PlayedHome(tmp_path_factory.mktemp("replayed"), services, clock)
        home.first_list()
        home.pass_time(8)
        home.end()
        clock.advance(20)
        home.start()
        home.pass_time(6)
        home.kill()
        clock.advance(20)
        home.start()
        home.pass_time(6)
        home.end()
        yield home


def test_the_rows_of_all_jobs_are_the_same_again_also_after_a_restart_and_a_kill(
    played: PlayedHome, tmp_path: Path
) -> None:
    report = played.replayed(tmp_path)
    assert report.left_out == {}
    assert report.without_answers == 0
    differing = {table: count for table, count in report.tables.items() if count.added or count.removed}
    assert differing == {}, report.reasons
    for table in ("market", "market_history", "resolution", "whale_event", "market_snapshot", "market_book"):
        assert report.tables[table] == PollTable(same=len(rows(played.folder, table))), table
        assert report.tables[table].same > 10, table


def test_where_the_begin_of_the_journal_is_deleted_jobs_are_named_that_depend_on_it(
    played: PlayedHome, tmp_path: Path
) -> None:
    folder = played.folder / "poller"
    first = segments(folder)[0]
    segment_path(folder, first).rename(tmp_path / "first")
    try:
        report = played.replayed(tmp_path)
    finally:
        (tmp_path / "first").rename(segment_path(folder, first))
    assert set(report.left_out) >= {"polymarket-markets", "polymarket-resolutions", "polymarket-whales"}
    assert "not in the journal any more" in report.left_out["polymarket-markets"].reason
    assert "two hours" in report.left_out["polymarket-whales"].reason
    assert not report.differs
    assert played.clock.wall_ns() - START_NS < WARM_NS
