"""The program that writes column files."""

import random
import threading
import time
from collections.abc import Callable

from recorder.backoff import Backoff
from recorder.columns.follower import Follower
from recorder.process.health import ColumnsFigures, HealthFile
from recorder.process.log import get_logger
from recorder.process.reporting import Health, Rate, reporting
from recorder.process.threads import run
from recorder.settings import Settings

_BUSY_S = 0.02
_IDLE_S = 0.2
_SHOWN = 3600.0  # seconds for which a loss is a problem

_log = get_logger(__name__)


class Recording:
    """The part that follows the journals, and what it reports."""

    def __init__(self, follower: Follower, max_lag_s: float) -> None:
        self.disk = "up"
        self._follower = follower
        self._max_lag_s = max_lag_s
        self._rate = Rate()
        self._losses = len(follower.losses)
        self._lost_s = float("-inf")

    def follow(self, stop: threading.Event) -> None:
        """Read and write until the process is stopped; a disk that takes nothing is tried again."""
        backoff = Backoff(0.5, 15.0, random.Random())
        while not stop.is_set():
            try:
                worked = self._follower.step()
            except OSError as error:
                self.disk = f"down: {error}"
                delay_s = backoff.next_s()
                _log.error("columns.not_written", error=str(error), retry_s=round(delay_s, 2))
                stop.wait(delay_s)
                continue
            backoff.reset()
            self.disk = "up"
            stop.wait(_BUSY_S if worked else _IDLE_S)
        self._follower.close()

    def health(self) -> Health:
        """Return how the program is."""
        follower, counts = self._follower, self._follower.counts
        journals = follower.figures()
        rows = counts.trades + counts.quotes
        figures = ColumnsFigures(
            rows=rows,
            rows_per_s=self._rate.per_s(rows),
            duplicates=counts.duplicates,
            refused=counts.refused,
            unnamed=counts.unnamed,
            expired=counts.expired,
            losses=len(follower.losses),
            lag_bytes=sum(one.lag_bytes for one in journals.values()),
            lag_s=max((one.lag_s for one in journals.values()), default=0.0),
            disk=self.disk,
            journals=journals,
        )
        problems = [] if self.disk == "up" else [f"the column files cannot be written: {self.disk}"]
        problems += [f"{name} cannot be read" for name in sorted(follower.unreadable)]
        if figures.losses != self._losses:
            self._losses, self._lost_s = figures.losses, time.monotonic()
        if time.monotonic() - self._lost_s < _SHOWN:
            problems.append(f"{follower.losses[-1].journal}: {follower.losses[-1].reason}")
        if counts.unnamed:
            problems.append(f"{counts.unnamed} rows belong to instruments whose symbol is not known")
        if figures.lag_s > self._max_lag_s:
            problems.append(f"the column files are {figures.lag_s:.0f} s behind the journals")
        return Health("degraded" if problems else "live", "; ".join(problems[:3]), figures)


def parts(settings: Settings) -> dict[str, Callable[[threading.Event], None]]:
    """Return the parts of the program.

    Raises:
        ConfigError: The folder cannot be used.
    """
    recording = Recording(Follower(settings.columns, settings.journal.dir), settings.columns.max_lag_s)
    report = HealthFile(settings.home, "columns")
    return {"follow": recording.follow, "health": reporting(report, recording.health, settings.monitoring)}


def main(settings: Settings) -> int:
    """Write column files until the process is stopped."""
    return run(parts(settings))
