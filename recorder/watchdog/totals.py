"""Counters that never fall: a program that restarts begins to count at zero, and the watchdog itself restarts, too."""

from collections.abc import Mapping

import msgspec

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
