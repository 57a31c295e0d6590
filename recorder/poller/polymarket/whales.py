"""Large trades from the feed of the complete site."""

import random

from recorder.errors import DecodeError
from recorder.poller.job import Kept, Outcome, Round
from recorder.poller.polymarket import snapshot_rows as rows
from recorder.poller.polymarket.board import Board
from recorder.venues.polymarket.polls import trades
from recorder.venues.polymarket.polls.whales import Whales

SERVICE = "data"
PAGES_MAX = 20
"""Pages of one walk. At the 4 rows a second of February 2026 they hold more than an hour, without a bound on cash."""


class WhaleTrades:
    """The handler of the feed.

    Args:
        board: The markets in memory.
        least_usdc: Cash from which a transaction is stored.
        row_usdc: Fills of less cash are not asked for. It is smaller, because a transaction is the sum of its fills.
    """

    def __init__(self, board: Board, least_usdc: float, row_usdc: float) -> None:
        self._board = board
        self._row_usdc = min(row_usdc, least_usdc)
        self._whales = Whales(least_usdc)
        self._cursor: str | None = None  # behind the page taken last

    def run(self, round: Round) -> Outcome:
        """Walk the feed back until rows that are known."""
        # The service caches an address for 5 minutes; two rounds of one slot differ, too.
        walk = round.slot_ns // 10**6 + random.randrange(1000)
        cursor: str | None = None
        cursors: set[str] = set()
        for _ in range(PAGES_MAX):
            self.take(round, round.get(SERVICE, trades.path(self._row_usdc, walk, cursor)))
            cursor = self._cursor
            if self._whales.complete or cursor is None:
                return Outcome()
            if cursor in cursors:
                raise DecodeError(f"the feed of trades repeats a cursor: {cursor[:80]!r}")
            cursors.add(cursor)
        self._whales.give_up()
        round.odd("feed of trades", f"{PAGES_MAX} pages did not reach known rows; older trades are not read")
        return Outcome()

    def take(self, round: Round, answer: Kept) -> None:
        """Store the whales of a page that are new or have grown."""
        if answer.status // 100 != 2:
            raise DecodeError(f"status {answer.status} for a page of trades")
        page = trades.decode(answer.body, answer.received_ns)
        for what, reason in page.odd:
            round.odd(what, reason)
        self._cursor = page.next_cursor
        found = self._whales.add(trades.walk_of(answer.path), page.fills, last=page.next_cursor is None)
        round.store("whale_event", [rows.whale(whale, answer.received_ns) for whale in found])
        newest: dict[str, int] = {}
        for fill in page.fills:
            newest[fill.condition_id] = max(fill.ts_event_ns, newest.get(fill.condition_id, 0))
        for market, _ in self._board.all():
            if market.condition_id in newest:
                self._board.traded(market.market_id, min(newest[market.condition_id], answer.received_ns))
