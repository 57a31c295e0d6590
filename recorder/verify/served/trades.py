"""Large trades: what one wallet paid in one transaction of the feed is stored once, with the sum of its fills."""

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

import msgspec

from recorder.truth import ServedTrade
from recorder.verify.served.result import ServedCheck, differing

BATCH = 1_000
_REMEMBERED_S = 7_200  # services that start again serve some of their past again
_CLOSED_S = 120  # the rows of one transaction are of one block
_NAMES = ("USDC", "shares", "fills")

Key = tuple[str, str]
"""Transaction and wallet."""

Sums = tuple[float, float, int]
"""Cash in USDC, shares, number of fills."""

Find = Callable[[Sequence[Key]], dict[Key, Sums]]
"""Returns the stored sums of some transactions."""


class Bounds(NamedTuple):
    """Which trades must be stored.

    Attributes:
        least_usdc: Cash of a transaction from which it is stored.
        row_usdc: Cash of a fill from which it is asked for.
        from_s: Only of blocks from here on, unix seconds.
        until_s: Only of blocks up to here.
        holes: What the poller says it has not read, from and until, unix seconds.
    """

    least_usdc: float
    row_usdc: float
    from_s: float
    until_s: float
    holes: Sequence[tuple[float, float]] = ()


class _Open(msgspec.Struct):
    ts: int
    cash: float = 0.0
    shares: float = 0.0
    fills: int = 0


class TradeCheck:
    """Compares the large trades of one group of services."""

    def __init__(self, services: str, bounds: Bounds, find: Find) -> None:
        self.check = ServedCheck(services, "large trades")
        self._bounds = bounds
        self._find = find
        self._newest_s = 0
        self._open: dict[Key, _Open] = {}
        self._batch: dict[Key, _Open] = {}
        self._recent: dict[Key, int] = {}  # unix seconds
        self._repeated: set[Key] = set()  # of services that ran before: what is served again is the same trade

    def begin(self) -> None:
        """Begin with services that were started again."""
        self._repeated = set(self._recent)

    def served(self, trade: ServedTrade) -> None:
        """Note a row of the feed."""
        cash = trade.size * trade.price
        if cash < self._bounds.row_usdc or is_combination(trade.condition):
            return
        key = trade.tx.lower(), trade.wallet.lower()
        self._recent[key] = trade.ts
        if key in self._repeated:
            return
        one = self._open.setdefault(key, _Open(trade.ts))
        one.cash += cash
        one.shares += trade.size
        one.fills += 1
        if trade.ts > self._newest_s:
            self._newest_s = trade.ts
            self._close(self._newest_s - _CLOSED_S)
            while self._recent[first := next(iter(self._recent))] < self._newest_s - _REMEMBERED_S:
                del self._recent[first]

    def end(self) -> ServedCheck:
        """Judge what is left, and return the result."""
        self._close(1 << 62)
        self._judge()
        return self.check

    def _close(self, before_s: int) -> None:
        # Rows come in the order of their blocks, up to those of a stream, which are seconds late.
        for key in self._closed(before_s):
            one = self._open.pop(key)
            if one.cash >= self._bounds.least_usdc and self._bounds.from_s <= one.ts <= self._bounds.until_s:
                self._batch[key] = one
        if len(self._batch) >= BATCH:
            self._judge()

    def _closed(self, before_s: int) -> Iterable[Key]:
        found = []
        for key, one in self._open.items():
            if one.ts >= before_s:
                break
            found.append(key)
        return found

    def _judge(self) -> None:
        stored = self._find(list(self._batch))
        for key, one in self._batch.items():
            self.check.served += 1
            found = stored.get(key)
            if found is None:
                if any(low <= one.ts <= high for low, high in self._bounds.holes):
                    self.check.declared += 1
                else:
                    self.check.missing += 1
                    self.check.note(f"transaction {key[0]} of {one.cash:,.0f} USDC")
                continue
            self.check.stored += 1
            differs = differing(_NAMES, found, (one.cash, one.shares, one.fills))
            if differs:
                self.check.wrong += 1
                self.check.note(f"transaction {key[0]}: {', '.join(differs)}")
        self._batch.clear()


def is_combination(condition: str) -> bool:
    """Return whether a condition, in the long form, combines several markets: such trades are of none of them."""
    return condition.lower().startswith("0x03") and condition.endswith("00")
