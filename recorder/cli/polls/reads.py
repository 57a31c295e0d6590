"""When gaps of trades are read next, and why the last try failed: the slots of healing, and what poll_run has of it."""

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from recorder.cli.columns import duration
from recorder.poller.healing.configured import NAME
from recorder.poller.healing.job import OFFSET_S, PERIOD_S
from recorder.poller.slots import Schedule
from recorder.settings import Settings

FAILURES = """
SELECT started_at + make_interval(secs => coalesce(duration_s, 0)), reason
  FROM poll_run
 WHERE job = 'healing' AND state = 'failed' AND started_at IS NOT NULL AND slot > now() - interval '2 hours'
 ORDER BY started_at DESC LIMIT 300"""
_INSTANT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d"
# poll_run keeps the first characters of a reason only, so the part of a second venue may be cut anywhere.
_FAILED = re.compile(rf"(?:^|; )(\w+) \(again at ({_INSTANT})Z\): (.*?)(?=; \w+ \(again at |$)")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONG = timedelta(minutes=2)


class Failure(NamedTuple):
    """The last round of healing in which a venue did not answer."""

    at: datetime
    reason: str
    again_at: datetime  # the venue is left alone until then


class Reads(NamedTuple):
    """What decides when a gap is read."""

    idle: str  # why no gap is read at all; "" while rounds are run
    schedule: Schedule
    failures: Mapping[str, Failure]  # by venue

    def next_round(self, at: datetime) -> datetime:
        """Return the first round that begins at an instant or after it."""
        microseconds = (at - _EPOCH) // timedelta(microseconds=1)
        return _EPOCH + timedelta(microseconds=self.schedule.after(microseconds * 1000 - 1) // 1000)

    def next_try(self, venue: str, due_at: datetime, now: datetime, read_at: datetime | None) -> datetime:
        """Return when the round begins that reads a gap at the earliest.

        Args:
            venue: Of the gap.
            due_at: From when on it may be read.
            now: The time.
            read_at: When it was read last; the venue answered then.
        """
        failure = self.failure(venue, read_at)
        return self.next_round(max(due_at, now, failure.again_at if failure is not None else now))

    def failure(self, venue: str, read_at: datetime | None) -> Failure | None:
        """Return the last failure of a venue, where it has not answered since, as far as a gap shows."""
        found = self.failures.get(venue)
        return None if found is None or (read_at is not None and read_at >= found.at) else found

    def words(self, venue: str, due_at: datetime, now: datetime, read_at: datetime | None) -> str:
        """Return when a gap is read next, and why the last try failed, in words."""
        if self.idle:
            return f"not read now: {self.idle}"
        failure = self.failure(venue, read_at)
        left_s = (self.next_try(venue, due_at, now, read_at) - now).total_seconds()
        when = f"read in {duration(left_s)}" if read_at is None else f"again in {duration(left_s)}"
        if failure is not None:
            ago = duration(max(0.0, (now - failure.at).total_seconds()))
            return f"the try {ago} ago failed ({failure.reason}); {when}"
        if now - due_at > _LONG:
            waits = duration((now - due_at).total_seconds())
            return f"due for {waits}, waits for its turn or for stored trades on both sides; {when}"
        return when


def failures_of(rows: Iterable[tuple[datetime, str]]) -> dict[str, Failure]:
    """Return the last failure of each venue from the failed rounds of healing, the newest first."""
    found: dict[str, Failure] = {}
    for at, reason in rows:
        for match in _FAILED.finditer(reason):
            again_at = datetime.fromisoformat(match[2]).replace(tzinfo=UTC)
            found.setdefault(match[1], Failure(at, match[3], again_at))
    return found


def reads_of(settings: Settings, *, runs: bool, failed: Iterable[tuple[datetime, str]]) -> Reads:
    """Return what decides when gaps are read.

    Args:
        settings: Of the poller.
        runs: Whether a poller runs.
        failed: Rows of `FAILURES`.
    """
    idle = ""
    if not settings.poller.enabled or NAME in settings.poller.off:
        idle = "healing is off in the settings (poller.enabled, poller.off)"
    elif not runs:
        idle = "no poller runs; `tapedeck heal --once` reads it"
    period_s = int(settings.poller.every_s.get(NAME, PERIOD_S))
    return Reads(idle, Schedule(period_s, OFFSET_S % period_s), failures_of(failed))
