"""Read a recorder's database as Arrow through ADBC: COPY BINARY on the wire, no Python object per value."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import adbc_driver_manager
import adbc_driver_postgresql.dbapi as adbc
import pyarrow as pa
import pyarrow.compute as pc

from analysis.load.archive import read_files
from analysis.load.kept.ledger import KEYS, LEDGER, SAME, Ledger, is_known
from analysis.load.source import DAY, US, Instrument, Range, Unrecorded
from analysis.load.tables import CERTIFICATE, GAP, LAYOUTS, TRADE, WORDS, Channel, Layout, coded
from recorder.appliance.embedded_postgres import database_url
from recorder.identity import instrument_id
from recorder.settings import Settings
from recorder.store.database import CONNECT_TIMEOUT_S, READER, check_url, judge

_BEGIN = (
    # Rows of one frame have no number; only the heap keeps their order, and parallel workers would mix it.
    "SET max_parallel_workers_per_gather = 0",
    "SET TIME ZONE 'UTC'",
    "SET extra_float_digits = 3",
)
_MAY_SET_ROLE = """
    SELECT count(*) FROM pg_roles
     WHERE rolname = $1 AND pg_has_role(session_user, oid,
           CASE WHEN current_setting('server_version_num')::int >= 160000 THEN 'SET' ELSE 'MEMBER' END)"""
_INSTRUMENT = "SELECT instrument_id, symbol, first_seen, canonical FROM instrument WHERE recorded AND"
_CHANNELS = {layout.name: layout.name for layout in LAYOUTS}
_RECORDED_UNTIL = "SELECT max(coalesce(last_frame_at, started_at)) FROM session WHERE venue = $1"


@dataclass(frozen=True, slots=True)
class PostgresSource:
    """A database of the recorder.

    Attributes:
        url: postgresql:// address; hidden from repr because it holds a password.
    """

    url: str = field(repr=False)

    @classmethod
    def of(cls, settings: Settings, login: str = READER) -> Self:
        """Return the database of the settings: DATABASE_URL, or the embedded server's.

        Args:
            settings: Name the database.
            login: Login at the embedded server.

        Raises:
            StoreUnavailable: The embedded server was never started.
            ConfigError: The address or its password cannot be read.
        """
        return cls(database_url(settings, login))

    @contextmanager
    def reading(self) -> Iterator["PostgresReader"]:
        """Open a read-only transaction on one snapshot, with the rights of a reader."""
        with connected(self.url, READER) as connection, connection.cursor() as cursor:
            for command in _BEGIN:
                cursor.execute(command)
            connection.commit()
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            with _translated():
                # Before the snapshot: no day leaves a table while it is read, so the ledger and the tables agree.
                cursor.execute("LOCK TABLE ONLY trade, ONLY quote, ONLY book IN ACCESS SHARE MODE")
            yield PostgresReader(cursor)


class PostgresReader:
    """Read inside one transaction."""

    in_order = False  # a heap keeps the order of arrival
    graded = True

    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self._ledger: Ledger | None = None

    @property
    def ledger(self) -> Ledger:
        """The days that were archived and dropped, as this snapshot has them."""
        if self._ledger is None:
            self._ledger = Ledger.of(self._fetch(LEDGER))
        return self._ledger

    def venues(self) -> list[str]:
        """Return the venues with a recorded instrument."""
        query = "SELECT DISTINCT venue FROM instrument WHERE recorded ORDER BY venue"
        names: list[str] = self._fetch(query).column(0).to_pylist()
        return names

    def instruments(self, venue: str, symbols: Sequence[str] | None = None) -> list[Instrument]:
        """Return what was recorded at a venue, without instruments that are only listed."""
        if symbols is None:
            found = self._bound(f"{_INSTRUMENT} venue = $1 ORDER BY symbol", venue).to_pylist()
        else:
            ids = [instrument_id(venue, symbol) for symbol in symbols]
            found = self._fetch(f"{_INSTRUMENT} {_id_in(ids)} ORDER BY symbol").to_pylist()
        return [
            Instrument(row["instrument_id"], venue, row["symbol"], row["first_seen"], row["canonical"]) for row in found
        ]

    def unrecorded(self, venue: str, span: Range) -> list[Unrecorded]:
        """Return the time after the latest frame of the venue."""
        until = self.recorded_until(venue)
        if until is None or until + US >= span.end:
            return []
        return [Unrecorded(until, None, "after the latest frame")]

    def recorded_until(self, venue: str) -> datetime | None:
        """Return the receipt of the latest frame of any session with a venue; None when no session is known."""
        found: datetime | None = self._bound(_RECORDED_UNTIL, venue).column(0)[0].as_py()
        return found

    def schema_version(self) -> int:
        """Return the number of the last migration."""
        return int(self._fetch("SELECT max(version) FROM schema_migration").column(0)[0].as_py())

    def count(self, layout: Layout, whose: Sequence[Instrument], span: Range) -> int:
        """Return the number of rows that `rows` would return."""
        if self.ledger.files(layout, {one.venue for one in whose}, span):
            return sum(
                self.rows(layout, whose, one, ("instrument_id",)).num_rows for one in span.pieces(layout.stretch)
            )
        found = self._fetch(f"SELECT count(*) FROM {layout.name} WHERE {_of(whose)} AND {_within(layout, span)}")
        return int(found.column(0)[0].as_py())

    def gaps(self, whose: Sequence[Instrument], span: Range) -> pa.Table:
        """Return gaps that may touch the range."""
        start, end = _instant(span.start), _instant(span.end)
        return self._fetch(
            f"SELECT {', '.join(GAP.names)} FROM gap WHERE {_of(whose)}"
            f" AND (least(started_at, last_ts_event) < {end})"
            f" AND (ended_at IS NULL OR greatest(ended_at, first_ts_event) >= {start})"
            " ORDER BY started_at, gap_id"
        ).cast(GAP)

    def certificates(self, whose: Sequence[Instrument], channel: Channel, span: Range) -> pa.Table:
        """Return the highest revision of the certificate of each hour."""
        columns = ", ".join(CERTIFICATE.names)
        hour = Range(span.start - timedelta(hours=1), span.end)
        return self._fetch(
            f"SELECT {columns} FROM certificate_last WHERE {_of(whose)} AND channel = '{_CHANNELS[channel]}'"
            f" AND hour > {_instant(hour.start)} AND hour < {_instant(hour.end)} ORDER BY hour, instrument_id"
        ).cast(CERTIFICATE)

    def pieces(self, layout: Layout, whose: Sequence[Instrument], span: Range) -> list[Range]:
        """Return the stretches of the table."""
        return span.pieces(layout.stretch)

    def rows(self, layout: Layout, whose: Sequence[Instrument], span: Range, columns: Sequence[str]) -> pa.Table:
        """Return rows of one table, those of archived days first."""
        files = self.ledger.files(layout, {one.venue for one in whose}, span)
        if not files:
            return self._stored(layout, whose, span, columns)
        if layout is TRADE:
            return pa.concat_tables([self._trades(whose, one, columns) for one in span.pieces(DAY)])
        wanted = {one.instrument_id for one in whose}
        archived = read_files(files, layout, columns, wanted=wanted, start=span.start, end=span.end)
        return pa.concat_tables([archived, self._stored(layout, whose, span, columns)])

    def _trades(self, whose: Sequence[Instrument], span: Range, columns: Sequence[str]) -> pa.Table:
        """Return trades of a range within one day: of archived venues each once, of others what the table has."""
        day = span.start.date()
        kept = [one for one in whose if self.ledger.holds(TRADE, one.venue, day)]
        stored = self._stored(TRADE, [one for one in whose if one not in kept], span, columns)
        if not kept:
            return stored
        midnight = span.start.replace(hour=0, minute=0, second=0, microsecond=0)
        near = Range(max(span.start - SAME, midnight), min(span.end + SAME, midnight + DAY))
        with_keys = tuple(dict.fromkeys([*columns, *KEYS]))
        files = self.ledger.files(TRADE, {one.venue for one in kept}, span)
        wanted = {one.instrument_id for one in kept}
        late = self._stored(TRADE, kept, near, with_keys)
        if not late.num_rows:
            near = span
        archived = read_files(files, TRADE, with_keys, wanted=wanted, start=near.start, end=near.end)
        if late.num_rows:
            late = late.filter(pa.array(~is_known(late, archived)))
        found = pa.concat_tables([archived, late])
        if near != span:
            at, of = found["ts_event"], found.schema.field("ts_event").type
            inside = pc.and_(pc.greater_equal(at, pa.scalar(span.start, of)), pc.less(at, pa.scalar(span.end, of)))
            found = found.filter(inside)
        return pa.concat_tables([found.select(list(columns)), stored])

    def _stored(self, layout: Layout, whose: Sequence[Instrument], span: Range, columns: Sequence[str]) -> pa.Table:
        """Return rows that are in the table."""
        schema = pa.schema([layout.schema.field(name) for name in columns])
        table = self._fetch(
            f"SELECT {', '.join(columns)} FROM {layout.name} WHERE {_of(whose)} AND {_within(layout, span)}"
        )
        arrays = [coded(table[name], name) if name in WORDS else table[name] for name in columns]
        return pa.table(arrays, names=list(columns)).cast(schema)

    def polled(self, query: str) -> pa.Table:
        """Return rows of tables that the poller fills, in the order of the query.

        Args:
            query: Without text from outside: COPY takes no parameters. Arrays and jsonb are cast to text in it.
        """
        return self._fetch(query)

    def _bound(self, query: str, *values: str) -> pa.Table:
        with _translated():
            self._cursor.execute(query, list(values))
            return self._cursor.fetch_arrow_table()

    def _fetch(self, query: str) -> pa.Table:
        with _translated():
            self._cursor.execute(query)
            return self._cursor.fetch_arrow_table()


# COPY takes no parameters, and without COPY the driver holds the full answer as text. The functions below therefore
# write the values into the query: only integers and instants, never text from outside.
def _id_in(instruments: Sequence[int]) -> str:
    if not instruments:
        return "false"
    return f"instrument_id IN ({', '.join(str(int(number)) for number in instruments)})"


def _of(whose: Sequence[Instrument]) -> str:
    return _id_in([one.instrument_id for one in whose])


def _within(layout: Layout, span: Range) -> str:
    return f"{layout.clock} >= {_instant(span.start)} AND {layout.clock} < {_instant(span.end)}"


def literal(at: datetime) -> str:
    """Return an instant for a query."""
    return _instant(at)


def _instant(at: datetime) -> str:
    return f"'{at.astimezone(UTC).strftime('%Y-%m-%d %H:%M:%S.%f')}+00'::timestamptz"


@contextmanager
def connected(url: str, role: str) -> Iterator[Any]:
    """Connect through ADBC and take a role when the login may; errors of the driver are translated.

    Args:
        url: DATABASE_URL.
        role: Role of the recorder's schema, such as tapedeck_reader.

    Raises:
        StoreUnavailable: The database cannot be reached.
        ConfigError: The login lacks a right, or the schema is too old.
    """
    check_url(url)
    separator = "&" if "?" in url else "?"
    options = f"application_name=tapedeck-analysis&connect_timeout={CONNECT_TIMEOUT_S}"
    with _translated():
        connection = adbc.connect(f"{url}{separator}{options}")
    try:
        with _translated():
            with connection.cursor() as cursor:
                cursor.execute(_MAY_SET_ROLE, [role])
                if cursor.fetchone()[0]:
                    cursor.execute(f"SET ROLE {role}")
            yield connection
    finally:
        connection.close()


@contextmanager
def _translated() -> Iterator[None]:
    """Translate errors of the driver into ours."""
    try:
        yield
    except adbc_driver_manager.Error as error:
        raise judge(error.sqlstate, str(error)) from error
