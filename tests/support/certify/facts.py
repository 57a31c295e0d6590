"""Certificates made by hand, of an hour with the ids 100 to 149."""

import msgspec

from recorder.certify.document import BookChecks, Certificate, GapFact, Rows
from recorder.events import Channel, GapState
from recorder.identity import instrument_id
from recorder.venues import VENUES

BEGIN_US = 1_796_083_200_000_000  # 2026-12-01T00:00:00Z
_ROWS = Rows(
    stored=50, distinct=50, duplicates=0, healed=0, first_id=100, last_id=149, before_id=99, after_id=150, strays=0,
    sha256="0" * 64,
)  # fmt: skip


def gap(state: GapState, reason: str | None = None) -> GapFact:
    """Return a gap of four ids inside the hour."""
    return GapFact(
        gap_id=1, revision=2, cause="disconnect", state=state, reason=reason, last_id=110, first_id=115,
        from_us=BEGIN_US + 10**6, until_us=BEGIN_US + 2 * 10**6,
    )  # fmt: skip


def facts(feed: str, channel: Channel, **changes: object) -> Certificate:
    """Return a certificate with some facts or facts about rows changed."""
    of_rows = {name: changes.pop(name) for name in [*changes] if name in Rows.__struct_fields__}
    venue = VENUES[feed].name
    made = Certificate(
        venue=venue, feed=feed, symbol="A-B", instrument_id=instrument_id(venue, "A-B"), channel=channel,
        hour="2026-12-01T00:00:00Z", grade="holed", reasons=[], program="1", decoder="d", book_depth=0,
        watched_from_us=BEGIN_US - 1, rows=msgspec.structs.replace(_ROWS, **of_rows), frames=100, sessions=[7], gaps=[],
        book=BookChecks(), witnesses={}, least_delay_us=5, quarantined=0, damaged=0, read_until_us=BEGIN_US,
        replay="equal", differences=[], journals=[],
    )  # fmt: skip
    return msgspec.structs.replace(made, **changes)
