"""Table archive: which days left their tables, and in which files their rows are."""

from collections.abc import Collection, Mapping
from datetime import date, timedelta
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from analysis.arrays import Bools
from analysis.errors import ArchiveError
from analysis.load.source import Range
from analysis.load.tables import Layout

LEDGER = "SELECT table_name, day, venue, folder, path, row_count, state, here, copied_to FROM archive"
KEYS = ("instrument_id", "trade_id", "ts_event")
_SAME_S = 2
"""A trade of one id within so many seconds of an archived one is that trade, as sql/0023_healing.sql has it."""


class Archived(NamedTuple):
    """One day of a venue that left a table."""

    folder: str
    path: str
    rows: int
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
                    row["folder"], row["path"], row["row_count"], row["state"], row["here"], row["copied_to"]
                )
                for row in table.to_pylist()
            }
        )

    def get(self, table: str, venue: str, day: date) -> Archived | None:
        """Return a day; None where it did not leave the table."""
        return self._days.get((table, venue, day))

    def files(self, layout: Layout, venues: Collection[str], span: Range) -> list[Path]:
        """Return the files of the archived days that a range touches, by day and venue. Days let go have none.

        Raises:
            ArchiveError: A file is not on this host; the message says where it is.
        """
        if not self._days:
            return []
        found = []
        for piece in span.pieces(timedelta(days=1)):
            for venue in sorted(venues):
                one = self.get(layout.name, venue, piece.start.date())
                if one is not None and one.state == "kept" and one.rows:
                    found.append(_present(one))
        return found


def _present(one: Archived) -> Path:
    path = Path(one.folder) / one.path
    if path.is_file():
        return path
    elsewhere = f"; a copy is in {one.copied_to}: bring it back to this path" if one.copied_to else ""
    raise ArchiveError(f"{path} is not here, though table archive names it{elsewhere}")


def is_known(late: pa.Table, archived: pa.Table) -> Bools:
    """Return which late trades the archive has already, under the same id within two seconds.

    Args:
        late: Trades with the columns KEYS.
        archived: Trades of the same days with these columns.
    """
    ids = pa.compute.unique(late["instrument_id"])
    near = archived.filter(pc.is_in(archived["instrument_id"], value_set=ids))
    near = near.filter(pc.is_in(near["trade_id"], value_set=pa.compute.unique(late["trade_id"])))
    times: dict[tuple[int, int], list[int]] = {}
    for number, trade, at_us in _keys(near):
        times.setdefault((number, trade), []).append(at_us)
    known = [
        any(abs(at_us - other) <= _SAME_S * 1_000_000 for other in times.get((number, trade), ()))
        for number, trade, at_us in _keys(late)
    ]
    return np.array(known, np.bool_)


def _keys(table: pa.Table) -> "zip[tuple[int, int, int]]":
    columns = [table[name].cast(pa.int64()).to_pylist() for name in KEYS]
    return zip(*columns, strict=True)
