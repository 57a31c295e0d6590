"""A day leaves its table only when the archive has every value of it, and table and archive are one tape."""

import os
import shutil
from contextlib import closing
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from support.analysis.stored_tape import BEGIN, BEGIN_NS, DAYS, END, KRAKEN, OKX, Stored

from analysis import load
from analysis.arrays import HOUR, SECOND, Trades
from analysis.errors import ArchiveError
from analysis.export import write_table
from analysis.load.manifest import FileEntry, digest, read_manifest
from analysis.load.tables import LAYOUTS
from analysis.workers.archive import row_checksum
from analysis.workers.archive.day import Archiver
from recorder.errors import ConfigError

TABLES = ("trade", "quote", "book")


def tape(stored: Stored) -> list[pa.Table]:
    """Return everything that the loaders give of the recording, over the border of the two days."""
    readers = (load.trades, load.quotes, load.books)
    return [
        read(venue, symbol, BEGIN, END, source=stored.url, on_gap="ignore")
        for venue, symbol in (*KRAKEN, OKX)
        for read in readers
    ]


def count(stored: Stored, table: str, day: date) -> int:
    clock = "ts_event" if table == "trade" else "ts_recv"
    query = f"SELECT count(*) FROM {table} WHERE {clock} >= %s AND {clock} < %s"
    return int(stored.run(query, day, day + timedelta(days=1))[0][0])


def late_trade(trade_id: int, at_ns: int = BEGIN_NS + HOUR) -> Trades:
    one = np.array([at_ns])
    return Trades(one, one + HOUR, np.array([trade_id]), np.array([9.5]), np.array([1.0]), np.array([1], np.int8))


@pytest.mark.parametrize("table", TABLES)
def test_sql_and_parquet_give_one_checksum_of_every_kind_of_row(stored: Stored, archive: Path, table: str) -> None:
    layout = next(one for one in LAYOUTS if one.name == table)
    for day in DAYS:
        manifest = read_manifest(archive, "kraken", day)
        assert manifest is not None
        with closing(psycopg2.connect(stored.url)) as connection, connection.cursor() as cursor:
            cursor.execute("SET TIME ZONE 'UTC'")
            cursor.execute(row_checksum.query(layout), {"low": day, "high": day + timedelta(days=1)})
            rows = cursor.fetchall()
        by_venue = {venue: (int(number), int(checksum)) for venue, number, checksum in rows}
        found = row_checksum.of_file(str(archive / manifest.files[table].path), layout)
        assert by_venue["kraken"] == found
        assert found[0] > 0


def test_table_and_archive_are_one_tape_over_the_border(stored: Stored, tmp_path: Path) -> None:
    before = tape(stored)
    archiver = Archiver(stored.url, tmp_path / "a")
    for table in TABLES:
        rows = count(stored, table, DAYS[0])
        assert archiver.archive(table, DAYS[0]).rows == rows > 0
        assert count(stored, table, DAYS[0]) == 0
        assert stored.run("SELECT to_regclass(%s)", f"partition.{table}_{DAYS[0]:%Y%m%d}") == [(None,)]
    assert all(one.equals(other) for one, other in zip(tape(stored), before, strict=True))
    assert stored.run("SELECT count(*) FROM dropped_partitions() WHERE day IS NOT NULL") == [(0,)]
    sums = stored.run("SELECT sum(row_count), bool_and(state = 'kept' AND here AND revision = 1) FROM archive")
    assert sums[0][1] is True
    manifest = read_manifest(tmp_path / "a", "kraken", DAYS[0])
    assert manifest is not None
    assert set(manifest.files) == set(TABLES)
    assert manifest.schema_version == stored.run("SELECT max(version) FROM schema_migration")[0][0]


@pytest.mark.parametrize("fault", ["a value", "a row", "no file"])
def test_an_archive_that_differs_drops_nothing(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    """The file is changed behind the back of the archiver, right after its hash was found to be right."""
    from analysis.workers.archive import day as module

    real = write_table

    def spoiled(*arguments: object) -> object:
        entry = real(*arguments)  # type: ignore[arg-type]
        path = tmp_path / "a" / entry.path
        table = pq.read_table(path)
        if fault == "no file":
            path.unlink()
            return entry
        if fault == "a row":
            table = pa.concat_tables([table.slice(0, table.num_rows - 1), table.slice(0, 1)])
        else:
            sizes = np.array(table["size"].to_pylist())
            sizes[3] = np.nextafter(sizes[3], 2 * sizes[3])
            table = table.set_column(table.schema.get_field_index("size"), "size", pa.array(sizes))
        pq.write_table(table, path)
        return FileEntry(path=entry.path, rows=entry.rows, bytes=path.stat().st_size, sha256=digest(path))

    monkeypatch.setattr(module, "write_table", spoiled)
    before = count(stored, "trade", DAYS[0])
    with pytest.raises(ArchiveError, match="nothing was dropped"):
        Archiver(stored.url, tmp_path / "a").archive("trade", DAYS[0])
    assert count(stored, "trade", DAYS[0]) == before > 0
    assert stored.run("SELECT count(*) FROM archive") == [(0,)]


def test_late_trades_of_an_archived_day_are_read_once_and_join_its_next_revision(
    stored: Stored, tmp_path: Path
) -> None:
    archiver = Archiver(stored.url, tmp_path)
    archiver.archive("trade", DAYS[0])
    whole = load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="ignore")
    known = int(whole["trade_id"][5].as_py())
    at_ns = int(whole["ts_event"].cast(pa.int64())[5].as_py()) * 1000
    stored.trades("kraken", "BTC/USD", late_trade(0), first_id=900_001)  # new
    stored.trades(
        "kraken", "BTC/USD", late_trade(0, at_ns + SECOND), first_id=known
    )  # archived, its time rounded otherwise
    assert stored.run("SELECT count(*) FROM partition.trade_default") == [(2,)]
    with_late = load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="ignore")
    assert with_late.num_rows == whole.num_rows + 1
    assert archiver.archive("trade", DAYS[0]).rows == 2
    assert stored.run("SELECT count(*) FROM partition.trade_default") == [(0,)]
    after = load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="ignore")
    assert after.equals(with_late)
    query = "SELECT revision, duplicates FROM archive WHERE venue = 'kraken'"
    assert stored.run(query) == [(2, 1)]
    files = list((tmp_path / "trade" / "venue=kraken").rglob("*.parquet"))
    assert len(files) == 1
    assert len(list((tmp_path / "replaced" / "trade" / "venue=kraken").rglob("*.parquet"))) == 1
    assert archiver.archive("trade", DAYS[0]).outcome == "nothing"


