"""Bars equal what trades and gaps in Postgres ask for, whatever order these change in and whenever the deriver dies."""

import os
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest
from support.workers.bars import DeriverProcess, differences, rows, settled, values_settled, wait_for
from support.workers.values import expected, stored, unequal

from analysis.indicators import COLUMNS
from analysis.workers.bar_values import FEATURES

INSTRUMENTS = (11, 12, 13)
STEPS = 40
FAST = {"lateness_s": "0.2", "forming_s": "0.1"}


class Tape:
    """Trades and gaps that change at random, through the ways in which they really change."""

    def __init__(self, url: str, rng: random.Random) -> None:
        self.connection = psycopg2.connect(url)
        self.connection.autocommit = True
        self.rng = rng
        self.now = datetime.now(UTC)
        self.number = 0
        for back in range(3):
            self.sql("SELECT ensure_partition('trade', %s)", (self.now - timedelta(days=back)).date())
        # Of the others one is described when the test happens to, and one never is.
        self.sql("INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (%s, 'test', 'Y', %s)",
                 INSTRUMENTS[1], self.now - timedelta(days=9))  # fmt: skip
        self.sql("INSERT INTO journal (journal_id, recorder, segment, position, block_seq, written_at) "
                 "VALUES ('j', 'recorder-test', 1, 0, 0, now() - interval '1 hour')")  # fmt: skip

    def sql(self, query: str, *values: Any) -> None:
        with self.connection.cursor() as cursor:
            cursor.execute(query, values)

    def when(self) -> datetime:
        """Return a time of the last two days, more often a recent one."""
        back_s = self.rng.choice((30.0, 600.0, 7_200.0, 172_800.0))
        return self.now - timedelta(seconds=round(self.rng.uniform(0, back_s), 6))

    def trade(self) -> tuple[Any, ...]:
        self.number += 1
        price, size = round(self.rng.uniform(90, 110), 2), round(self.rng.uniform(0.01, 5), 4)
        return (self.rng.choice(INSTRUMENTS), self.number, self.when(), self.now, price, size,
                self.rng.choice("bs\0").replace("\0", "") or None)  # fmt: skip

    def arrive(self, table: str = "trade") -> None:
        with self.connection.cursor() as cursor:
            values = ",".join(
                cursor.mogrify("(%s, %s, %s, %s, %s, %s, %s)", self.trade()).decode()
                for _ in range(self.rng.randint(1, 200 if table == "trade" else 5))
            )
        columns = "instrument_id, trade_id, ts_event, ts_recv, price, size, aggressor"
        self.sql(f"INSERT INTO {table} ({columns}) VALUES {values}")

    def heal(self) -> None:
        self.arrive("past_trade")

    def correct(self) -> None:
        self.sql("UPDATE trade SET price = price + 1 WHERE trade_id %% %s = 0", self.rng.randint(5, 50))

    def move(self) -> None:
        at = self.rng.randint(1, self.number + 1)
        self.sql("UPDATE trade SET ts_event = ts_event - interval '7 minutes' WHERE trade_id = %s", at)

    def remove(self) -> None:
        self.sql("DELETE FROM trade WHERE trade_id %% %s = 0", self.rng.randint(3, 50))

    def empty(self) -> None:
        low = self.when()
        self.sql("DELETE FROM trade WHERE ts_event BETWEEN %s AND %s", low, low + timedelta(minutes=9))

    def lose(self) -> None:
        low = self.when()
        end = self.rng.choice((None, low + timedelta(seconds=self.rng.uniform(0, 900))))
        first = self.rng.choice((None, low + timedelta(seconds=3)))
        self.sql(
            "INSERT INTO gap (gap_id, instrument_id, channel, cause, state, started_at, ended_at, last_ts_event, "
            "revision) VALUES (%s, %s, %s, 'test', 'open', %s, %s, %s, 1)", self.rng.getrandbits(60),
            self.rng.choice(INSTRUMENTS), self.rng.choice(("trade", "trade", "quote")), low, end, first,
        )  # fmt: skip

    def end_gaps(self) -> None:
        self.sql("UPDATE gap SET ended_at = started_at + interval '95 seconds' WHERE ended_at IS NULL")

    def close_gap(self) -> None:
        state = self.rng.choice(("healed", "unhealable"))
        self.sql("UPDATE gap SET state = %s WHERE gap_id = (SELECT min(gap_id) FROM gap WHERE state = 'open')", state)

    def see(self) -> None:
        self.sql(
            "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (%s, 'test', 'X', %s) "
            "ON CONFLICT (instrument_id) DO UPDATE SET first_seen = excluded.first_seen", INSTRUMENTS[0], self.when(),
        )  # fmt: skip

    def load(self) -> None:
        self.sql("UPDATE journal SET written_at = greatest(written_at, %s)", self.when())

    def rebuild(self) -> None:
        self.sql("SELECT rebuild_bars(%s, %s, %s)", list(INSTRUMENTS), self.now - timedelta(days=1), self.now)

    def fold(self) -> None:
        self.sql("SELECT fold_bar_marks('0')")


