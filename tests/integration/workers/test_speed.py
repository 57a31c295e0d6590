"""How fast bars follow their trades, and what deriving costs. Long: it measures on this machine, and prints."""

import io
import random
import statistics
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psutil
import psycopg2
import pytest
from psycopg2.extras import execute_values
from support.workers.bars import DeriverProcess, differences, rows, settled, wait_for

from analysis.workers.derivation import Derivation
from recorder.store.database import DERIVER, connect

INSTRUMENTS, TRADES_PER_S, COMMITS_PER_S, MINUTES = 200, 2_000, 50, 3

pytestmark = [pytest.mark.long, pytest.mark.timeout(900)]


class Feed:
    """A writer that commits trades and what is loaded, as the real one does."""

    def __init__(self, url: str) -> None:
        self.connection = psycopg2.connect(url)
        self.rng = random.Random(7)
        self.number = 0

    def commit(self, trades: int) -> tuple[datetime, float]:
        """Commit trades of now, and return until when all is loaded, and the monotonic time of the commit."""
        now = datetime.now(UTC)
        with self.connection.cursor() as cursor:
            lines = []
            for _ in range(trades):
                self.number += 1
                price, size = 100 + self.rng.random(), 0.1 + self.rng.random()
                lines.append(
                    (self.rng.randrange(INSTRUMENTS), self.number, now, now, price, size, self.rng.choice("bs"))
                )
            self.copy(cursor, lines)
            cursor.execute("UPDATE journal SET written_at = %s", (now,))
        self.connection.commit()
        return now, time.monotonic()

    @staticmethod
    def copy(cursor: "psycopg2.extensions.cursor", lines: Sequence[tuple[object, ...]]) -> None:
        text = io.StringIO("".join("\t".join(map(str, line)) + "\n" for line in lines))
        cursor.copy_from(text, "trade", columns=("instrument_id", "trade_id", "ts_event", "ts_recv", "price", "size",
                                                 "aggressor"))  # fmt: skip


def prepare(url: str) -> None:
    for days in (0, 1):
        rows(url, "SELECT ensure_partition('trade', %s)", ((datetime.now(UTC) + timedelta(days=days)).date(),))
    rows(
        url,
        "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) "
        "SELECT n, 'test', 'S' || n, now() - interval '1 day' FROM generate_series(0, %s) AS n",
        (INSTRUMENTS - 1,),
    )
    rows(url, "INSERT INTO journal (journal_id, recorder, segment, position, block_seq, written_at) "
              "VALUES ('j', 'recorder-test', 1, 0, 0, now())")  # fmt: skip


def percentiles(values_s: list[float]) -> str:
    cuts = statistics.quantiles(values_s, n=100)
    return f"median {cuts[49] * 1e3:.1f} ms, p99 {cuts[98] * 1e3:.1f} ms, most {max(values_s) * 1e3:.1f} ms"


