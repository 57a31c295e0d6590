"""Daily rows, one per local date, stamped with the open of the session, and the mark of the running day."""

from datetime import date, datetime
from itertools import groupby

from recorder.venues.yahoo.meta import Meta
from recorder.venues.yahoo.model import Bar

MERGED = "merged"  # several rows of one day in an answer
SETTLED_S = 1800
"""Auctions and quotes delayed by 15 to 20 minutes still change a day after its close."""


def merge_days(bars: list[Bar], meta: Meta, received_s: int) -> list[Bar]:
    """Return one bar per local date, in the order of time.

    The running day comes at times twice: stamped with the open of the session, and with the time of the last trade.
    """
    return [
        _one(day, list(rows), meta, received_s) for day, rows in groupby(bars, key=lambda bar: bar.day)
    ]  # fmt: skip


def _one(day: date, rows: list[Bar], meta: Meta, received_s: int) -> Bar:
    first, last = rows[0], rows[-1]
    merged = len(rows) > 1
    session = meta.regular if meta.regular and _local(meta.regular[0], meta) == day else None
    return Bar(
        # The row of the running day may have the time of the last trade, so its own time is no key.
        session[0] if session else _opened(first, meta),
        day,
        first.open,
        max(row.high for row in rows),
        min(row.low for row in rows),
        last.close,
        max((row.volume for row in rows if row.volume is not None), default=None),
        last.adjclose,
        partial=merged or _is_running(day, session, meta, received_s),
        flags=(MERGED,) if merged else (),
    )


def _opened(first: Bar, meta: Meta) -> int:
    """Return the open of a day whose session the answer does not name.

    Until the next session opens, the last day keeps the time of its last trade, while the answer names that session.
    """
    if meta.regular is None or first.start_s != meta.market_time_s:
        return first.start_s
    opens = datetime.fromtimestamp(meta.regular[0], meta.zone).timetz()
    return min(first.start_s, int(datetime.combine(first.day, opens).timestamp()))


def _is_running(day: date, session: tuple[int, int] | None, meta: Meta, received_s: int) -> bool:
    if session is not None:
        return received_s < session[1] + SETTLED_S
    return day >= _local(received_s, meta)


def _local(at_s: int, meta: Meta) -> date:
    return datetime.fromtimestamp(at_s, meta.zone).date()
