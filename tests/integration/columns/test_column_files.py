"""Column files equal the rows of Postgres, over midnight and over kills."""

import fcntl
import os
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import psycopg2
import pytest
from support.keeping.columns import MidnightFeed, Rows, single, stored

from recorder.columns import position
from recorder.columns.follower import Follower
from recorder.columns.position import Mark, PositionFile
from recorder.errors import ConfigError
from recorder.journal.reader import JournalReader
from recorder.journal.retention import Retention
from recorder.load.main import Loader
from recorder.settings import JournalSettings, Settings
from recorder.settings.columns import ColumnsSettings
from recorder.store.loader import Store

ROOT = Path(__file__).parents[3]
_SIDES = {None: 0, "b": 1, "s": 2}


@pytest.fixture
def feed(tmp_path: Path) -> Iterator[MidnightFeed]:
    made = MidnightFeed(tmp_path / "journal")
    yield made
    made.close()


def settings(home: Path, **changes: object) -> ColumnsSettings:
    return ColumnsSettings.model_validate({"dir": home / "columns", **changes})


def follow(home: Path, **changes: object) -> Follower:
    """Read everything that the journals have, and write it."""
    follower = Follower(settings(home, **changes), home / "journal")
    while follower.step():
        pass
    follower.close()
    return follower


