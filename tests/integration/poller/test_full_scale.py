"""Ten thousand markets at their real intervals, with the stream live, all programs as processes.

One command measures, on a machine with nothing else to do:

    .ci/test -n 0 -s -m long tests/integration/poller/test_full_scale.py

FULL_SCALE_S sets the length in seconds, FULL_SCALE_MARKETS the number of markets. The figures are printed.
"""

import os
import signal
import statistics
import threading
import time
from pathlib import Path
from typing import NamedTuple

import psycopg2
import pytest
from support.machine.ports import free_port_base
from support.poller.appliance import PollingAppliance, full_scale_settings

from recorder.appliance.processes import wait_until
from recorder.verify.check import Report, verify

LENGTH_S = float(os.environ.get("FULL_SCALE_S", "600"))
MARKETS = int(os.environ.get("FULL_SCALE_MARKETS", "10000"))
_TICKS = os.sysconf("SC_CLK_TCK")
_DAY_S = 86_400
_EXPECTED = """
WITH promised AS (
    SELECT job, since, period_s, offset_s FROM poll_schedule WHERE period_s BETWEEN 1 AND 86399
), accounted AS (
    SELECT job, sum(slots) AS slots, max(slot + (slots - 1) * interval '1 s' * p.period_s) AS last
      FROM poll_run JOIN promised p USING (job) WHERE slots > 0 GROUP BY job
)
SELECT job, slots,
       floor((extract(epoch FROM last) - offset_s) / period_s)
       - floor((extract(epoch FROM since) - offset_s) / period_s)
  FROM promised JOIN accounted USING (job)"""
_TIERS = """
SELECT tier, count(DISTINCT market_id), count(*), count(*) FILTER (WHERE source = 'stream'),
       count(*) FILTER (WHERE book_check = 'differs'), count(*) FILTER (WHERE book_check = 'unchecked')
  FROM market_snapshot GROUP BY tier ORDER BY tier"""


class Usage(NamedTuple):
    """What a process has used."""

    cpu_s: float
    rss_mb: float


def usage(pid: int) -> Usage:
    """Return the CPU time and the memory of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20)


def folder_bytes(folder: Path) -> int:
    """Return the size of the files in a folder."""
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def checked(database: str, truth: Path) -> Report:
    """Return what `tapedeck verify --truth` finds with the logs of the services; other tests compare the stream."""
    connection = psycopg2.connect(database)
    try:
        return verify(connection, sorted(truth.glob("answers-*.jsonl")), agent="tapedeck")
    finally:
        connection.close()


@pytest.mark.long
@pytest.mark.timeout(int(LENGTH_S) + 1200)
def test_ten_minutes_of_ten_thousand_markets_keep_every_slot_and_every_value(tmp_path: Path, database: str) -> None:
    lines = full_scale_settings(free_port_base(), MARKETS)
    with PollingAppliance(tmp_path, database, lines, ("simulator", "writer", "poller", "recorder polymarket")) as one:
        assert wait_until(one.listed, 300.0), one.logs()
        assert wait_until(one.streaming, 180.0), one.logs()
        pid, journal = one.processes["poller"].pid, next((tmp_path / "journal").glob("*/poller"))
        began = one.query("SELECT now()")[0][0]
        before, began_s, load, size = usage(pid), time.monotonic(), os.getloadavg()[0], folder_bytes(journal)
        most_mb, pause = before.rss_mb, threading.Event()
        while time.monotonic() - began_s < LENGTH_S:
            pause.wait(1.0)
            most_mb = max(most_mb, usage(pid).rss_mb)
        length_s = time.monotonic() - began_s
        cpu = (usage(pid).cpu_s - before.cpu_s) / length_s
        gb_a_day = (folder_bytes(journal) - size) / length_s * _DAY_S / 1e9
        for name in ("poller", "recorder polymarket"):
            one.processes[name].send_signal(signal.SIGTERM)
            assert one.processes[name].wait(30) == 0, one.logs()
        assert wait_until(one.loaded, 180.0), one.logs()
        one.processes["simulator"].send_signal(signal.SIGTERM)
        assert one.processes["simulator"].wait(60) == 0, one.logs()

        states = one.query("SELECT job, state, reason, sum(slots) FROM poll_run WHERE slots > 0 GROUP BY 1, 2, 3")
        late_s = [
            row[0]
            for row in one.query(
                "SELECT extract(epoch FROM started_at - slot)::float FROM poll_run"
                f" WHERE job = 'polymarket-books-t4' AND slots = 1 AND started_at IS NOT NULL AND slot > '{began}'"
            )
        ]
        requests = one.query(f"SELECT sum(attempts)::float FROM poll_run WHERE slot > '{began}'")[0][0] * 60 / length_s
        jitter_s = statistics.quantiles(late_s, n=100)[98]
        slots = one.query(_EXPECTED)
        report = checked(database, tmp_path / "simulator")
        tiers = one.query(_TIERS)
        unpolled = [
            row for row in states if row[1] not in ("done", "late") and row[2] not in ("nothing due", "nothing new")
        ]
        print(
            f"\n{length_s:.0f} s, {MARKETS:,} markets, load before {load:.2f}: slots accounted"
            f" {sum(row[1] for row in slots):,} of {sum(row[2] for row in slots):,.0f}, not polled {unpolled};"
            f" T4 late p99 {jitter_s:.3f} s, most {max(late_s):.3f} s; {requests:.0f} requests/min;"
            f" CPU {cpu:.1%} of a core; RSS {most_mb:.0f} MB; journal {gb_a_day:.2f} GB a day"
        )
        for tier in tiers:
            name, markets, snapshots, own, differ, unchecked = tier
            print(f"{name}: {markets:,} markets, {snapshots:,} snapshots, {own:,} own, {differ} differ,"
                  f" {unchecked} unchecked")  # fmt: skip
        for served in report.served:
            print(f"{served.what}: {served.served:,} served, {served.declared:,} declared, {served.missing:,} missing,"
                  f" {served.stored:,} compared, {served.wrong:,} wrong, {served.unknown:,} unknown")  # fmt: skip
        for job, accounted, expected in slots:
            assert accounted == expected, job
        assert report.ok, report.problems
        by_what = {one.what: one for one in report.served}
        assert by_what["snapshots"].stored > 100
        assert any(row[3] for row in tiers), "no snapshot is of our own book"
        assert unpolled == [], one.logs()
        assert jitter_s < 1.0
        assert requests <= 70
        assert cpu < 0.20
        assert most_mb < 250