@pytest.fixture
def seed() -> int:
    return int(os.environ.get("FAULT_SEED", "0")) or random.SystemRandom().getrandbits(32)


@pytest.fixture
def processes(database: str, tmp_path: Path) -> Iterator[list[DeriverProcess]]:
    """Two derivers that share the work."""
    found = [DeriverProcess(database, tmp_path / name, **FAST) for name in ("one", "other")]
    yield found
    for process in found:
        process.kill()


def play(tape: Tape, faults: list[Callable[[], None]], steps: int) -> None:
    changes = [
        *[tape.arrive] * 6, tape.heal, tape.correct, tape.move, tape.remove, tape.empty, tape.lose, tape.end_gaps,
        tape.close_gap, tape.see, tape.load, tape.rebuild, tape.fold,
    ]  # fmt: skip
    for _ in range(steps):
        tape.rng.choice(changes)()
        if faults and tape.rng.random() < 0.25:
            tape.rng.choice(faults)()


def disturb(url: str, processes: list[DeriverProcess], seed: int, steps: int) -> None:
    """Change trades and gaps at random while derivers are killed, and require the bars of what is there at the end."""
    print(f"FAULT_SEED={seed}")
    tape = Tape(url, random.Random(seed))

    def crash(process: DeriverProcess) -> Callable[[], None]:
        def act() -> None:
            process.kill()
            process.start()

        return act

    for process in processes:
        process.start()
    play(tape, [*map(crash, processes), lambda: end_sessions(url)], steps)
    tape.sql("UPDATE journal SET written_at = %s", tape.now - timedelta(minutes=1))
    wait_for(lambda: settled(url) and not forming(url))
    assert differences(url) == [], f"FAULT_SEED={seed}"
    wait_for(lambda: values_settled(url))
    wanted = expected(url)
    for table, columns, want in zip(("indicator", "bar_feature"), (COLUMNS, FEATURES), wanted, strict=True):
        assert unequal(stored(url, table, columns), want, columns) == [], f"FAULT_SEED={seed}"
        assert any(np.isfinite(row[1:]).all() for row in want.values()) or table == "bar_feature"
    ((bars,),) = rows(url, "SELECT count(*) FROM bar WHERE interval_s = 60")
    assert bars > steps


def end_sessions(url: str) -> None:
    """End the sessions of the derivers in Postgres, wherever they are."""
    rows(url, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
              "WHERE application_name = 'deriver' AND datname = current_database()")  # fmt: skip


def forming(url: str) -> int:
    """Return how many bars are not complete although all of them is loaded."""
    ((bars,),) = rows(url, "SELECT count(*) FROM bar, journal WHERE NOT complete "
                           "AND start + (interval_s + 1) * interval '1 second' <= written_at")  # fmt: skip
    return int(bars)


def test_bars_are_those_of_the_trades_after_changes_in_any_order_and_kills(
    database: str, processes: list[DeriverProcess], seed: int
) -> None:
    disturb(database, processes, seed, STEPS)


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("number", range(20))
def test_bars_are_those_of_the_trades_after_many_changes_and_kills(
    database: str, processes: list[DeriverProcess], seed: int, number: int
) -> None:
    disturb(database, processes, seed + number, 150)