def query(url: str, text: str) -> list[tuple[object, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()
    finally:
        connection.close()


def load(url: str, home: Path) -> None:
    loader = Loader(Store(url), home / "journal", Settings())
    while loader.step():
        pass
    loader.reset()


def instant(at: object) -> tuple[str, int, int]:
    """Return the day of a time, its second since 1970, and its nanosecond."""
    assert isinstance(at, datetime)
    at = at.astimezone(UTC)
    return f"{at:%d.%m.%y}", int(at.replace(microsecond=0).timestamp()), at.microsecond * 1000


def trades_in(url: str) -> Rows:
    """Return the rows of TRADES that follow from the table trade."""
    rows: Rows = {}
    text = (
        "SELECT venue, symbol, trade_id, ts_event, price, size, aggressor::text FROM trade "
        "JOIN instrument USING (instrument_id) ORDER BY ts_recv, trade_id"
    )
    for venue, symbol, number, at, price, size, side in query(url, text):
        day, second, nanos = instant(at)
        values = single(float(str(price))), single(float(str(size)))
        row = (number, second, nanos, *values, _SIDES[_text(side)], bytes(16), bytes(16))
        rows.setdefault((str(venue), str(symbol), day), []).append(row)
    return rows


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def market_in(url: str) -> Rows:
    """Return the rows of MD that follow from the tables quote and trade."""
    rows: Rows = {}
    text = (
        "SELECT venue, symbol, ts_recv, 0, bid, ask, NULL, 0 FROM quote "
        "JOIN instrument USING (instrument_id) UNION ALL "
        "SELECT venue, symbol, ts_recv, 1, price, size, aggressor::text, trade_id FROM trade "
        "JOIN instrument USING (instrument_id) ORDER BY 1, 2, 3, 4, 8"
    )
    last: dict[tuple[str, str], list[object]] = {}
    for venue, symbol, at, kind, first, second_value, side, _ in query(url, text):
        key = (str(venue), str(symbol))
        held = last.setdefault(key, [0.0, 0.0, 0, 0.0, 0.0])
        values = [single(float(str(value or 0))) for value in (first, second_value)]
        if kind == 0:
            held[3:] = values
        else:
            held[:3] = [*values, _SIDES[_text(side)]]
        day, second, nanos = instant(at)
        rows.setdefault((*key, day), []).append((second, nanos, *held))
    return rows


def equal(found: Rows, expected: Rows) -> None:
    """Assert that all rows are equal, and name the first that is not: there may be hundreds of thousands."""
    assert {key: len(rows) for key, rows in found.items()} == {key: len(rows) for key, rows in expected.items()}
    for key, rows in found.items():
        for number, (one, other) in enumerate(zip(rows, expected[key], strict=True)):
            if one != other:
                pytest.fail(f"{key} row {number}: {one} in the files, {other} in Postgres")


def test_the_files_equal_the_rows_of_postgres_over_midnight(feed: MidnightFeed, tmp_path: Path, database: str) -> None:
    feed.record(20)
    feed.restart()
    feed.record(20)
    follow(tmp_path)
    feed.record(20)
    feed.restart()
    follower = follow(tmp_path)
    load(database, tmp_path)
    assert follower.counts.duplicates == 5
    trades, market = stored(tmp_path / "columns", "TRADES"), stored(tmp_path / "columns", "MD")
    assert {day for _, _, day in trades} == {day for _, _, day in market} == {"05.03.26", "06.03.26"}
    equal(trades, trades_in(database))
    equal(market, market_in(database))


def killed_often(home: Path, feed: MidnightFeed, kills: int, seed: int) -> int:
    """Kill the program at random points while it is fed; return how often that was while rows were written."""
    print(f"seed {seed}")
    draw = random.Random(seed)
    environ = {
        **os.environ,
        "TAPEDECK_HOME": str(home),
        "TAPEDECK__JOURNAL__DIR": str(home / "journal"),
        "TAPEDECK__COLUMNS__DIR": str(home / "columns"),
        "TAPEDECK__COLUMNS__FLUSH_S": "0.05",
        "TAPEDECK__COLUMNS__FSYNC_S": "1",
        "TAPEDECK__COLUMNS__BUFFER_BYTES": "1024",
    }
    pause, taken_back = threading.Event(), 0
    for number in range(kills):
        feed.record(draw.randrange(40))
        if number % 10 == 5:
            feed.restart()
        program = subprocess.Popen(
            [sys.executable, "-P", "-m", "recorder.programs.columns"],
            env=environ, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        started = time.monotonic()
        while not opened(home) and time.monotonic() - started < 30:
            feed.record(1)
            pause.wait(0.01)
        until_s = time.monotonic() + draw.uniform(0, 0.3)
        while time.monotonic() < until_s:
            feed.record(2, step_s=0.002)
        program.kill()
        program.wait()
        noted = position.read(home / "columns")
        taken_back += noted is not None and bool(noted.now.rows)  # the kill came between the note and the count
    return taken_back


def opened(home: Path) -> bool:
    """Return whether a process has taken the folder, which it does before it reads anything."""
    try:
        found = os.open(home / "columns" / "lock", os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(found, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(found)
    return False


@pytest.mark.parametrize("kills", [3, pytest.param(200, marks=[pytest.mark.long, pytest.mark.timeout(1800)])])
def test_kills_at_random_points_cost_no_row_and_repeat_none(
    feed: MidnightFeed, tmp_path: Path, database: str, kills: int
) -> None:
    seed = int(os.environ.get("FAULT_SEED", random.randrange(1 << 32)))
    taken_back = killed_often(tmp_path, feed, kills, seed)
    follow(tmp_path)
    load(database, tmp_path)
    market = stored(tmp_path / "columns", "MD")
    print(f"{kills} kills, {taken_back} while rows were written, {sum(map(len, market.values()))} rows of MD")
    equal(stored(tmp_path / "columns", "TRADES"), trades_in(database))
    equal(market, market_in(database))


def test_a_row_that_was_appended_and_not_counted_is_taken_back(
    feed: MidnightFeed, tmp_path: Path, database: str
) -> None:
    feed.record(3)
    follower = Follower(settings(tmp_path), tmp_path / "journal")
    while follower.step():
        pass
    follower.files.sync()
    feed.record(5)
    while follower.step():
        pass
    kept = {path: path.read_bytes() for path in (tmp_path / "columns").glob("position.json")}
    follower.files.flush()
    os.close(follower.files._lock)  # as the end of a process does
    undo = msgspec.json.decode(next(iter(kept.values())), type=PositionFile)
    counted = dict(follower.files._file.synced.rows)
    intent = PositionFile(undo.floats, undo.boot, Mark(undo.now.journals, counted), Mark(undo.synced.journals, counted))
    position.write(tmp_path / "columns", intent)  # as it was before the first byte was appended
    assert follow(tmp_path).files.cut > 0
    load(database, tmp_path)
    equal(stored(tmp_path / "columns", "TRADES"), trades_in(database))
    equal(stored(tmp_path / "columns", "MD"), market_in(database))


def test_after_a_power_cut_the_files_go_on_from_what_was_synced(
    feed: MidnightFeed, tmp_path: Path, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    feed.record(5)
    follower = Follower(settings(tmp_path, fsync_s=3600.0), tmp_path / "journal")
    while follower.step():
        pass
    follower.files.sync()
    feed.record(60)
    while follower.step():
        pass
    follower.files.flush()
    os.close(follower.files._lock)
    monkeypatch.setattr(position, "boot_id", lambda: "another start of the machine")
    assert follow(tmp_path).files.cut > 0
    load(database, tmp_path)
    equal(stored(tmp_path / "columns", "TRADES"), trades_in(database))
    equal(stored(tmp_path / "columns", "MD"), market_in(database))


@pytest.mark.parametrize("lost", [3, 8, None], ids=["some bytes", "a row", "a file"])
def test_a_file_that_lost_rows_is_named_and_nothing_is_appended(
    lost: int | None, feed: MidnightFeed, tmp_path: Path
) -> None:
    feed.record(5)
    follow(tmp_path)
    path = next((tmp_path / "columns").glob("*/*/TRADES/id.*.bin"))
    if lost is None:
        path.unlink()
    else:
        os.truncate(path, path.stat().st_size - lost)
    with pytest.raises(ConfigError, match=f"{re.escape(path.name)} has lost rows that it had: move"):
        follow(tmp_path)


def test_a_journal_is_not_trimmed_before_the_files_have_it(feed: MidnightFeed, tmp_path: Path) -> None:
    follower = Follower(settings(tmp_path, fsync_s=3600.0), tmp_path / "journal")
    follower.step()
    for _ in range(3):
        feed.record(2)
        feed.rig.clock.advance(3601)
    folder = tmp_path / "journal" / feed.folder.name
    reader = JournalReader(folder)
    end = reader.end()
    reader.close()
    limits = JournalSettings(retention_days=1, retention_gb=0, reserve_mb=0)
    assert Retention(limits).clean([(folder, end)], "1-2") == 0
    while follower.step():
        pass
    follower.close()
    assert Retention(limits).clean([(folder, end)], "1-2") > 0
    assert len(stored(tmp_path / "columns", "TRADES")) == 4


def test_doubles_keep_every_digit(feed: MidnightFeed, tmp_path: Path, database: str) -> None:
    feed.record(5)
    follow(tmp_path, floats="f64")
    load(database, tmp_path)
    prices = [row[3] for rows in stored(tmp_path / "columns", "TRADES", doubles=True).values() for row in rows]
    assert sorted(map(str, prices)) == sorted(str(price) for (price,) in query(database, "SELECT price FROM trade"))
    with pytest.raises(ConfigError, match="are f64"):
        follow(tmp_path)


def test_days_beyond_the_retention_are_removed(feed: MidnightFeed, tmp_path: Path) -> None:
    feed.record(5)
    feed.rig.clock.advance(2 * 86_400)
    feed.record(5)
    follow(tmp_path, retention_days=1)
    assert {day for _, _, day in stored(tmp_path / "columns", "MD")} == {"07.03.26"}


def test_a_clock_that_was_set_a_year_forward_removes_no_files(feed: MidnightFeed, tmp_path: Path) -> None:
    feed.record(5)
    follow(tmp_path)
    before = stored(tmp_path / "columns", "MD")
    feed.rig.clock.advance(366 * 86_400)
    feed.record(5)
    follow(tmp_path)
    after = stored(tmp_path / "columns", "MD")
    assert {key: after[key] for key in before} == before
    assert len(after) > len(before)
