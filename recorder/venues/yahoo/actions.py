"""Dividends, splits and capital gains of a chart answer. An odd one costs itself."""

from collections.abc import Iterator
from datetime import date, datetime
from typing import cast

import msgspec

from recorder.venues.wire import MALFORMED
from recorder.venues.yahoo.meta import FIRST_S, Meta
from recorder.venues.yahoo.model import Action, Kind, with_flags
from recorder.venues.yahoo.prices import price_of

EVENTS_MAX = 10_000
SUMMED = "summed"  # several of a kind on one day

_AHEAD_S = 400 * 86_400  # a declared dividend may be ahead of us
_SHARES_MAX = 1e6
_KINDS: dict[str, Kind] = {"dividends": "dividend", "splits": "split", "capitalGains": "capital_gain"}


class _Paid(msgspec.Struct, gc=False):
    date: int
    amount: float


class _Split(msgspec.Struct, gc=False):
    date: int
    numerator: float
    denominator: float


_events = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_by_time = msgspec.json.Decoder(dict[str, msgspec.Raw] | None).decode
_paid = msgspec.json.Decoder(_Paid).decode
_split = msgspec.json.Decoder(_Split).decode


def actions_of(events: msgspec.Raw, meta: Meta, received_s: int, odd: list[str]) -> list[Action]:
    """Return the corporate actions of an answer in the order of time, one of a kind a day.

    Args:
        events: The object `events`, or null.
        meta: Of the same answer.
        received_s: When the answer was received.
        odd: Receives the reason of each event that is left out.
    """
    found: dict[tuple[Kind, date], Action] = {}
    for kind, raw in _rows(events, odd):
        try:
            action = _action(kind, raw, meta, received_s)
        except (*MALFORMED, OverflowError) as error:
            odd.append(f"{kind}: {error}")
            continue
        key = kind, action.ex_day
        before = found.get(key)
        if before is not None and (before.amount is None or action.amount is None):
            odd.append(f"{kind} on {action.ex_day}: a second one")
            continue
        if before is not None:
            action = _sum(before, action)
        found[key] = action
    return sorted(found.values(), key=lambda action: (action.ex_at_s, action.kind))


def _rows(events: msgspec.Raw, odd: list[str]) -> Iterator[tuple[Kind, msgspec.Raw]]:
    try:
        by_kind = _events(events) or {}
    except MALFORMED as error:
        odd.append(f"events: {error}")
        return
    for name, kind in _KINDS.items():
        if name not in by_kind:
            continue
        try:
            rows = _by_time(by_kind[name]) or {}
        except MALFORMED as error:
            odd.append(f"{name}: {error}")
            continue
        if len(rows) > EVENTS_MAX:
            odd.append(f"{name}: {len(rows)} of them")
            continue
        yield from ((kind, raw) for raw in rows.values())


def _action(kind: Kind, raw: msgspec.Raw, meta: Meta, received_s: int) -> Action:
    if kind == "split":
        split = _split(raw)
        _require(0 < split.numerator <= _SHARES_MAX and 0 < split.denominator <= _SHARES_MAX, "no possible ratio")
        day = _day(split.date, meta, received_s)
        return Action(kind, split.date, day, None, split.numerator, split.denominator)
    paid = _paid(raw)
    _require(paid.amount > 0, f"no possible amount {paid.amount!r}")
    return Action(kind, paid.date, _day(paid.date, meta, received_s), price_of(paid.amount, meta.unit))


def _day(at_s: int, meta: Meta, received_s: int) -> date:
    _require(FIRST_S <= at_s <= received_s + _AHEAD_S, f"no possible time {at_s}")
    return datetime.fromtimestamp(at_s, meta.zone).date()


def _require(condition: bool, reason: str) -> None:
    if not condition:
        raise ValueError(reason)


def _sum(one: Action, other: Action) -> Action:
    total = round(cast(float, one.amount) + cast(float, other.amount), 12)
    return Action(one.kind, min(one.ex_at_s, other.ex_at_s), one.ex_day, total, flags=with_flags(one.flags, SUMMED))
