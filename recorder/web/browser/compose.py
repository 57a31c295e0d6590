"""Statements of the table browser: names only from the catalog, composed as identifiers; values bound."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from psycopg2 import sql

from recorder.web.answers.problems import Problem
from recorder.web.answers.ranges import Span
from recorder.web.browser.catalog import Table

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "in", "null", "contains")
MOST_FILTERS = 10
FIRST_WINDOW = timedelta(hours=1)
_COMPARED = {"=": "=", "!=": "<>", "<": "<", "<=": "<=", ">": ">", ">=": ">="}


class Condition(NamedTuple):
    """A filter: column, operator, value."""

    column: str
    operator: str
    value: str


def parse(text: str) -> Condition:
    """Return a filter of its text `column operator value`, such as `price >= 100` or `symbol in A,B`.

    Raises:
        Problem: it is none.
    """
    parts = text.split(" ", 2)
    if len(parts) < 2 or parts[1] not in OPERATORS or len(text) > 500 or "\0" in text:
        raise Problem(422, f"a filter is `column operator value` with one of {' '.join(OPERATORS)}", kind="invalid")
    return Condition(parts[0], parts[1], parts[2] if len(parts) > 2 else "")


class Question(NamedTuple):
    """What is shown of a table."""

    conditions: tuple[Condition, ...] = ()
    span: Span | None = None
    sort: str = ""  # column; empty for the key
    descending: bool = True

    def order(self, table: Table) -> tuple[str, ...]:
        """Return the columns that sort: the chosen one, then the key, so that the order is total.

        Raises:
            Problem: there is no such column, or sorting by it would read all of a big table.
        """
        sort = self.sort or table.time or (table.key[0] if table.key else "")
        if not sort:
            return ()
        table.column(sort)
        if self.sort and not table.sortable(sort):
            raise Problem(422, f"{table.name} cannot be sorted by {sort}: {_why(table, sort)}", kind="invalid")
        return (sort, *(name for name in table.key if name != sort))


def select(table: Table, question: Question, after: Sequence[Any] | None, limit: int) -> tuple[sql.Composed, list[Any]]:
    """Return the statement of a page and its values.

    Args:
        table: Of the catalog.
        question: What is shown.
        after: Values of the order of the last row of the page before.
        limit: Rows.

    Raises:
        Problem: a filter names no column or has no value.
    """
    order = question.order(table)
    where, values = conditions(table, question)
    if after is not None and order:
        behind, places = _behind(table, order, after, descending=question.descending)
        where.append(behind)
        values += places
    statement = sql.SQL("SELECT {} FROM {}").format(
        _names([one.name for one in table.columns]), sql.Identifier(table.schema, table.name)
    )
    if where:
        statement += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(where)
    if order:
        turn = sql.SQL(" DESC" if question.descending else " ASC")
        statement += sql.SQL(" ORDER BY ") + sql.SQL(", ").join(sql.Identifier(name) + turn for name in order)
    return statement + sql.SQL(" LIMIT %s"), [*values, limit]


def conditions(table: Table, question: Question) -> tuple[list[sql.Composable], list[Any]]:
    """Return the conditions of a question and their values."""
    where: list[sql.Composable] = []
    values: list[Any] = []
    if question.span is not None and table.time:
        where.append(sql.SQL("{0} >= %s AND {0} < %s").format(sql.Identifier(table.time)))
        values += [question.span.start, question.span.end]
    if len(question.conditions) > MOST_FILTERS:
        raise Problem(422, f"at most {MOST_FILTERS} filters", kind="invalid")
    for one in question.conditions:
        name, kind = sql.Identifier(table.column(one.column).name), _type(table, one.column)
        match one.operator:
            case "null":
                where.append(sql.SQL("{} IS NULL" if one.value != "no" else "{} IS NOT NULL").format(name))
            case "in":
                where.append(sql.SQL("{} = ANY (%s::" + kind + "[])").format(name))
                values.append([part.strip() for part in one.value.split(",")][:200])
            case "contains":
                where.append(sql.SQL("position(upper(%s) IN upper({}::text)) > 0").format(name))
                values.append(one.value)
            case _:
                where.append(sql.SQL("{} " + _COMPARED[one.operator] + " %s::" + kind).format(name))
                values.append(one.value)
    return where, values


def one_row(table: Table, given: dict[str, str]) -> tuple[sql.Composed, list[Any]]:
    """Return the statement that finds a row by its key.

    Raises:
        Problem: the table has no key, or the key is not complete.
    """
    if not table.key or set(given) != set(table.key):
        raise Problem(404, f"a row of {table.name} is named by {', '.join(table.key) or 'nothing: it has no key'}")
    where = sql.SQL(" AND ").join(
        sql.SQL("{} = %s::" + _type(table, name)).format(sql.Identifier(name)) for name in table.key
    )
    statement = sql.SQL("SELECT {} FROM {} WHERE {} LIMIT 2").format(
        _names([one.name for one in table.columns]), sql.Identifier(table.schema, table.name), where
    )
    return statement, [given[name] for name in table.key]


def facets(table: Table, question: Question, column: str) -> tuple[sql.Composed, list[Any]]:
    """Return the statement that counts the values of a column among the first 10,000 rows of a question."""
    name = sql.Identifier(table.column(column).name)
    where, values = conditions(table, question)
    source = sql.SQL("SELECT {} FROM {}").format(name, sql.Identifier(table.schema, table.name))
    if where:
        source += sql.SQL(" WHERE ") + sql.SQL(" AND ").join(where)
    statement = sql.SQL("SELECT {0}::text, count(*) FROM ({1} LIMIT 10000) AS shown GROUP BY 1 "
                        "ORDER BY 2 DESC, 1 LIMIT 30").format(name, source)  # fmt: skip
    return statement, values


def _behind(
    table: Table, order: Sequence[str], after: Sequence[Any], *, descending: bool
) -> tuple[sql.Composable, list[Any]]:
    """Return the condition that a row comes after a place, and its values. Nulls are last; first where it descends."""
    sign = sql.SQL("<" if descending else ">")
    places = [sql.SQL("%s::" + _type(table, name)) for name in order]
    if all(table.column(name).required for name in order):
        return sql.SQL("({}) {} ({})").format(_names(order), sign, sql.SQL(", ").join(places)), list(after)
    ways: list[sql.Composable] = []
    values: list[Any] = []
    equal: list[sql.Composable] = []
    passed: list[Any] = []
    for name, place, value in zip(order, places, after, strict=True):
        column = sql.Identifier(name)
        if value is not None:
            beyond = sql.SQL("{} {} {}" if descending else "({0} {1} {2} OR {0} IS NULL)").format(column, sign, place)
            ways.append(sql.SQL(" AND ").join([*equal, beyond]))
            values += [*passed, value]
            equal.append(sql.SQL("{} = {}").format(column, place))
            passed.append(value)
        else:
            if descending:
                ways.append(sql.SQL(" AND ").join([*equal, sql.SQL("{} IS NOT NULL").format(column)]))
                values += passed
            equal.append(sql.SQL("{} IS NULL").format(column))
    return sql.SQL("(({}))").format(sql.SQL(") OR (").join(ways)), values


def _why(table: Table, sort: str) -> str:
    if table.kind == "v":
        return "it is a view, in the order of its own; filter it instead"
    kind = table.column(sort)
    return "it is big and no index begins with it" if kind.ordered else f"values of {kind.type} have no order here"


def _names(names: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, names))


def _type(table: Table, column: str) -> str:
    """Return the type of a column, as the catalog wrote it, for a cast.

    Types come from format_type(), which quotes what needs it; a percent sign would be read as a placeholder.
    """
    return table.column(column).type.replace("%", "%%")
