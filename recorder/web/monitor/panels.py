"""Panels of a page: each is read apart from the others, fails alone, and keeps what it had with its time.

A page never waits for a slow panel: it shows what was read last and says how old that is.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Generic, NamedTuple, TypeVar

from recorder.errors import RecorderError
from recorder.printable import one_line
from recorder.process.log import get_logger

T = TypeVar("T")
WAIT_S = 0.7
"""How long one page waits for all its panels together."""

_log = get_logger(__name__)


class Shown(NamedTuple, Generic[T]):
    """What a page shows of a panel."""

    value: T | None  # None before the first success
    at: float | None  # unix seconds of the last success
    problem: str  # why there is nothing newer; empty where there is


class Panel(Generic[T]):
    """One panel. Any thread may use it."""

    def __init__(self, name: str, every_s: float, read: Callable[[], T]) -> None:
        """
        Args:
            name: For the log.
            every_s: A value this old is read again.
            read: Returns the value; it may wait for Postgres.
        """
        self.name = name
        self._every_s = every_s
        self._read = read
        self._lock = threading.Lock()
        self._at_s = float("-inf")  # of the last attempt, monotonic
        self._shown: Shown[T] = Shown(None, None, "not read yet")

    @property
    def shown(self) -> Shown[T]:
        """What is known now."""
        return self._shown

    @property
    def due(self) -> bool:
        """Whether it is to be read again."""
        return time.monotonic() - self._at_s >= self._every_s

    def refresh(self) -> None:
        """Read it, unless another thread does right now."""
        if not self._lock.acquire(blocking=False):
            return
        try:
            self._at_s = time.monotonic()
            self._shown = Shown(self._read(), time.time(), "")
        except RecorderError as error:
            self._shown = Shown(self._shown.value, self._shown.at, one_line(str(error))[:300])
        except OSError as error:
            self._shown = Shown(self._shown.value, self._shown.at, one_line(str(error))[:300])
        except Exception as error:
            _log.exception("panel.failed", panel=self.name)
            self._shown = Shown(self._shown.value, self._shown.at, f"{type(error).__name__}; the log of web has more")
        finally:
            self._lock.release()


class Panels:
    """The panels of one page, read in threads of their own."""

    def __init__(self, panels: dict[str, Panel[Any]], threads: int = 3) -> None:
        self._panels = panels
        self._pool = ThreadPoolExecutor(threads, "web.panel")
        self._running: dict[str, Future[None]] = {}
        self._lock = threading.Lock()

    def shown(self, *names: str, wait_s: float = WAIT_S) -> dict[str, Shown[Any]]:
        """Return panels by name; those that are due are read again, and waited for only so long."""
        waited: list[Future[None]] = []
        with self._lock:
            for name in names or self._panels:
                running = self._running.get(name)
                if running is not None and not running.done():
                    waited.append(running)
                elif self._panels[name].due:
                    self._running[name] = self._pool.submit(self._panels[name].refresh)
                    waited.append(self._running[name])
        wait(waited, wait_s)
        return {name: self._panels[name].shown for name in names or self._panels}

    def close(self) -> None:
        """Read nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
