"""REST answers that sessions ask for: asked by their own threads, so that a slow answer stops no connection."""

import heapq
import itertools
import threading
from collections.abc import Callable
from typing import Protocol

import msgspec

from recorder.clock import Clock
from recorder.errors import RecorderError
from recorder.log import get_logger

_AGAIN_S = 1.0  # a path asked for again this soon had an answer of no use: the next ones wait, longer each time
_FIRST_S = 0.25
_CAP_S = 30.0
_BEGINNING = 1024

_log = get_logger(__name__)

Deliver = Callable[[bytes], None]


class Answer(Protocol):
    """What a server answered."""

    @property
    def status(self) -> int: ...
    @property
    def body(self) -> bytes: ...


class _Last(msgspec.Struct):
    """How a path was answered last."""

    answered_s: float = float("-inf")
    in_a_row: int = 0  # times it was asked for again at once


class Fetches:
    """Requests of all sessions of a recorder. Any thread may ask; each request is answered exactly once."""

    def __init__(self, get: Callable[[str], Answer], clock: Clock) -> None:
        """
        Args:
            get: One attempt at a path below the venue's endpoint, paced by the venue's budget.
            clock: For the pauses between requests of one path.
        """
        self._get = get
        self._clock = clock
        self._waiting: list[tuple[float, int, str, Deliver]] = []  # by when they are due
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._last: dict[str, _Last] = {}

    def ask(self, path: str, deliver: Deliver) -> None:
        """Have a path fetched.

        Args:
            path: Below the venue's REST endpoint.
            deliver: Called with the answer as a frame for the session, in a thread of ours.
        """
        now_s = self._clock.monotonic_s()
        with self._changed:
            last = self._last.setdefault(path, _Last())
            last.in_a_row = last.in_a_row + 1 if now_s - last.answered_s < _AGAIN_S else 0
            due_s = now_s + (min(_CAP_S, _FIRST_S * 2.0 ** (last.in_a_row - 1)) if last.in_a_row else 0.0)
            heapq.heappush(self._waiting, (due_s, next(self._numbers), path, deliver))
            self._changed.notify()

    def work(self, stop: threading.Event) -> None:
        """A part that fetches; several may run beside each other."""
        while not stop.is_set():
            with self._changed:
                now_s = self._clock.monotonic_s()
                if not self._waiting or self._waiting[0][0] > now_s:
                    wait_s = self._waiting[0][0] - now_s if self._waiting else 0.5
                    self._changed.wait(min(wait_s, 0.5))
                    continue
                _, _, path, deliver = heapq.heappop(self._waiting)
            deliver(self._fetch(path))

    def _fetch(self, path: str) -> bytes:
        try:
            answer = self._get(path)
            frame = framed(path, answer.status, answer.body)
        except RecorderError as error:
            _log.warning("fetch.failed", path=path, error=str(error)[:200])
            frame = framed(path, 0, b"null")
        with self._changed:
            self._last[path].answered_s = self._clock.monotonic_s()
        return frame


def framed(path: str, status: int, body: bytes) -> bytes:
    """An answer as a session reads it; what is no JSON is there as the text it begins with."""
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        body = msgspec.json.encode(body[:_BEGINNING].decode("utf-8", "replace"))
    return b'{"rest":%b,"status":%d,"body":%b}' % (msgspec.json.encode(path), status, body)
