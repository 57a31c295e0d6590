"""The program deriver as a process: it waits for Postgres, reports, and stops at SIGTERM."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import psycopg2
from support.database_server import DatabaseServer
from support.workers.bars import DeriverProcess, differences, rows, settled, wait_for

from recorder.process.health import DeriverFigures, read_all
from recorder.store.migrate import migrate

_TRADES = """
INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size)
SELECT 5, %s + n, now() - n * interval '1 second', now(), 100 + n, 1 FROM generate_series(1, 300) AS n"""


def trades(url: str, first: int) -> None:
    rows(url, _TRADES, (first,))


def test_it_waits_for_the_schema_and_for_postgres_and_goes_on_by_itself(
    database_server: DatabaseServer, tmp_path: Path
) -> None:
    url = database_server.url("tape")
    deriver = DeriverProcess(url, tmp_path / "deriver", forming_s="0.1")
    deriver.start()
    try:
        wait_for(lambda: state(deriver) == "waiting")
        migrate(url)
        rows(url, "SELECT ensure_partition('trade', %s)", (datetime.now(UTC).date(),))
        trades(url, 1_000)
        wait_for(lambda: settled(url) and state(deriver) == "live")
        assert differences(url) == []
        database_server.kill()
        wait_for(lambda: state(deriver) == "waiting")
        database_server.start()
        trades(url, 2_000)
        wait_for(lambda: settled(url) and state(deriver) == "live")
        assert differences(url) == []
        pid = deriver.pid
        assert deriver.stop() == 0
        assert read_all(deriver.home)["deriver"].pid == pid
    finally:
        deriver.kill()


def state(deriver: DeriverProcess) -> str:
    report = read_all(deriver.home).get("deriver")
    return "" if report is None or report.pid != deriver.pid else report.state


@contextlib.contextmanager
def locked(url: str) -> Iterator[None]:
    """Keep a lock on the table of the bars."""
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute("LOCK TABLE bar IN ACCESS EXCLUSIVE MODE")
            yield
    finally:
        connection.close()


def test_a_lock_on_the_bars_shows_as_lag_and_costs_none(database: str, tmp_path: Path) -> None:
    deriver = DeriverProcess(database, tmp_path, forming_s="0.1", max_lag_s="1")
    deriver.start()

    def lag_s() -> float:
        report = read_all(deriver.home).get("deriver")
        return report.figures.lag_s if report is not None and isinstance(report.figures, DeriverFigures) else 0.0

    try:
        wait_for(lambda: state(deriver) == "live")
        with locked(database):
            trades(database, 1_000)
            wait_for(lambda: state(deriver) == "degraded" and lag_s() > 1)
        wait_for(lambda: settled(database) and state(deriver) == "live" and lag_s() < 1)
        assert differences(database) == []
    finally:
        deriver.kill()
