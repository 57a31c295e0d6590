"""REST answers for sessions, fetched by threads of their own, so that a slow answer stops no connection."""

import heapq
import itertools
import threading
from collections.abc import Callable

import msgspec

from recorder.clock import Clock
from recorder.errors import RecorderError
from recorder.process.log import get_logger
from recorder.rest.client import Answer

_AGAIN_S = 1.0  # a path requested again this soon had an unusable answer: later requests wait, longer each time
_FIRST_S = 0.25
_CAP_S = 30.0
_SAMPLE_BYTES = 1024

_log = get_logger(__name__)

Deliver = Callable[[bytes], None]


class _Last(msgspec.Struct):
    """How a path was answered last."""

    answered_s: float = float("-inf")
    in_a_row: int = 0  # times that it was requested again at once


class RestFetcher:
    """Requests of all sessions of a recorder. Any thread may request; each request is answered exactly once."""

    def __init__(self, get: Callable[[str], Answer], clock: Clock) -> None:
        """
        Args:
            get: Makes one attempt at a path below the venue's endpoint, paced by the venue's budget.
            clock: For the pauses between requests of one path.
        """
        self._get = get
        self._clock = clock
        self._waiting: list[tuple[float, int, str, Deliver]] = []  # a heap, by the time to fetch at
        self._numbers = itertools.count()
        self._changed = threading.Condition()
        self._last: dict[str, _Last] = {}

    def fetch(self, path: str, deliver: Deliver) -> None:
        """Have a path fetched.

        Args:
            path: Below the venue's REST endpoint.
            deliver: Called, in a thread of ours, with the answer as a frame for the session.
        """
        now_s = self._clock.monotonic_s()
        with self._changed:
            last = self._last.setdefault(path, _Last())
            last.in_a_row = last.in_a_row + 1 if now_s - last.answered_s < _AGAIN_S else 0
            at_s = now_s + (min(_CAP_S, _FIRST_S * 2.0 ** (last.in_a_row - 1)) if last.in_a_row else 0.0)
            heapq.heappush(self._waiting, (at_s, next(self._numbers), path, deliver))
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
        except Exception:  # an answer of a REST service must not end a recorder, whatever is wrong with it
            _log.exception("fetch.fault", path=path)
            frame = framed(path, 0, b"null")
        with self._changed:
            self._last[path].answered_s = self._clock.monotonic_s()
        return frame


def framed(path: str, status: int, body: bytes) -> bytes:
    """Return an answer as a frame for the decoder; a body that is not JSON is given by its first characters."""
    try:
        msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        body = msgspec.json.encode(body[:_SAMPLE_BYTES].decode("utf-8", "replace"))
    return b'{"rest":%b,"status":%d,"body":%b}' % (msgspec.json.encode(path), status, body)
