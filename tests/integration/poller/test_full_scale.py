"""Ten thousand markets at their real intervals: the poller and the writer as processes, against the simulated services.

FULL_SCALE_S sets the length in seconds, FULL_SCALE_MARKETS the number of markets. The figures are printed.
"""

import json
import os
import signal
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2
import pytest
from support.poller.appliance import PollingAppliance

from recorder.appliance.processes import wait_until
from recorder.identity import instrument_id
from recorder.simulator.services.running import RunningServices, running_services
from recorder.truth import ServedBook, read_truth
from recorder.verify.check import verify

LENGTH_S = float(os.environ.get("FULL_SCALE_S", "600"))
MARKETS = int(os.environ.get("FULL_SCALE_MARKETS", "10000"))
_TICKS = os.sysconf("SC_CLK_TCK")
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


class Usage(NamedTuple):
    """What a process has used."""

    cpu_s: float
    rss_mb: float


def usage(pid: int) -> Usage:
    """Return the CPU time and the memory of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 2**20)


@pytest.fixture
def services(tmp_path: Path) -> Iterator[RunningServices]:
    with running_services(["gamma", "clob", "data"], folder=tmp_path, markets=MARKETS, trades_per_s=4.0) as running:
        yield running


@pytest.mark.long
@pytest.mark.timeout(int(LENGTH_S) + 900)
def test_ten_minutes_of_ten_thousand_markets_keep_every_slot_and_every_value(
    services: RunningServices, tmp_path: Path, database: str
) -> None:
    with PollingAppliance(tmp_path, database, services) as one:
        assert wait_until(one.listed, 300.0), one.logs()
        pid = one.processes["poller"].pid
        began = one.query("SELECT now()")[0][0]
        before, began_s, load = usage(pid), time.monotonic(), os.getloadavg()[0]
        most_mb, pause = before.rss_mb, threading.Event()
        while time.monotonic() - began_s < LENGTH_S:
            pause.wait(1.0)
            most_mb = max(most_mb, usage(pid).rss_mb)
        cpu = (usage(pid).cpu_s - before.cpu_s) / (time.monotonic() - began_s)
        one.processes["poller"].send_signal(signal.SIGTERM)
        assert one.processes["poller"].wait(20) == 0, one.logs()
        assert wait_until(one.loaded, 120.0), one.logs()

        states = one.query("SELECT job, state, reason, sum(slots) FROM poll_run WHERE slots > 0 GROUP BY 1, 2, 3")
        late_s = [
            row[0]
            for row in one.query(
                "SELECT extract(epoch FROM started_at - slot)::float FROM poll_run"
                f" WHERE job = 'polymarket-books-t4' AND slots = 1 AND slot > '{began}'"
            )
        ]
        requests = one.query(f"SELECT sum(attempts)::float FROM poll_run WHERE slot > '{began}'")[0][0] * 60 / LENGTH_S
        jitter_s = statistics.quantiles(late_s, n=100)[98]
        rows = one.query(
            "SELECT instrument_id, (extract(epoch FROM ts_event) * 1000)::bigint, bid, bid_size, ask, ask_size, mid,"
            " hash FROM market_snapshot WHERE source = 'rest'"
        )
        print(
            f"{LENGTH_S:.0f} s, {MARKETS:,} markets, load before {load:.2f}: T4 late p99 {jitter_s:.3f} s, most"
            f" {max(late_s):.3f} s; {requests:.0f} requests/min; CPU {cpu:.1%} of a core; RSS {most_mb:.0f} MB;"
            f" {len(rows):,} snapshots; states {states}"
        )
        for job, slots, expected in one.query(_EXPECTED):
            assert slots == expected, job
        connection = psycopg2.connect(database)
        report = verify(connection)
        connection.close()
        assert report.ok, report.problems
        unpolled = [row for row in states if row[1] not in ("done", "late") and row[2] != "nothing due"]
        assert unpolled == [], one.logs()
        assert jitter_s < 1.0
        assert requests <= 70
        assert cpu < 0.20
        assert most_mb < 250
    services.site.truth.commit(time.time_ns())
    compare(rows, tmp_path / "answers-polymarket.jsonl")


def compare(rows: list[tuple[Any, ...]], truth: Path) -> None:
    """Compare the best prices and the hash of every snapshot with the book that was served."""
    served: dict[tuple[int, int], tuple[Any, ...]] = {}
    for line in read_truth(truth):
        if isinstance(line, ServedBook):
            body = json.loads(bytes(line.body))
            bid, ask = body["bids"][-1:] or [{}], body["asks"][-1:] or [{}]  # the best is the last
            # By instrument: a market changes its tokens when it goes to the second version.
            served[instrument_id("polymarket", line.token), line.ts] = (
                *(bid[0].get(key) for key in ("price", "size")), *(ask[0].get(key) for key in ("price", "size")),
                body["hash"],
            )  # fmt: skip
    assert len(rows) > 100
    for number, ms, bid, bid_size, ask, ask_size, mid, hashed in rows:
        sent = served[number, ms]
        assert (bid, bid_size, ask, ask_size) == tuple(None if text is None else float(text) for text in sent[:4])
        assert hashed == sent[4]
        assert mid == (None if bid is None or ask is None else pytest.approx((bid + ask) / 2))
