"""Derives what follows from complete bars: indicators, features and findings, each time in one transaction.

It follows the marks of table derived_dirty, which a trigger of bar writes. One deriver at a time does this; another one
that tries meanwhile leaves the marks to it.
"""

import hashlib
import secrets
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import psycopg2.errors
import talib

from analysis.arrays import Floats, Ints
from analysis.definition import definition_hash, definitions
from analysis.features import BARS
from analysis.features.blocks import BLOCK, Block, features_of, past_of
from analysis.features.flow import DAYS
from analysis.indicators import COLUMNS
from analysis.workers import derived_sql, quality_sql
from analysis.workers.bar_memory import NS, BarMemory, Rows, Task, bars_of, forming, read_gaps
from analysis.workers.bar_sql import MINUTE_S
from recorder.store.database import Connection, Cursor

FEATURES = tuple(feature.name for feature in BARS)
MARKS = 20_000
"""Marks of bars that were over just now, which one transaction takes."""

_BLOCKS = 24  # of older bars in one transaction: a second of work


def versions() -> dict[str, str]:
    """Return the version of each list of values: its length, and digits of the hash of what it is computed by."""
    of_indicators = [definition_hash(_indicators_of), talib.__version__]
    of_features = [*definitions(BARS).values(), definition_hash(features_of), *of_indicators]
    return {
        "indicator": f"{len(COLUMNS)}-{digits(of_indicators)}",
        "bar_feature": f"{len(FEATURES)}-{digits(of_features)}",
    }


