"""What a restart must not forget: the requests of the day, the sessions whose final bars are stored, and the pause."""

from datetime import date
from pathlib import Path

import msgspec

from recorder.poller.yahoo.pause import Paused
from recorder.process.files import make_home, write
from recorder.venues.wire import MALFORMED


class Spent(msgspec.Struct):
    """The state of the poller of Yahoo.

    Attributes:
        day: UTC day of `requests`.
        requests: Sent on that day.
        closed: For each symbol the last session whose final bars were received.
        paused: How long Yahoo is left alone.
    """

    day: date
    requests: int = 0
    closed: dict[str, date] = {}
    paused: Paused = Paused()

    def on(self, day: date) -> None:
        """Begin another day, unless it is the same."""
        if day != self.day:
            self.day, self.requests = day, 0


def read_spent(path: Path, day: date) -> Spent:
    """Return the state on disk; that of a first start where there is none or it is damaged."""
    try:
        found = msgspec.json.decode(path.read_bytes(), type=Spent)
    except (OSError, *MALFORMED):
        return Spent(day)
    found.on(day)
    return found


def write_spent(path: Path, spent: Spent) -> None:
    """Write the state to the disk.

    Raises:
        OSError: the disk does not take it.
    """
    make_home(path.parent)
    write(path, msgspec.json.encode(spent))
