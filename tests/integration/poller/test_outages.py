"""The poller with its real jobs while its database, a service, and then itself are away for minutes.

OUTAGES sets how long, as seconds of Postgres and of Gamma: `OUTAGES=60,300`.
"""

import os
import signal
import threading
from pathlib import Path

import psycopg2
import pytest
from support.database_server import DatabaseServer
from support.poller.appliance import PollingAppliance, service_settings

from recorder.appliance.processes import wait_until
from recorder.simulator.services.running import running_services
from recorder.store.migrate import migrate
from recorder.verify.check import verify

POSTGRES_S, GAMMA_S = (float(seconds) for seconds in os.environ.get("OUTAGES", "60,300").split(","))
_REASONS = """
SELECT DISTINCT state, regexp_replace(reason, '^https?://[^ /]+', '') FROM poll_run
 WHERE slots > 0 AND state NOT IN ('done', 'late') AND reason <> 'nothing due'"""


@pytest.mark.long
@pytest.mark.timeout(int(POSTGRES_S + GAMMA_S) + 600)
def test_minutes_without_postgres_and_without_gamma_and_a_kill_lose_no_answer(
    tmp_path: Path, database_server: DatabaseServer
) -> None:
    url, pause = database_server.url("tapedeck_outages"), threading.Event()
    migrate(url)
    home = tmp_path / "appliance"
    home.mkdir()
    with (
        running_services(["gamma", "clob", "data"], folder=tmp_path, markets=300) as services,
        PollingAppliance(home, url, service_settings(services)) as one,
    ):
        assert wait_until(one.listed, 120.0), one.logs()
        database_server.stop()
        before = one.figures().rounds
        pause.wait(POSTGRES_S)
        assert one.figures().rounds > before + POSTGRES_S / 30, "polls went on"
        database_server.start()
        assert wait_until(one.loaded, 120.0), one.logs()
        unpolled = one.query("SELECT DISTINCT job, state, reason FROM poll_run WHERE state IN ('failed', 'missed')")
        assert {(job, state) for job, state, _ in unpolled} <= {("polymarket-streams", "failed")}, unpolled

        services.do("gamma", "away")
        pause.wait(GAMMA_S)
        services.do("gamma", "heal")
        failed = {job for (job,) in one.query("SELECT DISTINCT job FROM poll_run WHERE state IN ('failed', 'skipped')")}
        books = {job for job in failed if job.startswith("polymarket-books")}
        assert not books, "the services that were there were polled"
        asked = services.service("gamma").faults

        one.processes["poller"].kill()
        one.processes["poller"].wait()
        one.start("poller")
        again = one.query("SELECT count(*) FROM poll_run WHERE state IN ('done', 'late')")[0][0]
        assert asked.rules == []
        assert wait_until(
            lambda: one.query("SELECT count(*) FROM poll_run WHERE state IN ('done', 'late')")[0][0] > again + 10, 180.0
        ), one.logs()
        one.processes["poller"].send_signal(signal.SIGTERM)
        assert one.processes["poller"].wait(20) == 0, one.logs()
        assert wait_until(one.loaded, 120.0), one.logs()

        reasons = {(str(state), str(reason)) for state, reason in one.query(_REASONS)}
        print(sorted(reasons))
        assert all(named(state, reason) for state, reason in reasons), reasons
        connection = psycopg2.connect(url)
        report = verify(connection)
        connection.close()
        assert report.ok, (report.problems, one.logs())
        assert [table.table for table in report.ledger if table.quarantined] == []
        twice = [table.table for table in report.ledger if table.duplicate]
        assert "market_snapshot" not in twice, "an answer was decoded twice"
        assert "market_book" not in twice


def named(state: str, reason: str) -> bool:
    """Return whether the reason says what happened: the service was away, or the poller was."""
    if state == "skipped":
        return reason == "breaker"
    if state == "missed":
        return reason in ("stopped", "busy")
    return "connection" in reason.lower() or reason.startswith("stopped") or "circuit" in reason
