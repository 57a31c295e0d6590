"""How a market ended: two sources agree, or one says so for 24 hours and none says otherwise."""

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from recorder.venues.polymarket.polls.resolutions import SOURCES, Reading, Source

ALONE_NS = 24 * 3_600 * 10**9
"""How long one source must have said the same before it is enough."""

RECHECK_NS = 72 * 3_600 * 10**9
"""A label is compared with its source once more after this time."""

Payouts = tuple[int, int]
"""Micro-USDC a share of outcomes 0 and 1; they sum to 1,000,000."""


class Final(msgspec.Struct, frozen=True, gc=False):
    """What one source says of a market, and since when it says so."""

    payouts: Payouts
    since_ns: int  # receipt time of the first answer that said so
    received_ns: int  # of the last one
    resolved_ns: int | None
    disputed: bool | None
    raw: bytes


class Label(NamedTuple):
    """How a market ended."""

    payouts: Payouts
    sources: tuple[Source, ...]  # that say so, in the order of their authority
    resolved_ns: int | None  # by the venue's clock; None where no source says it
    disputed: bool | None
    raw: dict[Source, bytes]


class Conflict(NamedTuple):
    """Sources that contradict each other, so that there is no label."""

    reason: str


def heard(finals: Mapping[Source, Final], reading: Reading) -> dict[Source, Final]:
    """Return what the sources say, with one more reading.

    A source that takes its final statement back says nothing. One that changes it begins again.
    """
    result = dict(finals)
    before = finals.get(reading.source)
    if before is not None and before.received_ns > reading.received_ns:
        return result
    if reading.payouts is None:
        result.pop(reading.source, None)
        return result
    same = before is not None and before.payouts == reading.payouts
    since_ns = before.since_ns if before is not None and same else reading.received_ns
    result[reading.source] = Final(
        reading.payouts, since_ns, reading.received_ns, reading.resolved_ns, reading.disputed, reading.raw
    )
    return result


def decide(finals: Mapping[Source, Final], now_ns: int) -> Label | Conflict | None:
    """Return the label of a market, why there can be none, or None while the sources are not enough."""
    named = [source for source in SOURCES if source in finals]
    if not named:
        return None
    stated = {finals[source].payouts for source in named}
    if len(stated) > 1:
        return Conflict("; ".join(f"{source} says {finals[source].payouts}" for source in named))
    alone = len(named) == 1 and now_ns - finals[named[0]].since_ns < ALONE_NS
    if alone:
        return None
    return Label(
        stated.pop(),
        tuple(named),
        next((ns for source in named if (ns := finals[source].resolved_ns) is not None), None),
        next((said for source in named if (said := finals[source].disputed) is not None), None),
        {source: finals[source].raw for source in named},
    )
