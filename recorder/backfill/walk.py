"""Pages of a time in a history that is read by ids, each of which begins with the trade that the last one ended with.

So the ids prove that nothing between two pages is missing, and that what a restart reads follows what was read before.
Pure.
"""

from typing import NamedTuple

from recorder.healer.walk import ReadError
from recorder.venues.history import PastPage, PastTrade, TradeHistory

RUNS_MAX = 64
"""A page with more runs of missing ids is a fault of the read."""
_SLACK_NS = 10**9  # neighbouring ids may be stamped the other way round


class Edge(NamedTuple):
    """The trade that was read last."""

    trade_id: int
    ts_event_ns: int


class MissingIds(NamedTuple):
    """Ids between two trades that the venue did not list."""

    last: PastTrade | Edge  # before them
    first: PastTrade | Edge  # after them


class Step(NamedTuple):
    """What a page adds.

    Attributes:
        trades: Those that were not read before, also beyond the time, in the direction of the walk.
        missing: Runs of ids that are missing before or between them.
        done: Whether nothing is left to be read.
        crossed: Whether a trade beyond the far end was listed, so that nothing before it is missing.
    """

    trades: list[PastTrade]
    missing: list[MissingIds]
    done: bool
    crossed: bool


class IdWalk:
    """A walk from one end of a time to the other, in the direction of the history.

    Args:
        history: The call.
        since_ns: Begin of the time, included.
        until_ns: End of the time, excluded.
        edge: The trade that was read last, or that stands just outside of the near end; None where none is known.
        cursor: Of the first page; it must list the edge.
    """

    def __init__(self, history: TradeHistory, since_ns: int, until_ns: int, edge: Edge | None, cursor: int) -> None:
        self.edge = edge
        self.cursor = cursor
        self._history = history
        self._since_ns, self._until_ns = since_ns, until_ns

    def take(self, page: PastPage) -> Step:
        """Take the page of the cursor.

        Raises:
            ReadError: It names an id twice, does not list the edge, or too many ids are missing.
        """
        rising = self._history.rising
        listed = {one.trade_id: one for one in page.trades}
        if len(listed) != len(page.trades):
            raise ReadError("a page names an id twice")
        if self.edge is not None and self.edge.trade_id not in listed:
            raise ReadError(_unlisted(self.edge.trade_id, listed))
        ordered = sorted(page.trades, key=lambda one: one.trade_id, reverse=not rising)
        fresh = [one for one in ordered if self.edge is None or self._is_beyond(one.trade_id, self.edge.trade_id)]
        if not fresh:
            if len(listed) >= self._history.rows:
                raise ReadError("cursor does not advance")
            return Step([], [], True, False)
        crossed = False
        missing: list[MissingIds] = []
        trades: list[PastTrade] = []
        last: PastTrade | Edge | None = self.edge
        for one in fresh:
            if last is not None and abs(one.trade_id - last.trade_id) > 1:
                missing.append(MissingIds(last, one) if rising else MissingIds(one, last))
            last = one
            trades.append(one)
            crossed = self._is_outside(one.ts_event_ns)
            if crossed:
                break
        if len(missing) > RUNS_MAX:
            raise ReadError(f"more than {RUNS_MAX} runs of ids are missing in a page")
        self.edge = Edge(trades[-1].trade_id, trades[-1].ts_event_ns)
        following = self._history.cursor_at(*self.edge)
        if self._history.newest is None and page.following is not None:  # a time: a page may hold one instant only
            following = page.following
        if not crossed and following == self.cursor:
            raise ReadError("more trades in one instant than a page holds")
        self.cursor = following
        return Step(trades, missing, crossed, crossed)

    def _is_beyond(self, trade_id: int, edge_id: int) -> bool:
        return trade_id > edge_id if self._history.rising else trade_id < edge_id

    def _is_outside(self, ts_event_ns: int) -> bool:
        if self._history.rising:
            return ts_event_ns >= self._until_ns + _SLACK_NS
        return ts_event_ns < self._since_ns - _SLACK_NS


def _unlisted(trade_id: int, listed: dict[int, PastTrade]) -> str:
    lowest = min(listed, default=None)
    if lowest is None:
        return f"the venue lists nothing, though it listed trade {trade_id}"
    if lowest > trade_id:
        return f"beyond retention: the first id listed is {lowest}, below {trade_id} nothing"
    return f"the venue does not list control row {trade_id}"
