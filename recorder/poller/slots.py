"""The arithmetic of slots. Pure: instants are nanoseconds since 1970, UTC, and a slot is the instant of its beginning.

The slots of a schedule are offset + n * period for every whole n. UTC has no daylight saving and Unix time no leap
seconds, so a daily slot is one with a period of a day.
"""

import msgspec

from recorder.poller.job import Daily, Every, Trigger

DAY_S = 86_400
_NS = 1_000_000_000


class Schedule(msgspec.Struct, frozen=True):
    """The slots of a job. A period of 0 has none."""

    period_s: int
    offset_s: int

    @classmethod
    def of(cls, trigger: Trigger) -> "Schedule":
        """Return the slots of a trigger.

        Raises:
            ValueError: its numbers describe no schedule.
        """
        match trigger:
            case Every(period_s, offset_s):
                if not 0 < period_s <= DAY_S or not 0 <= offset_s < period_s:
                    raise ValueError(
                        f"a period is 1 to {DAY_S} s and an offset below it, not {period_s} and {offset_s}"
                    )
                return cls(period_s, offset_s)
            case Daily(hour, minute):
                if not (0 <= hour < 24 and 0 <= minute < 60):
                    raise ValueError(f"{hour}:{minute} is no time of day")
                return cls(DAY_S, hour * 3600 + minute * 60)

    @property
    def period_ns(self) -> int:
        """Time between two slots."""
        return self.period_s * _NS

    def at_or_before(self, instant_ns: int) -> int:
        """Return the latest slot that is not after an instant."""
        offset_ns = self.offset_s * _NS
        return (instant_ns - offset_ns) // self.period_ns * self.period_ns + offset_ns

    def after(self, instant_ns: int) -> int:
        """Return the first slot after an instant."""
        return self.at_or_before(instant_ns) + self.period_ns

    def count(self, after_ns: int, until_ns: int) -> int:
        """Return how many slots there are with after < slot <= until."""
        if not self.period_s or until_ns <= after_ns:
            return 0
        return (self.at_or_before(until_ns) - self.at_or_before(after_ns)) // self.period_ns
