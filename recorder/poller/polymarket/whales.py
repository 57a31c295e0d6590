"""Large trades from the feed of the complete site."""

import random
from pathlib import Path

import msgspec

from recorder.errors import DecodeError
from recorder.poller.job import Kept, Outcome, Round
from recorder.poller.polymarket import snapshot_rows as rows
from recorder.poller.polymarket.board import Board
from recorder.printable import one_line
from recorder.process.files import make_home, write
from recorder.process.log import get_logger
from recorder.venues.polymarket.polls import trades
from recorder.venues.polymarket.polls.whales import Whale, Whales
from recorder.venues.wire import MALFORMED

SERVICE = "data"
PAGES_MAX = 60
"""Pages of one walk. At the 4 rows a second of February 2026 they hold four hours without a bound on cash, and days of
the rows that are asked for. They take 12 s of the budget."""

_LARGEST = 1000  # bytes of the file

_log = get_logger(__name__)


class Reached(msgspec.Struct, frozen=True):
    """The content of the file: what a restart must not forget."""

    read_ns: int  # up to here the feed is read, by the times of its rows


class WhaleTrades:
    """The handler of the feed.

    A walk that begins after a pause of any length goes back to the rows that were read before it, also by an earlier
    process. Where that is too far, what is between is a hole, which is stored.

    Args:
        job: Its name.
        board: The markets in memory.
        least_usdc: Cash from which a transaction is stored.
        row_usdc: Fills of less cash are not asked for. It is smaller, because a transaction is the sum of its fills.
        shown_usdc: Cash from which a transaction is in the log.
        path: File of how far the feed is read; None keeps that in memory only.
    """

    def __init__(
        self, job: str, board: Board, least_usdc: float, row_usdc: float, shown_usdc: float, path: Path | None = None
    ) -> None:
        self._job = job
        self._path = path
        self._kept_ns = 0 if path is None else read(path)
        self._shown_usdc = shown_usdc
        self._found: dict[tuple[str, str], Whale] = {}  # of the round that runs
        self._board = board
        self._row_usdc = min(row_usdc, least_usdc)
        self._whales = Whales(least_usdc, self._kept_ns)
        self._cursor: str | None = None  # behind the page taken last

    def run(self, round: Round) -> Outcome:
        """Walk the feed back until rows that are known."""
        self._keep()  # of the walk before, whose rows are in the journal by now
        # The service caches an address for 5 minutes; two rounds of one slot differ, too.
        walk = round.slot_ns // 10**6 + random.randrange(1000)
        cursor: str | None = None
        cursors: set[str] = set()
        self._found.clear()
        for _ in range(PAGES_MAX):
            self.take(round, round.get(SERVICE, trades.path(self._row_usdc, walk, cursor)))
            cursor = self._cursor
            if self._whales.complete or cursor is None:
                return self._outcome()
            if cursor in cursors:
                raise DecodeError(f"the feed of trades repeats a cursor: {cursor[:80]!r}")
            cursors.add(cursor)
        hole = self._whales.give_up()
        reason = f"{PAGES_MAX} pages did not reach known rows"
        round.odd("feed of trades", f"{reason}; older trades are not read")
        if hole is None:
            return self._outcome()
        known_ns = max(round.slot_ns, hole.until_ns)
        round.store("poll_hole", [(self._job, hole.from_ns, hole.until_ns, reason, known_ns)])
        _log.error("whale.hole", from_ns=hole.from_ns, until_ns=hole.until_ns, reason=reason)
        outcome = self._outcome()
        detail = f"a hole of {(hole.until_ns - hole.from_ns) / 1e9:.0f} s in the feed is stored"
        counts = {**outcome.counts, "holes": 1}
        return Outcome(detail="; ".join(filter(None, (detail, outcome.detail))), counts=counts)

    def _keep(self) -> None:
        """Write the file. A disk that does not take it costs a longer walk after a restart."""
        if self._path is None or self._whales.read_ns <= self._kept_ns:
            return
        try:
            make_home(self._path.parent)
            write(self._path, msgspec.json.encode(Reached(self._whales.read_ns)))
        except OSError as error:
            _log.warning("whale.unsaved", error=str(error))
        else:
            self._kept_ns = self._whales.read_ns

    def _outcome(self) -> Outcome:
        """Count what was found; what a person is to see goes to the log."""
        shown = [whale for whale in self._found.values() if whale.cash >= self._shown_usdc]
        for whale in shown:
            _log.info(
                "whale.seen", condition=whale.condition_id, outcome=one_line(whale.outcome or ""), side=whale.side,
                usdc=round(whale.cash, 2), shares=round(whale.shares, 2), wallet=whale.wallet, tx=whale.transaction,
            )  # fmt: skip
        if not self._found:
            return Outcome()
        detail = f"{len(self._found)} large trades, {len(shown)} from {self._shown_usdc:,.0f} USDC up"
        return Outcome(detail=detail, counts={"large": len(self._found), "shown": len(shown)})

    def take(self, round: Round, answer: Kept) -> None:
        """Store the whales of a page that are new or have grown."""
        if answer.status // 100 != 2:
            raise DecodeError(f"status {answer.status} for a page of trades")
        page = trades.decode(answer.body, answer.received_ns)
        for what, reason in page.odd:
            round.odd(what, reason)
        self._cursor = page.next_cursor
        found = self._whales.add(trades.walk_of(answer.path), page.fills, last=page.next_cursor is None)
        self._found |= {(whale.transaction, whale.wallet): whale for whale in found}
        round.store("whale_event", [rows.whale(whale, answer.received_ns) for whale in found])
        newest: dict[str, int] = {}
        for fill in page.fills:
            newest[fill.condition_id] = max(fill.ts_event_ns, newest.get(fill.condition_id, 0))
        for market, _ in self._board.all():
            if market.condition_id in newest:
                self._board.traded(market.market_id, min(newest[market.condition_id], answer.received_ns))


def read(path: Path) -> int:
    """Return up to where the feed is read; 0 where there is no file or it is damaged."""
    try:
        with path.open("rb") as file:
            return msgspec.json.decode(file.read(_LARGEST), type=Reached).read_ns
    except FileNotFoundError:
        return 0
    except (OSError, *MALFORMED) as error:
        _log.warning("whale.unreadable", path=str(path), error=str(error))
        return 0
