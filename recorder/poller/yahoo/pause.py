"""How long Yahoo is left alone after it refused: a 429 lasts for minutes to hours, and has no Retry-After."""

import msgspec

FIRST_S = 60.0
LONGEST_S = 3600.0


class Paused(msgspec.Struct, frozen=True):
    """A pause as a restart keeps it. Its end is a time of the wall clock, the only one that outlives the machine."""

    wait_s: float = 0.0  # its length; the next one is twice as long
    until_s: float = 0.0  # unix seconds; 0.0: there is none


class Pause:
    """Doubles the pause with each failure in a row, from 60 s to an hour. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._wait_s = 0.0
        self._until_s = 0.0

    def left_s(self, now_s: float) -> float:
        """Return the seconds until the next request may be sent; 0.0 where it may be sent now."""
        return max(self._until_s - now_s, 0.0)

    def failed(self, now_s: float) -> float:
        """Count a failure, and return the pause that begins."""
        self._wait_s = min(max(self._wait_s * 2, FIRST_S), LONGEST_S)
        self._until_s = now_s + self._wait_s
        return self._wait_s

    def passed(self) -> None:
        """Count an answer: the next pause is the first again."""
        self._wait_s = self._until_s = 0.0

    def kept(self, now_s: float, wall_s: float) -> Paused:
        """Return what a restart must not forget."""
        left_s = self.left_s(now_s)
        return Paused(self._wait_s, wall_s + left_s if left_s else 0.0)

    def restore(self, kept: Paused, now_s: float, wall_s: float) -> None:
        """Go on with the pause of an earlier process; a clock that was set back makes it no longer than it was."""
        self._wait_s = min(max(kept.wait_s, 0.0), LONGEST_S)
        left_s = min(max(kept.until_s - wall_s, 0.0), self._wait_s)
        self._until_s = now_s + left_s if left_s else 0.0
