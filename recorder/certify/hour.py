"""The facts about one hour of one stream that follow from journals, and their comparison with stored rows. Pure."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from recorder.certify.document import BookChecks, Rows
from recorder.certify.tape import StreamHour, TapeHour
from recorder.pgcopy.decode import readable

DIFFERENCES_MAX = 10
_NULL = b"\xff\xff\xff\xff"


Neighbours = tuple[int | None, int | None, int]
"""Highest trade id before an hour, lowest one after it, and how many ids between its ids have a time outside of it."""


class ExpectedRows(NamedTuple):
    """The rows that must be stored.

    Attributes:
        rows: By key; of quotes and books each row is its own key, with how often it occurs.
        healed: How many of them come from the history of the venue.
    """

    rows: dict[bytes, bytes]
    healed: int


def expected_trades(hour: TapeHour) -> ExpectedRows:
    """Return the trades that must be stored: those of the frames, then past ones whose id no frame gave."""
    rows = dict(hour.trades)
    ids = {key[4:12] for key in rows}
    healed = 0
    for trade_id, row in hour.past.items():
        if trade_id.to_bytes(8, "big", signed=True) not in ids:
            rows[row[14:38]] = row
            healed += 1
    return ExpectedRows(rows, healed)


def digest(channel: str, rows: Sequence[bytes]) -> str:
    """Return the hash of rows, whatever their order. Of trades without the time of receipt."""
    found = hashlib.sha256()
    for row in sorted(row[:38] + row[50:] for row in rows) if channel == "trade" else sorted(rows):
        found.update(row)
    return found.hexdigest()


def rows_of(key: StreamHour, hour: TapeHour, rows: Sequence[bytes], neighbours: Neighbours) -> Rows:
    """Return the facts about rows.

    Args:
        key: The stream and the hour.
        hour: What the journals say.
        rows: The rows that are stored, or that must be.
        neighbours: Of the hour.
    """
    ids = [_int8(row[18:26]) for row in rows] if key.channel == "trade" else []
    before_id, after_id, strays = neighbours
    return Rows(
        stored=len(rows),
        distinct=len(set(ids)) if key.channel == "trade" else len(rows),
        duplicates=hour.decoded - len(hour.trades) if key.channel == "trade" else 0,
        healed=expected_trades(hour).healed,
        first_id=min(ids, default=None),
        last_id=max(ids, default=None),
        before_id=before_id,
        after_id=after_id,
        strays=strays,
        sha256=digest(key.channel, rows),
    )


def all_rows(key: StreamHour, hour: TapeHour) -> list[bytes]:
    """Return the rows that must be stored of an hour."""
    return list(expected_trades(hour).rows.values()) if key.channel == "trade" else hour.others


def checks_of(hour: TapeHour, *, decoded: bool) -> BookChecks:
    """Return the verdicts on a book: those of the frames, or those that were recorded.

    Fresh books that were requested are no property of frames: the recorder counted them.
    """
    return msgspec.structs.replace(hour.checks, resyncs=hour.recorded.resyncs) if decoded else hour.recorded


def least_delay_us(key: StreamHour, hour: TapeHour) -> int | None:
    """Return the least of receipt minus venue time over the rows of the frames; None where no row has both."""
    if key.channel == "trade":
        return min((_int8(row[42:50]) - _int8(row[30:38]) for row in hour.trades.values()), default=None)
    timed = (row for row in hour.others if row[26:30] != _NULL)
    return min((_int8(row[18:26]) - _int8(row[30:38]) for row in timed), default=None)


def differences(key: StreamHour, symbol: str, hour: TapeHour, stored: Sequence[bytes]) -> list[str]:
    """Return where stored rows are not those of the journals, in words: the first ones, and how many more."""
    if key.channel == "trade":
        found = _trades(symbol, hour, stored)
    else:
        missing, extra = Counter(hour.others), Counter(stored)
        both = missing & extra
        found = [*_said(key, symbol, "not stored", (missing - both).elements())]
        found += _said(key, symbol, "in no frame", (extra - both).elements())
    found.sort()
    more = len(found) - DIFFERENCES_MAX
    return found if more <= 0 else [*found[:DIFFERENCES_MAX], f"and {more} more rows"]


def _trades(symbol: str, hour: TapeHour, stored: Sequence[bytes]) -> list[str]:
    expected, found = expected_trades(hour).rows, []
    left = dict(expected)
    for row in stored:
        want = left.pop(row[14:38], None)
        if want is None:
            found.append(_line("trade", symbol, "in no frame", row))
        elif row != want:
            received_again = row[42:50] in hour.again.get(row[14:38], ())
            if not received_again or row[:38] + row[50:] != want[:38] + want[50:]:
                found.append(_changed(symbol, want, row))
    return found + [_line("trade", symbol, "not stored", row) for row in left.values()]


def _changed(symbol: str, want: bytes, row: bytes) -> str:
    old, new = readable("trade", want, {}), readable("trade", row, {})
    cells = ", ".join(f"{name} {old[name]} -> {new[name]}" for name in new if new[name] != old[name])
    return f"trade {symbol} trade_id={new['trade_id']} stored otherwise: {cells}"


def _said(key: StreamHour, symbol: str, what: str, rows: Iterable[bytes]) -> list[str]:
    return [_line(key.channel, symbol, what, row) for row in rows]


def _line(table: str, symbol: str, what: str, row: bytes) -> str:
    named = readable(table, row, {})
    cells = " ".join(f"{name}={value}" for name, value in named.items() if name != "symbol" and value != "-")
    return f"{table} {symbol} {what}: {cells}"


def _int8(field: bytes) -> int:
    return int.from_bytes(field, "big", signed=True)