def test_bars_follow_the_commit_of_their_trades_within_milliseconds(database: str, tmp_path: Path) -> None:
    prepare(database)
    deriver = DeriverProcess(database, tmp_path)
    deriver.start()
    feed, stop = Feed(database), threading.Event()
    completed: list[float] = []
    late: list[float] = []
    loaded: list[tuple[datetime, float]] = []
    try:
        wait_for(lambda: (tmp_path / "health" / "deriver.json").exists())
        reader = threading.Thread(target=watch_completion, args=(database, loaded, completed, stop))
        revised = threading.Thread(target=send_late_trades, args=(database, late, stop))
        began_s, before_s = time.monotonic(), cpu_s(deriver.pid, database)
        reader.start()
        revised.start()
        while time.monotonic() - began_s < MINUTES * 60:
            due_s = time.monotonic() + 1 / COMMITS_PER_S
            loaded.append(feed.commit(TRADES_PER_S // COMMITS_PER_S))
            stop.wait(max(0.0, due_s - time.monotonic()))
        took_s = time.monotonic() - began_s
        used_s = cpu_s(deriver.pid, database) - before_s
        stop.set()
        reader.join()
        revised.join()
        wait_for(lambda: settled(database))
        assert differences(database) == []
    finally:
        stop.set()
        deriver.kill()
    print(f"\n{feed.number / took_s:,.0f} trades/s of {INSTRUMENTS} instruments, {MINUTES} minutes")
    print(f"minutes complete after the commit that made them so ({len(completed)} minutes of all instruments): "
          f"{percentiles(completed)}")  # fmt: skip
    print(f"late trades in their bars after their commit ({len(late)}): {percentiles(late)}")
    print(f"CPU of the deriver and its server process: {100 * used_s / took_s:.1f} % of a core")
    assert statistics.median(late) < 0.25


def cpu_s(pid: int, url: str) -> float:
    """Return the CPU time of the deriver and of the server process that works for it."""
    ((backend,),) = rows(url, "SELECT max(pid) FROM pg_stat_activity WHERE application_name = 'deriver' "
                              "AND datname = current_database()")  # fmt: skip
    return sum(sum(psutil.Process(one).cpu_times()[:2]) for one in (pid, backend))


def watch_completion(url: str, loaded: list[tuple[datetime, float]], found: list[float], stop: threading.Event) -> None:
    """Note for each minute the time from the commit that made it complete until all of its bars say so."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    minute = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=1)  # the first whole one
    query = "SELECT count(*) FILTER (WHERE NOT complete), count(*) FROM bar WHERE interval_s = 60 AND start = %s"
    with connection.cursor() as cursor:
        while not stop.wait(0.001):
            if datetime.now(UTC) < minute + timedelta(seconds=61.5):
                continue
            cursor.execute(query, (minute,))
            forming, bars = cursor.fetchone() or (0, 0)
            if bars and not forming:
                seen_s = time.monotonic()
                due = minute + timedelta(seconds=62)
                found.append(max(0.0, seen_s - next(at_s for until, at_s in list(loaded) if until >= due)))
                minute += timedelta(minutes=1)
    connection.close()


def send_late_trades(url: str, found: list[float], stop: threading.Event) -> None:
    """Store a trade of ten minutes ago again and again, and note when its bar has it."""
    connection = psycopg2.connect(url)
    connection.autocommit = True
    at = datetime.now(UTC).replace(second=30) - timedelta(minutes=10)
    number = 10**9
    with connection.cursor() as cursor:
        while not stop.wait(0.2):
            number += 1
            cursor.execute("INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size) "
                           "VALUES (1, %s, %s, now(), 100, 1)", (number, at))  # fmt: skip
            began_s = time.monotonic()
            have = 0
            while have != number - 10**9 and not stop.wait(0.001):
                cursor.execute("SELECT trade_count FROM bar WHERE instrument_id = 1 AND interval_s = 60 AND start = "
                               "date_trunc('minute', %s)", (at,))  # fmt: skip
                have = (cursor.fetchone() or (0,))[0]
            if have:
                found.append(time.monotonic() - began_s)
    connection.close()


def test_bars_of_many_days_are_derived_and_stored_at_once(database: str) -> None:
    """Measures deriving from trades, deriving again without a change, and the same rows by execute_values."""
    prepare(database)
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
    rows(database, "SELECT ensure_partition('trade', %s)", (day.date(),))
    rows(database, "ALTER TABLE trade DISABLE TRIGGER trade_inserted")
    rows(database, "INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size, aggressor) "
                   "SELECT n %% 20, n, %s + n / 20 * interval '15 seconds', now(), 100 + n %% 7, 1 + n %% 3, 'b' "
                   "FROM generate_series(0, 20 * 4 * 1440 - 1) AS n", (day,))  # fmt: skip
    rows(database, "ALTER TABLE trade ENABLE TRIGGER trade_inserted")
    rows(database, "ANALYZE trade")
    derivation = Derivation(2.0)
    connection = connect(database, application_name="deriver", role=DERIVER)
    derivation.prepare(connection)
    for what in ("derived and stored", "derived again"):
        rows(
            database,
            "SELECT rebuild_bars(ARRAY(SELECT generate_series(0, 19)), %s, %s)",
            (day, day + timedelta(days=1)),
        )
        began_s = time.monotonic()
        while derivation.recent(connection, forming=True) or derivation.backlog(connection):
            pass
        took_s = time.monotonic() - began_s
        ((bars,),) = rows(database, "SELECT count(*) FROM bar")
        print(f"\n{what}: {bars / took_s:,.0f} bars/s ({bars:,} of all lengths, 4 "
              f"trades a minute); a year of 20 instruments takes {365 * took_s:,.0f} s")  # fmt: skip
    connection.close()
    peer = psycopg2.connect(database)
    with peer.cursor() as cursor:
        cursor.execute("SELECT * FROM bar")
        found = cursor.fetchall()
        cursor.execute("CREATE TEMP TABLE peer (LIKE bar INCLUDING ALL)")
        began_s = time.monotonic()
        execute_values(cursor, "INSERT INTO peer VALUES %s ON CONFLICT (instrument_id, interval_s, start) "
                       "DO UPDATE SET close = excluded.close", found, page_size=1000)  # fmt: skip
        peer.commit()
        print(f"execute_values of these rows, ready made: {len(found) / (time.monotonic() - began_s):,.0f} bars/s")
    peer.close()
    assert differences(database) == []
