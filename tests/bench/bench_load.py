"""Speed of loading trades: from a Postgres of its own against plain ADBC, from Parquet against polars."""

import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

import adbc_driver_postgresql.dbapi as adbc
import numpy as np
import polars as pl
import pyarrow as pa
from support.database_server import DatabaseServer

from analysis import load
from analysis.export import days_of, export
from analysis.load.tables import TRADE
from bench.measure import Figure, medians
from recorder.identity import instrument_id
from recorder.store.database import with_database
from recorder.store.migrate import migrate

VENUE, SYMBOL = "bench", "BTC/USD"
BEGIN = datetime(2026, 3, 1, tzinfo=UTC)
END = BEGIN + timedelta(days=5)
COLUMNS = ", ".join(TRADE.columns)
PLAIN = f"SELECT {COLUMNS} FROM trade WHERE instrument_id = %d AND ts_event >= '%s' AND ts_event < '%s'"


def bench_load(n: int, reps: int) -> list[Figure]:
    """Load the same trades from both sources: every row of five days, all columns."""
    with tempfile.TemporaryDirectory(prefix="tapedeck-bench-") as folder:
        server = DatabaseServer(Path(folder) / "home")
        server.start()
        try:
            url = with_database(server.url(), "bench")
            migrate(url)
            _fill(url, n)
            return _postgres(url, n, reps) + _archive(url, Path(folder) / "archive", n, reps)
        finally:
            server.stop()


def _postgres(url: str, n: int, reps: int) -> list[Figure]:
    query = PLAIN % (instrument_id(VENUE, SYMBOL), BEGIN, END)

    def plain() -> pa.Table:
        with adbc.connect(url) as connection, connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetch_arrow_table()

    def ours() -> pa.Table:
        return load.trades(VENUE, SYMBOL, BEGIN, END, source=url)

    assert plain().num_rows == ours().num_rows == n
    mine, theirs = medians(reps, ours, plain)
    return [
        Figure(f"{n:,} trades from Postgres, s", mine),
        Figure("speed against plain ADBC, unsorted", theirs / mine, at_least=0.9),
    ]


def _archive(url: str, root: Path, n: int, reps: int) -> list[Figure]:
    export(load.PostgresSource(url), root, VENUE, days_of(BEGIN, END), now=END + timedelta(days=1))
    symbol, clock = pl.col("symbol") == SYMBOL, pl.col("ts_event")

    def plain() -> pl.DataFrame:
        scan = pl.scan_parquet(root / "trade" / "**" / "*.parquet", hive_partitioning=True)
        wanted = scan.filter(pl.col("venue") == VENUE, symbol, clock >= BEGIN, clock < END)
        return wanted.select("venue", "symbol", *TRADE.columns).collect()

    def ours() -> pa.Table:
        return load.trades(VENUE, SYMBOL, BEGIN, END, source=root)

    def as_polars() -> pl.DataFrame:
        frame: pl.DataFrame = load.trades(VENUE, SYMBOL, BEGIN, END, source=root, to="polars")
        return frame

    assert len(plain()) == ours().num_rows == n
    mine, turned, theirs = medians(2 * reps, ours, as_polars, plain)
    return [
        Figure(f"{n:,} trades from Parquet, s", mine),
        Figure("speed against polars", theirs / mine, at_least=0.8),
        Figure("speed against polars, turned into its frame", theirs / turned),
    ]


def _fill(url: str, n: int) -> None:
    """Store trades of five days, in order."""
    rng = np.random.default_rng(1)
    begin = int(BEGIN.timestamp() * 1e6)
    at = begin + np.sort(rng.integers(0, (END - BEGIN) // timedelta(microseconds=1), n))
    number = instrument_id(VENUE, SYMBOL)
    rows = pa.table(
        {
            "instrument_id": np.full(n, number),
            "trade_id": np.arange(n),
            "ts_event": pa.array(at, pa.timestamp("us", tz="UTC")),
            "ts_recv": pa.array(at + 50_000, pa.timestamp("us", tz="UTC")),
            "price": np.round(60_000 * np.exp(np.cumsum(rng.normal(0, 1e-6, n))), 2),
            "size": np.round(rng.exponential(1, n) + 0.001, 4),
            "aggressor": pa.array(np.where(rng.random(n) < 0.5, "b", "s")),
        }
    )
    with adbc.connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(
            "INSERT INTO instrument (instrument_id, venue, symbol, first_seen)"
            f" VALUES ({number}, '{VENUE}', '{SYMBOL}', '{BEGIN}')"
        )
        for day in days_of(BEGIN, END):
            cursor.execute(f"SELECT ensure_partition('trade', '{day}')")
            cursor.fetchall()
        cursor.adbc_ingest("offered", rows, mode="create", temporary=True)
        columns = ", ".join(rows.schema.names)
        values = columns.replace("aggressor", 'aggressor::"char"')
        cursor.execute(f"INSERT INTO trade ({columns}) SELECT {values} FROM offered")
        connection.commit()
    with adbc.connect(url, autocommit=True) as connection, connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE trade")
