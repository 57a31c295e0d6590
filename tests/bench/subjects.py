"""The two recorders that are compared: how each is started on empty tables, and how its rows are counted."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Protocol

from bench.cluster import Cluster, Monitor
from bench.feed_messages import COINS
from recorder.store.migrate import drop_database, migrate

ROOT = Path(__file__).resolve().parents[2]

_PEER_TABLES = """
CREATE TABLE trades (id serial PRIMARY KEY, timestamp timestamp, receipt_timestamp timestamp, exchange varchar(32),
    symbol varchar(32), side varchar(8), amount numeric(64, 32), price numeric(64, 32), trade_id varchar(64),
    order_type varchar(32));
CREATE TABLE ticker (id serial PRIMARY KEY, timestamp timestamp, receipt_timestamp timestamp, exchange varchar(32),
    symbol varchar(32), bid numeric(64, 32), ask numeric(64, 32));
CREATE TABLE book (id serial PRIMARY KEY, timestamp timestamp, receipt_timestamp timestamp, exchange varchar(32),
    symbol varchar(32), data jsonb);
"""


class Subject(Protocol):
    """A recorder under test. A message is a row in one of its three tables; snapshots of books are not counted.

    Attributes:
        name: Of the subject.
        dialect: That it reads.
        database: That it writes to.
        tables: Of trades, quotes and books.
        book_changes: Condition that is true for rows of book changes.
        event_time: Expression for the venue's time of a trade.
        rows_so_far: Query that estimates the number of its rows without reading them.
    """

    name: str
    dialect: str
    database: str
    tables: tuple[str, str, str]
    book_changes: str
    event_time: str
    rows_so_far: str

    def prepare(self) -> None:
        """Make the database with empty tables."""
        ...

    def start(self, feed_port: int) -> list[subprocess.Popen[bytes]]:
        """Start its processes; the first one reads the feed."""
        ...


class Cryptofeed:
    """cryptofeed 2.5 with its Postgres backend: one process, tables as its documentation gives them."""

    name = "cryptofeed"
    dialect = "binance"
    database = "bench_peer"
    tables = ("trades", "ticker", "book")
    book_changes = "data ? 'delta'"
    event_time = "timestamp AT TIME ZONE 'UTC'"
    rows_so_far = "SELECT " + " + ".join(
        f"coalesce(pg_sequence_last_value('{table}_id_seq'), 0)" for table in ("trades", "ticker", "book")
    )

    def __init__(self, cluster: Cluster, folder: Path, python: str) -> None:
        """
        Args:
            cluster: Where it stores.
            folder: For its log.
            python: Interpreter of its environment.
        """
        self._cluster = cluster
        self._log = folder / "cryptofeed.log"
        self._python = python

    def prepare(self) -> None:
        drop_database(self._cluster.url(self.database))
        with Monitor(self._cluster, "postgres") as monitor:
            monitor.execute(f"CREATE DATABASE {self.database}")
        with Monitor(self._cluster, self.database) as monitor:
            monitor.execute(_PEER_TABLES)

    def start(self, feed_port: int) -> list[subprocess.Popen[bytes]]:
        server = self._cluster
        command = [
            self._python, str(Path(__file__).parent / "peer_app.py"), str(feed_port), str(server.socket_folder),
            str(server.port), server.user, self.database,
        ]  # fmt: skip
        with open(self._log, "ab") as log:
            environment = {**os.environ, "PGPASSWORD": server.password}
            return [subprocess.Popen(command, env=environment, stdout=log, stderr=log)]


class Tapedeck:
    """This recorder: the recorder and the writer, both as their own processes, books and gap detection on."""

    name = "tapedeck"
    dialect = "coinbase"
    database = "bench_tapedeck"
    tables = ("trade", "quote", "book")
    book_changes = "kind = 'd'"
    event_time = "ts_event"
    rows_so_far = "SELECT sum(inserted) FROM load_ledger WHERE table_name IN ('trade', 'quote', 'book')"

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        """
        Args:
            cluster: Where it stores.
            folder: For its journals and logs, one sub-folder a run.
        """
        self._cluster = cluster
        self._folder = folder
        self._runs = 0

    def prepare(self) -> None:
        drop_database(self._cluster.url(self.database))
        migrate(self._cluster.url(self.database))

    def start(self, feed_port: int) -> list[subprocess.Popen[bytes]]:
        self._runs += 1
        home = self._folder / f"tapedeck-{self._runs}"
        home.mkdir(parents=True)
        symbols = ", ".join(f'"{coin.name}-USD"' for coin in COINS)
        config = home / "bench.toml"
        config.write_text(f'[venues.coinbase]\nurl = "ws://127.0.0.1:{feed_port}"\nsymbols = [{symbols}]\n')
        environment = {
            **os.environ,
            "TAPEDECK_HOME": str(home),
            "TAPEDECK_CONFIG": str(config),
            "DATABASE_URL": self._cluster.url(self.database),
        }
        commands = [[sys.executable, "bin/recorder", "coinbase"], [sys.executable, "bin/writer"]]
        with open(home / "log", "ab") as log:
            return [
                subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log) for command in commands
            ]


def stored(subject: Subject, monitor: Monitor) -> int:
    """Return how many messages a subject has stored."""
    trades, quotes, books = subject.tables
    counts = (
        monitor.number(f"SELECT count(*) FROM {trades}"),
        monitor.number(f"SELECT count(*) FROM {quotes}"),
        monitor.number(f"SELECT count(*) FROM {books} WHERE {subject.book_changes}"),
    )
    return int(sum(counts))


def last_commit_s(subject: Subject, monitor: Monitor) -> float:
    """Return the time of the last commit that stored a row, seconds since 1970."""
    return max(
        monitor.number(
            "SELECT extract(epoch FROM max(pg_xact_commit_timestamp(number)))"
            f" FROM (SELECT DISTINCT xmin AS number FROM {table}) AS transactions"
        )
        for table in subject.tables
    )


def trade_latency_ms(subject: Subject, monitor: Monitor) -> tuple[float, float]:
    """Return median and p99 of the time from a trade's event to its commit."""
    latency = f"extract(epoch FROM pg_xact_commit_timestamp(xmin) - ({subject.event_time})) * 1000"
    p50, p99 = (
        monitor.number(f"SELECT percentile_cont({part}) WITHIN GROUP (ORDER BY {latency}) FROM {subject.tables[0]}")
        for part in (0.5, 0.99)
    )
    return p50, p99
