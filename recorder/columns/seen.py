"""Which trades are in the column files already: a venue sends some again after a reconnect, and so does a history."""

import sys
from array import array

from recorder.columns.files import ColumnFiles, Day
from recorder.columns.rows import TradeRow

_ROUNDED_US = 2_000_000
"""As far as the history of a venue may be from the time that its feed gave the same trade."""
_KEPT = 500_000
"""Ids in memory; beyond it those used least recently are read again from their file when they are needed."""


class _Ids:
    """The trades of one day by id."""

    def __init__(self, highest: int) -> None:
        self.highest = highest
        self.times: dict[int, tuple[int, ...]] | None = None  # read when a trade is not simply the newest

    def note(self, trade_id: int, time_us: int) -> None:
        self.highest = max(self.highest, trade_id)
        if self.times is not None:
            self.times[trade_id] = (*self.times.get(trade_id, ()), time_us)


class SeenTrades:
    """Answers whether a trade is in the files, as the keys of Postgres do."""

    def __init__(self, files: ColumnFiles) -> None:
        self._files = files
        self._days: dict[Day, _Ids] = {}
        self._unwritten: dict[Day, list[tuple[int, int]]] = {}

    def first(self, day: Day, row: TradeRow) -> bool:
        """Return whether a trade is new, and note it as known.

        A number that a venue gives twice within two seconds is one trade: its history may round a time otherwise than
        its feed. A hash of a text is compared together with the time, as the key of the table trade is.
        """
        ids = self._days.pop(day, None) or self._load(day)
        self._days[day] = ids  # the one used last is at the end
        if row.trade_id <= ids.highest:
            if ids.times is None:
                ids.times = self._times(day)
            tolerance_us = 0 if row.textual and not row.past else _ROUNDED_US
            if any(abs(at_us - row.ts_event_us) <= tolerance_us for at_us in ids.times.get(row.trade_id, ())):
                return False
        ids.note(row.trade_id, row.ts_event_us)
        self._unwritten.setdefault(day, []).append((row.trade_id, row.ts_event_us))
        return True

    def flushed(self) -> None:
        """Note that everything is in the files; bound the memory."""
        self._unwritten.clear()
        kept = 0
        for ids in reversed(self._days.values()):
            kept += len(ids.times or ())
            if kept > _KEPT:
                ids.times = None

    def _load(self, day: Day) -> _Ids:
        return _Ids(max(self._column(day, "id", "q"), default=-(1 << 63)))

    def _times(self, day: Day) -> dict[int, tuple[int, ...]]:
        times: dict[int, tuple[int, ...]] = {}
        columns = (self._column(day, "id", "q"), self._column(day, "time", "I"), self._column(day, "nanos", "I"))
        stored = ((number, second * 1_000_000 + nanos // 1000) for number, second, nanos in zip(*columns, strict=True))
        for number, at_us in (*stored, *self._unwritten.get(day, ())):
            times[number] = (*times.get(number, ()), at_us)
        return times

    def _column(self, day: Day, name: str, code: str) -> "array[int]":
        values: array[int] = array(code)
        values.frombytes(self._files.read(day, name))
        if sys.byteorder == "big":
            values.byteswap()
        return values
