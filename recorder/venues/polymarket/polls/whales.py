"""Large trades: what one wallet paid in one transaction, summed over its fills, and each reported once.

A transaction has one row per fill. It may be spread over pages and over walks of the feed, and walks overlap. A row
counts as often as the walk that has most of it, so that the sum neither misses a fill nor counts one twice.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import Literal, NamedTuple, final

import msgspec

from recorder.venues.polymarket.polls.trades import Fill

REMEMBERED_S = 3600
REMEMBERED_MAX = 50_000
"""Transactions in memory. The feed had about 4 rows a second in February 2026, most of them of little cash."""
OVERLAP_S = 60
"""A walk goes this much behind the newest known row, because the rows of a transaction may appear one by one."""

_Key = tuple[str, str, str, str, float, float]
_Rows = dict[_Key, tuple[Fill, int]]
"""Fills of one transaction and wallet with their number. The outcome is no part of the key: the feed names it later."""


class Hole(NamedTuple):
    """A part of the feed between rows that were read, of which nothing was read."""

    from_ns: int
    until_ns: int


@final
class Whale(msgspec.Struct, frozen=True, gc=False):
    """All fills of one transaction and wallet. It is complete when the number of its fills does not grow any more."""

    transaction: str
    wallet: str
    fills: int
    ts_event_ns: int
    token: str  # the one with most of the cash
    condition_id: str
    outcome: str | None
    outcome_index: int | None
    side: Literal["b", "s"]  # of the taker in that token
    shares: float
    cash: float  # USDC
    tokens: int  # different tokens among the fills


class Whales:
    """The transactions of the feed within the last hour.

    Args:
        least_usdc: Cash from which a transaction is a whale's.
        read_ns: Up to here an earlier process has read the feed, by the times of the rows; 0: it has read nothing.
    """

    def __init__(self, least_usdc: float, read_ns: int = 0) -> None:
        self._least_usdc = least_usdc
        self._before_ns = read_ns
        self._known: dict[tuple[str, str], _Rows] = {}  # by transaction and wallet, of walks before this one
        self._walk: dict[tuple[str, str], _Rows] = {}
        self._walk_id: int | None = None
        self._complete = False
        self._settled: set[tuple[object, ...]] = set()  # keys of rows behind which every row is known
        self._reported: dict[tuple[str, str], int] = {}  # fills of the last report

    @property
    def complete(self) -> bool:
        """Whether this walk has come to rows behind which all are known, and may end."""
        return self._complete

    def add(self, walk_id: int, fills: Sequence[Fill], *, last: bool) -> list[Whale]:
        """Add one page of a walk, and return the whales that are new or have grown.

        Args:
            walk_id: Distinguishes walks; the pages of one come one behind the other, each as far as the walk came.
            fills: Of the page, newest first.
            last: Whether the feed has no further page.
        """
        if walk_id != self._walk_id:
            self._end_walk()
            self._walk_id = walk_id
        touched: dict[tuple[str, str], None] = {}
        for fill in fills:
            key = (fill.transaction, fill.wallet)
            rows = self._walk.setdefault(key, {})
            rows[fill.key] = fill, rows.get(fill.key, (fill, 0))[1] + 1
            touched[key] = None
        self._complete = self._complete or last or self._is_known_behind(fills)
        found = (self._whale(key) for key in touched)
        return [whale for whale in found if whale is not None]

    @property
    def read_ns(self) -> int:
        """Up to here the feed is read, by the times of the rows; 0 before the end of the first walk."""
        newest = max((fill.ts_event_ns for fill in _fills(self._walk.values())), default=0)
        return max(self._before_ns, newest) if self._complete else self._before_ns

    def give_up(self) -> Hole | None:
        """End this walk where it is, because what lies behind it is too much to be read, and return what that is.

        Returns:
            None where nothing was read before, or where this walk has nothing.
        """
        self._complete = True
        oldest = min((fill.ts_event_ns for fill in _fills(self._walk.values())), default=0)
        return Hole(self._before_ns, oldest) if 0 < self._before_ns < oldest else None

    def _is_known_behind(self, fills: Sequence[Fill]) -> bool:
        if self._settled:
            return any(fill.key in self._settled for fill in fills)
        # The first walk ends where later ones would have forgotten the rows, or where an earlier process has read.
        newest = max((fill.ts_event_ns for fill in _fills(self._walk.values())), default=0)
        until_ns = newest - REMEMBERED_S * 10**9
        if self._before_ns:
            until_ns = min(until_ns, self._before_ns - OVERLAP_S * 10**9)
        return any(fill.ts_event_ns < until_ns for fill in fills)

    def _whale(self, key: tuple[str, str]) -> Whale | None:
        rows = _union(self._walk[key], self._known.get(key, {}))
        count = _total(rows)
        if self._reported.get(key, 0) >= count or sum(f.cash * n for f, n in rows.values()) < self._least_usdc:
            return None
        self._reported[key] = count
        return _sum(rows)

    def _end_walk(self) -> None:
        for key, rows in self._walk.items():
            # Taken out first, so that the transactions seen last are the last ones of the dictionary.
            self._known[key] = _union(rows, self._known.pop(key, {}))
        self._walk.clear()
        newest = max((fill.ts_event_ns for fill in _fills(self._known.values())), default=0)
        oldest = newest - REMEMBERED_S * 10**9
        surplus = len(self._known) - REMEMBERED_MAX
        for number, (key, rows) in enumerate(list(self._known.items())):
            if number < surplus or all(fill.ts_event_ns < oldest for fill, _ in rows.values()):
                del self._known[key]
                self._reported.pop(key, None)
        if self._complete:  # behind the rows of a walk that broke off, others are not known
            self._before_ns = max(self._before_ns, newest)
            settled_ns = newest - OVERLAP_S * 10**9
            self._settled = {f.key for f in _fills(self._known.values()) if f.ts_event_ns <= settled_ns}
        self._complete = False


def _fills(every: Iterable[_Rows]) -> Iterator[Fill]:
    return (fill for rows in every for fill, _ in rows.values())


def _total(rows: _Rows) -> int:
    return sum(count for _, count in rows.values())


def _union(walk: _Rows, known: _Rows) -> _Rows:
    """Return the rows of both with the larger count of each, and with the outcome where one of them names it."""
    union = dict(known)
    for key, (fill, count) in walk.items():
        before, most = known.get(key, (fill, 0))
        union[key] = before if fill.outcome_index is None else fill, max(count, most)
    return union


def _sum(rows: _Rows) -> Whale:
    cash: defaultdict[str, float] = defaultdict(float)
    signed: defaultdict[str, float] = defaultdict(float)
    for fill, count in rows.values():
        cash[fill.token] += fill.cash * count
        signed[fill.token] += fill.cash * count * (1 if fill.side == "BUY" else -1)
    token = max(sorted(cash), key=lambda token: cash[token])
    main = next(fill for fill, _ in rows.values() if fill.token == token)
    return Whale(
        main.transaction, main.wallet, _total(rows), max(fill.ts_event_ns for fill, _ in rows.values()),
        token, main.condition_id, main.outcome, main.outcome_index, "b" if signed[token] >= 0 else "s",
        sum(fill.size * count for fill, count in rows.values()), sum(cash.values()), len(cash),
    )  # fmt: skip
