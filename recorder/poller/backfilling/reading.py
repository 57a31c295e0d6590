"""One backfill while it is read: each step asks for one page and stores what follows from it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from typing import NamedTuple, TypeVar

from recorder.backfill.database import Database, opened
from recorder.backfill.progress import Asked, Progress
from recorder.backfill.search import Search
from recorder.backfill.walk import Edge, IdWalk, MissingIds
from recorder.errors import DecodeError
from recorder.healer.by_time import TimeWalk
from recorder.healer.hole import StoredTrade
from recorder.healer.walk import ReadError, span_of
from recorder.identity import stable_hash64
from recorder.poller.discovery import waited_for
from recorder.poller.job import Kept, Round
from recorder.timestamps import plausible
from recorder.venues.history import MinuteCandles, PastTrade, TimedHistory, TradeHistory

CAUSE = "history"
"""Cause of a gap of ids that a history does not list."""
_LEAD_NS = 600 * 10**9  # a walk whose cursor is a time begins so much earlier, to see a trade before its time
_MINUTE_NS = 60 * 10**9
_US_NS = 1_000
_NS = 10**9

T = TypeVar("T")


class Source(NamedTuple):
    """Where the history of a venue is read.

    Attributes:
        service: Name of its REST service.
        history: Its call for trades.
        candles: Its call for candles; None where it has none.
        trades_s: The time between two pages of trades that keeps them within their part of the budget.
        candles_s: The same for candles.
    """

    service: str
    history: TradeHistory | TimedHistory
    candles: MinuteCandles | None
    trades_s: float
    candles_s: float


class Reading:
    """A backfill that goes on.

    Attributes:
        progress: How far it is; its row is stored with the rows that it counts.
        changed: Whether the progress differs from what was stored last.
    """

    def __init__(self, asked: Asked, progress: Progress, source: Source, url: Callable[[], str]) -> None:
        self.asked = asked
        self.progress = progress
        self.changed = False
        self.pause_s = source.candles_s if asked.what == "candles" else source.trades_s
        self._source = source
        self._url = url
        self._search: Search | None = None
        self._walk: IdWalk | None = None
        self._times: TimeWalk | None = None
        self._listed: dict[int, PastTrade] = {}  # of the last page, where the feed joins trades
        self._held: list[tuple[PastTrade, int]] = []  # of the last page, until the next one shows where groups begin
        self._covered: set[int] = set()  # ids of these for which a stored trade of an earlier page stands

    def step(self, round: Round) -> None:
        """Ask for the next page, and store what follows.

        Raises:
            ReadError: The answer proves nothing.
            RestError, DecodeError: There is no answer, or it is not understood.
            StoreError, ConfigError: The database failed.
        """
        history = self._source.history
        if self.asked.what == "candles":
            assert self._source.candles is not None
            self._step_candles(round, self._source.candles)
        elif isinstance(history, TimedHistory):
            self._step_times(round, history)
        elif self._walk is None and self._begin(round, history):
            return
        else:
            self._step_ids(round, history)

    # ---- by ids

    def _begin(self, round: Round, history: TradeHistory) -> bool:
        """Make the walk; return whether a page was read for that."""
        asked, progress = self.asked, self.progress
        if progress.edge_id is not None and progress.edge_ns is not None:
            self._walk = self._from(history, Edge(progress.edge_id, progress.edge_ns))
            return False
        if history.newest is None:
            cursor = history.cursor_at(0, asked.since_ns - _LEAD_NS)
            self._walk = IdWalk(history, asked.since_ns, asked.until_ns, None, cursor)
            return False
        if self._search is None:
            self._search = Search(history, asked.since_ns if history.rising else asked.until_ns)
        search = self._search
        answer = self._ask(round, search.path(asked.symbol))
        search.take(history.decode(answer.body).trades)
        if not search.done:
            return True
        near, other = (search.before, search.after) if history.rising else (search.after, search.before)
        if near is not None:
            self.progress.witnessed = True
            self._walk = self._from(history, Edge(near.trade_id, near.ts_event_ns))
            return True
        if other is None:
            raise ReadError("the venue lists no trade")
        if history.rising and other.trade_id != 1 and other.ts_event_ns >= asked.since_ns:
            progress.reason = f"beyond retention: the first trade listed is id {other.trade_id} of {_time(other)}"
            progress.begin_ns = other.ts_event_ns
        cursor = history.cursor_at(other.trade_id, other.ts_event_ns)
        self._walk = IdWalk(history, asked.since_ns, asked.until_ns, None, cursor)
        return True

    def _from(self, history: TradeHistory, edge: Edge) -> IdWalk:
        # Where the feed joins trades, those after the edge show what a stored trade beside it stands for.
        more = history.rows // 2 if history.merged else 0
        cursor = history.cursor_at(edge.trade_id + more, edge.ts_event_ns)
        return IdWalk(history, self.asked.since_ns, self.asked.until_ns, edge, cursor)

    def _step_ids(self, round: Round, history: TradeHistory) -> None:
        walk, progress = self._walk, self.progress
        assert walk is not None
        answer = self._ask(round, history.path(self.asked.symbol, walk.cursor))
        before = walk.edge
        page = history.decode(answer.body)
        step = walk.take(page)
        if before is None and step.trades:
            one = step.trades[0]
            # Nothing that the venue lists first lies between this trade and the end at which the read begins.
            beyond = one.ts_event_ns < self.asked.since_ns if history.rising else one.ts_event_ns >= self.asked.until_ns
            progress.witnessed = progress.witnessed or beyond or (history.rising and one.trade_id == 1)
        fresh = [(one, answer.received_ns) for one in step.trades]
        held, ready = self._held, fresh
        stored = self._stored(round, [one for one, _ in (*held, *fresh)])
        if history.merged:
            listed = self._listed | {one.trade_id: one for one in page.trades}
            ready = [*held, *fresh] if step.done else held
            lowest_id = min((one.trade_id for one, _ in ready), default=None if before is None else before.trade_id)
            # Where the groups of lower ids begin is on the next page.
            groups = [one for one in stored if lowest_id is not None and one.trade_id >= lowest_id]
            known = self._covered | _spans(listed, groups, self.asked.since_ns)
            self._listed = {one.trade_id: one for one in page.trades}
            self._held, self._covered = fresh, known & {one.trade_id for one, _ in fresh}
        else:
            known = _known({one.trade_id: one for one in page.trades}, stored)
        self._insert(round, ready, known)
        self._declare(round, step.missing, stored)
        if ready:
            last = ready[-1][0]
            progress.edge_id, progress.edge_ns = last.trade_id, last.ts_event_ns
        if step.done:
            self._finish_ids(round, history, step.crossed)

    def _finish_ids(self, round: Round, history: TradeHistory, crossed: bool) -> None:
        asked, progress = self.asked, self.progress
        edge_id, edge_ns = progress.edge_id, progress.edge_ns
        if edge_id is None or edge_ns is None:
            if history.newest is not None or self._stored_any(round):
                progress.stop("the venue lists no trade of this time")
            else:
                progress.finish(crossed=False, at_begin=False, unproved="the venue lists no trade", short=False)
            return
        short = progress.reason is not None
        unproved = progress.reason or f"the venue lists nothing after id {edge_id}; nothing confirms that"
        if not crossed and history.rising:
            newer = self._query(
                round, lambda database: database.newer(asked.instrument_id, edge_id, edge_ns, asked.until_ns)
            )
            if newer is not None:
                short = True
                unproved = f"the venue lists nothing after id {edge_id}, though id {newer.trade_id} is stored"
                self._gap(round, Edge(edge_id, edge_ns), Edge(newer.trade_id, newer.ts_event_ns))
        elif not crossed and edge_id != 1:
            short = True
            at = datetime.fromtimestamp(edge_ns / _NS, UTC)
            unproved = f"beyond retention: the first trade listed is id {edge_id} of {at:%Y-%m-%d %H:%M:%S} UTC"
        at_begin = edge_id == 1 and not history.rising
        progress.finish(crossed=crossed, at_begin=at_begin, unproved=unproved, short=short)

    def _declare(self, round: Round, missing: Sequence[MissingIds], stored: Sequence[StoredTrade]) -> None:
        """Declare the ids that were not listed and are not stored; healing reads them again."""
        known = {one.trade_id: Edge(one.trade_id, one.ts_event_ns) for one in stored}
        for run in missing:
            ends = [Edge(run.last.trade_id, run.last.ts_event_ns)]
            ends += [known[number] for number in sorted(known) if run.last.trade_id < number < run.first.trade_id]
            ends.append(Edge(run.first.trade_id, run.first.ts_event_ns))
            for last, first in pairwise(ends):
                if first.trade_id - last.trade_id > 1:
                    self._gap(round, last, first)

    def _gap(self, round: Round, last: Edge, first: Edge) -> None:
        instrument_id = self.asked.instrument_id
        gap_id = stable_hash64(f"{CAUSE}:{instrument_id}:{last.trade_id}:{first.trade_id}")
        times = sorted((last.ts_event_ns, first.ts_event_ns))
        self.progress.missing += max(0, first.trade_id - last.trade_id - 1)
        round.store(
            "gap",
            [(gap_id, instrument_id, "trade", None, CAUSE, "open", None, last.trade_id, first.trade_id, *times,
              last.ts_event_ns, first.ts_event_ns, 1)],
        )  # fmt: skip

    # ---- by time

    def _step_times(self, round: Round, history: TimedHistory) -> None:
        asked, progress = self.asked, self.progress
        if self._times is None:
            self._times = TimeWalk(history, asked.since_ns if progress.edge_ns is None else progress.edge_ns)
        walk = self._times
        walk.trades = {number: one for number, one in walk.trades.items() if one.ts_event_ns >= walk.from_ns}
        answer = self._ask(round, history.path(asked.symbol, walk.from_ns, asked.until_ns - 1))
        page = history.decode(answer.body)
        fresh = [(one, answer.received_ns) for one in page if one.trade_id not in walk.trades]
        walk.take(page)
        stored = self._stored(round, [one for one, _ in fresh])
        listed = walk.trades
        if fresh:
            times = [one.ts_event_ns for one, _ in fresh]
            first_ns, last_ns = min(times), max(times) // _US_NS * _US_NS
            for one in stored:
                # Stored times are truncated to microseconds. Trades of the last one may be listed on the next page.
                if first_ns < one.ts_event_ns < last_ns and one.trade_id not in listed:
                    raise ReadError(f"the venue does not list stored trade {one.trade_id}")
        self._insert(round, fresh, _known(listed, stored))
        if fresh:
            newest = max((one for one, _ in fresh), key=lambda one: one.ts_event_ns)
            progress.edge_id, progress.edge_ns = newest.trade_id, newest.ts_event_ns
            if walk.done and newest.ts_event_ns > walk.from_ns:  # a short page is the last one if the next adds nothing
                walk.done, walk.from_ns = False, newest.ts_event_ns
        if walk.done:
            reason = f"read once from a venue whose ids prove nothing; {progress.controls} control trades found"
            progress.finish(crossed=False, at_begin=False, unproved=reason, short=False)

    # ---- candles

    def _step_candles(self, round: Round, call: MinuteCandles) -> None:
        asked, progress = self.asked, self.progress
        first_ns = progress.edge_ns
        if first_ns is None:
            first_ns = -(-asked.since_ns // _MINUTE_NS) * _MINUTE_NS
        last_ns = min(first_ns + call.rows * _MINUTE_NS, asked.until_ns) - 1
        last_s = last_ns // _MINUTE_NS * 60
        answer = self._ask(round, call.path(asked.symbol, first_ns // _NS, last_s))
        kept_ns = None if call.kept is None else (answer.received_ns // _MINUTE_NS - call.kept) * _MINUTE_NS
        if kept_ns is not None and first_ns < kept_ns:
            progress.reason = f"beyond retention: the venue keeps {call.kept} minutes"
            progress.begin_ns = max(progress.begin_ns or 0, min(kept_ns, last_ns + 1))
        candles = [one for one in call.decode(answer.body) if first_ns // _NS <= one.start_s <= last_s]
        received_ns = answer.received_ns
        round.store(
            "venue_bar",
            [
                (asked.instrument_id, 60, one.start_s * _NS, float(one.open), float(one.high), float(one.low),
                 float(one.close), float(one.volume), max(0, -int(one.volume.as_tuple().exponent)), one.trade_count,
                 received_ns, received_ns)
                for one in candles
            ],
        )  # fmt: skip
        progress.listed += len(candles)
        progress.edge_ns = (last_s + 60) * _NS
        if progress.edge_ns >= asked.until_ns:
            short = progress.reason is not None
            unproved = progress.reason or "candles bear witness, and nothing proves them"
            progress.finish(crossed=False, at_begin=False, unproved=unproved, short=short)

    # ---- both

    def _insert(self, round: Round, trades: Sequence[tuple[PastTrade, int]], known: set[int]) -> None:
        progress = self.progress
        rows = []
        for one, received_ns in trades:
            if not plausible(one.ts_event_ns, received_ns):
                raise DecodeError(f"trade {one.trade_id} is stamped {one.ts_event_ns} ns")
            if not self._is_inside(one):
                continue
            progress.listed += 1
            if one.trade_id in known:
                progress.controls += 1
            else:
                rows.append(
                    (self.asked.instrument_id, one.trade_id, one.ts_event_ns, received_ns, one.price, one.size,
                     one.aggressor, one.venue_trade_id)
                )  # fmt: skip
        round.store("past_trade", rows)

    def _is_inside(self, trade: PastTrade) -> bool:
        return self.asked.since_ns <= trade.ts_event_ns < self.asked.until_ns

    def _stored(self, round: Round, trades: Sequence[PastTrade]) -> list[StoredTrade]:
        if not trades:
            return []
        times = [one.ts_event_ns for one in trades]
        number = self.asked.instrument_id
        return self._query(round, lambda database: database.stored(number, min(times), max(times)))

    def _stored_any(self, round: Round) -> bool:
        asked = self.asked
        return bool(
            self._query(
                round, lambda database: database.stored(asked.instrument_id, asked.since_ns, asked.until_ns)
            )
        )  # fmt: skip

    def _query(self, round: Round, ask: Callable[[Database], T]) -> T:
        def work() -> T:
            with opened(self._url()) as database:
                return ask(database)

        return waited_for(work, round.stop)

    def _ask(self, round: Round, path: str) -> Kept:
        answer = round.get(self._source.service, path)
        self.progress.answers += 1
        # Above the time of the question too, or what ends short would be read again while the clock is behind it.
        self.progress.revision = max(self.progress.revision + 1, answer.received_ns, self.asked.asked_ns + 1)
        self.changed = True
        if not 200 <= answer.status <= 299:
            raise ReadError("instrument unknown to REST")
        return answer


def _spans(listed: Mapping[int, PastTrade], stored: Sequence[StoredTrade], since_ns: int) -> set[int]:
    """Return the ids for which stored trades stand, where the feed joins trades.

    Raises:
        ReadError: A stored trade differs from what the venue lists.
    """
    shown = [one for one in stored if one.trade_id in listed and one.ts_event_ns >= since_ns]
    return {number for one in shown for number in span_of(listed, one)}


def _known(listed: Mapping[int, PastTrade], stored: Sequence[StoredTrade]) -> set[int]:
    """Return the ids that are stored.

    Raises:
        ReadError: A stored trade differs from what the venue lists.
    """
    known = set()
    for one in stored:
        other = listed.get(one.trade_id)
        if other is None:
            continue
        if (other.price, other.size, other.aggressor) != (one.price, one.size, one.aggressor):
            raise ReadError(f"stored trade {one.trade_id} differs")
        known.add(one.trade_id)
    return known


def _time(trade: PastTrade) -> str:
    return f"{datetime.fromtimestamp(trade.ts_event_ns / _NS, UTC):%Y-%m-%d %H:%M:%S} UTC"
