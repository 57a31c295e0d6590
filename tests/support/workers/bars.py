"""What the bars must be, computed apart from the program that derives them; and that program as a process."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import psycopg2

from support.database_server import ROOT

WIDTHS_S = (60, 300, 900, 3_600, 14_400, 86_400)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = timedelta(microseconds=1)

# Not the way of the deriver: windows over all trades, every length from trades, nothing from shorter bars.
_TRADES = """
SELECT DISTINCT instrument_id, start,
       first_value(price) OVER early, max(price) OVER whole, min(price) OVER whole, last_value(price) OVER early,
       sum(size) OVER whole, sum(price * size) OVER whole, count(*) OVER whole,
       coalesce(sum(size) FILTER (WHERE aggressor = 'b') OVER whole, 0),
       coalesce(sum(size) FILTER (WHERE aggressor = 's') OVER whole, 0),
       coalesce(sum(price * size) FILTER (WHERE aggressor = 'b') OVER whole, 0)
       - coalesce(sum(price * size) FILTER (WHERE aggressor = 's') OVER whole, 0)
  FROM (SELECT *, to_timestamp(floor(extract(epoch FROM ts_event) / {width_s}) * {width_s}) AS start FROM trade) AS t
WINDOW whole AS (PARTITION BY instrument_id, start),
       early AS (PARTITION BY instrument_id, start ORDER BY ts_event, trade_id
                 ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)"""
_GAPS = """
SELECT instrument_id, started_at, ended_at, last_ts_event, first_ts_event FROM gap
 WHERE channel = 'trade' AND state <> 'healed'"""
_BARS = """
SELECT instrument_id, start, open, high, low, close, volume, notional, trade_count, buy_volume, sell_volume, vwap,
       signed_notional, coverage, in_gap, complete, revision
  FROM bar WHERE interval_s = %s"""

Span = tuple[datetime, datetime]


class Bar(NamedTuple):
    """A bar as the test compares it."""

    open: float
    high: float
    low: float
    close: float
    volume: float
    notional: float
    trade_count: int
    buy_volume: float
    sell_volume: float
    vwap: float
    signed_notional: float
    coverage: float | None
    in_gap: bool | None


Bars = dict[tuple[int, datetime], Bar]


def rows(url: str, query: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    """Return the answer to a query."""
    connection = psycopg2.connect(url, options="-c timezone=UTC")
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(query, parameters)
            return cursor.fetchall() if cursor.description else []
    finally:
        connection.close()


def stored(url: str, width_s: int) -> Bars:
    """Return the bars that are stored."""
    return {row[:2]: Bar(*row[2:15]) for row in rows(url, _BARS, (width_s,))}


def expected(url: str, width_s: int) -> Bars:
    """Return the bars that trades and gaps ask for."""
    spans: dict[int, list[Span]] = {}
    for number, started, ended, last, first in rows(url, _GAPS):
        ends = [last or started, first or ended]
        high = datetime.max.replace(tzinfo=UTC) if ends[1] is None else max(ends) + _US
        spans.setdefault(number, []).append((ends[0] if ends[1] is None else min(ends), high))
    known = set()
    for number, recorded, first_seen in rows(url, "SELECT instrument_id, recorded, first_seen FROM instrument"):
        known.add(number)
        spans.setdefault(number, []).append((EPOCH, first_seen if recorded else datetime.max.replace(tzinfo=UTC)))
    found: Bars = {}
    width = timedelta(seconds=width_s)
    for number, start, *values in rows(url, _TRADES.format(width_s=width_s)):
        missing = _missing(spans.get(number, []), start, start + width)
        *values, signed = values
        covered = (1 - missing / width, missing > timedelta(0)) if number in known else (None, None)
        found[number, start] = Bar(*(*values, values[5] / values[4], signed, *covered))
    return found


def _missing(spans: list[Span], start: datetime, end: datetime) -> timedelta:
    total, reached = timedelta(0), start
    for low, high in sorted(spans):
        low, high = max(low, reached), min(high, end)
        if high > low:
            total, reached = total + (high - low), high
    return total


def differences(url: str) -> list[str]:
    """Return where stored bars are not what they must be, in words; sums may differ by their rounding."""
    found = []
    for width_s in WIDTHS_S:
        have, want = stored(url, width_s), expected(url, width_s)
        found += [f"{width_s} s: no bar {key}" for key in want.keys() - have.keys()]
        found += [f"{width_s} s: a bar without trades {key}" for key in have.keys() - want.keys()]
        for key in want.keys() & have.keys():
            if not all(_near(*pair) for pair in zip(have[key], want[key], strict=True)):
                found.append(f"{width_s} s {key}: {have[key]} is not {want[key]}")
    return found


def _near(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return one == other or abs(one - other) <= 1e-9 * max(abs(one), abs(other), 1.0)


class DeriverProcess:
    """bin/deriver, to be killed at will."""

    def __init__(self, url: str, home: Path, **settings: str) -> None:
        self.home = home
        variables = {f"TAPEDECK__DERIVER__{name.upper()}": value for name, value in settings.items()}
        self._environment = {
            **os.environ, "TAPEDECK_HOME": str(home), "TAPEDECK_CONFIG": "demo", "DATABASE_URL": url, **variables,
        }  # fmt: skip
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Start it; it works within a second."""
        self.home.mkdir(parents=True, exist_ok=True)
        with open(self.home / "deriver.log", "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, ROOT / "bin" / "deriver"],
                cwd=self.home, env=self._environment | {"PYTHONPATH": str(ROOT)}, stdout=log, stderr=log,
            )  # fmt: skip

    def kill(self) -> None:
        """End it as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def stop(self) -> int:
        """End it as supervisord does, and return its exit status."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(15)


def wait_for(condition: Callable[[], bool], deadline_s: float = 60.0) -> None:
    """Return once a condition holds."""
    pause, deadline = threading.Event(), time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < deadline, "it does not come true"
        pause.wait(0.05)


def settled(url: str) -> bool:
    """Return whether no mark is left; a mark is gone when its bars are stored."""
    return rows(url, "SELECT count(*) FROM bar_dirty") == [(0,)]


def values_settled(url: str) -> bool:
    """Return whether no mark of a bar is left whose values must be derived."""
    return rows(url, "SELECT count(*) FROM derived_dirty") == [(0,)]
