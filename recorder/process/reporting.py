"""The reporting loop of every program: its health once a second, a summary in the log once a minute."""

import threading
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec

from recorder.process.health import Figures, HealthFile, State
from recorder.process.log import get_logger
from recorder.process.threads import Part
from recorder.settings import MonitoringSettings

_HEALTH_EVERY_S = 1.0

_log = get_logger(__name__)


class Health(NamedTuple):
    """How a program is."""

    state: State
    detail: str
    figures: Figures


class Rate:
    """Turns a count that rises into a rate."""

    def __init__(self) -> None:
        self._count = 0
        self._at_s = time.monotonic()

    def per_s(self, count: int) -> float:
        """Return the rate since the last call; 0 where the count fell."""
        now_s = time.monotonic()
        rate = max(0, count - self._count) / max(now_s - self._at_s, 1e-9)
        self._count, self._at_s = count, now_s
        return round(rate, 1)


def reporting(file: HealthFile, check: Callable[[], Health], monitoring: MonitoringSettings) -> Part:
    """Return a part that reports until it is stopped.

    Args:
        file: Gets the report.
        check: Returns the health of the program; called once a second.
        monitoring: Whether and how often a summary is logged.
    """

    def body(stop: threading.Event) -> None:
        began_s = summary_s = time.monotonic()
        while not stop.wait(_HEALTH_EVERY_S):
            health = check()
            file.write(*health)
            now_s = time.monotonic()
            if monitoring.enabled and now_s - summary_s >= monitoring.metrics_interval_s:
                summary_s = now_s
                figures = summary(health.figures)
                _log.info(
                    "metrics", program=file.program, state=health.state, runtime_s=round(now_s - began_s), **figures
                )
        file.write("stopping")

    return body


def summary(figures: Figures) -> dict[str, object]:
    """Return the figures that fit on one line: lists and tables by their length, absent values left out."""
    return {
        name: len(value) if isinstance(value, list | dict) else value
        for name, value in msgspec.structs.asdict(figures).items()
        if isinstance(value, int | float | str | list | dict)
    }
