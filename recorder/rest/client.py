"""The HTTP client: requests to a venue's public REST service, within its budget.

A request waits in three places (the budget, the pause between attempts, the network), and a stop ends each wait.
`policy.py` decides how long to wait. The venue interprets the bytes of the answer.
"""

import contextlib
import random
import secrets
import threading
import zlib
from collections.abc import Collection, Iterator, Mapping
from http.client import HTTPException
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import msgspec
import requests
from urllib3.exceptions import HTTPError

from recorder.backoff import Backoff, retry_after_s
from recorder.clock import Clock, SystemClock
from recorder.errors import RestCircuitOpen, RestError, RestInvalidResponse, RestRefused, RestUnavailable
from recorder.printable import masked_url
from recorder.process.deadline import Stopped
from recorder.process.log import get_logger
from recorder.rest.interruptible import deadline
from recorder.rest.policy import Breaker, Budget, Priority, is_passing
from recorder.rest.shared_budget import SharedBudget, path_of
from recorder.rest.transport import session
from recorder.venues.base import RestLimits, Venue

CONNECT_S = 10.0
READ_S = 30.0
ANSWER_S = 120.0
"""The longest time from the start of a request to the last byte of its answer, however steadily bytes arrive."""
ANSWER_MAX = 10 << 20
WAIT_MAX_S = 60.0
"""A request that would have to wait longer than this, for its budget or for a Retry-After, fails instead."""
HEADER_CHARS = 1000
_CHUNK = 64 << 10
_JSON = {"Content-Type": "application/json"}

_log = get_logger(__name__)


class Answer(NamedTuple):
    """An answer of any status."""

    status: int
    body: bytes
    received_ns: int = 0  # wall clock, after its last byte
    request_id: str = ""  # as in the log
    attempts: int = 1
    headers: Mapping[str, str] = MappingProxyType({})  # names in lower case, values of HEADER_CHARS at most


class _Request(msgspec.Struct):
    method: str
    path: str
    body: bytes | None = None
    expected: Collection[int] = ()
    id: str = msgspec.field(default_factory=lambda: secrets.token_hex(4))
    attempts: int = 0  # of it that were sent


class _Received(NamedTuple):
    answer: Answer
    wire_bytes: int
    retry_after_s: float | None


