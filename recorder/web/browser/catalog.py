"""Which tables there are: names, columns, comments and keys of pg_catalog. No other name reaches a statement."""

from typing import NamedTuple

from recorder.store.database import Cursor
from recorder.web.answers.problems import Problem

_ORDERED = frozenset({
    "text", "name", '"char"', "character", "character varying", "boolean", "smallint", "integer", "bigint", "real",
    "double precision", "numeric", "date", "timestamp with time zone", "timestamp without time zone", "uuid",
    "interval",
})  # fmt: skip
BIG = 100_000  # rows; above it only what an index serves is sorted, and the last hour is shown first

_TABLES = """
SELECT n.nspname, c.relname, c.relkind::text, coalesce(obj_description(c.oid, 'pg_class'), ''), c.relispartition,
       CASE c.relkind WHEN 'p' THEN (
           SELECT coalesce(sum(greatest(p.reltuples, 0)), 0)::bigint
             FROM pg_inherits h JOIN pg_class p ON p.oid = h.inhrelid WHERE h.inhparent = c.oid)
       ELSE greatest(c.reltuples, 0)::bigint END, c.oid
  FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
 WHERE n.nspname IN ('public', 'partition') AND c.relkind IN ('r', 'p', 'v', 'm')
   AND has_table_privilege(c.oid, 'SELECT') AND (%s::text IS NULL OR c.relname = %s)
 ORDER BY n.nspname DESC, c.relname LIMIT 5000"""
_COLUMNS = """
SELECT a.attname, format_type(a.atttypid, a.atttypmod), coalesce(col_description(a.attrelid, a.attnum), ''),
       a.attnotnull
  FROM pg_catalog.pg_attribute a WHERE a.attrelid = %s AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum"""
_INDEXES = """
SELECT i.indisprimary, i.indisunique, am.amname,
       (SELECT array_agg(a.attname::text ORDER BY k.place)
          FROM unnest(i.indkey::int2[]) WITH ORDINALITY k (number, place)
          JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number)
  FROM pg_catalog.pg_index i JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am am ON am.oid = x.relam
 WHERE i.indrelid = %s AND i.indpred IS NULL AND i.indexprs IS NULL"""


class TableColumn(NamedTuple):
    """A column."""

    name: str
    type: str
    comment: str
    required: bool

    @property
    def ordered(self) -> bool:
        """Whether its values can be sorted by, and be the place of a page."""
        return self.type.partition("(")[0] in _ORDERED and not self.type.endswith("[]")


class Table(NamedTuple):
    """A table or view that may be read."""

    schema: str
    name: str
    kind: str  # r: table, p: partitioned table, v: view, m: materialized view
    comment: str
    partition: bool
    rows: int  # estimate; 0 for a view
    columns: tuple[TableColumn, ...] = ()
    key: tuple[str, ...] = ()  # of its primary key, else of a unique index; empty without one
    leading: frozenset[str] = frozenset()  # columns that an index begins with

    @property
    def big(self) -> bool:
        """Whether it has so many rows that not every question is cheap."""
        return self.rows > BIG

    @property
    def time(self) -> str:
        """The column of time that an index serves; empty without one."""
        names = [one.name for one in self.columns if one.type == "timestamp with time zone"]
        served = [name for name in names if name in self.leading or name in self.key]
        return (served or [""])[0]

    def column(self, name: str) -> TableColumn:
        """Return a column.

        Raises:
            Problem: there is none of this name.
        """
        for one in self.columns:
            if one.name == name:
                return one
        raise Problem(422, f"{self.name} has no such column; it has {', '.join(c.name for c in self.columns)}",
                      kind="invalid")  # fmt: skip

    def sortable(self, name: str) -> bool:
        """Return whether a column can be sorted by without reading all rows."""
        return self.kind in ("r", "p", "m") and self.column(name).ordered and (not self.big or name in self.leading)


def tables(cursor: Cursor) -> list[Table]:
    """Return all tables and views that this login may read, without their columns."""
    cursor.execute(_TABLES, (None, None))
    return [Table(*row[:6]) for row in cursor.fetchall()]


def table(cursor: Cursor, name: str) -> Table:
    """Return a table.

    Args:
        cursor: Of a connection that reads.
        name: Its name; one in the schema of partitions as partition.NAME.

    Raises:
        Problem: there is none that this login may read.
    """
    schema, dot, last = name.rpartition(".")
    schema, wanted = (schema, last) if dot else ("public", name)
    if "\0" not in name and len(name) <= 200:
        cursor.execute(_TABLES, (wanted, wanted))
        for row in cursor.fetchall():
            if row[0] == schema:
                return _with_columns(cursor, Table(*row[:6]), row[6])
    raise Problem(404, "there is no such table; GET /api/v1/tables lists them")


def _with_columns(cursor: Cursor, found: Table, oid: int) -> Table:
    cursor.execute(_COLUMNS, (oid,))
    columns = tuple(TableColumn(*row) for row in cursor.fetchall())
    cursor.execute(_INDEXES, (oid,))
    indexes = [(row[0], row[1], row[2], row[3] or []) for row in cursor.fetchall()]
    required = {one.name for one in columns if one.required and one.ordered}
    keys = sorted((not primary, tuple(names)) for primary, unique, _kind, names in indexes
                  if unique and names and required.issuperset(names))  # fmt: skip
    leading = frozenset(names[0] for _primary, _unique, kind, names in indexes if names and kind == "btree")
    return found._replace(columns=columns, key=keys[0][1] if keys else (), leading=leading)
