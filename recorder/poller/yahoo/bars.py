"""The job `yahoo-bars`: minutes of the open session, the final bars of a session after its close, splits, dividends."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from recorder.clock import Clock
from recorder.errors import (
    DecodeError,
    RestCircuitOpen,
    RestError,
    RestInvalidResponse,
    RestRefused,
    RestUnavailable,
)
from recorder.exchanges.calendar import Exchange
from recorder.poller.job import Kept, Outcome, Round
from recorder.poller.yahoo.ledger import read_spent, write_spent
from recorder.poller.yahoo.pause import Pause
from recorder.poller.yahoo.plan import Due, Plan, Symbol, due_at, plan_day
from recorder.poller.yahoo.rows import action_row, bar_row, instrument_row
from recorder.process.log import get_logger
from recorder.venues.yahoo.chart import decode_chart
from recorder.venues.yahoo.exchanges import exchange_of_code, exchange_of_symbol
from recorder.venues.yahoo.model import DAY_S, Chart
from recorder.venues.yahoo.requests import NAME, asked_of, is_span, span_path, today_path

_HISTORY_S = 366 * 86_400
"""A year of days at each close: so a split is seen in the days before it, too."""
_NS = 10**9
_BLOCKED = (403, 999)  # this address is refused, not this request

_log = get_logger(__name__)


class YahooBars:
    """Polls the symbols of the settings. Its rounds never overlap.

    Args:
        symbols: Symbols in Yahoo's spelling.
        exchanges: The exchanges that the settings name, by symbol.
        budget: Requests of a UTC day.
        state: File of what a restart must not forget.
        clock: Gives the day and the pauses.
    """

    def __init__(
        self, symbols: Sequence[str], exchanges: Mapping[str, Exchange], budget: int, state: Path, clock: Clock
    ) -> None:
        self._names = tuple(dict.fromkeys(symbols))
        self._given = exchanges
        self._learned: dict[str, Exchange] = {}
        self._budget = budget
        self._state = state
        self._clock = clock
        self._pause = Pause()
        self._spent = read_spent(state, _utc_day(clock.wall_ns() // _NS))
        self._pause.restore(self._spent.paused, clock.monotonic_s(), clock.wall_ns() / _NS)
        self._stored: dict[str, dict[int, int]] = {}  # by symbol: hash of each minute of the last answer, by its start

    def plan(self, day: date) -> Plan:
        """Return how a UTC day is polled."""
        return plan_day(self._symbols(), day, self._budget)

    def run(self, round: Round) -> Outcome:
        """Request what is due at the slot.

        Raises:
            RestUnavailable: Yahoo refused or did not answer. Nothing is requested until the pause is over.
        """
        slot_s = round.slot_ns // _NS
        day = _utc_day(slot_s)
        self._spent.on(day)
        plan = self.plan(day)
        due = due_at(self._symbols(), plan, slot_s, self._spent.closed)
        if not due:
            return Outcome("skipped", "nothing due")
        if self._pause.left_s(self._clock.monotonic_s()):
            return Outcome("skipped", "breaker")
        try:
            left = self._request(round, due)
        finally:
            self._spent.paused = self._pause.kept(self._clock.monotonic_s(), self._clock.wall_ns() / _NS)
            write_spent(self._state, self._spent)
        return Outcome("skipped", "budget") if left == len(due) else Outcome("done", plan.text)

    def take(self, round: Round, answer: Kept) -> None:
        """Store the rows of one answer.

        Raises:
            DecodeError: Nothing of it can be used.
        """
        try:
            self._take(round, answer, everything=is_span(answer.path))
        except RestError as error:
            raise DecodeError(str(error)) from error

    def _request(self, round: Round, due: Sequence[Due]) -> int:
        """Send the requests that the budget allows, and return how many it did not."""
        left = 0
        unusable: list[str] = []
        for one in due:
            if round.stop.is_set():
                raise RestUnavailable("the program stops")
            if self._spent.requests >= self._budget:
                left += 1
                continue
            try:
                self._take(round, self._answer(round, one), everything=one.session is not None)
            except (RestRefused, RestInvalidResponse) as error:
                unusable.append(f"{one.symbol.name}: {error}")
                round.odd(one.symbol.name, str(error))
            self._finished(one)
        if unusable and len(unusable) == len(due) - left:
            raise RestInvalidResponse(unusable[0])
        return left

    def _answer(self, round: Round, one: Due) -> Kept:
        """Return the answer to a request.

        Raises:
            RestRefused: Yahoo has no data for it.
            RestUnavailable: Yahoo wants to be left alone. A page or a text in place of an answer says so, too, and so
                do the statuses 403 and 999.
        """
        self._spent.requests += 1
        try:
            answer = round.get(NAME, _path(one))
            self._pause.passed()
        except (RestUnavailable, RestRefused, RestInvalidResponse) as error:
            if isinstance(error, RestCircuitOpen):
                self._spent.requests -= 1  # nothing was sent
                raise
            if isinstance(error, RestRefused) and error.status not in _BLOCKED:
                self._pause.passed()
                raise
            wait_s = self._pause.failed(self._clock.monotonic_s())
            _log.warning("yahoo.pause", symbol=one.symbol.name, wait_s=wait_s, reason=str(error))
            raise RestUnavailable(f"{error}; next request in {wait_s:.0f} s") from error
        return answer

    def _finished(self, one: Due) -> None:
        """Remember that the last request after a close was answered, also where the answer was a refusal."""
        if one.what == "days" and one.session is not None:
            self._spent.closed[one.symbol.name] = one.session.day

    def _take(self, round: Round, answer: Kept, *, everything: bool) -> None:
        """Store the rows of an answer: all of them, or those that changed since the last answer.

        A row that a round did not manage to write is written after the close at the latest.
        """
        asked = asked_of(answer.path)
        received_ns = answer.received_ns
        chart = decode_chart(answer.status, answer.body, asked, received_ns)
        exchange = self._learn(chart)
        for reason in chart.odd:
            round.odd(asked.symbol, reason)
        known = self._stored.get(asked.symbol, {})
        now = {bar.start_s: hash(bar) for bar in chart.bars}
        changed = [bar for bar in chart.bars if everything or known.get(bar.start_s) != now[bar.start_s]]
        if changed:
            round.store("instrument", [instrument_row(chart, received_ns)])
            round.store("equity_bar", [bar_row(bar, chart, exchange, received_ns) for bar in changed])
        if chart.interval_s >= DAY_S and chart.bars:
            # The flags of an action come from the days around it, so one before the first day is left as it was.
            judged = [action for action in chart.actions if action.ex_day > chart.bars[0].day]
            round.store("corporate_action", [action_row(action, chart, received_ns) for action in judged])
        if not everything:
            self._stored[asked.symbol] = now

    def _learn(self, chart: Chart) -> Exchange:
        """Return the exchange of a chart, and use it from now on unless the settings name another."""
        code = exchange_of_code(chart.exchange)
        if code is not None:
            self._learned[chart.symbol] = code
        return self._exchange(chart.symbol)

    def _symbols(self) -> list[Symbol]:
        return [Symbol(name, self._exchange(name)) for name in self._names]

    def _exchange(self, name: str) -> Exchange:
        return self._given.get(name) or self._learned.get(name) or exchange_of_symbol(name)


def _path(due: Due) -> str:
    """Return the path of a request."""
    name, session = due.symbol.name, due.session
    if session is None:
        return today_path(name)
    if due.what == "session":
        return span_path(name, "1m", session.open_s, session.close_s)
    return span_path(name, "1d", session.open_s - _HISTORY_S, session.close_s)


def _utc_day(at_s: int) -> date:
    return datetime.fromtimestamp(at_s, UTC).date()
