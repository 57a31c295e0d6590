"""How long Yahoo is left alone after it refused: a 429 lasts for minutes to hours, and has no Retry-After."""

FIRST_S = 60.0
LONGEST_S = 3600.0


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
