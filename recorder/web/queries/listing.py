"""Lists of rows: what each resource selects, filters and sorts by, and one statement that pages through it by key."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple

from recorder.store.database import Cursor
from recorder.web.answers.ranges import Span

Kind = Literal["text", "bigint", "integer", "number", "boolean", "timestamptz", "json"]
Order = Literal["asc", "desc"]

DAY = timedelta(days=1)


class Column(NamedTuple):
    """A column of an answer."""

    name: str
    kind: Kind
    sql: str = ""  # where it differs from the name


class Filter(NamedTuple):
    """A filter of a list: a parameter, and its condition with one `%s`."""

    name: str
    sql: str
    help: str
    choices: tuple[str, ...] = ()
    number: bool = False


class Listing(NamedTuple):
    """A resource that is a list of rows."""

    name: str  # last part of its address
    summary: str
    source: str  # after FROM
    columns: tuple[Column, ...]
    key: tuple[Column, ...]  # sorts, and is unique
    time: str = ""  # column that the range bounds; empty for a list without a range
    overlap: str = ""  # condition of a range in place of `time`, with %(start)s and %(end)s
    window: timedelta = DAY  # of the range, unless it is given
    longest: timedelta = timedelta(days=31)
    order: Order = "desc"
    filters: tuple[Filter, ...] = ()
    channel: str = ""  # whose quality is measured; needs an instrument
    instrument: str = ""  # column of the instrument's id; empty where it cannot be chosen

    def statement(
        self,
        span: Span | None,
        instrument_id: int | None,
        given: Mapping[str, Any],
        after: Sequence[Any] | None,
        order: Order,
        limit: int | None,
    ) -> tuple[str, list[Any]]:
        """Return the statement of a page and its values.

        Args:
            span: The range; None for a list without one.
            instrument_id: The instrument; None for all.
            given: Values of filters, by name.
            after: Values of the key of the last row of the page before.
            order: By key.
            limit: Rows; None for all.
        """
        conditions: list[str] = []
        values: list[Any] = []
        if span is not None and self.overlap:
            conditions.append(self.overlap.replace("%(start)s", "%s").replace("%(end)s", "%s"))
            first_start = self.overlap.index("%(start)s") < self.overlap.index("%(end)s")
            values += [span.start, span.end] if first_start else [span.end, span.start]
        elif span is not None:
            conditions.append(f"{self.time} >= %s AND {self.time} < %s")
            values += [span.start, span.end]
        if instrument_id is not None:
            conditions.append(f"{self.instrument} = %s")
            values.append(instrument_id)
        for one in self.filters:
            if given.get(one.name) is not None:
                conditions.append(one.sql)
                values.append(given[one.name])
        if after is not None:
            names = ", ".join(column.sql or column.name for column in self.key)
            places = ", ".join(f"%s::{column.kind}" for column in self.key)
            conditions.append(f"({names}) {'>' if order == 'asc' else '<'} ({places})")
            values += after
        chosen = ", ".join(f"{column.sql} AS {column.name}" if column.sql else column.name for column in self.columns)
        keys = ", ".join(column.sql or column.name for column in self.key)
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        # By place: a column and the key may have one name, which would be ambiguous.
        by = ", ".join(f"{place} {order}" for place, _ in enumerate(self.key, len(self.columns) + 1))
        text = f"SELECT {chosen}, {keys} FROM {self.source}{where} ORDER BY {by}"
        if limit is not None:
            text += " LIMIT %s"
            values.append(limit)
        return text, values


class Page(NamedTuple):
    """A page of a list."""

    rows: list[tuple[Any, ...]]
    last: list[Any] | None  # key of the last row where there are more; None on the last page


def page(
    cursor: Cursor,
    listing: Listing,
    span: Span | None,
    instrument_id: int | None,
    given: Mapping[str, Any],
    after: Sequence[Any] | None,
    order: Order,
    limit: int,
) -> Page:
    """Return a page; arguments as of `Listing.statement`."""
    cursor.execute(*listing.statement(span, instrument_id, given, after, order, limit + 1))
    found = cursor.fetchall()
    width = len(listing.columns)
    more = len(found) > limit
    kept = found[:limit]
    while more and len(kept) > 1 and kept[-1][width:] == found[len(kept)][width:]:
        kept = kept[:-1]  # rows of equal keys stay on one page
    return Page([row[:width] for row in kept], list(kept[-1][width:]) if more else None)


def key_value(value: Any) -> Any:
    """Return a value of a key as a place keeps it."""
    return value if isinstance(value, datetime | int | str | None) else str(value)
