"""Finds the trades on both sides of an instant in a history that is read by ids. Pure."""

from collections.abc import Sequence

from recorder.healer.walk import ReadError
from recorder.venues.history import PastTrade, TradeHistory

_PAGES_MAX = 100


class Search:
    """A search by interpolation and by halves, from the newest page on.

    Attributes:
        before: The newest trade before the instant that is known so far.
        after: The oldest trade at the instant or after it that is known so far.
        done: Whether these two stand side by side in the history, or there is none on one side.
    """

    def __init__(self, history: TradeHistory, at_ns: int) -> None:
        self.before: PastTrade | None = None
        self.after: PastTrade | None = None
        self.done = False
        self._history = history
        self._at_ns = at_ns
        self._asked: int | None = None
        self._floor_id = 0  # no id up to here is listed
        self._suspect_id: int | None = None  # first trade of a page that began above the id asked for
        self._probe: int | None = None  # an id far below it
        self._pages = 0
        self._ids_per_ns = 0.0

    def path(self, symbol: str) -> str:
        """Return the path of the next page."""
        history = self._history
        if self.after is None:
            assert history.newest is not None
            return history.newest(symbol)
        self._asked = self._guess(self.after)
        return history.path(symbol, history.cursor_at(self._asked, self._at_ns))

    def take(self, page: Sequence[PastTrade]) -> None:
        """Take the page of the path.

        Raises:
            ReadError: Times do not rise with ids, or the venue lists nothing.
        """
        self._pages += 1
        if self._pages > _PAGES_MAX:
            raise ReadError("times do not rise with ids")
        ordered = sorted(page, key=lambda one: one.trade_id)
        if not ordered and self._asked is None:
            raise ReadError("the venue lists no trade")
        self._note_floor(ordered)
        earlier = [one for one in ordered if one.ts_event_ns < self._at_ns]
        later = [one for one in ordered if one.ts_event_ns >= self._at_ns]
        if earlier:
            self._probe = None
        if earlier and (self.before is None or earlier[-1].trade_id > self.before.trade_id):
            self.before = earlier[-1]
        if later and (self.after is None or later[0].trade_id < self.after.trade_id):
            self.after = later[0]
        if len(ordered) > 1:
            span_ns = max(1, ordered[-1].ts_event_ns - ordered[0].ts_event_ns)
            self._ids_per_ns = (ordered[-1].trade_id - ordered[0].trade_id) / span_ns
        low_id = self._low_id()
        beside = self.after is None or self.after.trade_id <= low_id + 1
        self.done = beside or (bool(earlier) and bool(later))

    def _low_id(self) -> int:
        return self._floor_id if self.before is None else max(self.before.trade_id, self._floor_id)

    def _note_floor(self, ordered: Sequence[PastTrade]) -> None:
        """Learn from a page below which id the venue lists nothing."""
        if self._asked is None or self.before is not None:
            return
        if not self._history.rising:
            if len(ordered) < self._history.rows:
                lowest_id = self._asked if not ordered else ordered[0].trade_id - 1
                self._floor_id = max(self._floor_id, lowest_id)
        elif ordered and ordered[0].trade_id > self._asked:
            # The id asked for may be one that is missing, so half of it must lead to the same trade.
            first_id = ordered[0].trade_id
            if first_id == self._suspect_id or self._asked <= 1:
                self._floor_id = first_id - 1
            else:
                self._suspect_id, self._probe = first_id, max(1, self._asked // 2)

    def _guess(self, after: PastTrade) -> int:
        """Return the id to ask for next, between those that are known."""
        low_id, rows = self._low_id(), self._history.rows
        if self._probe is not None:
            guess, self._probe = self._probe, None
            return min(max(guess, low_id + 1), after.trade_id - 1)
        if self.before is None and self._floor_id:
            guess = (low_id + after.trade_id) // 2
        elif self.before is None:
            ids = max(rows, round((after.ts_event_ns - self._at_ns) * self._ids_per_ns)) << max(0, self._pages - 1)
            guess = after.trade_id - ids
        elif self._pages % 2:
            guess = (low_id + after.trade_id) // 2
        else:
            span_ns = max(1, after.ts_event_ns - self.before.ts_event_ns)
            part = (self._at_ns - self.before.ts_event_ns) / span_ns
            guess = self.before.trade_id + round(part * (after.trade_id - self.before.trade_id))
        guess += -rows // 2 if self._history.rising else rows // 2
        return min(max(guess, low_id + 1), after.trade_id - 1)
