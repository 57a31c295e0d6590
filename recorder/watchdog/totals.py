"""Counters that never fall: a program that restarts begins to count at zero, and the watchdog itself restarts, too."""

from collections.abc import Mapping

import msgspec

from recorder.process.health import RecorderFigures
from recorder.shards import venue_of
from recorder.watchdog.evidence import Evidence

MOST = 20_000  # counters that are kept


class Total(msgspec.Struct):
    """One counter."""

    total: float  # what is shown
    raw: float  # as its program reported it last
    since: float  # start of that program, unix seconds


class Totals:
    """Adds up the counters of programs over their restarts. `kept` survives a restart of the watchdog in a file."""

    def __init__(self, kept: Mapping[str, Total] | None = None) -> None:
        self.kept: dict[str, Total] = dict(kept or {})

    def add(self, name: str, raw: float, since: float) -> float:
        """Take a count, and return the total.

        Args:
            name: Of the counter, labels included.
            raw: The count since the start of its program.
            since: That start, unix seconds; a count of another start continues from zero.
        """
        known = self.kept.get(name)
        if known is None:
            if len(self.kept) < MOST:
                self.kept[name] = Total(raw, raw, since)
            return raw
        restarted = known.since != since or raw < known.raw
        known.total += raw if restarted else raw - known.raw
        known.raw, known.since = raw, since
        return known.total


class StreamSeconds:
    """Counts for how long streams were wanted, and recorded, since the start of the watchdog.

    A stream that the venue refuses, or that has no room on any connection, has an alert of its own and is not counted:
    it would hide every other loss. A stream is lost while it has a gap and its connection is not live, or it is silent,
    or its book does not come right. A gap alone says less: on a quiet market it lasts until the next trade, which then
    proves that nothing was missed.

    Attributes:
        wanted: Seconds, summed over streams, by venue.
        recorded: The part of these that was not lost, by venue.
    """

    def __init__(self) -> None:
        self.wanted: dict[str, float] = {}
        self.recorded: dict[str, float] = {}
        self._last: dict[str, RecorderFigures] = {}

    def add(self, evidence: Evidence, passed_s: float) -> None:
        """Count the time since the round before.

        A recorder without a fresh report records nothing, and wants what it wanted before.

        Args:
            evidence: Of this round.
            passed_s: Monotonic seconds since the round before; 0 at the first.
        """
        self._last.update(evidence.recorders())
        expected = evidence.lines()
        for program, figures in self._last.items():
            if program not in expected:
                continue
            venue = venue_of(program) or ""
            refused = figures.refused + figures.followed_refused
            wanted = max(0, sum(link.streams for link in figures.links) - refused)
            in_gap = max(0, figures.open_gaps - refused - figures.unplaced)
            offline = sum(link.streams for link in figures.links if link.state != "LIVE")
            lost = min(in_gap, offline + len(figures.silent) + figures.looping)
            recorded = max(0, wanted - lost) if evidence.fresh(program) else 0
            self.wanted[venue] = self.wanted.get(venue, 0.0) + wanted * passed_s
            self.recorded[venue] = self.recorded.get(venue, 0.0) + recorded * passed_s
