"""Pings of a dead man's switch: a service outside raises the alarm when they stop.

The convention is that of healthchecks.io: the address for success, with `/start` at the start, `/fail` while something
is wrong, and the exit status at the end.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

from recorder.clock import Clock
from recorder.printable import printable
from recorder.process.deadline import Stopped
from recorder.process.log import get_logger
from recorder.watchdog.delivery.channels.post import Poster

BODY_MAX = 9_000
"""Bytes of what a ping says; a service of one's own takes 10,000 (healthchecks, PING_BODY_LIMIT)."""
_ATTEMPTS = 3
_PAUSE_S = 5.0
_TIMEOUT_S = 10.0

_log = get_logger(__name__)


class DeadMan:
    """Pings while all is well."""

    def __init__(
        self,
        url: str,
        every_s: float,
        troubles: Callable[[], list[str] | None],
        user_agent: str,
        ca_file: Path | None,
        clock: Clock,
    ) -> None:
        """
        Args:
            url: The address; a secret.
            every_s: Time between two pings.
            troubles: Returns what is wrong; None while that is not known yet.
            user_agent: The User-Agent header.
            ca_file: PEM file of the authorities to trust; None: those of the system.
            clock: Measures deadlines.

        Raises:
            ConfigError: the file of authorities cannot be used.
        """
        self._url = url
        self._every_s = every_s
        self._troubles = troubles
        self._poster = Poster(url, user_agent, ca_file, _TIMEOUT_S, clock)

    def part(self, stop: threading.Event) -> None:
        """Ping until it is stopped; the last ping says that it was stopped in order."""
        self._ping("/start", "", stop)
        while not stop.is_set():
            began_s = time.monotonic()
            troubles = self._troubles()
            if troubles is None:
                stop.wait(1.0)
                continue
            self._ping("/fail" if troubles else "", "\n".join(map(printable, troubles)), stop)
            stop.wait(max(0.5, self._every_s - (time.monotonic() - began_s)))
        self._ping("/0", "", threading.Event(), attempts=1)

    def _ping(self, ending: str, text: str, stop: threading.Event, attempts: int = _ATTEMPTS) -> None:
        """Ping; after a failure again, a few times."""
        for attempt in range(1, attempts + 1):
            try:
                data = (text or "all is well").encode()[:BODY_MAX]
                answer = self._poster.post(data, "text/plain; charset=utf-8", stop, address(self._url, ending))
            except Stopped:
                return
            if answer.outcome == "taken":
                _log.debug("ping.sent", ending=ending or "/")
                return
            log = _log.warning if attempt == attempts else _log.debug
            log("ping.not_sent", ending=ending or "/", reason=answer.text)
            if attempt < attempts and stop.wait(_PAUSE_S):
                return


def address(url: str, ending: str) -> str:
    """Return an address with an ending of its path, before what may follow a question mark."""
    if not ending:
        return url
    parts = urlsplit(url)
    return parts._replace(path=f"{parts.path.rstrip('/')}{ending}").geturl()
