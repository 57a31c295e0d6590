"""Compares a database with what the fake venues sent. Plain SQL; nothing of the product takes part."""

import io
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
from faults.oracle.checks import CHECKS, COUNTS, COVERAGE, SNAPSHOTS
from faults.oracle.sent import Levels, SentLog
from psycopg2 import extensions

SHOWN = 5  # problems of one kind that are described
COVERED = 40  # stored rows that one gap may cover; a book of Binance waits seconds for its snapshot
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TABLES = Path(__file__).with_name("tables.sql").read_text()
_MADE = ("item", "delivery", "connection", "stored", "matched", "receipt", "sendings", "missing", "snapshot", "hole")
_SENT = """
    CREATE TEMPORARY TABLE item (
        item bigint PRIMARY KEY, venue text, symbol text, channel text, kind text, key float8, sequence bigint,
        made_at timestamptz, event_at timestamptz, price float8, size float8, side text, ask float8, ask_size float8,
        bids float8[], asks float8[], readable boolean);
    CREATE TEMPORARY TABLE delivery (place bigint, item bigint, connection integer);
    CREATE TEMPORARY TABLE connection (connection integer, venue text, opened_at timestamptz, closed_at timestamptz)"""


@dataclass
class Finding:
    """The result of a check."""

    sent: int = 0  # items written to at least one connection
    stored: int = 0  # of these
    lost: int = 0  # of these: in a gap, or a problem
    unsent: int = 0  # trades, and changes of Binance's books, that went to no connection, between stored ones
    gaps: int = 0
    covered: list[tuple[str, int]] = field(default_factory=list)  # gaps with the stored rows that they cover
    problems: dict[str, list[str]] = field(default_factory=dict)  # by kind

    @property
    def clean(self) -> bool:
        """Return whether everything is accounted for."""
        return not self.problems

    def __str__(self) -> str:
        most = self.covered[0][1] if self.covered else 0
        lines = [
            f"sent {self.sent}, stored {self.stored}, not stored {self.lost}, sent to no connection {self.unsent}, "
            f"gaps {self.gaps}, most rows that a gap covers {most}"
        ]
        for kind, found in self.problems.items():
            lines.append(f"{kind}: {len(found)}")
            lines += [f"    {text}" for text in found[:SHOWN]]
        return "\n".join(lines)


def check_database(url: str, log: SentLog, covered: int = COVERED) -> Finding:
    """Compare a database with the log, and return what was found."""
    connection = psycopg2.connect(url)
    try:
        return check(connection, log, covered)
    finally:
        connection.close()


def check(connection: extensions.connection, log: SentLog, covered: int = COVERED) -> Finding:
    """Compare what this connection sees with the log. It leaves its transaction open, and only temporary tables.

    Args:
        connection: To the database, as superuser.
        log: What was sent.
        covered: Stored rows that one gap may cover.
    """
    with connection.cursor() as cursor:
        cursor.execute("SET TIME ZONE 'UTC'")
        cursor.execute(f"DROP TABLE IF EXISTS {', '.join(f'pg_temp.{name}' for name in _MADE)}")
        cursor.execute(_SENT)
        _load(cursor, log)
        cursor.execute(_TABLES)
        cursor.execute(COUNTS)
        finding = Finding(*next(iter(cursor.fetchall())))
        for kind, query in CHECKS.items():
            cursor.execute(query)
            found = [str(row[0]) for row in cursor.fetchall()]
            if found:
                finding.problems[kind] = found
        cursor.execute(SNAPSHOTS)
        wrong = list(_wrong_snapshots(cursor.fetchall(), log))
        if wrong:
            finding.problems["wrong snapshot"] = wrong
        cursor.execute(COVERAGE)
        finding.covered = cursor.fetchall()
        wide = [f"{name}: {rows} rows" for name, rows in finding.covered if rows > covered]
        if wide:
            finding.problems["gap over stored rows"] = wide
    return finding


def _load(cursor: extensions.cursor, log: SentLog) -> None:
    items, deliveries, connections = log.copy()
    _copy(
        cursor,
        "item",
        (
            (
                item.number, item.venue, item.symbol, item.channel, item.kind, item.key, item.sequence,
                _instant(item.at_us), _instant(item.event_us), item.price, item.size, item.side, item.ask,
                item.ask_size, *((_array(item.bids), _array(item.asks)) if item.channel == "book" else (None, None)),
                item.readable,
            )
            for item in items
        ),
    )  # fmt: skip
    _copy(cursor, "delivery", ((place, one.item, one.connection) for place, one in enumerate(deliveries)))
    _copy(
        cursor,
        "connection",
        ((one.number, one.venue, _instant(one.opened_us), _instant(one.closed_us)) for one in connections),
    )


def _copy(cursor: extensions.cursor, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    text = io.StringIO()
    for row in rows:
        text.write("\t".join("\\N" if value is None else str(value) for value in row) + "\n")
    text.seek(0)
    cursor.copy_expert(f"COPY pg_temp.{table} FROM STDIN", text)


def _instant(us: int | None) -> datetime | None:
    return None if us is None else _EPOCH + timedelta(microseconds=us)


def _array(levels: Levels) -> str:
    return "{" + ",".join(f"{{{price!r},{size!r}}}" for price, size in levels) + "}"


def _wrong_snapshots(rows: Iterable[tuple[Any, ...]], log: SentLog) -> Iterator[str]:
    """Yield the snapshots of Binance, ordered by symbol and id, that are not the venue's book at their id."""
    symbol, updates, at = "", [], 0
    bids: dict[float, float] = {}
    asks: dict[float, float] = {}
    for stored_symbol, sequence, received, stored_bids, stored_asks in rows:
        if stored_symbol != symbol:
            symbol, updates, at, bids, asks = stored_symbol, log.depth.get(stored_symbol, []), 0, {}, {}
        while at < len(updates) and updates[at][0] <= sequence:
            for side, levels in ((bids, updates[at][1]), (asks, updates[at][2])):
                side.update(levels)
                for price in [price for price, size in levels if size == 0]:
                    side.pop(price, None)
            at += 1
        if dict(map(tuple, stored_bids)) != bids or dict(map(tuple, stored_asks)) != asks:
            yield f"binance {symbol} at {sequence}, received {received}"
