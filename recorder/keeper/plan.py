"""Which days leave their tables, and what goes when the disk budget is exceeded. Pure."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date, timedelta
from typing import NamedTuple

from recorder.settings.kept import LEAST_DAYS

Table = str  # trade, quote, book


class Partition(NamedTuple):
    """A day of a table that is in Postgres."""

    table: Table
    day: date
    bytes: int  # with its indexes


class Limit(NamedTuple):
    """How much of a table is kept in Postgres. None: all."""

    days: float | None = None
    bytes: float | None = None


class Move(NamedTuple):
    """A day that is archived and dropped."""

    table: Table
    day: date
    reason: str


def leaves(day: date, today: date) -> bool:
    """Return whether a day is old enough to leave its table."""
    return day <= today - timedelta(days=LEAST_DAYS)


def moves(
    partitions: Iterable[Partition],
    limits: Mapping[Table, Limit],
    today: date,
    *,
    late: Collection[tuple[Table, date]] = (),
    excess: float = 0.0,
) -> list[Move]:
    """Return the days to archive and drop, the oldest first.

    Args:
        partitions: What is in Postgres.
        limits: By table; a table without limits keeps its days, unless the budget is exceeded.
        today: The present day, UTC.
        late: Archived days that have rows in their table again.
        excess: Bytes beyond the budget of the disk.
    """
    found = dict.fromkeys(late, "rows came after it was archived")
    able = [one for one in partitions if leaves(one.day, today)]
    kept: dict[Table, int] = {}
    for one in sorted(partitions, key=lambda one: one.day, reverse=True):
        limit = limits.get(one.table, Limit())
        kept[one.table] = kept.get(one.table, 0) + one.bytes
        if not leaves(one.day, today):
            continue
        if limit.days is not None and (today - one.day).days > limit.days:
            found[one.table, one.day] = f"older than {limit.days:g} days"
        elif limit.bytes is not None and kept[one.table] > limit.bytes:
            found[one.table, one.day] = f"beyond {limit.bytes / (1 << 30):g} GiB"
    freed = sum(one.bytes for one in able if (one.table, one.day) in found)
    for one in sorted(able, key=lambda one: (one.day, SHED.index(one.table))):
        if freed >= excess:
            break
        if (one.table, one.day) not in found:
            found[one.table, one.day] = "the budget of the disk is exceeded"
            freed += one.bytes
    return [Move(*key, found[key]) for key in sorted(found, key=lambda key: (key[1], SHED.index(key[0])))]


SHED = ("book", "quote", "trade")
"""The order in which tables give way on one day: depth first, trades last."""


class ArchivedDay(NamedTuple):
    """A file of the archive."""

    table: Table
    day: date
    venue: str
    bytes: int
    copied: bool  # whether the second place has it


def local_to_remove(archived: Sequence[ArchivedDay], excess: float) -> list[ArchivedDay]:
    """Return the files to remove here because the second place has them, the oldest first, until the excess is gone."""
    return _until((one for one in archived if one.copied), excess)


def to_let_go(archived: Sequence[ArchivedDay], excess: float) -> list[ArchivedDay]:
    """Return the files to remove for good: the oldest days first, of one day books, then quotes, then trades."""
    return _until((one for one in archived if not one.copied), excess)


def _until(files: Iterable[ArchivedDay], excess: float) -> list[ArchivedDay]:
    chosen: list[ArchivedDay] = []
    for one in sorted(files, key=lambda one: (one.day, SHED.index(one.table), one.venue)):
        if excess <= 0:
            break
        chosen.append(one)
        excess -= one.bytes
    return chosen
