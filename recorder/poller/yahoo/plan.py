"""Which symbols are requested at a slot: in the sessions of their exchange, and as often as the budget of a day allows.

A symbol has one request for its minutes every period while its exchange is open, and two after each close: for all
minutes of the session, and for the days. A closed exchange is asked nothing else. All functions are pure.
"""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple

from recorder.exchanges.calendar import Exchange, Session

SLOT_S = 60
SETTLED_S = 2100
"""From the close of a session to the requests for its final bars: quotes are delayed by 20 minutes, a day is final
after 30."""
SPREAD = 20
"""The requests after a close are spread over so many slots."""
PER_SLOT = 30
"""Requests of one slot, at one a second: a round must end before the next one."""

_AFTER_CLOSE = 2
_DAY_S = 86_400


class Symbol(NamedTuple):
    """One symbol with its exchange."""

    name: str
    exchange: Exchange


class Plan(NamedTuple):
    """How one UTC day is polled.

    Attributes:
        period_s: Between two requests for the minutes of a symbol.
        requests: In the day, at most.
        budget: Requests that the day allows.
    """

    symbols: int
    period_s: int
    requests: int
    budget: int

    @property
    def text(self) -> str:
        """Return the plan as a sentence for a person."""
        symbols = "1 symbol" if self.symbols == 1 else f"{self.symbols} symbols"
        found = f"{symbols} every {self.period_s} s: {self.requests} requests planned today, {self.budget} are allowed"
        return found if self.requests <= self.budget else f"{found}; the last of them wait for tomorrow"


class Due(NamedTuple):
    """One request. `session` is the one that has ended, for `session` (its minutes) and `days`."""

    symbol: Symbol
    what: Literal["minutes", "session", "days"]
    session: Session | None = None


def plan_day(symbols: Sequence[Symbol], day: date, budget: int) -> Plan:
    """Return the shortest period, in whole slots, with which a UTC day stays within the budget."""
    start_s = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    open_parts: list[int] = []
    closes = 0
    for symbol in symbols:
        for session in symbol.exchange.sessions(day - timedelta(days=1), day + timedelta(days=1)):
            closes += start_s <= session.close_s + SETTLED_S < start_s + _DAY_S
            overlaps = (min(end, start_s + _DAY_S) - max(start, start_s) for start, end in session.parts)
            open_parts += [overlap for overlap in overlaps if overlap > 0]
    fixed = closes * _AFTER_CLOSE

    def requests(slots: int) -> int:
        return fixed + sum(math.ceil(part / (slots * SLOT_S)) for part in open_parts)

    most = _DAY_S // SLOT_S
    least = max(1, math.ceil(len(symbols) / PER_SLOT))
    slots = next((slots for slots in range(least, most) if requests(slots) <= budget), most)
    return Plan(len(symbols), slots * SLOT_S, requests(slots), budget)


def due_at(symbols: Sequence[Symbol], plan: Plan, slot_s: int, closed: Mapping[str, date]) -> list[Due]:
    """Return the requests of a slot, those after a close last.

    Args:
        symbols: In an order that stays; it decides which symbols share a slot.
        plan: Of the UTC day.
        slot_s: The slot, seconds since 1970.
        closed: For each symbol the last session whose final bars were received.
    """
    every = plan.period_s // SLOT_S
    now = slot_s // SLOT_S
    open_now = [
        Due(symbol, "minutes")
        for index, symbol in enumerate(symbols)
        if (now - index) % every == 0 and symbol.exchange.is_open(slot_s)
    ]
    ended: list[Due] = []
    for index, symbol in enumerate(symbols):
        session = symbol.exchange.last_session(slot_s - SETTLED_S - index % SPREAD * SLOT_S)
        if session is not None and (symbol.name not in closed or closed[symbol.name] < session.day):
            ended += [Due(symbol, "session", session), Due(symbol, "days", session)]
    # What does not fit stays due. Both requests of a symbol stay together.
    room = max(PER_SLOT - len(open_now), 0) // _AFTER_CLOSE * _AFTER_CLOSE
    return open_now + ended[:room]
