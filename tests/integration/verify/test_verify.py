"""`verify` against a real Postgres: a clean database passes, and every manipulation is found."""

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import psycopg2
import pytest
from support.keeping.archives import write_manifest
from support.simulator.client import client, coinbase_subscribe, read_until

from recorder.events import Channel
from recorder.identity import instrument_id
from recorder.simulator.running import running
from recorder.store.database import Connection
from recorder.truth import BookItem, Closed, QuoteItem, Subscribed, TradeItem, read_truth
from recorder.verify.check import verify
from recorder.verify.declared import GapCounts
from recorder.verify.lineage import compare

BTC = instrument_id("coinbase", "BTC-USD")
AT = "timestamptz 'epoch' + %s * interval '1 microsecond'"


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The truth log of a simulated Coinbase with one client."""
    path = tmp_path_factory.mktemp("truth") / "truth.jsonl"
    with running("coinbase", truth=path, rate=1500, seed=11) as venue, client(venue.url) as socket:
        coinbase_subscribe(socket, "matches", "ticker", "level2_batch")
        read_until(socket, lambda seen: len(seen) > 300)
        venue.do("close", how="rst")
    return path


@pytest.fixture
def loaded(database: str, truth: Path) -> Iterator[Connection]:
    """A database with all sent rows and a matching ledger."""
    connection = psycopg2.connect(database)
    connection.autocommit = True
    with connection.cursor() as cursor:
        sent = {number for line in read_truth(truth) for number in numbers(line)}
        counts = dict.fromkeys(("trade", "quote", "book"), 0)
        for line in read_truth(truth):
            match line:
                case TradeItem() if line.n in sent:
                    counts["trade"] += 1
                    cursor.execute(
                        f"INSERT INTO trade VALUES (%s, %s, {AT}, now(), %s, %s, %s)",
                        (BTC, line.id, line.ts // 1000, float(line.p), float(line.q), line.side),
                    )
                case QuoteItem() if line.n in sent:
                    counts["quote"] += 1
                    values = [float(value or "nan") for value in (line.b, line.bq, line.a, line.aq)]
                    assert line.ts is not None
                    cursor.execute(
                        f"INSERT INTO quote VALUES (%s, now(), {AT}, 1, 1, %s, %s, %s, %s, %s)",
                        (BTC, line.ts // 1000, line.seq, *values),
                    )
                case BookItem() if line.n in sent:
                    counts["book"] += 1
                    sides = [[[float(p), float(q)] for p, q in side] for side in (line.bids, line.asks)]
                    at_us = line.ts // 1000 if line.ts is not None else None
                    cursor.execute(
                        f"INSERT INTO book VALUES (%s, now(), {AT}, 1, 1, %s, NULL, %s::float8[], %s::float8[])",
                        (BTC, at_us, "s" if line.snap else "d", *sides),
                    )
                case _:
                    pass
        cursor.execute("INSERT INTO journal VALUES ('j', 'recorder-coinbase', 1, 0, 0)")
        for table, count in counts.items():
            cursor.execute("INSERT INTO load_ledger VALUES ('j', 1, %s, 1, %s, %s, 0, 0)", (table, count, count))
    yield connection
    connection.close()


def numbers(line: object) -> list[int]:
    ranges = getattr(line, "n", 0)
    return [n for a, b in ranges for n in range(a, b + 1)] if isinstance(ranges, list) else []


def execute(connection: Connection, query: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(query)


def test_a_database_that_holds_what_was_sent_is_clean(loaded: Connection, truth: Path) -> None:
    report = verify(loaded, [truth])
    assert report.problems == []
    assert report.ok
    assert [(one.symbol, one.channel) for one in report.streams] == [
        ("BTC-USD", "book"), ("BTC-USD", "quote"), ("BTC-USD", "trade"),
    ]  # fmt: skip
    assert all(one.sent == one.stored > 5 for one in report.streams)
    assert loaded.autocommit  # as the caller had it


def test_progress_counts_the_rows_of_each_stream(loaded: Connection, truth: Path) -> None:
    reports: list[tuple[str, int, int]] = []
    report = verify(loaded, [truth], progress=lambda what, rows, total: reports.append((what, rows, total)))
    named = [what for what, _, _ in reports]
    assert named[:4] == ["tables", "rows of book", "rows of quote", "rows of trade"]
    assert [what for what in named if what.startswith("coinbase BTC-USD")] == [
        f"coinbase BTC-USD {channel}" for channel in ("book", "quote", "trade")
    ]
    rows = sum(one.rows or 0 for one in report.ledger if one.table in ("trade", "quote", "book"))
    assert {total for _, _, total in reports if total} == {rows}
    assert reports[-1][1] == rows


def test_journals_that_are_not_there_are_not_passed_over_in_silence(loaded: Connection, tmp_path: Path) -> None:
    (note,) = compare(loaded, tmp_path / "gone", ["recorder-coinbase"]).notes
    assert note == f"the journals were not compared: there is no folder {tmp_path / 'gone'}"


def test_without_a_truth_only_the_ledger_is_judged(loaded: Connection) -> None:
    assert verify(loaded).ok
    execute(loaded, "DELETE FROM quote WHERE ctid = (SELECT min(ctid) FROM quote)")
    report = verify(loaded)
    assert not report.ok
    assert [one.table for one in report.ledger if not one.ok] == ["quote"]


@pytest.mark.parametrize("table", ["trade", "quote", "book"])
def test_a_lost_row_is_missing_until_a_gap_declares_it(table: Channel, loaded: Connection, truth: Path) -> None:
    key = "trade_id" if table == "trade" else "ts_event"
    execute(
        loaded,
        f"WITH middle AS (SELECT {key} AS k FROM {table} WHERE ts_event IS NOT NULL ORDER BY {key} OFFSET 3 LIMIT 1), "
        f"gone AS (DELETE FROM {table} USING middle WHERE {key} = k RETURNING {table}.*) "
        f"UPDATE load_ledger SET offered = offered - n, inserted = inserted - n "
        f"FROM (SELECT count(*) AS n FROM gone) AS c WHERE table_name = '{table}'",
    )
    found = {one.channel: one for one in verify(loaded, [truth]).streams}
    assert found[table].missing >= 1
    assert all(one.ok for channel, one in found.items() if channel != table)
    lost = next(example for example in found[table].examples if example.startswith("missing"))
    number = int(lost.split("(")[1].split(",")[0])
    ids = f"{number - 1}, {number + 1}" if table == "trade" else "NULL, NULL"
    times = (
        f"timestamptz 'epoch' + {number - 1} * interval '1 microsecond', "
        f"timestamptz 'epoch' + {number + 1} * interval '1 microsecond'"
        if table != "trade"
        else "NULL, NULL"
    )
    execute(
        loaded,
        f"INSERT INTO gap VALUES (1, {BTC}, '{table}', NULL, 'disconnect', 'open', NULL, {ids}, now(), now(), "
        f"{times}, 1)",
    )
    assert verify(loaded, [truth]).ok


def test_a_changed_value_is_wrong_to_the_last_bit(loaded: Connection, truth: Path) -> None:
    execute(loaded, "UPDATE trade SET price = price * (1 + 2e-16) WHERE trade_id = (SELECT max(trade_id) FROM trade)")
    checks = {one.channel: one.wrong for one in verify(loaded, [truth]).streams}
    assert checks == {"trade": 1, "quote": 0, "book": 0}


def test_one_id_at_two_times_is_found_unless_a_reset_is_declared(loaded: Connection) -> None:
    execute(
        loaded,
        "INSERT INTO trade SELECT instrument_id, trade_id, ts_event + interval '1 second', ts_recv, price, size, "
        "aggressor FROM trade ORDER BY trade_id LIMIT 1",
    )
    execute(loaded, "UPDATE load_ledger SET offered = offered + 1, inserted = inserted + 1 WHERE table_name = 'trade'")
    assert verify(loaded).doubled_ids == 1
    execute(
        loaded,
        f"INSERT INTO gap SELECT 2, {BTC}, 'trade', NULL, 'sequence_reset', 'open', NULL, NULL, NULL, "
        "min(ts_event), max(ts_event), min(ts_event), max(ts_event), 1 FROM trade",
    )
    assert verify(loaded).ok


@pytest.mark.parametrize(
    "table", ["gap", "session", "market_snapshot", "market_book", "whale_event", "resolution", "equity_bar"]
)
def test_a_removed_row_is_found_without_a_truth(table: str, loaded: Connection) -> None:
    execute(loaded, f"INSERT INTO load_ledger VALUES ('j', 1, '{table}', 1, 1, 1, 0, 0)")
    report = verify(loaded)
    assert [one.table for one in report.ledger if not one.ok] == [table]
    assert not report.ok


def test_a_second_client_that_comes_later_leaves_a_time_that_must_be_declared(database: str, tmp_path: Path) -> None:
    path = tmp_path / "truth.jsonl"
    with running("coinbase", truth=path, rate=500, seed=5) as venue:
        for _ in range(2):
            with client(venue.url) as socket:
                coinbase_subscribe(socket, "matches", "ticker", "level2_batch")
                read_until(socket, lambda seen: len(seen) > 20)
    closed = [line.t // 1000 for line in read_truth(path) if isinstance(line, Closed)]
    begun = [line.t // 1000 for line in read_truth(path) if isinstance(line, Subscribed) and line.ch == "quote"]
    connection = psycopg2.connect(database)
    connection.autocommit = True
    gap = (
        f"INSERT INTO gap VALUES (%s, {BTC}, 'quote', NULL, 'disconnect', 'open', NULL, NULL, NULL, {AT}, {AT}, "
        "NULL, NULL, 1)"
    )

    def absent() -> int:
        return sum(one.absent for one in verify(connection, [path]).streams if one.channel == "quote")

    assert absent() == 1
    with connection.cursor() as cursor:
        cursor.execute(gap, (1, closed[0], begun[1] - 10_000))
        assert absent() == 1  # shortened
        cursor.execute(gap, (2, begun[1] - 20_000, begun[1] + 10_000))
    assert absent() == 0
    connection.close()


def archived(connection: Connection, root: Path) -> tuple[int, list[Path]]:
    """Move all trades into files of an archive; return their number and the files."""
    content, paths = b"rows" * 300_000, []
    with connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO archive (table_name, day, venue, revision, state, folder, path, row_count, duplicates, bytes,"
            " sha256, checksum) SELECT 'trade', (ts_event AT TIME ZONE 'UTC')::date, 'coinbase', 1, 'kept', %s,"
            " 'p' || (ts_event AT TIME ZONE 'UTC')::date, count(*), 0, %s, %s, 0 FROM trade GROUP BY 2",
            (str(root), len(content), sha256(content).hexdigest()),
        )
        cursor.execute("SELECT path FROM archive")
        for (name,) in cursor.fetchall():
            (root / name).write_bytes(content)
            paths.append(root / name)
            write_manifest(root, "coinbase", name.removeprefix("p"), {"trade": sha256(content).hexdigest()})
        cursor.execute("SELECT count(*) FROM trade")
        row = cursor.fetchone()
        assert row is not None
        cursor.execute("DELETE FROM trade")
    return int(row[0]), paths


def test_days_in_the_archive_are_not_called_lost(loaded: Connection, truth: Path, tmp_path: Path) -> None:
    rows, _ = archived(loaded, tmp_path)
    read: list[tuple[str, int, int]] = []
    report = verify(loaded, [truth], progress=lambda *one: read.append(one))
    assert report.ok, report.problems
    assert any(f"{rows:,} rows of trade of" in note for note in report.notes)
    assert any("SHA-256 are as archived" in note for note in report.notes)
    assert ("archive", 1, 1) in read
    with loaded.cursor() as cursor:
        cursor.execute("UPDATE archive SET row_count = row_count - 1")
    assert not verify(loaded).ok


@pytest.mark.parametrize("fault", ["is missing", "differs", "has 3 bytes"])
def test_rows_of_a_damaged_or_missing_archive_file_are_lost(loaded: Connection, tmp_path: Path, fault: str) -> None:
    _, (path, *_) = archived(loaded, tmp_path)
    if fault == "is missing":
        path.unlink()
    elif fault == "differs":
        data = bytearray(path.read_bytes())
        data[700_000] ^= 1
        path.write_bytes(data)
    else:
        path.write_bytes(b"row")
    report = verify(loaded)
    assert not report.ok
    assert any(str(path) in one and fault in one and "bring it back" in one for one in report.problems)
    trade = next(one for one in report.ledger if one.table == "trade")
    assert not trade.ok
    assert report.archive is not None
    assert trade.lost == sum(one.rows for one in report.archive.faults) > 0


def test_an_archive_file_in_the_second_place_only_is_named_as_not_looked_at(loaded: Connection, tmp_path: Path) -> None:
    _, paths = archived(loaded, tmp_path)
    with loaded.cursor() as cursor:
        cursor.execute("UPDATE archive SET here = false, copied_to = '/second', copied_at = now()")
    for path in paths:
        path.unlink()
    report = verify(loaded)
    assert report.ok, report.problems
    for path in paths:
        assert any(one.startswith(f"not looked at: {path.name} ") and "/second only" in one for one in report.notes)


def test_declared_gaps_are_counted_by_what_may_become_of_them(loaded: Connection) -> None:
    rows = (
        ("open", "disconnect", "NULL"),  # going on
        ("open", "disconnect", "now()"), ("open", "restart", "now()"),
        ("unhealable", "disconnect", "now()"), ("healed", "disconnect", "now()"),
        ("open", "unsubscribed", "NULL"),
    )  # fmt: skip
    execute(loaded, "INSERT INTO subscription (venue, symbol, channel) VALUES ('coinbase', '*', 'trade')")
    execute(
        loaded,
        "INSERT INTO instrument (instrument_id, venue, symbol, first_seen)"
        f" VALUES ({BTC}, 'coinbase', 'BTC-USD', now()) ON CONFLICT DO NOTHING",
    )
    for number, (state, cause, ended_at) in enumerate(rows, 1):
        execute(
            loaded,
            "INSERT INTO gap (gap_id, instrument_id, channel, cause, state, started_at, ended_at, revision)"
            f" VALUES ({number}, {BTC}, 'trade', '{cause}', '{state}', now() - interval '9 days', {ended_at}, 1)",
        )
    assert verify(loaded).gaps == GapCounts(lasting=1, ended=2, unhealable=1, healed=1, unsubscribed=1)
    execute(loaded, "UPDATE subscription SET active = false")
    assert verify(loaded).gaps.lasting == 0, "a stream without a subscription misses nothing"
