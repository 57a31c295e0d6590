"""What certificates say of a range, and the hours whose grade is too low to be used.

`min_grade` is the least grade that an hour must have; hours below it, and hours without a certificate, become missing
ranges beside the gaps. From there on nothing distinguishes them: `on_gap` decides about their rows, and
`analysis.gap_policy` about values computed over them. Where several conditions are set, a range is missing when one of
them says so; none of them makes a range complete that another calls missing.

Data that no recorder wrote, such as the sample data, are not graded. There `min_grade` does nothing, and `masked` says
so. An hour that can be graded and is not, because it is not settled yet or was never certified, is missing.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any, Literal

import pyarrow as pa

from analysis.errors import InvalidRange
from analysis.load.source import EPOCH, US, Instrument, Range, Reader
from analysis.load.tables import GAP, Channel
from recorder.venues import VENUES

Grade = Literal["proved", "witnessed", "consistent", "claimed"]
"""The least grade of an hour that is used, best first; docs/guarantees.md has the rules."""

GRADES = ("proved", "witnessed", "consistent", "claimed", "holed")
"""All grades, best first; an hour that is `holed` satisfies no minimum."""

BELOW_GRADE = "below_grade"
"""State of a range that no gap row declares: its hours have a lower grade than was asked for, or none."""

NOT_GRADED = "not graded"
"""What `masked` says first where a source cannot have certificates."""

HOUR = timedelta(hours=1)
_NAMED = 100  # ranges that `masked` lists

Row = dict[str, Any]
"""A row of GAP as a Python dict."""


def check(min_grade: str | None) -> None:
    """Refuse a minimum that is no grade.

    Raises:
        InvalidRange: It is none of Grade.
    """
    if min_grade is not None and min_grade not in GRADES[:-1]:
        raise InvalidRange(f"min_grade={min_grade!r} is no grade; use {', '.join(GRADES[:-1])}")


def for_training(venue: str, channel: Channel = "trade") -> Grade:
    """Return the least grade that training asks for by default.

    It is `consistent` for trades of a venue with trade ids, with a count of its messages or with candles, and `claimed`
    elsewhere: nothing could prove more there (Figure, Polymarket, quotes, books).
    """
    kind = VENUES.get(venue)
    proves = kind is not None and (
        channel in kind.contiguous or kind.connection_sequences or kind.minute_candles is not None
    )
    return "consistent" if channel == "trade" and proves else "claimed"


def hours(span: Range) -> list[datetime]:
    """Return the starts of the UTC hours that a range touches."""
    first = EPOCH + (span.start - EPOCH) // HOUR * HOUR
    count = -((first - span.end) // HOUR)
    return [first + number * HOUR for number in range(count)]


def below(reader: Reader, whose: Sequence[Instrument], channel: Channel, span: Range, min_grade: Grade) -> list[Row]:
    """Return rows of GAP, one for each run of hours whose grade is below a minimum for the same reason.

    Hours before the first frame about an instrument are left out; they are unrecorded anyway.

    Args:
        reader: Open source.
        whose: Instruments.
        channel: Whose certificates.
        span: Range; its first and last hour count completely.
        min_grade: The least grade.

    Raises:
        InvalidRange: `min_grade` is no grade.
    """
    check(min_grade)
    found = reader.certificates(whose, channel, span)
    if found is None:
        return []
    known = {(row["instrument_id"], row["hour"].astimezone(UTC)): row["grade"] for row in found.to_pylist()}
    enough = GRADES[: GRADES.index(min_grade) + 1]
    rows: list[Row] = []
    for one in whose:
        seen = Range(min(max(span.start, one.first_seen), span.end), span.end)
        graded = [(at, known.get((one.instrument_id, at))) for at in hours(seen)]
        for grade, run in groupby((pair for pair in graded if pair[1] not in enough), key=lambda pair: pair[1]):
            reason = "no certificate" if grade is None else f"graded {grade}"
            for start, end in _runs([at for at, _ in run]):
                rows.append(_row(one, channel, start, end, f"{reason}, below {min_grade}"))
    return rows


def _runs(starts: list[datetime]) -> Iterator[tuple[datetime, datetime]]:
    """Yield the start and the end of each run of hours that follow each other."""
    first = last = starts[0]
    for at in starts[1:]:
        if at - last != HOUR:
            yield first, last + HOUR
            first = at
        last = at
    yield first, last + HOUR


def _row(one: Instrument, channel: Channel, start: datetime, end: datetime, reason: str) -> Row:
    kind = {"instrument_id": one.instrument_id, "channel": channel, "cause": "grade", "state": BELOW_GRADE}
    # The end of a row of GAP is the last instant at which rows may be missing.
    return dict.fromkeys(GAP.names) | kind | {"reason": reason, "started_at": start, "ended_at": end - US}


def masked(
    reader: Reader, missing: pa.Table, whose: Sequence[Instrument], channel: Channel, min_grade: Grade | None
) -> tuple[str, ...]:
    """Return one line for each range that was masked because of its grade, for frames, manifests and reports.

    Args:
        reader: Open source.
        missing: Result of `missing_ranges.find` with the same minimum.
        whose: Instruments.
        channel: Whose certificates.
        min_grade: The least grade; None masks nothing.

    Returns:
        Lines such as "kraken BTC/USD trade 2026-03-05 14:00 to 2026-03-05 16:00: graded claimed, below consistent"; a
        hundred of them at most, and then one with the number of the others.
    """
    if min_grade is None:
        return ()
    if not reader.graded:
        names = ", ".join(f"{one.venue} {one.symbol}" for one in whose[:3]) + (", ..." if len(whose) > 3 else "")
        return (f"{NOT_GRADED}: {names} {channel} has no certificates, so {min_grade} was not required",)
    names_by_id = {one.instrument_id: f"{one.venue} {one.symbol}" for one in whose}
    lines = [
        f"{names_by_id[row['instrument_id']]} {row['channel']} {row['started_at'].astimezone(UTC):%Y-%m-%d %H:%M} to "
        f"{(row['ended_at'] + US).astimezone(UTC):%Y-%m-%d %H:%M}: {row['reason']}"
        for row in missing.to_pylist()
        if row["state"] == BELOW_GRADE
    ]
    more = [f"and {len(lines) - _NAMED:,} more ranges"] if len(lines) > _NAMED else []
    return (*lines[:_NAMED], *more)
