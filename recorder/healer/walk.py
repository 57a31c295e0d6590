"""One read of a hole, page by page, and whether its ends agree with what is stored. Pure."""

import math
from collections.abc import Mapping

from recorder.healer.hole import StoredTrade
from recorder.venues.history import PastPage, PastTrade, TradeHistory

_GROUP_MAX = 10_000  # trades that a venue joins into one


class ReadError(Exception):
    """A read that proves nothing, with the reason."""


class Walk:
    """Pages from one end of a hole to the other.

    Attributes:
        trades: Everything the pages had, by id.
        cursor: Of the next page.
        done: Whether the other end is reached, or the venue has nothing more.
    """

    def __init__(self, history: TradeHistory, low: StoredTrade, high: StoredTrade) -> None:
        """
        Args:
            history: The call.
            low: Stored trade before the hole.
            high: Stored trade after it.
        """
        self.trades: dict[int, PastTrade] = {}
        self.done = False
        self._history = history
        self._low, self._high = low, high
        # Where the feed joins trades, those of `low` have ids below its own: a page more has them.
        self._end_id = (high.trade_id if history.rising else low.trade_id) - (history.rows if history.merged else 0)
        begin = low if history.rising else high
        self.cursor = history.cursor_at(begin.trade_id, begin.ts_event_ns)

    @property
    def reach(self) -> int:
        """Id up to which the walk has come, from the end where it began."""
        begin = self._low.trade_id if self._history.rising else self._high.trade_id
        if self.done:
            return self._high.trade_id if self._history.rising else self._low.trade_id
        return (max if self._history.rising else min)(self.trades, default=begin)

    def take(self, page: PastPage) -> None:
        """Take the page of the cursor.

        Raises:
            ReadError: The page names an id twice, repeats an earlier one, or does not move the cursor.
        """
        ids = {one.trade_id for one in page.trades}
        if len(ids) != len(page.trades):
            raise ReadError("a page names an id twice")
        if not ids:
            self.done = True
            return
        for one in page.trades:
            if self.trades.setdefault(one.trade_id, one) != one:
                raise ReadError(f"two pages differ in trade {one.trade_id}")
        rising = self._history.rising
        if (max(ids) >= self._end_id) if rising else (min(ids) <= self._end_id):
            self.done = True
            return
        following = page.following
        if following is None or (following <= self.cursor if rising else following >= self.cursor):
            raise ReadError("cursor does not advance")
        self.cursor = following


def agrees(control: StoredTrade, trades: Mapping[int, PastTrade], *, merged: bool, first_id: int | None = None) -> None:
    """Check that the venue lists a stored trade as it is stored.

    Args:
        control: The stored trade.
        trades: Of the venue, by id.
        merged: Whether the stored trade may stand for several of the venue, its id being their last.
        first_id: The first of these, where it is known.

    Raises:
        ReadError: It does not list it, or lists it with another price, size or side.
    """
    last = trades.get(control.trade_id)
    if last is None:
        lowest = min(trades, default=None)
        if lowest is None or lowest > control.trade_id:
            raise ReadError(f"beyond retention: the first id listed is {lowest}" if trades else "beyond retention")
        raise ReadError(f"the venue does not list control row {control.trade_id}")
    if last.price != control.price or last.aggressor != control.aggressor:
        raise ReadError(f"control row {control.trade_id} differs")
    size = last.size
    trade_id = control.trade_id
    while merged and not _same(size, control.size) and size < control.size:
        trade_id -= 1
        one = trades.get(trade_id)
        if one is None or (one.price, one.aggressor) != (control.price, control.aggressor):
            break
        if control.trade_id - trade_id > _GROUP_MAX:
            break
        size += one.size
    if not _same(size, control.size) or (first_id is not None and trade_id != first_id):
        raise ReadError(f"control row {control.trade_id} differs")


def _same(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-12)


def span_of(trades: Mapping[int, PastTrade], stored: StoredTrade) -> range:
    """Return the ids of the venue for which a stored trade stands, where the feed joins trades."""
    agrees(stored, trades, merged=True)
    size, first = trades[stored.trade_id].size, stored.trade_id
    while not _same(size, stored.size):
        first -= 1
        size += trades[first].size
    return range(first, stored.trade_id + 1)
