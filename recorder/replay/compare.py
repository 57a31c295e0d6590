"""Compares the rows in a journal block with the rows that its frames give now."""

from collections import Counter, deque

import msgspec

from recorder.journal.reader import StoredBlock
from recorder.pgcopy import encode
from recorder.pgcopy.decode import conform, fields, split

TABLES = ("trade", "quote", "book")


class TableDiff(msgspec.Struct):
    """Rows of one table, as the journal has them and as they are decoded now."""

    same: int = 0
    changed: list[tuple[bytes, bytes]] = []  # old and new of the same trade or frame
    added: list[bytes] = []
    removed: list[bytes] = []

    @property
    def differs(self) -> bool:
        """Whether any row differs."""
        return bool(self.changed or self.added or self.removed)


def rows_in_block(stored: StoredBlock) -> tuple[dict[str, bytes], set[int]]:
    """Return the rows of a block as it was recorded, and the numbers of its quarantined frames."""
    before = {table: b"" for table in TABLES if table not in stored.lost}
    undecodable: set[int] = set()
    for part in stored.parts:
        if part.table in before:
            before[part.table] += conform(part.data, part.columns, encode.COLUMNS[part.table])
        elif part.table == "quarantine":
            place = part.columns.index("item")
            undecodable |= {int.from_bytes(fields(row)[place][4:], "big") for row in split(part.data)}
    return before, undecodable


def compare(table: str, before: bytes, now: bytes) -> TableDiff:
    """Return the rows that are the same, changed, added and removed.

    Encoded rows are compared, so equality is exact. Rows that differ are paired when they are the same trade or come
    from the same frame.
    """
    old, new = Counter(split(before)), Counter(split(now))
    diff = TableDiff((old & new).total())
    unpaired: dict[tuple[bytes, ...], deque[bytes]] = {}
    for row in (old - new).elements():
        unpaired.setdefault(_identity(table, row), deque()).append(row)
    for row in (new - old).elements():
        waiting = unpaired.get(_identity(table, row))
        if waiting:
            diff.changed.append((waiting.popleft(), row))
        else:
            diff.added.append(row)
    diff.removed = [row for rest in unpaired.values() for row in rest]
    return diff


def _identity(table: str, row: bytes) -> tuple[bytes, ...]:
    cells = fields(row)
    return (cells[0], cells[1]) if table == "trade" else (cells[0], cells[3], cells[4])
