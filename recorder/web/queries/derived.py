"""Wide tables that are derived from bars: indicators and features. Their columns are read from the database."""

from typing import Any, Literal

from recorder.store.database import Cursor
from recorder.web.answers.problems import Problem
from recorder.web.answers.ranges import Span
from recorder.web.queries.instruments import Instrument

Table = Literal["indicator", "bar_feature"]

_COLUMNS = """
SELECT a.attname FROM pg_catalog.pg_attribute a
 WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
_APART = ("instrument_id", "interval_s", "version", "updated_at")


def columns(cursor: Cursor, table: Table) -> list[str]:
    """Return the columns of a derived table.

    Raises:
        Problem: this database has no such table yet.
    """
    cursor.execute(_COLUMNS, (f"public.{table}",))
    found = [str(row[0]) for row in cursor.fetchall()]
    if not found:
        raise Problem(503, f"this database has no table {table} yet; run `tapedeck migrate`", kind="not-there-yet")
    return [name for name in found if name not in _APART]


def read(
    cursor: Cursor, table: Table, one: Instrument, width_s: int, span: Span, names: list[str], after: Any, limit: int
) -> list[tuple[Any, ...]]:
    """Return rows in the order of time.

    Args:
        cursor: Of a connection that reads.
        table: Which one.
        one: Whose bars.
        width_s: Length of the bars, seconds.
        span: Range of their starts.
        names: Columns, all of `columns`.
        after: Start of the last bar of the page before; None on the first.
        limit: Most rows.
    """
    chosen = ", ".join('"' + name.replace('"', '""') + '"' for name in names)
    cursor.execute(
        f"SELECT {chosen} FROM {table} WHERE instrument_id = %s AND interval_s = %s AND start >= %s AND start < %s "
        "AND (%s::timestamptz IS NULL OR start > %s::timestamptz) ORDER BY start LIMIT %s",
        (one.instrument_id, width_s, span.start, span.end, after, after, limit),
    )
    return cursor.fetchall()