class RestClient:
    """The client of one venue. Threads may share it, with its budget and its circuit breaker.

    Args:
        venue: Name of the venue, for the log.
        url: Address before the paths.
        limits: The budget.
        user_agent: The User-Agent header.
        stop: Ends every wait.
        clock: The clock of all waits; tests replace it.
        rng: Randomness of the pauses between attempts.
        ca_file: PEM file of the authorities to trust; None: those of the system.
        budgets: Folder of the budgets that all processes share; None: the budget is of this client alone.
        priority: Whether its requests may take the part of the budget that is kept for live books.

    Raises:
        ConfigError: that file cannot be used.
    """

    def __init__(
        self,
        venue: str,
        url: str,
        limits: RestLimits,
        user_agent: str,
        stop: threading.Event,
        clock: Clock,
        rng: random.Random,
        ca_file: Path | None = None,
        budgets: Path | None = None,
        priority: Priority = Priority.LIVE,
    ) -> None:
        self.url = url
        self._venue = venue
        self._stop = stop
        self._clock = clock
        self._rng = rng
        self._attempts = limits.attempts
        self._lock = threading.Lock()
        own = Budget(limits, clock, priority)
        self._budget = own if budgets is None else SharedBudget(own, path_of(budgets, url), clock, stop)
        self._breaker = Breaker(limits, clock)
        self._session = session(user_agent, ca_file)

    def get(self, path: str, expected: Collection[int] = ()) -> Answer:
        """Request a path; after 429, 5xx and network errors again, as often as the limits say.

        Args:
            path: Below the address.
            expected: Statuses that are answers too, such as the 404 of something that has ended.

        Returns:
            An answer of status 200 to 299 whose body is JSON, or of an expected status with any body.

        Raises:
            RestUnavailable: there was no such answer, the circuit is open, or `stop` was set.
            RestRefused: the status is another one, a redirect included.
            RestInvalidResponse: the answer is too large or not JSON.
        """
        return self._persist(_Request("GET", path, expected=expected))

    def post(self, path: str, body: bytes, expected: Collection[int] = ()) -> Answer:
        """Post a body of JSON as `get` requests a path. It may be sent again, so it must be a query, not a change.

        Raises:
            RestError: as for `get`.
        """
        return self._persist(_Request("POST", path, body, expected))

    def once(self, path: str, body: bytes | None = None) -> Answer:
        """Request a path once, within the budget; with a body, by POST.

        Returns:
            The answer of any status; its body may be anything.

        Raises:
            RestUnavailable: there was no answer, the circuit is open, the budget does not allow it within a minute, or
                `stop` was set.
            RestInvalidResponse: the answer is too large or its compression is broken.
        """
        request = _Request("GET" if body is None else "POST", path, body)
        with _named(request):
            return self._attempt(request).answer

    @property
    def circuit_open(self) -> bool:
        """Whether requests are refused, except for one trial now and then, because they failed too often."""
        with self._lock:
            return self._breaker.is_open

    def close(self) -> None:
        """Close the connections that are kept for the next request."""
        self._session.close()

    def _where(self, path: str) -> str:
        return f"{masked_url(self.url)}{path}"

    def _persist(self, request: _Request) -> Answer:
        """Send a request until its answer is final or its attempts are used up."""
        where = self._where(request.path)
        backoff = Backoff(0.5, 30.0, self._rng)
        with _named(request):
            while True:
                try:
                    received = self._attempt(request)
                except RestUnavailable as error:
                    reason, asked_s = str(error), 0.0
                    if self._stop.is_set() or isinstance(error, _Closed):
                        raise
                else:
                    answer = received.answer
                    if 200 <= answer.status <= 299:
                        _require_json(answer.body, where)
                        return answer
                    if answer.status in request.expected:
                        return answer
                    reason, asked_s = f"{where} answers HTTP {answer.status}", received.retry_after_s or 0.0
                    if not is_passing(answer.status):
                        refused = RestRefused(f"{reason}{_excerpt(answer.body)}")
                        refused.status = answer.status
                        raise refused
                wait_s = max(backoff.next_s(), asked_s)
                if request.attempts >= self._attempts or wait_s > WAIT_MAX_S:
                    break
                if self._stop.wait(wait_s):
                    raise RestUnavailable(f"{where} is not requested again: the program stops")
            _log.warning(
                "rest.gave_up",
                request=request.id,
                venue=self._venue,
                path=request.path,
                attempts=request.attempts,
                reason=reason,
            )
            asks = f", with a Retry-After of {asked_s:.0f} s" if asked_s > WAIT_MAX_S else ""
            raise RestUnavailable(reason + asks)

    def _attempt(self, request: _Request) -> _Received:
        path = request.path
        self._admit(path)
        request.attempts += 1
        started_s = self._clock.monotonic_s()
        log = _log.bind(request=request.id, venue=self._venue, attempt=request.attempts, path=path)
        try:
            received = self._fetch(request)
        except Stopped:
            with self._lock:
                self._breaker.abandoned()
            raise RestUnavailable(f"{self._where(path)} was given up: the program stops") from None
        except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
            self._failed()
            log.warning("rest.failed", ms=self._ms(started_s), error=innermost(error))
            raise RestUnavailable(f"{self._where(path)} does not answer ({innermost(error)})") from error
        except RestInvalidResponse as error:
            with self._lock:
                self._breaker.passed()
            log.warning("rest.invalid_response", ms=self._ms(started_s), error=str(error))
            raise
        (status, body, *_), wire_bytes, asked_s = received
        if asked_s:
            with self._lock:
                self._budget.pause(asked_s)
        if is_passing(status):
            self._failed()
        else:
            with self._lock:
                self._breaker.passed()
        write = log.debug if 200 <= status <= 299 or status in request.expected else log.warning
        write("rest.answered", status=status, ms=self._ms(started_s), bytes=len(body), wire_bytes=wire_bytes)
        return received

    def _admit(self, path: str) -> None:
        """Return once the budget and the breaker allow this request."""
        started_s = self._clock.monotonic_s()
        while not self._stop.is_set():
            waited_s = self._clock.monotonic_s() - started_s
            with self._lock:
                refuse_s = self._breaker.refuse_s()
                wait_s = 0.0 if refuse_s else self._budget.take(path, waited_s)
                if wait_s:
                    self._breaker.abandoned()
            if refuse_s:
                raise _CircuitOpen(
                    f"{self._where(path)} is not requested: it failed too often; next trial in {refuse_s:.0f} s"
                )
            if not wait_s:
                return
            if waited_s + wait_s > WAIT_MAX_S:
                raise _Closed(f"{self._where(path)} is not requested: its budget allows it in {wait_s:.0f} s")
            self._stop.wait(wait_s)
        raise RestUnavailable(f"{self._where(path)} is not requested: the program stops")

    def _failed(self) -> None:
        with self._lock:
            opened = self._breaker.failed()
        if opened:
            _log.warning("rest.circuit_open", venue=self._venue, url=masked_url(self.url))

    def _fetch(self, request: _Request) -> _Received:
        with (
            deadline(self._stop, self._clock, ANSWER_S),
            contextlib.closing(
                self._session.request(
                    request.method,
                    self._where(request.path),
                    data=request.body,
                    headers=None if request.body is None else _JSON,
                    timeout=(CONNECT_S, READ_S),
                    stream=True,
                    allow_redirects=False,
                )
            ) as answer,
        ):
            asked_s = retry_after_s(answer.headers.get("Retry-After"), self._clock.wall_ns())
            wire_bytes = 0

            def chunks() -> Iterator[bytes]:
                nonlocal wire_bytes
                while chunk := answer.raw.read(_CHUNK, decode_content=False):
                    wire_bytes += len(chunk)
                    yield chunk

            body = unpack(chunks(), answer.headers.get("Content-Encoding", ""), ANSWER_MAX)
            received_ns = self._clock.wall_ns()
            headers = {name.lower(): value[:HEADER_CHARS] for name, value in answer.headers.items()}
            own = Answer(answer.status_code, body, received_ns, request.id, request.attempts, headers)
            return _Received(own, wire_bytes, asked_s)

    def _ms(self, started_s: float) -> float:
        return round((self._clock.monotonic_s() - started_s) * 1000, 1)


