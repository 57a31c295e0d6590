"""Pages of a time: each follows the one before it, and what is missing, spoilt or beyond the end is noticed."""

import random

import pytest

from recorder.backfill.progress import Asked, Progress
from recorder.backfill.search import Search
from recorder.backfill.walk import RUNS_MAX, Edge, IdWalk
from recorder.healer.walk import ReadError
from recorder.venues.history import PastPage, PastTrade, TradeHistory

NS = 10**9


def past(trade_id: int, at_s: float | None = None) -> PastTrade:
    return PastTrade(trade_id, int((trade_id if at_s is None else at_s) * NS), 10.0, 1.0, "b")


class Listed:
    """A venue that lists some trades, page by page."""

    def __init__(self, trades: list[PastTrade], rows: int, *, rising: bool) -> None:
        self.trades = sorted(trades)
        self.rows = rows
        self.rising = rising
        self.asked = 0
        self.history = TradeHistory(
            rows, rising, lambda trade_id, _ts_ns: trade_id if rising else trade_id + 1,
            lambda _symbol, cursor: str(cursor), lambda _body: PastPage([], None), newest=lambda _symbol: "newest",
        )  # fmt: skip

    def page(self, path: str) -> PastPage:
        self.asked += 1
        if path == "newest":
            return PastPage(self.trades[-self.rows :], None)
        cursor = int(path)
        if self.rising:
            return PastPage([one for one in self.trades if one.trade_id >= cursor][: self.rows], None)
        return PastPage([one for one in self.trades if one.trade_id < cursor][::-1][: self.rows], None)

    def search(self, at_ns: int) -> Search:
        search = Search(self.history, at_ns)
        while not search.done:
            search.take(self.page(search.path("X")).trades)
        return search


@pytest.mark.parametrize("rising", [True, False])
@pytest.mark.parametrize("seed", range(20))
def test_a_search_finds_the_trades_on_both_sides_of_an_instant(rising: bool, seed: int) -> None:
    rng = random.Random(seed)
    at_s, trades = 0.0, []
    for trade_id in range(1_000, 1_000 + rng.randrange(200, 20_000)):
        at_s += rng.choice((0.0, 0.001, 0.5, 3600.0 if rng.random() < 0.001 else 0.01))
        trades.append(past(trade_id, at_s))
    listed = Listed(trades, 100, rising=rising)
    middle = rng.choice(trades).ts_event_ns
    found = listed.search(middle)
    assert found.after is not None
    assert found.after == min(one for one in trades if one.ts_event_ns >= middle)
    assert found.before == max((one for one in trades if one.ts_event_ns < middle), default=None)
    assert listed.asked <= 40, "interpolation and halves, not page by page"


@pytest.mark.parametrize("rising", [True, False])
def test_a_search_before_the_first_trade_or_after_the_last_one_ends_there(rising: bool) -> None:
    trades = [past(number) for number in range(5_000, 9_000)]
    earliest = Listed(trades, 100, rising=rising).search(0)
    assert (earliest.before, earliest.after) == (None, trades[0])
    latest = Listed(trades, 100, rising=rising).search(1 << 62)
    assert (latest.before, latest.after) == (trades[-1], None)


def test_an_id_that_is_missing_is_not_taken_for_the_begin_of_the_history() -> None:
    missing = {number for number in range(5_000, 90_000) if number % 3}
    trades = [past(number) for number in range(5_000, 90_000) if number not in missing]
    listed = Listed(trades, 10, rising=True)
    found = listed.search(5_100 * NS)
    assert found.before is not None
    assert (found.before.trade_id, found.after) == (5_097, past(5_100))


def test_a_venue_without_trades_or_with_times_that_fall_ends_the_search() -> None:
    with pytest.raises(ReadError, match="lists no trade"):
        Listed([], 10, rising=True).search(5)
    search = Search(Listed([], 10, rising=True).history, 50 * NS)
    search.take([past(1_000_000)])
    for number in range(99):
        search.path("X")
        search.take([past(1_000_000 - number - 2, 60 + number)])
    with pytest.raises(ReadError, match="do not rise"):
        search.take([past(5, 60)])


def walk_of(listed: Listed, since: int, until: int, edge: Edge | None) -> IdWalk:
    assert edge is not None
    cursor = listed.history.cursor_at(*edge)
    return IdWalk(listed.history, since * NS, until * NS, edge, cursor)


