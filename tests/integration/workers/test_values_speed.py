"""What the values of one closed minute of 200 instruments cost. Long: it measures on this machine, and prints."""

import time
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from support.workers.bars import rows

from analysis.workers.bar_values import BarValues
from recorder.store.database import DERIVER, connect

INSTRUMENTS, BARS, MINUTES = 200, 2_000, 6

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]

_FILL = """
INSERT INTO bar SELECT i, 60, %s + n * interval '1 minute', c, c * 1.0004, c * 0.9996, c, v, c * v, c, 10, v / 2, v / 2,
                       1, false, true, 1, now(), 0
  FROM generate_series(1, %s) AS i, generate_series(%s::integer, %s) AS n,
       LATERAL (SELECT 100 + sin(n * 0.37 + i) + random() / 10 AS c, 1 + random() AS v) AS x"""


def test_cpu_of_the_values_of_a_minute(database: str) -> None:
    rows(database, "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) "
                   "SELECT n, 'test', 'S' || n, now() - interval '9 days' FROM generate_series(1, %s) AS n",
         (INSTRUMENTS,))  # fmt: skip
    begin = datetime.fromtimestamp(time.time() // 60 * 60, UTC) - timedelta(minutes=BARS + MINUTES)
    rows(database, _FILL, (begin, INSTRUMENTS, 1, BARS))
    rows(database, "DELETE FROM derived_dirty; ANALYZE bar")
    values = BarValues()
    connection = connect(database, application_name="deriver", role=DERIVER)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        ((pid,),) = cursor.fetchall()
    server, own = psutil.Process(pid), psutil.Process()

    def cpu_s() -> tuple[float, float]:
        return sum(own.cpu_times()[:2]), sum(server.cpu_times()[:2])

    rows(database, _FILL, (begin, INSTRUMENTS, BARS + 1, BARS + 1))
    rows(
        database,
        "INSERT INTO derived_list SELECT name, 'x', now(), 0 FROM unnest('{indicator,bar_feature}'::text[]) AS name",
    )
    values._versions = dict.fromkeys(values._versions, "x")  # the bars before are not to be measured
    for minute in range(2, MINUTES + 1):
        assert values.derive(connection, live=True) is False
        rows(database, _FILL, (begin, INSTRUMENTS, BARS + minute, BARS + minute))
        before, began_s, done = cpu_s(), time.monotonic(), values.rows
        values.derive(connection, live=True)
        after, took_s = cpu_s(), time.monotonic() - began_s
        assert values.rows - done == INSTRUMENTS
        used = [late - early for late, early in zip(after, before, strict=True)]
        print(f"a minute of {INSTRUMENTS} instruments: deriver {used[0]:.2f} s of CPU, its server {used[1]:.2f} s, "
              f"together {sum(used) / 0.6:.1f} % of a core; {took_s:.2f} s")  # fmt: skip
    connection.close()
