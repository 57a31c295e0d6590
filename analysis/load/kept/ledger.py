"""Table archive: which days left their tables, and in which files their rows are."""

from collections.abc import Collection, Mapping
from datetime import date, timedelta
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.arrays import Bools
from analysis.errors import ArchiveError
from analysis.load.manifest import digest
from analysis.load.source import Range
from analysis.load.tables import Layout

LEDGER = "SELECT table_name, day, venue, folder, path, row_count, sha256, state, here, copied_to FROM archive"
KEYS = ("instrument_id", "trade_id", "ts_event", "ts_recv")
SAME = timedelta(seconds=2)
"""A trade of one id so near to one that is stored is that trade, as sql/0023_healing.sql has it."""


class Archived(NamedTuple):
    """One day of a venue that left a table."""

    folder: str
    path: str
    rows: int
    sha256: str
    state: str  # kept, let go
    here: bool
    copied_to: str | None


class Ledger:
    """The archived days by table, venue and day."""

    def __init__(self, days: Mapping[tuple[str, str, date], Archived]) -> None:
        self._days = dict(days)

    @classmethod
    def of(cls, table: pa.Table) -> Self:
        """Return the ledger of the rows of LEDGER."""
        return cls(
            {
                (row["table_name"], row["venue"], row["day"]): Archived(
                    row["folder"],
                    row["path"],
                    row["row_count"],
                    row["sha256"],
                    row["state"],
                    row["here"],
                    row["copied_to"],
                )
                for row in table.to_pylist()
            }
        )

    def get(self, table: str, venue: str, day: date) -> Archived | None:
        """Return a day; None where it did not leave the table."""
        return self._days.get((table, venue, day))

    def holds(self, layout: Layout, venue: str, day: date) -> bool:
        """Return whether a file has rows of a day. Days let go have none."""
        one = self.get(layout.name, venue, day)
        return one is not None and one.state == "kept" and one.rows > 0

    def files(self, layout: Layout, venues: Collection[str], span: Range) -> list[Path]:
        """Return the files of the archived days that a range touches, by day and venue. Days let go have none.

        Raises:
            ArchiveError: A file is not on this host, or is not what was archived; the message says what to do. Each
                file is read for it once in a process, and again when its size or its time of change is another.
        """
        if not self._days:
            return []
        found = []
        for piece in span.pieces(timedelta(days=1)):
            for venue in sorted(venues):
                one = self.get(layout.name, venue, piece.start.date())
                if one is not None and self.holds(layout, venue, piece.start.date()):
                    found.append(_whole(one))
        return found


def _whole(one: Archived) -> Path:
    path = Path(one.folder) / one.path
    if one.copied_to:
        remedy = f"a copy is in {one.copied_to}: bring it back to this path"
    else:
        remedy = "bring it back to this path from a backup of the archive"
    try:
        stat = path.stat()
        found = _digest(path, stat.st_size, stat.st_mtime_ns)
    except FileNotFoundError as error:
        raise ArchiveError(f"{path} is not here, though table archive names it; {remedy}") from error
    except OSError as error:
        raise ArchiveError(f"{path} cannot be read ({error.strerror}); {remedy}") from error
    if found != one.sha256:
        raise ArchiveError(f"{path} is damaged: its SHA-256 is not the one in table archive; {remedy}")
    return path


@lru_cache(maxsize=1 << 16)
def _digest(path: Path, _size: int, _mtime_ns: int) -> str:
    return digest(path)


def is_known(late: pa.Table, archived: pa.Table) -> Bools:
    """Return which late trades are there already, under the same id within two seconds.

    They are compared with the archive, and with the late trades that were received before and are not there already.

    Args:
        late: Trades with the columns KEYS.
        archived: Trades of the same days with these columns.
    """
    ids = pc.unique(late["instrument_id"])
    near = archived.filter(pc.is_in(archived["instrument_id"], value_set=ids))
    near = near.filter(pc.is_in(near["trade_id"], value_set=pc.unique(late["trade_id"])))
    times: dict[tuple[int, int], list[int]] = {}
    for number, trade, at_us, _ in _keys(near):
        times.setdefault((number, trade), []).append(at_us)
    keys = list(_keys(late))
    known = np.zeros(len(keys), np.bool_)
    for index in sorted(range(len(keys)), key=lambda at: (keys[at][3], keys[at][2])):
        number, trade, at_us, _ = keys[index]
        stored = times.setdefault((number, trade), [])
        known[index] = any(abs(at_us - other) <= SAME // timedelta(microseconds=1) for other in stored)
        if not known[index]:
            stored.append(at_us)
    return known


def _keys(table: pa.Table) -> "zip[tuple[int, int, int, int]]":
    columns = [table[name].cast(pa.int64()).to_pylist() for name in KEYS]
    return zip(*columns, strict=True)
