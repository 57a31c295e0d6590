"""What one change of trades or gaps does to the bars that it concerns."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2.errors
import pytest
from support.batches import IDS, NOON_NS, batch, gap, gap_part, instrument_part, trade, trade_part, trades_part
from support.workers.bars import differences, rows, settled

from analysis.workers.archive.day import Archiver
from analysis.workers.derivation import Derivation
from recorder.store.database import DERIVER, READER, WRITER, Connection, connect
from recorder.store.loader import Store
from recorder.store.migrate import migrate, sql_folder
from recorder.store.roles import ROLES

NOON = datetime.fromtimestamp(NOON_NS / 1e9, UTC)
BTC = IDS["BTC-USD"]
NAMES = [(number, "test", symbol) for symbol, number in IDS.items()]
MINUTE_NS = 60_000_000_000


class Deriving:
    """A database, the writer's store, and a deriver that works at the call of a test."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.store = Store(url)
        self.derivation = Derivation(lateness_s=2.0)
        self._connection = connect(url, application_name="deriver", role=DERIVER)
        self.derivation.prepare(self._connection)

    @property
    def connection(self) -> Connection:
        return self._connection

    def derive(self) -> None:
        """Take every mark."""
        while self.derivation.recent(self._connection, forming=True) or self.derivation.backlog(self._connection):
            pass
        assert settled(self.url)

    def load(self, *parts: Any) -> None:
        """Store rows as the writer does."""
        self.store.load(batch(self.store.position("0123456789abcdef0123456789abcdef"), list(parts)))

    def loaded_until(self, at: datetime) -> None:
        """Note that a block that was written at this time is loaded."""
        self.sql("UPDATE journal SET recorder = 'recorder-test', written_at = %s", at)

    def sql(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return rows(self.url, query, values or None)

    def bar(self, columns: str, interval_s: int = 60, start: datetime = NOON) -> tuple[Any, ...] | None:
        query = f"SELECT {columns} FROM bar WHERE instrument_id = %s AND interval_s = %s AND start = %s"
        found = self.sql(query, BTC, interval_s, start)
        return found[0] if found else None

    def close(self) -> None:
        self.store.close()
        self._connection.close()


@pytest.fixture
def deriving(database: str) -> Iterator[Deriving]:
    """A database with 100 trades of two instruments from noon on, 1 ms apart, all loaded. Recording began at eleven."""
    found = Deriving(database)
    found.load(instrument_part(*NAMES, first_seen_ns=NOON_NS - 60 * MINUTE_NS), trades_part(1, 101))
    found.loaded_until(NOON + timedelta(days=1))
    yield found
    found.close()


def test_a_bar_is_complete_once_a_block_is_loaded_that_was_written_after_it(deriving: Deriving) -> None:
    deriving.loaded_until(NOON + timedelta(seconds=61.9))
    deriving.derive()
    assert deriving.bar("complete, trade_count, open, close") == (False, 67, 100.125, 112.5)
    deriving.loaded_until(NOON + timedelta(seconds=62))
    deriving.derive()
    assert deriving.bar("complete, revision") == (True, 1)
    assert deriving.bar("complete, revision", 300) == (False, 1)
    deriving.loaded_until(NOON + timedelta(minutes=5, seconds=2))
    deriving.derive()
    assert deriving.bar("complete, revision", 300) == (True, 1)
    assert differences(deriving.url) == []


def test_minutes_that_form_wait_for_their_turn_and_those_that_are_over_do_not(deriving: Deriving) -> None:
    deriving.derive()
    deriving.sql(
        "INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size) "
        "VALUES (%s, 7001, now(), now(), 1, 1), (%s, 7002, now() - interval '2 minutes', now(), 1, 1)", BTC, BTC,
    )  # fmt: skip
    deriving.derivation.recent(deriving.connection, forming=False)
    count = ("SELECT count(*) FROM bar WHERE instrument_id = %s AND interval_s = 60 "
             "AND start BETWEEN now() - interval %s AND now()")  # fmt: skip
    assert deriving.sql(count, BTC, "61 seconds") == [(0,)]
    assert deriving.sql(count, BTC, "4 minutes") == [(1,)]
    deriving.derivation.recent(deriving.connection, forming=True)
    assert deriving.sql(count, BTC, "61 seconds") == [(1,)]


def test_a_late_trade_revises_its_bars_and_no_other(deriving: Deriving) -> None:
    deriving.load(trade_part([trade(number, ts_event_ns=NOON_NS + 7 * MINUTE_NS) for number in (200, 202)]))
    deriving.derive()
    revisions = "SELECT interval_s, start, revision, trade_count FROM bar WHERE instrument_id = %s ORDER BY 1, 2"
    before = deriving.sql(revisions, BTC)
    late = trade(301, ts_event_ns=NOON_NS + 30_000_000_000, price=1.0)
    deriving.load(trade_part([late]))
    deriving.derive()
    changed = [(width, start) for width, start, revision, _ in deriving.sql(revisions, BTC) if revision == 2]
    of_noon = [(width, _begin(NOON, width)) for width in (60, 300, 900, 3_600, 14_400, 86_400)]
    assert changed == of_noon
    assert len(before) == len(of_noon) + 2  # the minute and the five minutes of the later trades
    assert deriving.bar("low, close") == (1.0, 1.0)
    assert differences(deriving.url) == []


def _begin(at: datetime, width_s: int) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // width_s * width_s, UTC)


def test_a_duplicate_changes_nothing(deriving: Deriving) -> None:
    deriving.derive()
    deriving.load(trades_part(1, 101))
    bars = deriving.derivation.counts.bars
    deriving.derive()
    assert deriving.derivation.counts.bars == bars
    assert deriving.bar("revision") == (1,)


def test_a_healed_trade_revises_its_bar(deriving: Deriving) -> None:
    deriving.derive()
    deriving.sql(
        "INSERT INTO past_trade (instrument_id, trade_id, ts_event, ts_recv, price, size) "
        "VALUES (%s, 999, %s, now(), 500, 1)",
        BTC, NOON + timedelta(seconds=1),
    )  # fmt: skip
    deriving.derive()
    assert deriving.bar("high, revision") == (500.0, 2)
    assert differences(deriving.url) == []


def test_a_gap_that_is_declared_ended_and_healed_changes_the_coverage_of_its_bars(deriving: Deriving) -> None:
    deriving.derive()
    assert deriving.bar("coverage, in_gap, revision") == (1.0, False, 1)
    deriving.load(gap_part(gap(1, 1)))
    deriving.derive()
    assert deriving.bar("coverage, in_gap, revision") == (0.0, True, 2)
    deriving.load(gap_part(gap(1, 2, "unhealable")))  # it ended after a second
    deriving.derive()
    (coverage, in_gap, revision) = deriving.bar("coverage, in_gap, revision") or (None, None, None)
    assert (coverage, in_gap, revision) == (pytest.approx(59 / 60, abs=1e-6), True, 3)
    assert differences(deriving.url) == []
    deriving.load(gap_part(gap(1, 3, "healed")))
    deriving.derive()
    assert deriving.bar("coverage, in_gap, revision") == (1.0, False, 4)
    assert differences(deriving.url) == []


def test_gaps_of_quotes_do_not_concern_bars(deriving: Deriving) -> None:
    deriving.derive()
    deriving.sql("INSERT INTO gap (gap_id, instrument_id, channel, cause, state, started_at, revision) "
                 "VALUES (5, %s, 'quote', 'test', 'open', %s, 1)", BTC, NOON)  # fmt: skip
    deriving.derive()
    assert deriving.bar("coverage, revision") == (1.0, 1)


def test_the_time_before_the_first_frame_is_not_covered(deriving: Deriving) -> None:
    deriving.sql("DELETE FROM instrument WHERE instrument_id = %s", BTC)
    deriving.derive()
    assert deriving.bar("coverage, in_gap") == (None, None)  # nothing is known of it
    insert = "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (%s, 'test', 'BTC-USD', %s)"
    deriving.sql(insert, BTC, NOON + timedelta(seconds=45))
    deriving.derive()
    assert deriving.bar("coverage, in_gap, revision") == (0.25, True, 2)
    earlier = "UPDATE instrument SET first_seen = %s WHERE instrument_id = %s"  # an older journal is loaded
    deriving.sql(earlier, NOON + timedelta(seconds=15), BTC)
    deriving.derive()
    assert deriving.bar("coverage, in_gap, revision") == (0.75, True, 3)
    assert differences(deriving.url) == []


def test_of_an_instrument_that_is_only_listed_nothing_is_covered(deriving: Deriving) -> None:
    deriving.sql("DELETE FROM instrument WHERE instrument_id = %s", BTC)
    insert = ("INSERT INTO instrument (instrument_id, venue, symbol, first_seen, recorded) "
              "VALUES (%s, 'test', 'BTC-USD', %s, false)")  # fmt: skip
    deriving.sql(insert, BTC, NOON - timedelta(days=1))
    deriving.derive()
    assert deriving.bar("coverage, in_gap, revision") == (0.0, True, 1)
    begin = "UPDATE instrument SET recorded = true, first_seen = %s WHERE instrument_id = %s"  # its first frame
    deriving.sql(begin, NOON + timedelta(seconds=45), BTC)
    deriving.derive()
    assert deriving.bar("coverage, in_gap, revision") == (0.25, True, 2)
    assert differences(deriving.url) == []


BACKFILL = """
INSERT INTO backfill (backfill_id, instrument_id, venue, symbol, what, since, until, asked_at, asked_by)
VALUES (%s, %s, 'test', 'BTC-USD', %s, %s, %s, now(), 'command')"""
READ = """
INSERT INTO backfill_range (backfill_id, instrument_id, state, grade, since, until, witnessed, answers, listed,
                            controls, missing, revision)
VALUES (%s, %s, 'running', NULL, %s, %s, true, 1, 1, 1, 0, 1)"""
END = "UPDATE backfill_range SET state = 'done', grade = %s WHERE backfill_id = %s"


def test_a_proved_backfill_covers_the_time_before_the_first_frame(deriving: Deriving) -> None:
    deriving.sql("DELETE FROM instrument WHERE instrument_id = %s", BTC)
    insert = "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (%s, 'test', 'BTC-USD', %s)"
    deriving.sql(insert, BTC, NOON + timedelta(seconds=45))
    for number, what, until_s in ((1, "trades", 30), (2, "candles", 45)):
        span = NOON - timedelta(hours=1), NOON + timedelta(seconds=until_s)
        deriving.sql(BACKFILL, number, BTC, what, *span)
        deriving.sql(READ, number, BTC, *span)
    deriving.derive()
    assert deriving.bar("coverage, in_gap, revision") == (0.25, True, 1), "it still runs"
    deriving.sql(END, "claimed", 1)
    deriving.sql(END, "proved", 2)
    deriving.derive()
    assert deriving.bar("coverage, in_gap, revision") == (0.25, True, 1), "candles cover nothing"
    deriving.sql(END, "proved", 1)
    deriving.derive()
    assert deriving.bar("coverage, in_gap, revision") == (0.75, True, 2)
    deriving.sql("DELETE FROM backfill_range WHERE backfill_id = 1")
    deriving.derive()
    assert deriving.bar("coverage, in_gap, revision") == (0.25, True, 3)


def test_an_instrument_that_is_only_backfilled_is_covered_where_it_was_read(deriving: Deriving) -> None:
    deriving.sql("UPDATE instrument SET recorded = false WHERE instrument_id = %s", BTC)
    deriving.sql(BACKFILL, 1, BTC, "trades", NOON, NOON + timedelta(minutes=2))
    deriving.sql(READ, 1, BTC, NOON, NOON + timedelta(minutes=2))
    deriving.sql(END, "proved", 1)
    deriving.derive()
    assert deriving.bar("coverage, in_gap") == (1.0, False)
    assert deriving.bar("coverage, in_gap", 300) == (0.4, True)


@pytest.mark.parametrize(("old", "new"), [("", "_advanced-00"), ("_advanced-00", "")])
def test_bars_of_a_venue_with_two_feeds_wait_for_the_recorder_that_wrote_last(
    deriving: Deriving, old: str, new: str
) -> None:
    past = NOON - timedelta(days=2)
    deriving.sql("INSERT INTO venue (name) VALUES ('coinbase')")
    deriving.sql("UPDATE instrument SET venue = 'coinbase' WHERE instrument_id = %s", BTC)
    deriving.load(trade_part([trade(200, ts_event_ns=NOON_NS - 2 * 1_440 * MINUTE_NS)]))
    deriving.sql("UPDATE journal SET recorder = %s, written_at = %s", f"recorder-coinbase{old}", past)
    deriving.derive()
    assert deriving.bar("complete", start=past) == (False,), "the recorder is down"
    journal = ("INSERT INTO journal (journal_id, recorder, segment, position, block_seq, written_at) "
               "VALUES ('other', %s, 1, 0, 0, %s)")  # fmt: skip
    deriving.sql(journal, f"recorder-coinbase{new}", past + timedelta(seconds=62))
    deriving.derive()
    assert deriving.bar("complete, revision", start=past) == (True, 1)


def test_no_role_changes_trades_past_the_triggers(deriving: Deriving) -> None:
    partition = f"partition.trade_{NOON:%Y%m%d}"
    for role in ROLES:
        for change in ("INSERT", "UPDATE", "DELETE", "TRUNCATE"):
            assert deriving.sql("SELECT has_table_privilege(%s, %s, %s)", role, partition, change) == [(False,)]


def test_a_bar_without_a_trade_is_removed(deriving: Deriving) -> None:
    deriving.derive()
    deriving.sql("DELETE FROM trade WHERE instrument_id = %s", BTC)
    deriving.derive()
    assert deriving.sql("SELECT count(*) FROM bar WHERE instrument_id = %s", BTC) == [(0,)]
    assert deriving.derivation.counts.removed == 6
    assert differences(deriving.url) == []


def test_a_corrected_trade_changes_both_minutes(deriving: Deriving) -> None:
    deriving.derive()
    deriving.sql("UPDATE trade SET ts_event = ts_event + interval '3 minutes' WHERE trade_id = 50")
    deriving.derive()
    assert deriving.bar("trade_count, revision") == (66, 2)
    assert deriving.bar("trade_count", start=NOON + timedelta(minutes=3)) == (1,)
    assert differences(deriving.url) == []


def test_deriving_again_gives_the_same_bits(deriving: Deriving) -> None:
    deriving.derive()
    bars = deriving.derivation.counts.bars
    assert deriving.sql("SELECT rebuild_bars(%s, %s, %s)", list(IDS.values()), NOON, NOON + timedelta(days=1)) == [(2,)]
    deriving.derive()
    assert deriving.derivation.counts.bars == bars
    assert deriving.sql("SELECT max(revision) FROM bar") == [(1,)]


def test_absurd_values_give_no_sum_and_hold_up_no_other_bar(deriving: Deriving) -> None:
    at = NOON + timedelta(seconds=2)
    for number, (price, size) in enumerate(((1e300, 1e300), (1e-300, 1e-300), (-5e-324, 1e308), (0.0, 1.0)), 800):
        deriving.sql("INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size) "
                     "VALUES (%s, %s, %s, now(), %s, %s)", BTC, number, at, price, size)  # fmt: skip
    deriving.derive()
    for width_s in (60, 86_400):
        values = deriving.bar("high, low, trade_count, volume, vwap, buy_volume", width_s, _begin(NOON, width_s))
        assert values == (1e300, -5e-324, 71, None, None, None)
    assert deriving.sql("SELECT count(*) FROM bar WHERE volume > 0") == [(6,)]  # of the other instrument


def test_marks_that_no_deriver_takes_become_one_a_day(deriving: Deriving) -> None:
    deriving.load(*[trade_part([trade(400 + n, ts_event_ns=NOON_NS + n * MINUTE_NS)]) for n in range(30)])
    assert deriving.sql("SELECT count(*) FROM bar_dirty WHERE kind = 'm'")[0][0] >= 30
    deriving.store.fold_bar_marks()
    assert deriving.sql("SELECT count(*) FROM bar_dirty WHERE kind = 'r'") == [(0,)], "marks of this hour are left"
    deriving.sql("UPDATE bar_dirty SET marked_at = marked_at - interval '61 minutes'")
    for _ in range(2):
        deriving.store.fold_bar_marks()
        assert deriving.sql("SELECT kind::text, count(*), max(cardinality(instrument_ids)) FROM bar_dirty "
                            "WHERE kind <> 'g' GROUP BY 1") == [("r", 1, 2)]  # fmt: skip
    deriving.derive()
    assert differences(deriving.url) == []


def test_the_bars_of_a_database_of_an_earlier_version_are_derived(empty_database: str, tmp_path: Path) -> None:
    for path in sql_folder().glob("*.sql"):
        if path.name[:4] < next(sql_folder().glob("*_bar.sql")).name[:4]:
            shutil.copy(path, tmp_path)
    migrate(empty_database, tmp_path)
    rows(empty_database, "SELECT ensure_partition('trade', %s)", (NOON.date(),))
    for number, name in enumerate(IDS):
        rows(empty_database, "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) "
             "VALUES (%s, 'test', %s, %s)",
             (IDS[name], name, NOON))  # fmt: skip
        rows(empty_database, "INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size) "
             "SELECT %s, n, %s + n * interval '1 second', now(), n, 1 FROM generate_series(1, 500) AS n",
             (IDS[name], NOON - timedelta(days=number)))  # fmt: skip
    migrate(empty_database)
    deriving = Deriving(empty_database)
    try:
        deriving.derive()
        assert deriving.sql("SELECT count(*) FROM bar WHERE interval_s = 60") == [(18,)]
        assert differences(empty_database) == []
    finally:
        deriving.close()


def test_people_read_bars_by_name_and_stocks_beside_them(deriving: Deriving) -> None:
    deriving.derive()
    deriving.sql(
        "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) VALUES (77, 'yahoo', 'TAPE', now())"
    )
    deriving.sql(
        "INSERT INTO equity_bar (instrument_id, interval_s, start, day, open, high, low, close, volume, live, partial, "
        "flags, ts_recv, revision) VALUES (77, 60, %s, %s, 1, 2, 0.5, 1.5, 10, false, false, '{}', now(), 1)",
        NOON, NOON.date(),
    )  # fmt: skip
    connection = connect(deriving.url, application_name="test", role=READER)
    with connection.cursor() as cursor:
        cursor.execute("SELECT exchange, symbol, timeframe, open, volume, trade_count FROM bars "
                       "WHERE \"timestamp\" = %s AND timeframe = '1m' ORDER BY 1, 2", (NOON,))  # fmt: skip
        found = cursor.fetchall()
        cursor.execute("SELECT timeframe FROM bar_named WHERE symbol = 'BTC-USD' ORDER BY start DESC, timeframe")
        assert {name for (name,) in cursor.fetchall()} == {"1m", "5m", "15m", "1h", "4h", "1d"}
    connection.close()
    assert [row[:3] for row in found] == [("test", "BTC-USD", "1m"), ("test", "ETH-USD", "1m"), ("yahoo", "TAPE", "1m")]
    assert found[2][3:] == (1.0, 10.0, None)


def test_the_deriver_changes_bars_only_and_others_do_not(deriving: Deriving) -> None:
    for role, statement in (
        (DERIVER, "DELETE FROM trade"), (DERIVER, "INSERT INTO bar_dirty (kind, instrument_ids, low, high) VALUES "
                                                  "('m', '{1}', now(), now())"),
        (WRITER, "DELETE FROM bar"), (WRITER, "DELETE FROM bar_dirty"), (READER, "SELECT fold_bar_marks('0')"),
    ):  # fmt: skip
        connection = connect(deriving.url, application_name="test", role=role)
        with connection.cursor() as cursor, pytest.raises(psycopg2.errors.InsufficientPrivilege):
            cursor.execute(statement)
        connection.close()


@pytest.fixture
def archived(deriving: Deriving, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of an archive that has the day of the trades, whose bars were derived before."""
    monkeypatch.setattr("analysis.workers.derivation._NEVER_ARCHIVED_DAYS", -2)
    deriving.derive()
    assert Archiver(deriving.url, tmp_path / "archive").archive("trade", NOON.date()).rows == 100
    return tmp_path / "archive"


def late(deriving: Deriving, trade_id: int, after_s: float, price: float) -> None:
    """Store a trade that came after its day was archived."""
    deriving.sql(
        "INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size, aggressor)"
        " VALUES (%s, %s, %s, now(), %s, 2, 'b')",
        BTC, trade_id, NOON + timedelta(seconds=after_s), price,
    )  # fmt: skip


def test_a_late_trade_of_an_archived_day_revises_its_bars_from_the_archive(deriving: Deriving, archived: Path) -> None:
    names = "open, low, close, trade_count, volume, complete"
    for interval_s, start in ((60, NOON), (86_400, NOON.replace(hour=0))):
        deriving.sql("SELECT rebuild_bars(%s, %s, %s)", [BTC], NOON, NOON + timedelta(hours=1))
        before = deriving.bar(names, interval_s, start)
        assert before is not None
        deriving.derive()
        assert deriving.bar(names, interval_s, start) == before
        count = before[3]
    late(deriving, 7001, 30, 99_999.0)
    late(deriving, 2, 1, 88_888.0)  # the archive has it, its time rounded otherwise
    deriving.derive()
    for interval_s, start in ((60, NOON), (86_400, NOON.replace(hour=0))):
        assert deriving.bar("high, close, trade_count, revision, complete", interval_s, start) == (
            99_999.0, 99_999.0, count + 1, 2, True,
        )  # fmt: skip
    Archiver(deriving.url, archived).archive("trade", NOON.date())
    deriving.derive()  # the rows that left the table are no removed trades
    assert deriving.bar("high, trade_count, revision") == (99_999.0, count + 1, 2)


def test_bars_of_an_archived_day_are_not_complete_while_its_file_is_missing(
    deriving: Deriving, archived: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = (archived / "trade").rglob("*.parquet")
    aside = file.rename(file.with_suffix(".aside"))
    late(deriving, 7001, 30, 99_999.0)
    late(deriving, 7002, 3 * 86_400, 5.0)  # of another day, whose bars do not wait
    while deriving.derivation.recent(deriving.connection, forming=True) or deriving.derivation.backlog(
        deriving.connection
    ):
        pass
    assert deriving.bar("complete, revision") == (False, 2)
    assert deriving.bar("complete", 86_400, NOON.replace(hour=0)) == (False,)
    assert deriving.bar("high", start=NOON + timedelta(days=3)) == (5.0,)
    assert [str(file) in reason for reason in deriving.derivation.unreadable.values()] == [True]
    aside.rename(file)
    monkeypatch.setattr("analysis.workers.derivation.time.monotonic", lambda: float("inf"))
    deriving.derive()
    assert deriving.bar("high, complete") == (99_999.0, True)
    assert not deriving.derivation.unreadable


def test_without_the_right_to_a_temporary_table_only_archived_days_wait(deriving: Deriving, archived: Path) -> None:
    name = deriving.sql("SELECT current_database()")[0][0]
    deriving.sql(f'REVOKE TEMPORARY ON DATABASE "{name}" FROM PUBLIC, {DERIVER}')
    connection = connect(deriving.url, application_name="deriver", role=DERIVER)
    derivation = Derivation(lateness_s=2.0)
    derivation.prepare(connection)
    late(deriving, 7001, 30, 99_999.0)
    late(deriving, 7002, 3 * 86_400, 5.0)
    while derivation.recent(connection, forming=True) or derivation.backlog(connection):
        pass
    connection.close()
    assert deriving.bar("complete") == (False,)
    assert deriving.bar("high", start=NOON + timedelta(days=3)) == (5.0,)
    assert ["tapedeck roles" in reason for reason in derivation.unreadable.values()] == [True]


@pytest.mark.parametrize("conflict", ["", "ON CONFLICT DO NOTHING"])
def test_an_insert_of_rows_of_several_days_marks_each_of_their_minutes(deriving: Deriving, conflict: str) -> None:
    deriving.derive()
    for day in (0, 1):
        deriving.sql("SELECT ensure_partition('trade', %s)", (NOON - timedelta(days=day)).date())
    columns = "INSERT INTO trade (instrument_id, trade_id, ts_event, ts_recv, price, size)"
    minutes = [NOON - timedelta(days=day, minutes=minute) for day in (0, 1, 40) for minute in (3, 9)]
    values = ", ".join(f"({BTC}, {9000 + at}, '{minute}', now(), 1, 1)" for at, minute in enumerate(minutes))
    deriving.sql(f"{columns} VALUES {values} {conflict}")
    assert deriving.sql("SELECT low FROM bar_dirty ORDER BY low") == [(minute,) for minute in sorted(minutes)]
    deriving.derive()
    # Two INSERT of one statement, and one that stores nothing.
    first, second = (f"{columns} VALUES ({BTC}, {number}, '{at}', now(), 1, 1) {conflict}"
                     for number, at in ((9100, minutes[0]), (9101, minutes[3])))  # fmt: skip
    deriving.sql(f"WITH one AS ({first}) {second}")
    assert deriving.sql("SELECT low FROM bar_dirty ORDER BY low") == [(minutes[3],), (minutes[0],)]
    deriving.derive()
    assert differences(deriving.url) == []