def client_of(
    venue: Venue | type[Venue],
    url: str | None,
    user_agent: str,
    stop: threading.Event,
    ca_file: Path | None = None,
    budgets: Path | None = None,
    priority: Priority = Priority.LIVE,
) -> RestClient:
    """Return a client of a venue's REST service.

    Args:
        venue: Gives the limits and the public address.
        url: Address instead of the public one.
        user_agent: The User-Agent header.
        stop: Ends every wait.
        ca_file: PEM file of the authorities to trust; None: those of the system.
        budgets: Folder of the budgets that all processes share; None: the budget is of this client alone.
        priority: Whether its requests may take the part of the budget that is kept for live books.

    Raises:
        ConfigError: that file cannot be used.
    """
    address = url or venue.rest_url
    clock, rng = SystemClock(), random.Random()
    return RestClient(venue.name, address, venue.rest, user_agent, stop, clock, rng, ca_file, budgets, priority)


class _Closed(RestUnavailable):
    """Nothing was sent, and another attempt now would send nothing either."""


class _CircuitOpen(_Closed, RestCircuitOpen):
    """Nothing was sent, because the circuit breaker is open."""


def unpack(chunks: Iterator[bytes], encoding: str, limit: int) -> bytes:
    """Return the decompressed body of an answer; at most `limit` bytes of it are ever in memory.

    Raises:
        RestInvalidResponse: it is larger, its encoding was not requested, or its compression is broken.
        ConnectionError: it ends too early.
    """
    match encoding.strip().lower():
        case "" | "identity":
            inflate = None
        case "gzip" | "x-gzip" | "deflate":
            inflate = zlib.decompressobj(wbits=47)  # gzip or zlib, detected by its header
        case other:
            raise RestInvalidResponse(f"the answer has the encoding {other[:40]!r}, which was not requested")
    body = bytearray()
    for chunk in chunks:
        if inflate is None:
            body += chunk
        else:
            try:
                body += inflate.decompress(chunk, limit + 1 - len(body))
            except zlib.error as error:
                raise RestInvalidResponse(f"the compression of the answer is broken: {error}") from None
        if len(body) > limit:
            raise RestInvalidResponse(f"the answer has more than {limit >> 20} MB")
    if inflate is not None and not inflate.eof:
        raise ConnectionError("the answer was cut")
    return bytes(body)


@contextlib.contextmanager
def _named(request: _Request) -> Iterator[None]:
    """Add to an error which request it ended."""
    try:
        yield
    except RestError as error:
        error.request_id, error.attempts = request.id, request.attempts
        raise


def _require_json(body: bytes, where: str) -> None:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:  # RecursionError: nested without an end
        raise RestInvalidResponse(f"the answer of {where} is not JSON: {error}{_excerpt(body)}") from None


def _excerpt(body: bytes) -> str:
    text = " ".join(body[:200].decode("utf-8", "replace").split())
    return f": {text}" if text else ""


def innermost(error: BaseException) -> str:
    """Return the class of the innermost cause: the messages of requests nest and contain addresses of objects."""
    while True:
        inner = error.__cause__ or error.__context__ or next((a for a in error.args if isinstance(a, Exception)), None)
        inner = getattr(error, "reason", None) if isinstance(getattr(error, "reason", None), Exception) else inner
        if inner is None:
            return type(error).__name__
        error = inner