def test_files_that_no_ledger_names_are_put_aside_and_not_removed(stored: Stored, tmp_path: Path) -> None:
    """So a database that was restored from before an archive does not cost what the archive has."""
    archiver = Archiver(stored.url, tmp_path)
    archiver.archive("trade", DAYS[0])
    other = next((tmp_path / "trade" / "venue=kraken").rglob("*.parquet"))
    shutil.copy(other, other.with_name("part-0123456789abcdef.parquet"))
    stored.trades("kraken", "BTC/USD", late_trade(0), first_id=900_001)
    archiver.archive("trade", DAYS[0])
    assert (tmp_path / "superseded" / other.relative_to(tmp_path).parent / "part-0123456789abcdef.parquet").exists()


def test_an_archived_file_that_is_gone_is_an_error_and_no_quiet_hole(stored: Stored, tmp_path: Path) -> None:
    Archiver(stored.url, tmp_path).archive("trade", DAYS[0])
    os.rename(tmp_path / "trade", tmp_path / "moved")
    with pytest.raises(ArchiveError, match="table archive names it"):
        load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="ignore")


def test_the_archive_of_the_keeper_takes_no_export(stored: Stored, tmp_path: Path) -> None:
    from support.analysis.stored_tape import LATER

    from analysis.export import export

    Archiver(stored.url, tmp_path).archive("trade", DAYS[0])
    with pytest.raises(ConfigError, match="archive of the keeper"):
        export(load.PostgresSource(stored.url), tmp_path, "kraken", DAYS, now=LATER)


def test_a_flipped_bit_in_an_archived_file_is_an_error_that_says_what_to_do(stored: Stored, tmp_path: Path) -> None:
    Archiver(stored.url, tmp_path).archive("trade", DAYS[0])
    whole = load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="ignore")
    path = next((tmp_path / "trade" / "venue=kraken").rglob("*.parquet"))
    kept, status = path.read_bytes(), path.stat()
    for at in (len(kept) // 3, len(kept) // 2):
        data = bytearray(kept)
        data[at] ^= 1
        path.write_bytes(data)
        with pytest.raises(ArchiveError, match=f"{path.name} is damaged.*from a backup"):
            load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="ignore")
    stored.run("UPDATE archive SET copied_to = '/second', copied_at = now()")
    with pytest.raises(ArchiveError, match="a copy is in /second: bring it back"):
        load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="ignore")
    path.write_bytes(kept)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    again = load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="ignore")
    assert again.equals(whole)


def test_an_archived_file_is_hashed_once_for_many_reads(
    stored: Stored, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from analysis.load.kept import ledger

    Archiver(stored.url, tmp_path).archive("trade", DAYS[0])
    hashed: list[Path] = []

    def counted(path: Path) -> str:
        hashed.append(path)
        return digest(path)

    monkeypatch.setattr(ledger, "digest", counted)
    for _ in range(3):
        load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="ignore")
    assert len(hashed) == 1


def test_a_trade_that_comes_twice_after_its_day_was_archived_is_one_trade(stored: Stored, tmp_path: Path) -> None:
    archiver = Archiver(stored.url, tmp_path)
    archiver.archive("trade", DAYS[0])
    whole = load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="ignore")
    first, second, other = BEGIN_NS + HOUR + SECOND, BEGIN_NS + HOUR, BEGIN_NS + HOUR + 10 * SECOND
    for at_ns in (first, second, other):  # received in another order than by their times
        rows = late_trade(0, at_ns)
        stored.trades(
            "kraken", "BTC/USD", replace(rows, ts_recv=rows.ts_recv + (at_ns == second) * 5 * SECOND), 900_001
        )

    def times() -> list[int]:
        found = load.trades("kraken", "BTC/USD", BEGIN, END, source=stored.url, on_gap="ignore")
        assert found.num_rows == whole.num_rows + 2
        mine = found.filter(pc.equal(found["trade_id"], 900_001))
        return [int(one) * 1000 for one in mine["ts_event"].cast(pa.int64()).to_pylist()]

    assert times() == [first, other]
    between = load.trades(  # the first is outside of the range, and the second is it once more
        "kraken", "BTC/USD", BEGIN, BEGIN + timedelta(hours=1, milliseconds=500), source=stored.url, on_gap="ignore"
    )
    assert 900_001 not in between["trade_id"].to_pylist()
    assert archiver.archive("trade", DAYS[0]).rows == 3
    assert stored.run("SELECT count(*) FROM partition.trade_default") == [(0,)]
    assert times() == [first, other]
    query = "SELECT revision, duplicates FROM archive WHERE venue = 'kraken'"
    assert stored.run(query) == [(2, 1)]
