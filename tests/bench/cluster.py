"""A Postgres that is thrown away after the bench: the embedded server of the appliance, with its own settings.

The one setting added is `track_commit_timestamp`, which says when a row became visible without a change to a subject.
Both subjects connect through the Unix socket.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import psycopg2
from psycopg2.extensions import parse_dsn
from support.database_server import DatabaseServer

from bench import process_stats
from recorder.appliance.embedded_postgres import SUPERUSER
from recorder.store.database import with_database

Row = tuple[object, ...]


class Cluster:
    """A running server."""

    def __init__(self, home: Path) -> None:
        folder = home / "postgres"
        folder.mkdir(parents=True)
        (folder / "local.conf").write_text("track_commit_timestamp = on\n")
        self._server = DatabaseServer(home)
        self.start()

    @property
    def port(self) -> int:
        """Number in the name of the Unix socket."""
        return self._server.port

    @property
    def socket_folder(self) -> Path:
        """Folder of the Unix socket."""
        return self._server.embedded.sockets

    @property
    def user(self) -> str:
        """Name of the superuser."""
        return SUPERUSER

    @property
    def password(self) -> str:
        """Password of the superuser, for the environment of a process."""
        return str(parse_dsn(self.url("postgres"))["password"])

    @property
    def version(self) -> str:
        """Version of the server."""
        with Monitor(self, "postgres") as monitor:
            return str(monitor.row("SHOW server_version")[0])

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._server.start()

    def stop(self) -> None:
        """Stop the server as a service manager does."""
        self._server.stop()

    def url(self, database: str) -> str:
        """Return the address of a database, as superuser."""
        return with_database(self._server.url(), database)

    def cpu_s(self, *without: int) -> float:
        """Return the CPU seconds of the server and its processes, but for some."""
        return process_stats.tree_cpu_s(self._server.pid, without)


class Monitor:
    """The bench's own connection to a database. Its backend is not counted among the server's processes."""

    def __init__(self, cluster: Cluster, database: str) -> None:
        self._cluster = cluster
        self._connection = psycopg2.connect(cluster.url(database))
        self._connection.autocommit = True
        self._cursor = self._connection.cursor()
        self.execute("SET max_parallel_workers_per_gather = 0")
        self._pid = self._connection.info.backend_pid

    def __enter__(self) -> "Monitor":
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def execute(self, statement: str) -> None:
        """Run a statement."""
        self._cursor.execute(statement)

    def row(self, query: str) -> Row:
        """Return the first row of a query."""
        self._cursor.execute(query)
        row = self._cursor.fetchone()
        assert row is not None
        return tuple(row)

    def number(self, query: str) -> float:
        """Return the single number that a query gives; 0 for NULL."""
        return float(str(self.row(query)[0] or 0))

    def postgres_cpu_s(self) -> float:
        """Return the CPU seconds that Postgres has used for others than us."""
        return self._cluster.cpu_s(self._pid)


@contextlib.contextmanager
def running_cluster(home: Path) -> Iterator[Cluster]:
    """Run a server in a folder while the block runs."""
    cluster = Cluster(home)
    try:
        yield cluster
    finally:
        cluster.stop()
