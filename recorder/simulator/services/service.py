"""The base of every simulated REST service: faults, rate limits, the cache of a CDN, and the truth log.

A service is one port. It subclasses `RestService` and answers requests in `get`. Services that show the same markets
share a lock and a truth log.
"""

import threading
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar, Literal

import msgspec

from recorder.clock import Clock, SystemClock
from recorder.simulator.server import HttpOnly
from recorder.simulator.services.faults import RestFaults
from recorder.simulator.services.limits import Limit, RateLimits
from recorder.simulator.wire import Request, Response
from recorder.truth import Answered, Ended, Line, ServiceStarted, TruthLog

HTML = b"<!DOCTYPE html><html><head><title>Error</title></head><body><h1>Please stand by</h1></body></html>"
_CACHED_BYTES = 32 << 20
_CACHED = 512
_AGENT_CHARS = 100
_REFUSED_AGENTS = ("python-urllib",)


class Truth:
    """A truth log that several services write, under one lock."""

    def __init__(
        self, log: TruthLog, started: ServiceStarted, lock: AbstractContextManager[object] | None = None
    ) -> None:
        self.log = log
        self.lock = lock or threading.RLock()
        self._started = started
        self._ended = False
        self.served: OrderedDict[tuple[str, object], None] = OrderedDict()  # what this part of the log has
        self.log.line(started)

    def once(self, kind: str, key: object) -> bool:
        """Return whether this part of the log lacks something, and note that it has it now."""
        if (kind, key) in self.served:
            return False
        self.served[kind, key] = None
        if len(self.served) > 100_000:
            self.served.popitem(last=False)
        return True

    def line(self, line: Line) -> None:
        """Log a line."""
        self.log.line(line)

    def commit(self, now_ns: int) -> None:
        """Hand the lines to the kernel, and begin another part where this one is full."""
        self.log.commit()
        if self.log.full:
            self.served.clear()
            self.log.next_part([msgspec.structs.replace(self._started, part=self.log.part + 1, part_t=now_ns)])

    def end(self, now_ns: int) -> None:
        """Complete the log."""
        if not self._ended:
            self._ended = True
            self.log.line(Ended(now_ns))
            self.log.close()


class RestService(HttpOnly, ABC):
    """One simulated service on loopback, run by one thread."""

    name: ClassVar[str]
    limits: ClassVar[tuple[Limit, ...]] = ()
    above: ClassVar[Literal["delay", "refuse"]] = "delay"
    """What happens to a request above a limit: it waits, or gets 429 without `Retry-After`."""
    cached_s: ClassVar[dict[str, float]] = {}
    """How long an answer to a path that begins so is the same."""

    def __init__(self, truth: Truth, limit_window_s: float = 10.0) -> None:
        self.truth = truth
        self.clock: Clock = SystemClock()
        self.faults = RestFaults()
        self.answered = 0
        self.books: list[tuple[str, int]] = []  # of the answer that is being made, where it is one of many books
        self._spoilt = False  # whether a fault leaves nothing of the answer that is being made
        self.control: Callable[[Request], Response | None] | None = None
        self._rates = RateLimits(self.limits, limit_window_s)
        self._cache: OrderedDict[str, tuple[float, float, Response]] = OrderedDict()
        self._cache_bytes = 0

    @abstractmethod
    def get(self, request: Request, now_ns: int) -> Response:
        """Answer a request."""

    def too_many(self) -> Response:
        """Return the answer to a request above a limit."""
        return error(429, "rate limited")

    # ---- calls of the server

    def http(self, request: Request, now_ns: int) -> Response:
        """Answer a request to the control path, or one of a client."""
        response = self.control(request) if self.control is not None else None
        if response is None:
            with self.truth.lock:
                self.books, self._spoilt = [], False
                try:
                    response = self._answer(request, now_ns)
                except TimeoutError:  # the thread of the stream is late: that costs an answer, not the simulator
                    response = Response(503, b'{"error":"busy"}')
                self.answered += 1
                self.truth.line(
                    Answered(
                        now_ns, self.name, _target(request), response.status, len(response.body),
                        request.headers.get("user-agent", "")[:_AGENT_CHARS], self._spoilt, self.books,
                    )
                )  # fmt: skip
                self.truth.commit(now_ns)
        response.keep_alive = request.keeps_alive
        return response

    def _answer(self, request: Request, now_ns: int) -> Response:
        path = request.path
        away = self.faults.use("away", path)
        if away is not None:
            self._spoilt = True
            return Response(503, never=away.text == "silent", reset=away.text != "silent")
        if request.headers.get("user-agent", "").lower().startswith(_REFUSED_AGENTS):
            return Response(403, HTML, {"Content-Type": "text/html"})
        wait_s = self._rates.excess_s(path, self.clock.monotonic_s())
        if wait_s and self.above == "refuse":
            return self.too_many()
        response = self._spoiled(request, now_ns)
        delay = self.faults.use("delay", path)
        response.delay_s = wait_s + (delay.amount if delay is not None else 0.0)
        return response

    def _spoiled(self, request: Request, now_ns: int) -> Response:
        path = request.path
        rule = self.faults.use("rest", path)
        if rule is not None:
            headers = {"Retry-After": rule.text} if rule.text else {}
            return Response(rule.count, b'{"error":"unavailable"}', headers)
        rule = self.faults.use("html", path)
        if rule is not None:
            self._spoilt = True
            return Response(rule.count, HTML, {"Content-Type": "text/html; charset=utf-8"})
        response = self._cached(request, now_ns)
        if self.faults.use("truncate", path) is not None:
            self._spoilt = True
            return Response(response.status, response.body[: len(response.body) * 2 // 3], dict(response.headers))
        return response

    def _cached(self, request: Request, now_ns: int) -> Response:
        """Return the same answer to the same target for as long as the CDN keeps it."""
        keep_s = next((s for path, s in self.cached_s.items() if request.path.startswith(path)), 0.0)
        if not keep_s or request.method != "GET":
            return self.get(request, now_ns)
        now_s, target = self.clock.monotonic_s(), _target(request)
        held = self._cache.get(target)
        if held is not None and now_s < held[1]:
            made_s, _, response = held
            headers = {**response.headers, "Age": str(int(now_s - made_s)), "X-Cache": "Hit from cloudfront"}
            return Response(response.status, response.body, headers)
        response = self.get(request, now_ns)
        if response.status == 200:
            self._keep(target, (now_s, now_s + keep_s, response))
            headers = {**response.headers, "Cache-Control": f"public, max-age={keep_s:.0f}", "X-Cache": "Miss"}
            response = Response(200, response.body, headers)
        return response

    def _keep(self, target: str, entry: tuple[float, float, Response]) -> None:
        old = self._cache.pop(target, None)
        self._cache_bytes += len(entry[2].body) - (len(old[2].body) if old is not None else 0)
        self._cache[target] = entry
        while len(self._cache) > _CACHED or self._cache_bytes > _CACHED_BYTES:
            self._cache_bytes -= len(self._cache.popitem(last=False)[1][2].body)


def _target(request: Request) -> str:
    query = "&".join(f"{name}={value}" for name, value in request.pairs)
    return f"{request.path}?{query}"[:2000]


def error(status: int, words: str) -> Response:
    """Return an error in JSON."""
    return Response(status, msgspec.json.encode({"error": words}))


def answer(body: object, headers: dict[str, str] | None = None) -> Response:
    """Return an answer in JSON."""
    return Response(200, msgspec.json.encode(body), headers or {})
