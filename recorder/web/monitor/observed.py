"""What the appliance looks like now: the judgement of `tapedeck status`, and the alerts of the watchdog, from files.

Nothing is judged here a second time. A look is shared by all who ask within a second.
"""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from recorder.appliance.observation import Observation, observe
from recorder.process.health import WatchdogFigures, WriterFigures, read_all
from recorder.settings import Settings
from recorder.watchdog.alerts import Alert
from recorder.watchdog.book import read_records
from recorder.watchdog.delivery.marks import Marks, MarksFile

LOOK_S = 1.0


class Seen(NamedTuple):
    """One look."""

    at: float  # unix seconds
    observation: Observation
    alerts: tuple[Alert, ...]  # the newest first
    marks: Marks
    watching: bool  # whether the watchdog reports


class Observed:
    """Keeps the last look. Any thread may use it."""

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """
        Args:
            settings: Of the appliance.
            clock: Monotonic seconds.
        """
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._marks = MarksFile(settings.home)
        self._seen: Seen | None = None
        self._at_s = float("-inf")

    def now(self) -> Seen:
        """Return a look that is at most a second old."""
        with self._lock:
            if self._seen is None or self._clock() - self._at_s >= LOOK_S:
                self._seen = self._look()
                self._at_s = self._clock()
            return self._seen

    def behind_s(self) -> float:
        """Return how far Postgres is behind the journals, seconds; 0 where the writer does not say."""
        report = read_all(self._settings.home).get("writer")
        figures = None if report is None else report.figures
        if report is None or not isinstance(figures, WriterFigures):
            return 0.0
        now = time.time()
        stale = report.stale(now)
        behind = [max(one.lag_s, now - one.stored_until if stale else 0.0) for one in figures.journals.values()]
        return max(behind, default=0.0)

    def _look(self) -> Seen:
        now = time.time()
        observation = observe(self._settings)
        alerts = [record.alert for record in read_records(self._settings.home)]
        report = observation.reports.get("watchdog")
        watching = report is not None and isinstance(report.figures, WatchdogFigures) and not report.stale(now)
        alerts.sort(key=lambda alert: -alert.fired_at)
        return Seen(now, observation, tuple(alerts), self._marks.read(), watching)
