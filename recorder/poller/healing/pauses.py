"""How long a venue is left alone that refuses to answer."""

from recorder.clock import Clock

_PAUSE_S = 60.0
_PAUSES_MAX = 6


class Pauses:
    """Pauses of venues: a minute after the first failure, twice as long after each one more, half an hour at most."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._pauses: dict[str, tuple[int, float]] = {}  # how often in a row, and until when

    def waits(self, venue: str) -> bool:
        """Return whether a venue is left alone now."""
        return self._pauses.get(venue, (0, 0.0))[1] > self._clock.monotonic_s()

    def answered(self, venue: str) -> None:
        """Note that a venue answers."""
        self._pauses.pop(venue, None)

    def refused(self, venue: str) -> float:
        """Note that a venue does not answer, and return for how long it is left alone, seconds."""
        failures = min(self._pauses.get(venue, (0, 0.0))[0] + 1, _PAUSES_MAX)
        pause_s: float = _PAUSE_S * 2 ** (failures - 1)
        self._pauses[venue] = failures, self._clock.monotonic_s() + pause_s
        return pause_s
