"""The job `healing`: fills gaps of trades from the history of their venue.

A round reads the database, then pages of the venues within its part of their budgets. What follows from the answers,
past trades and new revisions of their gaps, is one block of the journal, so the writer stores all of it or nothing.
Until that is stored the gap is left alone. A kill before the block leaves the gap as it was; a repeated read adds no
row.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from recorder.clock import Clock
from recorder.errors import ConfigError, DecodeError, RestError, RestUnavailable, StoreUnavailable
from recorder.healer import by_time
from recorder.healer.by_time import TimeHole, TimeWalk, unite_times
from recorder.healer.candles import MINUTES_MAX, agree, minutes_of
from recorder.healer.database import Database, Stream, opened
from recorder.healer.hole import Hole, OpenGap, StoredTrade, unite
from recorder.healer.verdict import (
    RUNS_MAX,
    SETTLED_NS,
    Read,
    Rows,
    always_adjacent,
    failed,
    healed_by_time,
    is_last,
    left_by_time,
    restarted,
    rows_of,
    split,
    stored_already,
)
from recorder.healer.walk import ReadError, Walk, agrees, span_of
from recorder.poller.discovery import waited_for
from recorder.poller.healing.pauses import Pauses
from recorder.poller.job import Kept, Outcome, Round
from recorder.process.log import get_logger
from recorder.timestamps import plausible
from recorder.venues.history import Candle, MinuteCandles, PastTrade, TimedHistory, TradeHistory

PERIOD_S = 30
OFFSET_S = 11
NO_DATABASE = "no database"
NOTHING_DUE = "nothing due"
_ROUND_S = 15.0  # no hole is begun later in a round
_TASKS_MAX = 50
_LISTED_IDS = 20_000  # of a hole whose stored ids are read before the venue is asked
_LOADED_S = 600.0  # a block that is not loaded by then may be lost, and its reads are repeated
_MISREAD_S = 600.0
_MORE_PAGES = 3  # than the ids of a hole fill
_PATIENT_S = 120.0
_REASON_CHARS = 200
_NS = 10**9

_log = get_logger(__name__)


class Source(NamedTuple):
    """Where the past trades of a venue are read.

    Attributes:
        service: Name of its REST service.
        history: Its call.
        pages: The most pages of a round: half of what the live recorder leaves of the budget.
        candles: The call for its candles, which bear witness that an id was never issued.
    """

    service: str
    history: TradeHistory | TimedHistory
    pages: int
    candles: MinuteCandles | None = None


class TimeTask(NamedTuple):
    """A hole of time that can be read now.

    Attributes:
        stored: The trades from `from_ns` to `until_ns`, which lie outside of the hole.
    """

    stream: Stream
    hole: TimeHole
    from_ns: int
    until_ns: int
    stored: Sequence[StoredTrade]


class Task(NamedTuple):
    """A hole that can be read now.

    Attributes:
        low: Stored trade before it.
        high: Stored trade after it.
        inside: What is stored between its ids; None where it is too large to be known before.
    """

    stream: Stream
    hole: Hole
    low: StoredTrade
    high: StoredTrade
    inside: Sequence[StoredTrade] | None


class _Expected(NamedTuple):
    """What the database shows of a gap once the block of its last read is loaded."""

    revision: int
    next_read_ns: int
    until_s: float


class Healing:
    """Heals the gaps of some venues.

    Args:
        sources: By name of the venue.
        url: Returns the address of the database.
        clock: Gives the age of gaps and the times of reads.
        only: A venue and a symbol; an empty one means all.
    """

    def __init__(
        self, sources: Mapping[str, Source], url: Callable[[], str], clock: Clock, only: tuple[str, str] = ("", "")
    ) -> None:
        self._sources = {name: one for name, one in sources.items() if only[0] in ("", name)}
        self._symbol = only[1]
        self._url = url
        self._clock = clock
        self._patient_until_s = clock.monotonic_s() + _PATIENT_S
        self._expected: dict[int, _Expected] = {}
        self._later_s: dict[int, float] = {}  # gaps whose answers were not understood, by when they are read again
        self._pauses = Pauses(clock)

    def run(self, round: Round) -> Outcome:
        """Read the holes that are due.

        Raises:
            StoreError, ConfigError: the database failed; what was stored before is kept.
            RestUnavailable: venues did not answer; what others answered is stored.
        """
        venues = [name for name in self._sources if not self._pauses.waits(name)]
        try:
            tasks = waited_for(lambda: self.plan(venues), round.stop) if venues else []
        except StoreUnavailable:
            if round.stop.is_set():
                raise RestUnavailable("the program stops") from None
            return Outcome("skipped", NO_DATABASE)
        except ConfigError:
            if self._clock.monotonic_s() < self._patient_until_s:  # the writer has not made the logins yet
                return Outcome("skipped", NO_DATABASE)
            raise
        left = {name: self._sources[name].pages for name in venues}
        counts = {"healed_ids": 0, "missing_ids": 0, "reads": 0}
        problems: list[str] = []
        until_s = self._clock.monotonic_s() + _ROUND_S
        for task in tasks:
            venue = task.stream.venue
            if left.get(venue, 0) <= 0 or self._clock.monotonic_s() > until_s:
                continue
            if round.stop.is_set():
                raise RestUnavailable("the program stops")
            try:
                if isinstance(task, TimeTask):
                    left[venue] -= self._heal_time(round, task, left[venue], counts)
                else:
                    left[venue] -= self._heal(round, task, left[venue], counts)
                self._pauses.answered(venue)
            except RestError as error:
                left[venue] = 0
                again_s = self._clock.wall_ns() // _NS + self._pauses.refused(venue)
                problems.append(f"{venue} (again at {_instant(again_s)}): {str(error)[:_REASON_CHARS]}")
            except DecodeError as error:
                round.odd(f"{venue} {task.stream.symbol}", str(error))
                self._later(task)
        if problems:
            raise RestUnavailable("; ".join(problems))
        return Outcome(counts=counts) if tasks else Outcome("skipped", NOTHING_DUE)

    def take(self, round: Round, answer: Kept) -> None:
        """Do nothing: what an answer proves depends on what is stored, and the next round reads the hole again."""

    def plan(self, venues: Sequence[str]) -> list[Task | TimeTask]:
        """Return the holes of some venues that can be read now, the oldest first.

        Raises:
            StoreError, ConfigError: the database failed.
        """
        known = [venue for venue in venues if venue in self._sources]
        with opened(self._url()) as database:
            tasks: list[Task | TimeTask] = []
            for stream, gaps in database.gaps(known).items():
                if self._symbol in ("", stream.symbol) and len(tasks) < _TASKS_MAX:
                    tasks += [task for task in self._tasks(database, stream, gaps) if task is not None]
        return sorted(tasks, key=lambda task: max(gap.ended_ns for gap in task.hole.gaps))

    def _tasks(self, database: Database, stream: Stream, gaps: Sequence[OpenGap]) -> list[Task | TimeTask | None]:
        history = self._sources[stream.venue].history
        if isinstance(history, TimedHistory):
            return [
                self._time_task(database, stream, hole) for hole in unite_times(gaps) if self._is_due(hole.gaps)
            ]  # fmt: skip
        return [
            self._task(database, stream, hole, history)
            for hole in unite(map(database.with_ids, gaps))
            if self._is_due(hole.gaps)
        ]

    def _is_due(self, gaps: Sequence[OpenGap]) -> bool:
        now_ns, now_s = self._clock.wall_ns(), self._clock.monotonic_s()
        if any(now_ns < max(gap.ended_ns + SETTLED_NS, gap.next_read_ns) for gap in gaps):
            return False
        for gap in gaps:
            if self._later_s.get(gap.gap_id, 0.0) > now_s:
                return False
            expected = self._expected.get(gap.gap_id)
            if expected is None:
                continue
            loaded = gap.revision >= expected.revision and gap.next_read_ns >= expected.next_read_ns
            if not loaded and now_s < expected.until_s:
                return False
            del self._expected[gap.gap_id]
        return True

    def _time_task(self, database: Database, stream: Stream, hole: TimeHole) -> TimeTask | None:
        """Return the task of a hole; None where a side has no stored trade, or its window is not over yet."""
        times = database.window(stream.instrument_id, hole.since_ns, hole.until_ns, by_time.MARGIN_NS)
        if times is None or times[1] + by_time.CACHED_NS > self._clock.wall_ns():
            return None
        return TimeTask(stream, hole, *times, database.within(stream.instrument_id, *times))

    def _task(self, database: Database, stream: Stream, hole: Hole, history: TradeHistory) -> Task | None:
        """Return the task of a hole; None where a trade beside it is not stored yet."""
        low = database.before(stream.instrument_id, hole.last_id, min(one.since_ns for one in hole.gaps))
        high = database.after(stream.instrument_id, hole.first_id, max(one.until_ns for one in hole.gaps))
        if low is None or high is None:
            return None
        most = history.rows
        if hole.last_id - low.trade_id > most or high.trade_id - hole.first_id > most:
            return None
        inside = self._inside(database, stream, hole, low, high) if hole.ids <= _LISTED_IDS else None
        return Task(stream, hole, low, high, inside)

    @staticmethod
    def _inside(
        database: Database, stream: Stream, hole: Hole, low: StoredTrade, high: StoredTrade
    ) -> Sequence[StoredTrade]:
        times = low.ts_event_ns, high.ts_event_ns
        return database.inside(stream.instrument_id, hole.last_id, hole.first_id, min(times), max(times))

    def _heal(self, round: Round, task: Task, pages: int, counts: dict[str, int]) -> int:
        """Read a hole, store what follows, and return how many pages were read."""
        stream, hole = task.stream, task.hole
        history = self._sources[stream.venue].history
        assert isinstance(history, TradeHistory)
        if hole.ids < 0:
            self._store(round, hole.gaps, restarted(hole))
            return 0
        known = None if history.merged or task.inside is None else {one.trade_id for one in task.inside}
        if not hole.ids or (known is not None and len(known) == hole.ids):
            self._store(round, hole.gaps, stored_already(hole))
            return 0
        reading = _Reading(round, self._sources[stream.venue].service, stream.symbol, pages)
        counts["reads"] += 1
        try:
            walk = reading.read(history, task)
            inside = task.inside
            if inside is None:
                inside = waited_for(lambda: self._stored_inside(task, walk), round.stop)
            stored = {one.trade_id for one in inside}
            if history.merged:
                stored = _ids_of([*inside, task.high], walk, hole.first_id)
        except ReadError as error:
            rows = failed(hole, reading.done(self._clock), str(error))
        else:
            asked = range(task.low.trade_id + 1, walk.reach + 1)
            if not history.rising:
                asked = range(max(walk.reach, task.low.trade_id), task.high.trade_id)
            parts = split(hole, asked, stored | walk.trades.keys())
            if sum(part.found is False for part in parts) > RUNS_MAX:
                rows = failed(hole, reading.done(self._clock), f"more than {RUNS_MAX} runs of ids are missing")
            else:
                new = [
                    (walk.trades[trade_id], reading.received_ns[trade_id])
                    for part in parts
                    if part.found
                    for trade_id in range(part.last_id + 1, part.first_id)
                    if trade_id not in stored
                ]
                round.store("past_trade", [_row(stream.instrument_id, *one) for one in new])
                never = len(parts) == 1 and not parts[0].found and self._never_issued(reading, task)
                rows = rows_of(hole, parts, reading.done(self._clock), never_issued=never)
                counts["healed_ids"] += len(new)
                counts["missing_ids"] += sum(one.first_id - one.last_id - 1 for one in parts if one.found is False)
        self._store(round, hole.gaps, rows)
        _log.info(
            "heal.read", venue=stream.venue, symbol=stream.symbol, last_id=hole.last_id, first_id=hole.first_id,
            pages=reading.pages, gaps=len(rows.gaps), left=len(rows.reads),
        )  # fmt: skip
        return reading.pages

    def _never_issued(self, reading: "_Reading", task: Task) -> bool:
        """Return whether no read listed the ids of a hole, and the candles agree with what is stored without them."""
        candles = self._sources[task.stream.venue].candles
        minutes = minutes_of(task.low, task.high)
        gap = task.hole.gap
        if candles is None or not is_last(gap) or not always_adjacent(gap) or len(minutes) > MINUTES_MAX:
            return False
        try:
            listed = reading.candles(candles, minutes)
        except (ReadError, DecodeError):
            return False
        times = minutes.start * _NS, minutes.stop * _NS - 1

        def stored() -> Sequence[StoredTrade]:
            with opened(self._url()) as database:
                return database.within(task.stream.instrument_id, *times)

        return agree(minutes, listed, waited_for(stored, reading.stop))

    def _stored_inside(self, task: Task, walk: Walk) -> Sequence[StoredTrade]:
        times = [task.low.ts_event_ns, task.high.ts_event_ns, *(one.ts_event_ns for one in walk.trades.values())]
        ids = min(walk.trades, default=0), max(walk.trades, default=0)
        with opened(self._url()) as database:
            return database.inside(task.stream.instrument_id, ids[0] - 1, ids[1] + 1, min(times), max(times))

    def _heal_time(self, round: Round, task: TimeTask, pages: int, counts: dict[str, int]) -> int:
        """Read a hole of time, store what follows, and return how many pages were read."""
        stream, gaps = task.stream, task.hole.gaps
        history = self._sources[stream.venue].history
        assert isinstance(history, TimedHistory)
        reading = _Reading(round, self._sources[stream.venue].service, stream.symbol, pages)
        counts["reads"] += 1
        try:
            walk = reading.read_time(history, task)
            found = by_time.compare(task.hole, task.stored, walk.trades)
        except ReadError as error:
            rows = left_by_time(gaps, reading.done(self._clock), str(error))
        else:
            earlier = by_time.earlier_digest(gaps[0], self._clock.wall_ns())
            if earlier == found.digest:
                new = [(one, reading.received_ns[one.trade_id]) for one in found.new]
                round.store("past_trade", [_row(stream.instrument_id, *one) for one in new])
                reason = f"two reads agree, {found.controls} control trades found, candle not comparable"
                rows = healed_by_time(gaps, reason)
                counts["healed_ids"] += len(new)
            else:
                reason = "a second read must list the same" if earlier is None else "two reads differ"
                rows = left_by_time(gaps, reading.done(self._clock), reason, found.digest)
        self._store(round, gaps, rows)
        _log.info(
            "heal.read", venue=stream.venue, symbol=stream.symbol, pages=reading.pages, gaps=len(rows.gaps),
            left=len(rows.reads),
        )  # fmt: skip
        return reading.pages

    def _store(self, round: Round, gaps: Sequence[OpenGap], rows: Rows) -> None:
        round.store("gap", rows.gaps)
        round.store("gap_read", rows.reads)
        now_s = self._clock.monotonic_s()
        self._expected = {gap_id: one for gap_id, one in self._expected.items() if one.until_s > now_s}
        until_s = now_s + _LOADED_S
        revisions = {row[0]: row[-1] for row in rows.gaps}
        nexts = {row[0]: row[5] for row in rows.reads if row[5] is not None}
        for gap in gaps:
            revision, next_ns = revisions.get(gap.gap_id, gap.revision), nexts.get(gap.gap_id, gap.next_read_ns)
            assert isinstance(revision, int)
            assert isinstance(next_ns, int)
            self._expected[gap.gap_id] = _Expected(revision, next_ns // 1000 * 1000, until_s)

    def _later(self, task: Task | TimeTask) -> None:
        until_s = self._clock.monotonic_s() + _MISREAD_S
        self._later_s = {gap_id: at_s for gap_id, at_s in self._later_s.items() if at_s > self._clock.monotonic_s()}
        self._later_s |= {gap.gap_id: until_s for gap in task.hole.gaps}


class _Reading:
    """The pages of one hole.

    Attributes:
        pages: Read so far.
        received_ns: When each trade was received.
    """

    def __init__(self, round: Round, service: str, symbol: str, most: int) -> None:
        self.pages = 0
        self.stop = round.stop
        self.received_ns: dict[int, int] = {}
        self._round = round
        self._service = service
        self._symbol = symbol
        self._most = most
        self._requests: list[str] = []

    def done(self, clock: Clock) -> Read:
        """Return what there was, now that it is over."""
        return Read(clock.wall_ns(), self.pages, self._requests)

    def read(self, history: TradeHistory, task: Task) -> Walk:
        """Walk through a hole, or a part of it from one end, and check its ends.

        Raises:
            ReadError: It proves nothing.
            RestError: There was no answer.
            DecodeError: An answer was not understood.
        """
        walk = Walk(history, task.low, task.high)
        near, far = (task.low, task.high) if history.rising else (task.high, task.low)
        while not walk.done and self.pages < self._most:
            if self.pages >= task.hole.ids // history.rows + _MORE_PAGES:
                raise ReadError("cursor does not advance")
            answer = self._ask(history.path(self._symbol, walk.cursor))
            page = history.decode(answer.body)
            self._note(answer, page.trades)
            walk.take(page)
        agrees(near, walk.trades, merged=history.merged)
        reached = walk.trades
        if not walk.done:  # nothing of a part is stored unless the other end agrees too
            answer = self._ask(history.path(self._symbol, history.cursor_at(far.trade_id, far.ts_event_ns)))
            reached = {one.trade_id: one for one in history.decode(answer.body).trades}
        agrees(far, reached, merged=history.merged)
        return walk

    def candles(self, call: MinuteCandles, minutes: range) -> Sequence[Candle]:
        """Return the candles of some minutes.

        Raises:
            ReadError, RestError, DecodeError: As for `read`.
        """
        return call.decode(self._ask(call.path(self._symbol, minutes.start, minutes.stop - 60)).body)

    def read_time(self, history: TimedHistory, task: TimeTask) -> TimeWalk:
        """Walk through the window of a hole of time.

        Raises:
            ReadError: It proves nothing.
            RestError: There was no answer.
            DecodeError: An answer was not understood.
        """
        walk = TimeWalk(history, task.from_ns)
        while not walk.done:
            if self.pages >= self._most + _MORE_PAGES:
                raise ReadError("more trades than a round may read")
            answer = self._ask(history.path(self._symbol, walk.from_ns, task.until_ns))
            page = history.decode(answer.body)
            self._note(answer, page)
            walk.take(page)
        return walk

    def _ask(self, path: str) -> Kept:
        answer = self._round.get(self._service, path)
        self.pages += 1
        self._requests.append(answer.request_id)
        if not 200 <= answer.status <= 299:
            raise ReadError("instrument unknown to REST")
        return answer

    def _note(self, answer: Kept, trades: Sequence[PastTrade]) -> None:
        for one in trades:
            if not plausible(one.ts_event_ns, answer.received_ns):
                raise DecodeError(f"trade {one.trade_id} is stamped {one.ts_event_ns} ns")
            self.received_ns.setdefault(one.trade_id, answer.received_ns)


def _ids_of(stored: Sequence[StoredTrade], walk: Walk, first_id: int) -> set[int]:
    """Return the ids for which stored trades stand, where the feed joins trades; the last of them follows the hole.

    Raises:
        ReadError: One is not listed as it is stored, or the hole does not end where the last one begins.
    """
    lowest = min(walk.trades, default=0)
    spans = [span_of(walk.trades, one) for one in stored if one.trade_id >= lowest]
    if spans and first_id not in spans[-1]:
        raise ReadError(f"control row {stored[-1].trade_id} differs")
    return {trade_id for span in spans for trade_id in span}


def _instant(at_s: float) -> str:
    """Return a second as `tapedeck gaps` finds it in the reason of a failed round."""
    return f"{datetime.fromtimestamp(at_s, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _row(instrument_id: int, trade: PastTrade, received_ns: int) -> tuple[object, ...]:
    return (
        instrument_id, trade.trade_id, trade.ts_event_ns, received_ns, trade.price, trade.size, trade.aggressor,
        trade.venue_trade_id,
    )  # fmt: skip