def digits(parts: Iterable[str]) -> str:
    """Return the digits of a version, of the hashes of what belongs to it."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _indicators_of(block: Block) -> Mapping[str, Floats]:
    return block.indicators


class BarValues:
    """Derives over one connection."""

    def __init__(self) -> None:
        self._memory = BarMemory()
        self._user = secrets.randbits(62)
        self._versions = versions()
        self._registered = False
        self.rows = 0  # of bars whose values were computed

    def derive(self, connection: Connection, *, live: bool) -> bool:
        """Derive the values of bars that changed.

        Args:
            connection: In autocommit.
            live: Only those of bars that were over just now; else also those of one series of earlier bars.

        Returns:
            Whether there may be more to do at once.

        Raises:
            psycopg2.Error: The transaction does not count.
        """
        with connection.cursor() as cursor:
            if self._registered:
                cursor.execute(derived_sql.ANY)
                if cursor.fetchall() == [(False,)]:
                    return False
            cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
            try:
                cursor.execute(derived_sql.LOCK)
                done = self._round(cursor, live=live)
                cursor.execute("COMMIT")
            except psycopg2.errors.LockNotAvailable:
                cursor.execute("ROLLBACK")
                return False
            except BaseException:
                self._memory.clear()
                if not connection.closed:
                    cursor.execute("ROLLBACK")
                raise
            self._registered = True
        return done

    def _round(self, cursor: Cursor, *, live: bool) -> bool:
        self._register(cursor)
        marks = _rows(cursor, derived_sql.TAKE_LIVE, {"marks": MARKS})
        if marks or live:
            self._take(cursor, marks, limit=None)
            return len(marks) == MARKS
        marks = _rows(cursor, derived_sql.TAKE_SERIES)
        self._take(cursor, marks, limit=_BLOCKS)
        return bool(marks)

    def _register(self, cursor: Cursor) -> None:
        """Note who derives and by which lists; a list that is new is derived for every bar."""
        known = {name: (version, user) for name, version, user in _rows(cursor, derived_sql.LISTS)}
        mine = {name: (version, self._user) for name, version in self._versions.items()}
        if {name: known.get(name) for name in mine} == mine:
            return
        self._memory.clear()
        if any(known.get(name, ("",))[0] != version for name, version in self._versions.items()):
            cursor.execute(derived_sql.MARK_BARS)
        for name, version in self._versions.items():
            cursor.execute(derived_sql.USE_LIST, {"name": name, "version": version, "user_id": self._user})

    def _take(self, cursor: Cursor, marks: Sequence[tuple[Any, ...]], limit: int | None) -> None:
        """Derive what marks ask for, the newest first; what is too much is marked again."""
        tasks: dict[int, dict[tuple[int, int], int]] = {}
        now_s = time.time()
        for number, width_s, low_s, high_s, reach in marks:
            self._memory.touch(number, width_s, low_s)
            for block_s, since_s in _reached(width_s, low_s, high_s, reach=reach):
                if block_s <= now_s + 3_600:
                    of_width = tasks.setdefault(width_s, {})
                    of_width[number, block_s] = min(since_s, of_width.get((number, block_s), since_s))
        for width_s, found in tasks.items():
            self._leave_out_empty(cursor, width_s, found, {(mark[0], mark[1], mark[2]) for mark in marks})
            chosen = [Task(number, block_s, since_s) for (number, block_s), since_s in found.items()]
            chosen.sort(key=lambda task: -task.block_s)
            for task in chosen[limit:] if limit is not None else ():
                self._memory.touch(task.instrument_id, width_s, task.since_s)
            self._put_back(cursor, width_s, chosen[limit:] if limit is not None else [])
            chosen = chosen[:limit]
            # Of one instrument the blocks are done one after the other, so that memory holds the newest of them.
            for group in _apart(chosen):
                self._store(cursor, width_s, group)

    @staticmethod
    def _leave_out_empty(
        cursor: Cursor, width_s: int, tasks: dict[tuple[int, int], int], marked: set[tuple[int, int, int]]
    ) -> None:
        """Leave out blocks that are only reached and have no bar."""
        span_s = BLOCK * width_s
        own = {(number, low_s // span_s * span_s) for number, width, low_s in marked if width == width_s}
        reached = [key for key in tasks if key not in own]
        if reached:
            ids, lows = map(list, zip(*reached, strict=True))
            parameters = {"ids": ids, "lows": lows, "width_s": width_s, "span_s": span_s}
            filled = set(_rows(cursor, derived_sql.WITH_BARS, parameters))
            for key in set(reached) - filled:
                del tasks[key]

    def _put_back(self, cursor: Cursor, width_s: int, tasks: Sequence[Task]) -> None:
        if tasks:
            span_s = BLOCK * width_s
            parameters = {
                "width_s": width_s,
                "ids": [task.instrument_id for task in tasks],
                "lows": [task.since_s for task in tasks],
                "highs": [task.block_s + span_s - width_s for task in tasks],
            }
            cursor.execute(derived_sql.PUT_BACK, parameters)

    def _store(self, cursor: Cursor, width_s: int, tasks: Sequence[Task]) -> None:
        """Compute and store the values of tasks of one length, each of another instrument."""
        found = self._memory.bars(cursor, width_s, tasks)
        blocks = []
        revisions: list[int] = []
        for task, rows, gaps in zip(tasks, found, read_gaps(cursor, width_s, tasks), strict=True):
            block = _block(rows, gaps.then(forming(rows, width_s)), width_s, task)
            blocks.append(block)
            revisions += rows["revision"][np.searchsorted(rows["start"], block.starts // NS)].tolist()
        ids = [task.instrument_id for task, block in zip(tasks, blocks, strict=True) for _ in range(len(block.rows))]
        starts = np.concatenate([block.starts for block in blocks])
        keys = {"width_s": width_s, "ids": ids, "starts": (starts // NS).tolist(), "revisions": revisions}
        ranges = {
            "width_s": width_s,
            "ids": [task.instrument_id for task in tasks],
            "lows": [task.since_s for task in tasks],
            "highs": [task.block_s + BLOCK * width_s for task in tasks],
        }
        with np.errstate(all="ignore"):  # absurd prices overflow, and what is not finite is stored as null
            each = [_indicators_of(block) for block in blocks]
            features = features_of(blocks, _past(cursor, tasks, blocks)) if width_s == MINUTE_S else None
        self._put(cursor, "indicator", {name: np.concatenate([one[name] for one in each]) for name in COLUMNS}, keys)
        tables = ["indicator"]
        if features is not None:
            self._put(cursor, "bar_feature", features, keys)
            tables.append("bar_feature")
        for table in tables:
            cursor.execute(derived_sql.REMOVE.format(table=table), ranges)
        cursor.execute(quality_sql.CHECK_BARS, {**ranges, "starts": keys["starts"], "bars": ids})
        self.rows += len(ids)

    def _put(self, cursor: Cursor, table: str, values: Mapping[str, Floats], keys: Mapping[str, object]) -> None:
        if keys["ids"]:
            texts = {name: _array(column) for name, column in values.items()}
            statement = derived_sql.store(table, list(values))
            cursor.execute(statement, {**keys, **texts, "version": self._versions[table]})


def _block(rows: Rows, gaps: Any, width_s: int, task: Task) -> Block:
    """Return the block of a task; a bar that is not complete is no wanted row."""
    block = Block.of(bars_of(rows, width_s), gaps, task.block_s * NS, width_s * NS, task.since_s * NS)
    complete = rows["complete"][np.searchsorted(rows["start"], block.starts // NS)] == 1
    return Block(block.grid, block.first, block.rows[complete])


def _reached(width_s: int, low_s: int, high_s: int, *, reach: bool) -> Iterable[tuple[int, int]]:
    """Yield (start, since) of the blocks whose values may depend on bars from `low_s` to `high_s`."""
    span_s = BLOCK * width_s
    last_s = high_s // span_s * span_s
    for block_s in range(low_s // span_s * span_s, last_s + 1, span_s):
        yield block_s, max(low_s, block_s)
    if reach:
        for number in range(1, (DAYS if width_s == MINUTE_S else 1) + 1):
            yield last_s + number * span_s, last_s + number * span_s


def _apart(tasks: Sequence[Task]) -> Iterable[list[Task]]:
    """Yield groups of tasks in which every instrument is once, older blocks first."""
    left = sorted(tasks, key=lambda task: task.block_s)
    while left:
        group: dict[int, Task] = {}
        for task in left:
            group.setdefault(task.instrument_id, task)
        yield sorted(group.values())
        chosen = set(group.values())
        left = [task for task in left if task not in chosen]


def _past(cursor: Cursor, tasks: Sequence[Task], blocks: Sequence[Block]) -> dict[str, Floats]:
    """Return what the features need of the same minute of earlier days."""
    ids = [task.instrument_id for task, block in zip(tasks, blocks, strict=True) for _ in range(len(block.rows))]
    starts: list[int] = np.concatenate([block.starts // NS for block in blocks]).tolist()
    found = _rows(cursor, derived_sql.READ_SAME_MINUTES, {"ids": ids, "starts": starts}) if ids else []
    each: dict[int, list[tuple[int, float, int]]] = {}
    for number, start_s, volume, count in found:
        each.setdefault(number, []).append((start_s, volume, count))
    parts = [
        past_of(block.starts, _same_minutes(each.get(task.instrument_id, ())))
        for task, block in zip(tasks, blocks, strict=True)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _same_minutes(found: Sequence[tuple[int, float, int]]) -> tuple[Ints, dict[str, Floats]]:
    """Return the starts of bars, ns, oldest first; and their columns."""
    each = {start_s: (volume, count) for start_s, volume, count in found}
    starts = np.array(sorted(each), np.int64)
    values = np.array([each[start_s] for start_s in starts.tolist()], np.float64).reshape(-1, 2)
    return starts * NS, {"volume": values[:, 0], "trade_count": values[:, 1]}


def _array(values: Floats) -> str:
    """Return the text of an array of double precision for Postgres; NaN and infinity are NULL."""
    return "{" + ",".join(repr(x) if np.isfinite(x) else "NULL" for x in values.tolist()) + "}"


def _rows(cursor: Cursor, statement: str, parameters: Mapping[str, Any] | None = None) -> Sequence[tuple[Any, ...]]:
    cursor.execute(statement, parameters)
    return cursor.fetchall()
