"""Tables on a terminal: no value is ever cut."""

from collections.abc import Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any

from rich import box
from rich.table import Table

from recorder.printable import printable
from recorder.process.screen import Screen, open_screen
from recorder.process.terminal import say

_ROWS_SHOWN = 40
_BETWEEN = 3  # characters between two columns
_PLAIN_WIDTH = 10_000  # columns; a pipe has no width, so nothing wraps


def console(stderr: bool = False) -> Screen:
    """Return the console for tables or progress; in a pipe it writes plain text of any width."""
    return open_screen(stderr=stderr, plain_width=_PLAIN_WIDTH)


def print_table(
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    keys: int = 1,
    sections: Sequence[int] = (),
    title: str = "",
) -> None:
    """Print a table; where the terminal is too narrow, print its columns in several blocks instead of cutting them.

    Args:
        columns: Heads of the columns.
        rows: Cells of each row.
        keys: Number of first columns that every block repeats.
        sections: Numbers of the rows before which a line is drawn.
        title: Title above the first block.
    """
    shown = console()
    columns, rows = list(map(printable, columns)), [list(map(printable, row)) for row in rows]
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    for number, block in enumerate(_blocks(widths, keys, shown.width)):
        table = Table(
            title=title if not number else None,
            title_justify="left",
            box=box.SIMPLE_HEAD,
            show_edge=False,
            pad_edge=False,
        )
        for place in block:
            table.add_column(columns[place], no_wrap=True, justify="right" if place >= keys else "left")
        borders = [0, *sections, len(rows)]
        for begin, end in pairwise(borders):
            for row in rows[begin:end]:
                table.add_row(*(row[place] for place in block))
            table.add_section()
        shown.print(table, soft_wrap=True)


def print_arrow(table: Any, columns: Sequence[str], *, keys: int = 1) -> None:
    """Print the first rows of columns of an Arrow table."""
    rows = table.select(columns).slice(0, _ROWS_SHOWN).to_pylist()
    print_table(columns, [[_cell(value) for value in row.values()] for row in rows], keys=keys)
    if table.num_rows > _ROWS_SHOWN:
        say(f"first {_ROWS_SHOWN} of {table.num_rows:,} rows; --out writes all of them")


def _blocks(widths: Sequence[int], keys: int, limit: int) -> list[list[int]]:
    """Return the columns of each block: the keys, and as many of the others as fit."""
    key = list(range(keys))
    blocks: list[list[int]] = [[]]
    for place in range(keys, len(widths)):
        block = [*key, *blocks[-1], place]
        if blocks[-1] and sum(widths[one] + _BETWEEN for one in block) > limit + _BETWEEN:
            blocks.append([])
        blocks[-1].append(place)
    return [[*key, *block] for block in blocks]


def _cell(value: object) -> str:
    if isinstance(value, datetime):
        return value.isoformat(" ", "seconds")[:19]
    return f"{value:.8g}" if isinstance(value, float) else str(value)
