"""`verify` against the truth of simulated services: clean as it was stored; a loss or another value is found."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg2
import pytest
from support.poller.appliance import PollingAppliance
from support.poller.played_home import AGENT, START_NS, PlayedHome

from recorder.appliance.processes import wait_until
from recorder.clock import ManualClock
from recorder.simulator.services.running import running_services
from recorder.store.database import with_database
from recorder.store.migrate import drop_database, migrate
from recorder.verify.served.check import check_served
from recorder.verify.served.logs import choose
from recorder.verify.served.result import ServedCheck

BOUNDS = (1000.0, 100.0)
NOTHING = "SELECT 1"


class Stored:
    """A database with what pollers stored, and the log of what they were answered."""

    def __init__(self, database: str, truth: Path) -> None:
        self.connection = psycopg2.connect(database)
        self._truth = truth

    def changed(self, statement: str, rows: int = 1) -> dict[str, ServedCheck]:
        """Return what is found where a statement changed some rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(statement)
            assert cursor.rowcount == rows
        try:
            found = check_served(
                self.connection, choose([self._truth]).services, until_ns=None, agent=AGENT, large=BOUNDS
            )
        finally:
            self.connection.rollback()
        return {one.what: one for one in found}


@pytest.fixture(scope="module")
def module_database(postgres: str) -> Iterator[str]:
    """Address of a migrated database of this module."""
    url = with_database(postgres, f"tapedeck_served_{secrets.token_hex(6)}")
    migrate(url)
    yield url
    drop_database(url)


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, module_database: str) -> Iterator[Stored]:
    folder, clock = tmp_path_factory.mktemp("served"), ManualClock(START_NS)
    with running_services(("gamma", "clob", "data"), folder=folder, markets=60, clock=clock) as services:
        home = PlayedHome(folder, services, clock)
        home.first_list()
        home.pass_time(6)
        services.do("clob", "rest", status=503, times=3, path="/books")
        services.do("clob", "odd", times=1, path="/books")
        home.pass_time(2)
        home.kill()
        clock.advance(20)
        home.start()
        home.pass_time(6)
        home.end()
    lines = ["[journal]", f'dir = "{folder}"', "[venues.polymarket]", 'symbols = ["1"]']
    with PollingAppliance(folder, module_database, lines, ("writer",)) as one:
        assert wait_until(one.loaded, 120.0), one.logs()
    result = Stored(module_database, services.truth_path("polymarket"))
    yield result
    result.connection.close()


def test_what_was_stored_is_what_was_served(stored: Stored) -> None:
    found = stored.changed(NOTHING)
    assert all(one.ok for one in found.values()), [one.problem() for one in found.values() if not one.ok]
    assert found["snapshots"].stored > 500
    assert found["snapshots"].served >= found["snapshots"].stored
    assert found["snapshots"].declared > 0
    assert found["large trades"].stored > 5
    assert found["labels"].stored > 5
    assert found["labels"].served > 5


ONE_SNAPSHOT = """(market_id, ts_recv) IN (
    SELECT market_id, ts_recv FROM market_snapshot WHERE source = 'rest' AND bid IS NOT NULL ORDER BY ts_recv, market_id
     OFFSET 200 LIMIT 1)"""
ONE_WHALE = "transaction_hash = (SELECT min(transaction_hash) FROM whale_event)"
ONE_LABEL = "market_id = (SELECT min(market_id) FROM resolution WHERE payout_0 IN (0, 1000000))"


@pytest.mark.parametrize(
    ("what", "statement", "fault"),
    [
        ("snapshots", f"UPDATE market_snapshot SET bid_size = bid_size + 0.01 WHERE {ONE_SNAPSHOT}", "wrong"),
        ("snapshots", f"UPDATE market_snapshot SET ask_levels = ask_levels + 1 WHERE {ONE_SNAPSHOT}", "wrong"),
        ("snapshots", f"UPDATE market_snapshot SET ts_event = ts_event + interval '1 s' WHERE {ONE_SNAPSHOT}", "wrong"),
        ("snapshots", f"DELETE FROM market_snapshot WHERE {ONE_SNAPSHOT}", "missing"),
        ("large trades", f"UPDATE whale_event SET cash = cash + 0.01 WHERE {ONE_WHALE}", "wrong"),
        ("large trades", f"DELETE FROM whale_event WHERE {ONE_WHALE}", "missing"),
        (
            "labels",
            f"UPDATE resolution SET payout_0 = payout_1, payout_1 = payout_0 WHERE {ONE_LABEL}",
            "wrong",
        ),
    ],
)
def test_one_row_that_is_lost_or_changed_is_found(what: str, statement: str, fault: str, stored: Stored) -> None:
    found = stored.changed(statement)
    assert getattr(found[what], fault) == 1, found[what]
    assert not found[what].ok
    assert found[what].examples
    assert all(one.ok for name, one in found.items() if name != what)


def test_every_lost_label_that_two_sources_named_is_found(stored: Stored) -> None:
    labels = stored.changed(NOTHING)["labels"]
    lost = stored.changed("DELETE FROM resolution", rows=labels.stored)["labels"]
    assert lost.missing == labels.served > 5
