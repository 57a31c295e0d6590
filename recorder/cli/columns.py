"""Tables that leave out columns where the terminal is narrow, and numbers as a person reads them."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from rich.table import Table

from recorder.process.screen import shown


class Column(NamedTuple):
    """One column of the table."""

    title: str
    cells: list[str]
    worth: int  # columns of the least worth are left out where the terminal is narrow
    right: bool = True

    @property
    def width(self) -> int:
        """Number of characters of the longest cell."""
        return max(map(len, [self.title, *self.cells]))


def fit(wanted: Sequence[Column], width: int) -> tuple[list[Column], int]:
    """Return the columns that fit into a width, in their order, and the spaces between them (2, or 1 when narrow)."""
    kept = list(wanted)
    while True:
        for spaces in (2, 1):
            if sum(column.width for column in kept) + spaces * (len(kept) - 1) <= width:
                return kept, spaces
        if len(kept) <= 2:
            return kept, 1
        kept.remove(min(kept, key=lambda column: column.worth))


def table_of(wanted: Sequence[Column], width: int, style: Callable[[str, int], str] = lambda _title, _row: "") -> Table:
    """Return a table for a terminal of this many columns.

    Args:
        wanted: Its columns.
        width: Columns of the terminal.
        style: Returns the style of a cell, by the title of its column and its row.
    """
    kept, spaces = fit(wanted, width)
    result = Table(box=None, padding=(0, spaces, 0, 0), pad_edge=False, header_style="bold")
    for column in kept:
        result.add_column(column.title, justify="right" if column.right else "left", no_wrap=True)
    for row in range(len(kept[0].cells)):
        result.add_row(*(shown(column.cells[row], style=style(column.title, row)) for column in kept))
    return result


def duration(seconds: float) -> str:
    """Return a time as text: 42 s, 3 min, 5.2 h, 12 d."""
    if seconds < 100:
        return f"{seconds:.0f} s"
    if seconds < 100 * 60:
        return f"{seconds / 60:.0f} min"
    if seconds < 100 * 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 86400:.0f} d"


def size(count: float) -> str:
    """Return a number of bytes as text: 12 B, 3 KiB, 5 MiB, 3.0 GiB."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
