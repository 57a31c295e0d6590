"""What the table browser reads, for the API and for its page."""

from typing import Any, NamedTuple

import psycopg2.errors

from recorder.store.database import Cursor
from recorder.web.answers import cursors
from recorder.web.answers.problems import Problem
from recorder.web.answers.ranges import span
from recorder.web.browser import catalog, compose
from recorder.web.browser.catalog import Table
from recorder.web.browser.compose import Question
from recorder.web.queries.listing import key_value
from recorder.web.queries.pool import Pool

STATEMENT_S = 2.0
_LONGEST_DAYS = 366


class Shown(NamedTuple):
    """A page of a table."""

    table: Table
    question: Question
    rows: list[tuple[Any, ...]]
    next: str | None
    reason: str  # why not all rows are asked for; empty where they are


def tables(pool: Pool) -> list[Table]:
    """Return all tables."""
    with pool.transaction(statement_s=STATEMENT_S) as cursor:
        return catalog.tables(cursor)


def page(
    pool: Pool,
    key: bytes,
    name: str,
    *,
    filters: list[str],
    start: str | None,
    end: str | None,
    sort: str,
    descending: bool,
    after: str | None,
    limit: int,
) -> Shown:
    """Return a page of a table.

    Raises:
        Problem: a name or value is wrong, or the answer takes too long.
    """
    with pool.transaction(statement_s=STATEMENT_S) as cursor:
        table = catalog.table(cursor, name)
        question, reason = _question(table, filters, start, end, sort, descending)
        about = f"{name} {filters} {start} {end} {sort} {descending}"
        order = question.order(table)
        place = None if after is None else cursors.read(key, about, after, len(order))
        found = _asked(cursor, table, question, place, limit)
    following = None
    if len(found) > limit and order:
        names = [one.name for one in table.columns]
        last = [found[limit - 1][names.index(one)] for one in order]
        following = cursors.make(key, about, [key_value(value) for value in last])
        if len(following) > cursors.LONGEST:
            following = None
    if len(found) > limit and following is None:
        why = "values of this column are too long to page by" if order else "it has no key to page by"
        more = f"more rows than these {limit:,} exist: {why}; filter, or set limit up to 1,000"
        reason = f"{reason}; {more}" if reason else more
    return Shown(table, question, found[:limit], following, reason)


def row(pool: Pool, name: str, given: dict[str, str]) -> tuple[Table, tuple[Any, ...]]:
    """Return a row by its key.

    Raises:
        Problem: there is none.
    """
    with pool.transaction(statement_s=STATEMENT_S) as cursor:
        table = catalog.table(cursor, name)
        found = _run(cursor, table, *compose.one_row(table, given))
    if not found:
        raise Problem(404, f"{table.name} has no such row")
    return table, found[0]


def facets(
    pool: Pool, name: str, column: str, *, filters: list[str], start: str | None, end: str | None
) -> list[tuple[Any, ...]]:
    """Return the most frequent values of a column, among the first 10,000 rows of the range that is shown."""
    with pool.transaction(statement_s=STATEMENT_S) as cursor:
        table = catalog.table(cursor, name)
        question, _reason = _question(table, filters, start, end, "", True)
        return _run(cursor, table, *compose.facets(table, question, column))


def _question(
    table: Table, filters: list[str], start: str | None, end: str | None, sort: str, descending: bool
) -> tuple[Question, str]:
    conditions = tuple(compose.parse(one) for one in filters if one.strip())
    wanted = bool(start or end)
    if wanted and not table.time:
        raise Problem(422, f"{table.name} has no column of time that an index serves", kind="invalid")
    shown = None
    reason = ""
    if wanted or (table.big and table.time and not conditions):
        shown = span(start, end, compose.FIRST_WINDOW, compose.FIRST_WINDOW * 24 * _LONGEST_DAYS)
        reason = "" if wanted else "the table is big, so the last hour is shown; set a range"
    return Question(conditions, shown, sort, descending), reason


def _asked(cursor: Cursor, table: Table, question: Question, place: list[Any] | None, limit: int) -> list[Any]:
    return _run(cursor, table, *compose.select(table, question, place, limit + 1))


def _run(cursor: Cursor, table: Table, statement: Any, values: list[Any]) -> list[tuple[Any, ...]]:
    """Run a statement.

    Raises:
        Problem: a value is of a wrong type, or the answer takes too long.
    """
    try:
        cursor.execute(statement, values)
        return cursor.fetchall()
    except psycopg2.errors.QueryCanceled:
        by = table.time or (table.key[0] if table.key else "a column with an index")
        raise Problem(
            503, f"{table.name} took longer than {STATEMENT_S:.0f} s; filter by {by}", kind="too-slow"
        ) from None
    except (psycopg2.errors.UndefinedFunction, psycopg2.errors.CannotCoerce, psycopg2.DataError) as error:
        detail = (error.diag.message_primary or "a value is of a wrong type")[:200]
        raise Problem(422, f"a filter cannot be used: {detail}", kind="invalid") from None