@pytest.mark.parametrize("rising", [True, False])
def test_a_walk_reads_every_trade_of_a_time_and_one_beyond_it(rising: bool) -> None:
    listed = Listed([past(number) for number in range(1, 200)], 10, rising=rising)
    walk = walk_of(listed, 50, 100, Edge(49, 49 * NS) if rising else Edge(100, 100 * NS))
    read: list[int] = []
    while True:
        step = walk.take(listed.page(str(walk.cursor)))
        read += [one.trade_id for one in step.trades]
        assert not step.missing
        if step.done:
            break
    assert step.crossed
    assert len(read) == len(set(read))
    assert set(range(50, 100)) <= set(read)


@pytest.mark.parametrize("rising", [True, False])
def test_ids_that_are_not_listed_are_named_with_their_neighbours(rising: bool) -> None:
    numbers = [number for number in range(1, 200) if number not in (57, 60, 61)]
    listed = Listed([past(number) for number in numbers], 10, rising=rising)
    walk = walk_of(listed, 50, 70, Edge(49, 49 * NS) if rising else Edge(70, 70 * NS))
    missing: set[tuple[int, int]] = set()
    done = False
    while not done:
        step = walk.take(listed.page(str(walk.cursor)))
        missing |= {(run.last.trade_id, run.first.trade_id) for run in step.missing}
        done = step.done
    assert missing == {(56, 58), (59, 62)}


def test_pages_that_do_not_follow_each_other_end_the_walk() -> None:
    listed = Listed([past(number) for number in range(20, 60)], 10, rising=True)
    with pytest.raises(ReadError, match="beyond retention: the first id listed is 20"):
        walk_of(listed, 10, 50, Edge(15, 15 * NS)).take(listed.page("15"))
    with pytest.raises(ReadError, match="does not list control row 25"):
        walk_of(listed, 10, 50, Edge(25, 25 * NS)).take(PastPage([past(24), past(26)], None))
    with pytest.raises(ReadError, match="lists nothing"):
        walk_of(listed, 10, 50, Edge(25, 25 * NS)).take(PastPage([], None))
    with pytest.raises(ReadError, match="names an id twice"):
        walk_of(listed, 10, 50, Edge(25, 25 * NS)).take(PastPage([past(25), past(25)], None))
    with pytest.raises(ReadError, match="does not advance"):
        walk_of(listed, 10, 50, Edge(25, 25 * NS)).take(PastPage([past(number) for number in range(16, 26)], None))
    holes = PastPage([past(25), *(past(number) for number in range(27, 27 + 2 * RUNS_MAX + 4, 2))], None)
    with pytest.raises(ReadError, match="runs of ids"):
        walk_of(listed, 10, 500, Edge(25, 25 * NS)).take(holes)


def test_a_page_with_nothing_new_is_the_end_and_crosses_nothing() -> None:
    listed = Listed([past(number) for number in range(1, 30)], 10, rising=True)
    step = walk_of(listed, 10, 50, Edge(29, 29 * NS)).take(listed.page("29"))
    assert (step.done, step.crossed, step.trades) == (True, False, [])


def test_a_time_is_proved_only_between_two_trades_outside_of_it() -> None:
    asked = Asked("kraken", "X", "trades", 10 * NS, 20 * NS)
    for witnessed, crossed, missing, grade in (
        (True, True, 0, "proved"), (False, True, 0, "claimed"), (True, False, 0, "claimed"), (True, True, 3, "claimed"),
    ):  # fmt: skip
        progress = Progress(True, witnessed=witnessed, missing=missing, edge_id=5, edge_ns=15 * NS)
        assert progress.span(asked) == (10 * NS, 15 * NS)
        progress.finish(crossed=crossed, at_begin=False, unproved="nothing after id 5", short=False)
        assert (progress.state, progress.grade) == ("done", grade)
        assert progress.span(asked) == (10 * NS, 20 * NS)
    progress = Progress(False, witnessed=True, edge_id=5, edge_ns=15 * NS)
    progress.finish(crossed=False, at_begin=False, unproved="beyond retention", short=True)
    assert (progress.state, progress.grade, progress.reason) == ("short", None, "beyond retention")
    assert progress.span(asked) == (15 * NS, 20 * NS), "nothing more is claimed"


def test_what_ended_short_is_read_again_only_when_it_is_asked_for_again() -> None:
    asked = Asked("kraken", "X", "trades", 10 * NS, 20 * NS, asked_ns=100)
    assert Progress(True, state="stopped", revision=99).is_due(asked)
    assert not Progress(True, state="stopped", revision=101).is_due(asked)
    assert not Progress(True, state="done", revision=1).is_due(asked)
    assert Progress(True, revision=101).is_due(asked)
