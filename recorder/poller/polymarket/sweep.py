"""The jobs that ask Gamma for markets: the complete list, the newest ones, and the numbers of those that end soon."""

from collections.abc import Iterator, Sequence

from recorder.clock import Clock
from recorder.errors import RestUnavailable
from recorder.poller.job import Kept, Outcome, Round
from recorder.poller.polymarket import paths
from recorder.poller.polymarket.intake import MOST_NEWEST, Intake, unseen
from recorder.poller.polymarket.own_book import news
from recorder.poller.polymarket.own_book import service as stream
from recorder.poller.polymarket.tiers import Tier
from recorder.rest import paging
from recorder.venues.polymarket.paging import is_following, page_after
from recorder.venues.polymarket.polls.gamma import PAGE, MarketPage
from recorder.venues.polymarket.polls.market import Market

MOST_PAGES = 400
"""Of one list; the settings choose about 100 pages."""

_PAGES_OF_NEWEST = 10
_LISTED_WITHIN_NS = 180 * 10**9  # Gamma has some minutes before the CLOB, and caches
_VERSIONS_OF_A_SWEEP = 20
_SOON: tuple[Tier, ...] = ("T4", "T3", "T2")


class Sweep:
    """Asks for all open markets that the settings choose, and for those in memory that the list did not have."""

    def __init__(self, intake: Intake, clock: Clock) -> None:
        self._intake = intake
        self._clock = clock
        self._listing = False  # the first page of a list was taken, and those after it

    def run(self, round: Round) -> Outcome:
        """Ask for every page, then for the markets that are closed or outside the window.

        Raises:
            RestError: A page could not be had; what came before it is stored.
            DecodeError: A page could not be used.
        """
        listed: set[int] = set()
        for page in pages(round, self._intake, paths.sweep(self._clock.wall_ns(), self._intake.board.rules)):
            listed.update(_named(page))
        self._intake.complete = True
        for condition in list(self._intake.unversioned)[:_VERSIONS_OF_A_SWEEP]:
            self._intake.take_version(round.get(paths.CLOB, paths.clob_version(condition)))
        absent = look_up(round, self._intake, self._clock, unseen(self._intake.board, listed))
        self._absent(round, [market.market_id for market in absent])
        self._intake.board.drop(self._intake.board.finished())
        self._intake.board.retier(self._clock.wall_ns())
        return Outcome(detail=f"{len(listed)} listed, {len(self._intake.board)} in memory")

    def take(self, round: Round, answer: Kept) -> None:
        """Store the markets of one page, or remember the version of one."""
        if answer.service == paths.CLOB:
            self._intake.take_version(answer)
            return
        asked = paths.ids_of(answer.path)
        first = not asked and not is_following(answer.path)
        if first:  # of the round before, which `run` ended with it
            self._intake.board.drop(self._intake.board.finished())
        page = self._intake.take(round, answer)
        if not asked:
            self._listing = first or self._listing
            self._intake.complete = self._intake.complete or (self._listing and page.next_cursor is None)
        if asked and paths.OPEN in answer.path:  # the second look-up, of those that are not closed
            named = set(_named(page))
            self._absent(round, [market_id for market_id in asked if market_id not in named])

    def _absent(self, round: Round, market_ids: Sequence[int]) -> None:
        """Count that neither list has these markets."""
        for market in self._intake.board.absent(market_ids):
            self._intake.vanished(round, market)


