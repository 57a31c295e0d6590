"""The tape in Postgres, read as Arrow through ADBC: COPY BINARY on the wire, no Python object per value."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa

from analysis.load.source import US, Instrument, Range, Unrecorded
from analysis.load.tables import GAP, WORDS, Layout, coded
from recorder.database import CONNECT_TIMEOUT_S, READER, check_url, judge
from recorder.instruments import instrument_id
from recorder.postgres import database_url
from recorder.settings import Settings

_BEGIN = (
    # Rows of one frame have no number of their own: the order of the heap is the only one, and workers would mix it.
    "SET max_parallel_workers_per_gather = 0",
    "SET TIME ZONE 'UTC'",
    "SET extra_float_digits = 3",
)
_MAY_BECOME = """
    SELECT count(*) FROM pg_roles
     WHERE rolname = $1 AND pg_has_role(session_user, oid,
           CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)"""
_INSTRUMENTS = "SELECT instrument_id, symbol, first_seen FROM instrument WHERE venue = $1 ORDER BY symbol"
_RECORDED_UNTIL = "SELECT max(coalesce(last_frame_at, started_at)) FROM session WHERE venue = $1"


@dataclass(frozen=True, slots=True)
class PostgresSource:
    """A database of the recorder.

    Attributes:
        url: postgresql://...; not shown, since it holds a password.
    """

    url: str = field(repr=False)

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """The database of the appliance: DATABASE_URL, or the embedded server's.

        Raises:
            StoreUnavailable: the embedded server was never started.
            ConfigError: the address or its password cannot be read.
        """
        return cls(database_url(settings))

    @contextmanager
    def reading(self) -> Iterator["PostgresReader"]:
        """A read-only transaction that sees one moment, with the rights of a reader."""
        check_url(self.url)
        with _translated():
            joint = "&" if "?" in self.url else "?"
            options = f"application_name=tapedeck-analysis&connect_timeout={CONNECT_TIMEOUT_S}"
            connection = adbc.connect(f"{self.url}{joint}{options}")
        try:
            with _translated(), connection.cursor() as cursor:
                for command in _BEGIN:
                    cursor.execute(command)
                cursor.execute(_MAY_BECOME, [READER])
                if cursor.fetchone()[0]:
                    cursor.execute(f"SET ROLE {READER}")
                connection.commit()
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                yield PostgresReader(cursor)
        finally:
            connection.close()


class PostgresReader:
    """A Reader inside a transaction."""

    in_order = False  # a heap is in the order of arrival

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor

    def venues(self) -> list[str]:
        """Venues with an instrument."""
        names: list[str] = self._fetch("SELECT DISTINCT venue FROM instrument ORDER BY venue").column(0).to_pylist()
        return names

    def instruments(self, venue: str, symbols: Sequence[str] | None = None) -> list[Instrument]:
        """What was recorded at a venue."""
        if symbols is None:
            found = self._bound(_INSTRUMENTS, venue).to_pylist()
        else:
            ids = [instrument_id(venue, symbol) for symbol in symbols]
            query = f"SELECT instrument_id, symbol, first_seen FROM instrument WHERE {_among(ids)} ORDER BY symbol"
            found = self._fetch(query).to_pylist()
        return [Instrument(row["instrument_id"], venue, row["symbol"], row["first_seen"]) for row in found]

    def unrecorded(self, venue: str, span: Range) -> list[Unrecorded]:
        """What lies after the latest frame of the venue."""
        until = self.recorded_until(venue)
        if until is None or until + US >= span.end:
            return []
        return [Unrecorded(until, None, "after the latest frame")]

    def recorded_until(self, venue: str) -> datetime | None:
        """Receipt of the latest frame of any session with a venue; None where no session is known."""
        found: datetime | None = self._bound(_RECORDED_UNTIL, venue).column(0)[0].as_py()
        return found

    def schema_version(self) -> int:
        """Number of the last migration."""
        return int(self._fetch("SELECT max(version) FROM schema_migration").column(0)[0].as_py())

    def count(self, layout: Layout, whose: Sequence[Instrument], span: Range) -> int:
        """How many rows `rows` would give."""
        found = self._fetch(f"SELECT count(*) FROM {layout.name} WHERE {_of(whose)} AND {_within(layout, span)}")
        return int(found.column(0)[0].as_py())

    def gaps(self, whose: Sequence[Instrument], span: Range) -> pa.Table:
        """Gaps that may touch the range."""
        start, end = _instant(span.start), _instant(span.end)
        return self._fetch(
            f"SELECT {', '.join(GAP.names)} FROM gap WHERE {_of(whose)}"
            f" AND (least(started_at, last_ts_event) < {end})"
            f" AND (ended_at IS NULL OR greatest(ended_at, first_ts_event) >= {start})"
            " ORDER BY started_at, gap_id"
        ).cast(GAP)

    def pieces(self, layout: Layout, whose: Sequence[Instrument], span: Range) -> list[Range]:
        """The stretches of the table."""
        return span.pieces(layout.stretch)

    def rows(self, layout: Layout, whose: Sequence[Instrument], span: Range, columns: Sequence[str]) -> pa.Table:
        """Rows of one table."""
        schema = pa.schema([layout.schema.field(name) for name in columns])
        table = self._fetch(
            f"SELECT {', '.join(columns)} FROM {layout.name} WHERE {_of(whose)} AND {_within(layout, span)}"
        )
        columns_of_it = [coded(table[name], name) if name in WORDS else table[name] for name in columns]
        return pa.table(columns_of_it, names=list(columns)).cast(schema)

    def _bound(self, query: str, *values: str) -> pa.Table:
        with _translated():
            self._cursor.execute(query, list(values))
            return self._cursor.fetch_arrow_table()

    def _fetch(self, query: str) -> pa.Table:
        with _translated():
            self._cursor.execute(query)
            return self._cursor.fetch_arrow_table()


# COPY takes no parameters, and without COPY the driver holds the whole answer as text. So what goes into these queries
# is written by the functions below alone: integers and instants, never a text from outside.
def _among(instruments: Sequence[int]) -> str:
    if not instruments:
        return "false"
    return f"instrument_id IN ({', '.join(str(int(number)) for number in instruments)})"


def _of(whose: Sequence[Instrument]) -> str:
    return _among([one.instrument_id for one in whose])


def _within(layout: Layout, span: Range) -> str:
    return f"{layout.clock} >= {_instant(span.start)} AND {layout.clock} < {_instant(span.end)}"


def _instant(at: datetime) -> str:
    return f"'{at.astimezone(UTC).strftime('%Y-%m-%d %H:%M:%S.%f')}+00'::timestamptz"


@contextmanager
def _translated() -> Iterator[None]:
    """Errors of the driver as ours."""
    try:
        yield
    except adbc_driver_manager.Error as error:
        raise judge(error.sqlstate, str(error)) from error
