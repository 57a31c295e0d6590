"""Stored bars as arrays, and the recent ones in memory, so that a minute does not read a day of bars again."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from analysis.arrays import Gaps, Ints
from analysis.bars import Bars
from analysis.features.blocks import BLOCK
from analysis.workers import derived_sql
from recorder.store.database import Cursor

NS = 1_000_000_000
_REMEMBERED = (60, 300)
"""Lengths of bars that are remembered: the others are read seldom."""
_SERIES = 2_000  # that are remembered at most; one takes 0.3 MB

_COLUMNS = (
    ("instrument_id", ">i8"), ("start", ">i8"), ("open", ">f8"), ("high", ">f8"), ("low", ">f8"), ("close", ">f8"),
    ("volume", ">f8"), ("notional", ">f8"), ("vwap", ">f8"), ("trade_count", ">i8"), ("buy_volume", ">f8"),
    ("sell_volume", ">f8"), ("signed_notional", ">f8"), ("coverage", ">f8"), ("revision", ">i8"), ("complete", ">i8"),
)  # fmt: skip
_HEADER = 19  # bytes of a binary COPY: signature, flags, length of the extension
_RECORD = np.dtype([("fields", ">i2"), *((part, kind) for name, form in _COLUMNS
                                         for part, kind in ((f"{name}_bytes", ">i4"), (name, form)))])  # fmt: skip

Rows = npt.NDArray[np.void]


class Task(NamedTuple):
    """A block of one instrument of which values are wanted."""

    instrument_id: int
    block_s: int  # its start
    since_s: int  # values are wanted of the bars that start then or later


class BarMemory:
    """Reads the bars of tasks; remembers those of the newest block of each series as long as no mark touches them."""

    def __init__(self) -> None:
        self._kept: dict[tuple[int, int], tuple[int, Rows]] = {}

    def clear(self) -> None:
        """Forget everything, because something was done that did not count, or another deriver was at work."""
        self._kept.clear()

    def touch(self, instrument_id: int, width_s: int, low_s: int) -> None:
        """Forget the bars of a series that start at `low_s` or later."""
        found = self._kept.get((instrument_id, width_s))
        if found is not None:
            block_s, rows = found
            self._kept[instrument_id, width_s] = block_s, rows[: np.searchsorted(rows["start"], low_s)]

    def bars(self, cursor: Cursor, width_s: int, tasks: Sequence[Task]) -> list[Rows]:
        """Return for each task its bars: of the block and of the one before it, oldest first.

        Args:
            cursor: In the transaction that took the marks.
            width_s: Length of the bars.
            tasks: Tasks, each of another block.
        """
        known = [self._known(width_s, task) for task in tasks]
        span_s = BLOCK * width_s
        lows = [
            int(rows["start"][-1]) + width_s if len(rows) else task.block_s - span_s
            for task, rows in zip(tasks, known, strict=True)
        ]
        found = _read(cursor, width_s, tasks, lows, [task.block_s + span_s for task in tasks])
        whole = []
        for task, low_s, before in zip(tasks, lows, known, strict=True):
            begin, end = np.searchsorted(found["instrument_id"], [task.instrument_id, task.instrument_id + 1])
            mine = found[begin:end]
            first, last = np.searchsorted(mine["start"], [low_s, task.block_s + span_s])
            rows = np.concatenate([before, mine[first:last]])
            self._keep(width_s, task, rows)
            whole.append(rows)
        return whole

    def _known(self, width_s: int, task: Task) -> Rows:
        block_s, rows = self._kept.get((task.instrument_id, width_s), (task.block_s, np.zeros(0, _RECORD)))
        if block_s > task.block_s:
            return rows[:0]
        return rows[np.searchsorted(rows["start"], task.block_s - BLOCK * width_s) :]

    def _keep(self, width_s: int, task: Task, rows: Rows) -> None:
        """Remember the bars of the newest block, up to the first that is not complete: that one changes unmarked."""
        key = task.instrument_id, width_s
        if width_s not in _REMEMBERED or self._kept.get(key, (task.block_s,))[0] > task.block_s:
            return
        if key not in self._kept and len(self._kept) >= _SERIES:
            return
        forming = np.flatnonzero(rows["complete"] == 0)
        self._kept[key] = task.block_s, rows[: forming[0]] if len(forming) else rows


def _read(cursor: Cursor, width_s: int, tasks: Sequence[Task], lows: Sequence[int], highs: Sequence[int]) -> Rows:
    """Return the bars of ranges by (instrument_id, start)."""
    parameters = {"width_s": width_s, "ids": [task.instrument_id for task in tasks], "lows": lows, "highs": highs}
    data = io.BytesIO()
    cursor.copy_expert(cursor.mogrify(derived_sql.READ_BARS, parameters), data)
    body = data.getbuffer()[_HEADER:-2]
    rows: Rows = np.frombuffer(body, _RECORD)
    order = np.lexsort((rows["start"], rows["instrument_id"]))
    rows = rows[order]
    again = (rows["start"][1:] == rows["start"][:-1]) & (rows["instrument_id"][1:] == rows["instrument_id"][:-1])
    return rows[np.concatenate([[True], ~again])] if len(rows) else rows  # ranges of neighbouring blocks overlap


def bars_of(rows: Rows, width_s: int) -> Bars:
    """Return rows as bars, with a coverage below 1 where a gap touches one."""

    def column(name: str) -> npt.NDArray[np.float64]:
        return rows[name].astype(np.float64)

    start: Ints = rows["start"].astype(np.int64) * NS
    return Bars(
        start=start,
        end=start + width_s * NS,
        open=column("open"),
        high=column("high"),
        low=column("low"),
        close=column("close"),
        volume=column("volume"),
        notional=column("notional"),
        vwap=column("vwap"),
        trade_count=rows["trade_count"].astype(np.int64),
        buy_volume=column("buy_volume"),
        sell_volume=column("sell_volume"),
        signed_notional=column("signed_notional"),
        coverage=column("coverage"),
    )


def forming(rows: Rows, width_s: int) -> Gaps:
    """Return the spans of bars that are not complete: what is known of them may still change."""
    start: Ints = rows["start"][rows["complete"] == 0].astype(np.int64) * NS
    return Gaps(start, start + width_s * NS)


def read_gaps(cursor: Cursor, width_s: int, tasks: Sequence[Task]) -> list[Gaps]:
    """Return for each task when trades may be missing in its two blocks."""
    span_s = BLOCK * width_s
    lows, highs = [task.block_s - span_s for task in tasks], [task.block_s + span_s for task in tasks]
    ids = [task.instrument_id for task in tasks]
    parameters = {"ids": ids, "lows": lows, "highs": highs, "low": min(lows), "high": max(highs)}
    cursor.execute(derived_sql.READ_GAPS, parameters)
    spans: dict[int, list[tuple[int, int]]] = {}
    for number, low_us, high_us in cursor.fetchall():
        spans.setdefault(number, []).append((low_us * 1000, high_us * 1000))
    return [_gaps(spans.get(task.instrument_id, ())) for task in tasks]


def _gaps(spans: Sequence[tuple[int, int]]) -> Gaps:
    pairs = np.array(spans, np.int64).reshape(-1, 2)
    return Gaps(pairs[:, 0], pairs[:, 1])