class NewMarkets:
    """Asks for the newest markets until one that is known, so that none is missed for a minute.

    Args:
        intake: Takes the answers.
        clock: Makes the addresses differ.
        stream: Whether the stream is asked which markets it announced. The list must have them within a minute.
    """

    def __init__(self, intake: Intake, clock: Clock, *, stream: bool = False) -> None:
        self._intake = intake
        self._clock = clock
        self._stream = stream
        self._announced: dict[str, int] = {}  # when the stream announced a market that no list had yet, by condition
        self._listed: dict[str, None] = {}  # conditions of the lists, the newest last

    def run(self, round: Round) -> Outcome:
        """Ask for pages until a known market; at the first start for one page.

        Raises:
            RestInvalidResponse: A cursor repeats or is absurdly long.
            RestError: A page could not be had.
            DecodeError: A page could not be used.
        """
        waiting = len(self._announced)
        if self._stream:
            self.take(round, round.get(stream.NAME, news.PATHS["new_market"]))
        announced = len(self._announced)
        known = self._intake.newest.copy()
        count = 0

        def following(path: str, page: MarketPage) -> str | None:
            nonlocal count
            count += 1
            # The list is in descending order. Its lower half counts, because an odd row may have any number.
            lower = page.rows[len(page.rows) // 2 :]
            if not known or page.next_cursor is None or any(row.market.market_id in known for row in lower):
                return None
            if count == _PAGES_OF_NEWEST:
                more = f"more than {_PAGES_OF_NEWEST * PAGE} since the last round; the sweep finds them"
                round.odd("new markets", more)
                return None
            return page_after(path, page.next_cursor)

        def fetch(path: str) -> MarketPage:
            return self._page(round, round.get(paths.GAMMA, path))

        for _ in paging.pages(paths.newest(self._clock.wall_ns()), fetch, following, _PAGES_OF_NEWEST):
            pass
        missing = self._missing(round)
        counts = {"announced": announced - waiting, "listed": announced - missing} if announced else {}
        if known.keys() >= self._intake.newest.keys():
            return Outcome("skipped", "nothing new", counts)
        return Outcome(detail=f"{announced - missing} of {announced} announced are listed" if announced else "",
                       counts=counts)  # fmt: skip

    def take(self, round: Round, answer: Kept) -> None:
        """Store the markets of one page that are new, or remember which the stream announced."""
        if answer.service == stream.NAME:
            for condition in news.decode(answer.body):
                if condition not in self._listed:
                    self._announced.setdefault(condition, answer.received_ns)
            return
        self._page(round, answer)

    def _page(self, round: Round, answer: Kept) -> MarketPage:
        page = self._intake.take(round, answer, of_newest=True)
        for row in page.rows:
            self._announced.pop(row.market.condition_id, None)
            self._listed[row.market.condition_id] = None
        for condition in list(self._listed)[: max(0, len(self._listed) - MOST_NEWEST)]:
            del self._listed[condition]
        return page

    def _missing(self, round: Round) -> int:
        """Return how many announced markets no list has; name those that are late, once."""
        now_ns = self._clock.wall_ns()
        late = [condition for condition, at_ns in self._announced.items() if now_ns - at_ns > _LISTED_WITHIN_NS]
        for condition in late:
            del self._announced[condition]
            round.odd(f"market {condition}", "the stream announced it three minutes ago, and no list has it")
        return len(self._announced) + len(late)


class SlowNumbers:
    """Asks for Gamma's numbers of the markets that end within twelve hours."""

    def __init__(self, intake: Intake, clock: Clock) -> None:
        self._intake = intake
        self._clock = clock

    def run(self, round: Round) -> Outcome:
        """Ask for 100 markets at once.

        Raises:
            RestError: An answer could not be had.
            DecodeError: An answer could not be used.
        """
        soon = [market for tier in _SOON for market in self._intake.board.polled(tier)]
        if not soon:
            return Outcome("skipped", "nothing due")
        look_up(round, self._intake, self._clock, soon, first_closed=False)
        self._intake.board.retier(self._clock.wall_ns())
        return Outcome()

    def take(self, round: Round, answer: Kept) -> None:
        """Store the markets of one answer."""
        self._intake.take(round, answer)


def pages(round: Round, intake: Intake, path: str) -> Iterator[MarketPage]:
    """Ask for every page of a list, and yield each.

    Raises:
        RestInvalidResponse: A cursor repeats or is absurdly long, or there is no end.
        RestError: A page could not be had.
        DecodeError: A page could not be used.
    """

    def fetch(path: str) -> MarketPage:
        if round.stop.is_set():
            raise RestUnavailable("the program stops")
        return intake.take(round, round.get(paths.GAMMA, path))

    def following(path: str, page: MarketPage) -> str | None:
        return None if page.next_cursor is None else page_after(path, page.next_cursor)

    return paging.pages(path, fetch, following, MOST_PAGES)


def look_up(
    round: Round, intake: Intake, clock: Clock, markets: Sequence[Market], *, first_closed: bool = True
) -> list[Market]:
    """Ask for single markets, and return those that Gamma has neither as closed nor as open.

    Args:
        round: Asks, and receives the rows.
        intake: Takes the answers.
        clock: Makes the addresses differ.
        markets: Any number.
        first_closed: Whether most of them are expected to be closed.
    """
    left = list(markets)
    for closed in (first_closed, not first_closed):
        found: set[int] = set()
        for chunk in paths.chunks([market.market_id for market in left], PAGE):
            if round.stop.is_set():
                raise RestUnavailable("the program stops")
            path = paths.by_ids(chunk, closed=closed, now_ns=clock.wall_ns())
            found.update(_named(intake.take(round, round.get(paths.GAMMA, path))))
        left = [market for market in left if market.market_id not in found]
    return left


def _named(page: MarketPage) -> Iterator[int]:
    """Yield the ids of a page, also of its odd rows: a market whose row is not understood has not vanished."""
    yield from (row.market.market_id for row in page.rows)
    yield from page.refused
