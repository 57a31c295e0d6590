"""Kills at random lines of the archiver: each row is in its table or in the archive, never in neither."""

import os
import random
import subprocess
import sys
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg2
import pytest
from support.analysis import archive_worker
from support.analysis.stored_tape import Stored

from analysis import load
from analysis.arrays import SECOND, Trades
from analysis.load.manifest import digest
from analysis.load.tables import LAYOUTS
from analysis.workers.archive import row_checksum
from recorder.identity import instrument_id

FIRST = date(2024, 2, 20)  # a leap day follows
SYMBOLS = (("kraken", "BTC/USD"), ("okx", "BTC-USDT"))
TABLES = ("trade", "quote", "book")
LINES = 500  # more than the archiver runs for one day


def seed_of() -> int:
    return int(os.environ.get("FAULT_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 31)


def fill(stored: Stored, days: int, rows: int, rng: np.random.Generator) -> None:
    """Insert days with trades, quotes and books of two venues, among them nulls, empty sides and texts."""
    for venue, symbol in SYMBOLS:
        stored.instrument(venue, symbol, datetime(2024, 1, 1, tzinfo=UTC))
        stored.session(
            venue,
            instrument_id(venue, symbol) & 0xFFFF,
            datetime(2024, 1, 1, tzinfo=UTC),
            datetime(2024, 12, 31, tzinfo=UTC),
        )
    for number in range(days):
        midnight = datetime(FIRST.year, FIRST.month, FIRST.day, tzinfo=UTC) + timedelta(days=number)
        stored.days(midnight)
        for venue, symbol in SYMBOLS:
            whose = instrument_id(venue, symbol)
            at = [midnight + timedelta(seconds=float(s)) for s in np.sort(rng.uniform(0, 86_399, rows))]
            drawn = rng.lognormal(4, 1, rows)
            prices = drawn.tolist()
            begin_ns = int(midnight.timestamp()) * SECOND
            offsets = np.sort(rng.integers(0, 86_400 * SECOND, rows)) // 1000 * 1000
            sides = rng.integers(-1, 2, rows).astype(np.int8)
            trades = Trades(
                begin_ns + offsets,
                begin_ns + offsets + SECOND,
                np.arange(rows) + number * rows,
                drawn,
                drawn / 7,
                sides,
            )
            stored.trades(venue, symbol, trades)
            stored.put(
                "quote",
                "instrument_id, ts_recv, ts_event, session_id, frame_seq, sequence, bid, bid_size, ask, ask_size",
                ((whose, at[i], at[i] if i % 2 else None, 1, i + 1, None, prices[i], None if i % 5 else 1.5,
                  prices[i] + 1, 2.0)
                 for i in range(rows)),
            )  # fmt: skip
            sides_of = [("{}" if i % 4 == 1 else side(prices[i]), side(prices[i] + 1)) for i in range(rows)]
            stored.put(
                "book", "instrument_id, ts_recv, ts_event, session_id, frame_seq, kind, sequence, bids, asks",
                ((whose, at[i], None, 1, i + 1, "d" if i else "s", i, *sides_of[i]) for i in range(rows)),
            )  # fmt: skip


def side(price: float) -> str:
    """Return two levels as Postgres reads an array."""
    return f"{{{{{price!r},1}},{{{price / 2!r},0}}}}"


def sums(stored: Stored) -> dict[str, tuple[int, int]]:
    """Return (rows, checksum) of what is in each table."""
    found: dict[str, tuple[int, int]] = {}
    with closing(psycopg2.connect(stored.url)) as connection, connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        for layout in LAYOUTS:
            cursor.execute(row_checksum.query(layout), {"low": "2000-01-01", "high": "2100-01-01"})
            rows = cursor.fetchall()
            found[layout.name] = (
                sum(int(row[1]) for row in rows),
                sum(int(row[2]) for row in rows) % row_checksum.MODULUS,
            )
    return found


def both(stored: Stored, root: Path, *, deep: bool) -> dict[str, tuple[int, int]]:
    """Return the same of tables and archive together; `deep` reads every file again, otherwise the ledger counts."""
    found = sums(stored)
    layouts = {layout.name: layout for layout in LAYOUTS}
    for table, path, rows, checksum, sha256 in stored.run(
        "SELECT table_name, path, row_count, checksum, sha256 FROM archive"
    ):
        file = root / path
        assert file.is_file(), f"{path} is in the ledger and not on disk"
        if deep:
            assert digest(file) == sha256
            rows, checksum = row_checksum.of_file(str(file), layouts[table])
        have = found[table]
        found[table] = have[0] + rows, (have[1] + int(checksum)) % row_checksum.MODULUS
    return found


def tape(stored: Stored, days: list[date]) -> list[Any]:
    return [
        read(venue, symbol, f"{days[0]}", f"{days[-1] + timedelta(days=1)}", source=stored.url, on_gap="ignore")
        for venue, symbol in SYMBOLS
        for read in (load.trades, load.quotes, load.books)
    ]


class Worker:
    """The processes that archive."""

    def __init__(self, stored: Stored, root: Path) -> None:
        command = [sys.executable, archive_worker.__file__, stored.url, str(root)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def killed(self, line: int, days: list[str]) -> bool:
        """Archive days until they are done, or the process is killed at a line; return whether it was killed."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{line} {' '.join(days)}\n")
        self._process.stdin.flush()
        code = int(self._process.stdout.readline())
        assert code in (0, -9), "see the traceback in the error output"
        return code == -9

    def close(self) -> None:
        """End the processes."""
        self._process.communicate("")


def left_in_tables(stored: Stored, days: list[date]) -> list[str]:
    names = [(table, day) for day in days for table in TABLES]
    there = {name for (name,) in stored.run("SELECT relname FROM pg_class WHERE relname ~ '_[0-9]{8}$'")}
    return [f"{table}:{day}" for table, day in names if f"{table}_{day:%Y%m%d}" in there]


def run_days(stored: Stored, root: Path, days: int, rows: int, kills: int) -> None:
    seed = seed_of()
    print(f"FAULT_SEED={seed}")
    chance = random.Random(seed)
    fill(stored, days, rows, np.random.default_rng(seed))
    span = [FIRST + timedelta(days=number) for number in range(days)]
    expected, before = sums(stored), tape(stored, span)
    assert expected["trade"][0] == days * rows * len(SYMBOLS)
    strokes, worker = 0, Worker(stored, root)
    for _ in range(kills):
        left = left_in_tables(stored, span)
        strokes += worker.killed(chance.randrange(1, LINES), left[: chance.randrange(1, 4)])
        assert both(stored, root, deep=False) == expected, f"FAULT_SEED={seed}"
    left = left_in_tables(stored, span)
    if left:
        assert not worker.killed(0, left)
    worker.close()
    assert left_in_tables(stored, span) == []
    assert sums(stored)["trade"][0] == 0
    assert both(stored, root, deep=True) == expected, f"FAULT_SEED={seed}"
    assert all(one.equals(other) for one, other in zip(tape(stored, span), before, strict=True))
    assert stored.run("SELECT count(*) FROM dropped_partitions() WHERE day IS NOT NULL") == [(0,)]
    assert strokes > 0
    print(f"{days} days, {kills} runs, {strokes} of them killed; rows: {expected}")


@pytest.fixture
def empty(database: str) -> Stored:
    return Stored(database)


def test_two_days_with_kills_lose_and_double_no_row(empty: Stored, tmp_path: Path) -> None:
    run_days(empty, tmp_path / "archive", days=2, rows=60, kills=3)


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_thirty_days_with_kills_lose_and_double_no_row(empty: Stored, tmp_path: Path) -> None:
    run_days(empty, tmp_path / "archive", days=30, rows=400, kills=60)
