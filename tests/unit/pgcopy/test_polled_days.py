"""Rows of tables that are partitioned by day name their day, so that its partition is there before they are."""

import threading

import pytest

from recorder.pgcopy.polled import DAY_OF, POLLED, day_of
from recorder.poller.ledger import OpenRound
from recorder.poller.round import Collected
from recorder.store.loader import PARTITIONED
from recorder.store.staging.tables import ENTERS

DAY_NS = 86_400 * 10**9


def test_the_partitioned_tables_of_the_poller_are_those_of_the_loader() -> None:
    assert {ENTERS.get(table, table) for table in DAY_OF} == {*(set(PARTITIONED) & set(POLLED)), *ENTERS.values()}


@pytest.mark.parametrize("ts_recv", [0, DAY_NS - 1, DAY_NS, 20_000 * DAY_NS + 5])
def test_the_day_of_a_row_is_that_of_its_receipt(ts_recv: int) -> None:
    assert day_of("market_book", (1, ts_recv, ts_recv - 3 * DAY_NS, None, [], [])) == ts_recv // DAY_NS
    assert day_of("poll_run", tuple(None for _ in POLLED["poll_run"])) is None


def test_a_round_collects_the_days_of_its_rows() -> None:
    round = Collected(OpenRound(1, "test", 0, 1, "", 0), threading.Event())
    round.store("market_book", [(1, day * DAY_NS, 0, None, [], []) for day in (5, 7, 5)])
    assert round.rows["market_book"].days == {5, 7}
    round.store("market_book", [(1, None, 0, None, [], [])])
    assert round.rows["market_book"].days == {5, 7}
