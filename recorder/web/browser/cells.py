"""How values are shown in the table browser: cut, linked, as text always."""

import math
from datetime import datetime
from typing import Any, NamedTuple
from urllib.parse import quote, urlencode

import msgspec

from recorder.web.answers.encode import instant, plain
from recorder.web.answers.prices import shortest
from recorder.web.browser.catalog import Table

CUT = 80
_LINKED = {"instrument_id": "instrument", "session_id": "session", "gap_id": "gap", "market_id": "market"}


class Cell(NamedTuple):
    """A value of a row."""

    text: str
    link: str  # to the row that it names; empty without one
    null: bool
    number: bool


def cell(table: Table, column: str, value: Any, cut: int = CUT) -> Cell:
    """Return a value as it is shown.

    Args:
        table: Whose value.
        column: Its column.
        value: As Postgres gave it.
        cut: Most characters.
    """
    if value is None:
        return Cell("null", "", True, False)
    target = _LINKED.get(column, "")
    link = f"/tables/{target}/row?{column}={value}" if target and target != table.name else ""
    shown = text(value)
    return Cell(shown if len(shown) <= cut else f"{shown[: cut - 1]}…", link, False, isinstance(value, int | float))


def text(value: Any) -> str:
    """Return a value as text, complete."""
    match value:
        case None:
            return ""
        case datetime():
            return instant(value)
        case bytes() | memoryview():
            raw = bytes(value)
            return f"{raw[:4096].hex()} ({len(raw)} bytes)"
        case float() if math.isfinite(value):
            return shortest(value)
        case bool() | int() | float() | str():
            return str(value).lower() if isinstance(value, bool) else str(value)
        case _:
            return msgspec.json.encode(plain(value)).decode()


def row_link(table: Table, row: tuple[Any, ...]) -> str:
    """Return the address of the page of a row; empty where the table has no key."""
    if not table.key:
        return ""
    names = [one.name for one in table.columns]
    pairs = [(name, text(row[names.index(name)])) for name in table.key]
    return f"/tables/{quote(name_of(table))}/row?{urlencode(pairs)}"


def name_of(table: Table) -> str:
    """Return the name of a table in addresses."""
    return table.name if table.schema == "public" else f"{table.schema}.{table.name}"
