"""The DEBUG log of a connection that lives: health checks that passed, and pings that were answered."""

from recorder.process.log import get_logger

_log = get_logger(__name__)


class HealthLog:
    """Logs what one session's checks for silence find."""

    def __init__(self, venue: str, link: int, *, by_text: bool, heartbeat_failures: int) -> None:
        """
        Args:
            venue: Whose.
            link: Number of the connection.
            by_text: Whether the venue has pings of its own: their answer is a text frame, so any later frame counts.
            heartbeat_failures: Sessions in a row before this one that an unanswered ping ended, without data.
        """
        self._venue = venue
        self._link = link
        self._by_text = by_text
        self._failures = heartbeat_failures
        self._pinged_s: float | None = None  # monotonic; the last ping, until it is answered
        self._pongs = 0

    def pinged(self, now_s: float) -> None:
        """Note that a ping was sent."""
        self._pinged_s = now_s

    def passed(self, silence_s: float, last_frame_s: float, pongs: int, *, data: bool) -> None:
        """Log a check that passed, and the answer to the last ping if it has come since the check before.

        Args:
            silence_s: Since the last frame.
            last_frame_s: When that came, monotonic.
            pongs: How many protocol pongs have come on the connection.
            data: Whether the session has brought data: then no heartbeat failure counts any more.
        """
        answered = pongs > self._pongs
        self._pongs = pongs
        if self._pinged_s is not None and (last_frame_s > self._pinged_s if self._by_text else answered):
            within_s = round(max(0.0, last_frame_s - self._pinged_s), 3)
            _log.debug("pong.received", venue=self._venue, link=self._link, within_s=within_s)
            self._pinged_s = None
        _log.debug(
            "health.passed",
            venue=self._venue,
            link=self._link,
            seconds_since_last_message=round(silence_s, 3),
            heartbeat_failures=0 if data else self._failures,
        )
