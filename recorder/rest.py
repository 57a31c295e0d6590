"""The one HTTP client: asks a venue's public REST within its budget, and gives the answer's bytes.

Waits at three places (budget, pause between attempts, the network), and at each of them only until `stop` is set.
What to wait for is decided in `rest_policy.py`; what an answer means, by the venue.
"""

import contextlib
import http.cookiejar
import random
import secrets
import threading
import zlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import msgspec
import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_ import create_urllib3_context

from recorder.backoff import Backoff
from recorder.clock import Clock, SystemClock
from recorder.errors import RestGarbled, RestRefused, RestUnavailable
from recorder.log import get_logger
from recorder.rest_policy import Breaker, Budget, is_passing, retry_after_s
from recorder.rest_socket import Patience, Stopped, pools, tls_context
from recorder.venues.base import RestLimits, Venue

CONNECT_S = 10.0
READ_S = 30.0
ANSWER_S = 120.0
"""From the first byte sent to the last received: one that trickles is not waited for without end."""
ANSWER_MAX = 10 << 20
ATTEMPTS = 5
WAIT_MAX_S = 60.0
"""A request that would have to wait longer than this, for its budget or because the venue says so, is given up."""
_CHUNK = 64 << 10

_log = get_logger(__name__)


class Answer(NamedTuple):
    """What came back, whatever its status."""

    status: int
    body: bytes


class _Received(NamedTuple):
    answer: Answer
    wire_bytes: int
    retry_after_s: float | None


class RestClient:
    """Asks one venue. Several threads may use one client: they share its budget and its circuit breaker.

    Args:
        venue: Its name, for the log.
        url: Endpoint below which the paths stand.
        limits: What we allow ourselves there.
        user_agent: How we introduce ourselves.
        stop: Ends every wait.
        clock: Stands in for the machine's in tests.
        rng: Of the pauses between attempts.
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
    ) -> None:
        self.url = url
        self._venue = venue
        self._stop = stop
        self._clock = clock
        self._rng = rng
        self._lock = threading.Lock()
        self._budget = Budget(limits, clock)
        self._breaker = Breaker(clock)
        self._patience = Patience(stop, clock)
        self._session = requests.Session()
        self._session.auth = _no_credentials
        self._session.cookies.set_policy(http.cookiejar.DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers.update(
            {"User-Agent": user_agent, "Accept": "application/json", "Accept-Encoding": "gzip"}
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter(self._patience))

    def get(self, path: str) -> Answer:
        """Ask until there is an answer: again after 429, 5xx and network errors, up to five times in all.

        Returns:
            An answer of status 200 to 299 whose body is JSON.

        Raises:
            RestUnavailable: no such answer came, the circuit is open, or `stop` was set.
            RestRefused: another status; a redirect is one.
            RestGarbled: it is too large, or no JSON.
        """
        request = secrets.token_hex(4)
        backoff = Backoff(0.5, 30.0, self._rng)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                received = self._attempt(path, request, attempt)
            except RestUnavailable as error:
                reason, asked_s = str(error), 0.0
                if self._stop.is_set() or isinstance(error, _Closed):
                    raise
            else:
                status, body = received.answer
                if 200 <= status <= 299:
                    _require_json(body, self._where(path))
                    return received.answer
                if not is_passing(status):
                    raise RestRefused(f"{self._where(path)} answers HTTP {status}{_excerpt(body)}")
                reason, asked_s = f"{self._where(path)} answers HTTP {status}", received.retry_after_s or 0.0
            wait_s = max(backoff.next_s(), asked_s)
            if attempt == ATTEMPTS or wait_s > WAIT_MAX_S:
                break
            if self._stop.wait(wait_s):
                raise RestUnavailable(f"{self._where(path)} is not asked again: stopping")
        asks = f", and asks to come again in {asked_s:.0f} s" if asked_s > WAIT_MAX_S else ""
        _log.warning("rest.gave_up", request=request, venue=self._venue, path=path, attempts=attempt, reason=reason)
        raise RestUnavailable(reason + asks)

    def once(self, path: str) -> Answer:
        """Ask once, within the budget.

        Returns:
            The answer of any status; its body may be no JSON.

        Raises:
            RestUnavailable: no answer came, the circuit is open, the budget is far from allowing it, or `stop` was set.
            RestGarbled: the answer is too large or its compression broken.
        """
        return self._attempt(path, secrets.token_hex(4), 1).answer

    def close(self) -> None:
        """Let the connections go that are kept for the next request."""
        self._session.close()

    def _where(self, path: str) -> str:
        return f"{self.url}{path}"

    def _attempt(self, path: str, request: str, attempt: int) -> _Received:
        self._admit(path)
        started_s = self._clock.monotonic_s()
        log = _log.bind(request=request, venue=self._venue, attempt=attempt, path=path)
        try:
            received = self._fetch(path)
        except Stopped:
            with self._lock:
                self._breaker.abandoned()
            raise RestUnavailable(f"{self._where(path)} was not waited for: stopping") from None
        except (requests.RequestException, HTTPError, OSError) as error:
            self._failed()
            log.warning("rest.failed", ms=self._ms(started_s), error=_kind(error))
            raise RestUnavailable(f"{self._where(path)} does not answer ({_kind(error)})") from error
        except RestGarbled as error:
            with self._lock:
                self._breaker.passed()
            log.warning("rest.garbled", ms=self._ms(started_s), error=str(error))
            raise
        (status, body), wire_bytes, asked_s = received
        if asked_s:
            with self._lock:
                self._budget.pause(asked_s)
        if is_passing(status):
            self._failed()
        else:
            with self._lock:
                self._breaker.passed()
        tell = log.debug if 200 <= status <= 299 else log.warning
        tell("rest.answered", status=status, ms=self._ms(started_s), bytes=len(body), wire_bytes=wire_bytes)
        return received

    def _admit(self, path: str) -> None:
        """Return once the budget and the breaker let this request go."""
        deadline_s = self._clock.monotonic_s() + WAIT_MAX_S
        while not self._stop.is_set():
            with self._lock:
                refuse_s = self._breaker.refuse_s()
                wait_s = 0.0 if refuse_s else self._budget.take(path)
                if wait_s:
                    self._breaker.abandoned()
            if refuse_s:
                raise _Closed(f"{self._where(path)} is not asked: it failed too often, next trial in {refuse_s:.0f} s")
            if not wait_s:
                return
            if self._clock.monotonic_s() + wait_s > deadline_s:
                raise _Closed(f"{self._where(path)} is not asked: its budget allows it in {wait_s:.0f} s")
            self._stop.wait(wait_s)
        raise RestUnavailable(f"{self._where(path)} is not asked: stopping")

    def _failed(self) -> None:
        with self._lock:
            opened = self._breaker.failed()
        if opened:
            _log.warning("rest.circuit_open", venue=self._venue, url=self.url)

    def _fetch(self, path: str) -> _Received:
        with (
            self._patience.limit(ANSWER_S),
            contextlib.closing(
                self._session.get(self._where(path), timeout=(CONNECT_S, READ_S), stream=True, allow_redirects=False)
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
            return _Received(Answer(answer.status_code, body), wire_bytes, asked_s)

    def _ms(self, started_s: float) -> float:
        return round((self._clock.monotonic_s() - started_s) * 1000, 1)


def client_of(venue: Venue | type[Venue], url: str | None, user_agent: str, stop: threading.Event) -> RestClient:
    """A client of a venue's REST.

    Args:
        venue: Says what we allow ourselves, and where it is.
        url: Endpoint instead of the venue's public one.
        user_agent: How we introduce ourselves.
        stop: Ends every wait.
    """
    return RestClient(venue.name, url or venue.rest_url, venue.rest, user_agent, stop, SystemClock(), random.Random())


class _Closed(RestUnavailable):
    """Nothing was sent, and another attempt now would not be either."""


class _Adapter(HTTPAdapter):
    """Opens connections whose waits end with our patience."""

    def __init__(self, patience: Patience) -> None:
        self._patience = patience
        super().__init__()

    def init_poolmanager(self, *arguments: Any, **more: Any) -> None:
        context = tls_context(self._patience, create_urllib3_context)
        super().init_poolmanager(*arguments, **more, ssl_context=context)
        self.poolmanager.pool_classes_by_scheme = pools(self._patience)


def unpack(chunks: Iterator[bytes], encoding: str, limit: int) -> bytes:
    """The body of an answer, never more than `limit` bytes of it in memory, whatever it would expand to.

    Raises:
        RestGarbled: it is larger, of an encoding we did not ask for, or its compression is broken.
        ConnectionError: it ends too early.
    """
    match encoding.strip().lower():
        case "" | "identity":
            inflate = None
        case "gzip" | "x-gzip" | "deflate":
            inflate = zlib.decompressobj(wbits=47)  # gzip or zlib, told by its head
        case other:
            raise RestGarbled(f"an answer packed as {other[:40]!r}, which nobody asked for")
    body = bytearray()
    for chunk in chunks:
        if inflate is None:
            body += chunk
        else:
            try:
                body += inflate.decompress(chunk, limit + 1 - len(body))
            except zlib.error as error:
                raise RestGarbled(f"an answer whose compression is broken: {error}") from None
        if len(body) > limit:
            raise RestGarbled(f"an answer of more than {limit >> 20} MB")
    if inflate is not None and not inflate.eof:
        raise ConnectionError("the answer was cut")
    return bytes(body)


def _require_json(body: bytes, where: str) -> None:
    try:
        msgspec.json.decode(body, type=msgspec.Raw)
    except msgspec.MsgspecError as error:
        raise RestGarbled(f"{where} did not answer with JSON: {error}{_excerpt(body)}") from None


def _excerpt(body: bytes) -> str:
    text = " ".join(body[:200].decode("utf-8", "replace").split())
    return f": {text}" if text else ""


def _kind(error: BaseException) -> str:
    """The innermost cause, by its class: messages of requests wrap each other and hold addresses of objects."""
    while True:
        inner = error.__cause__ or error.__context__ or next((a for a in error.args if isinstance(a, Exception)), None)
        inner = getattr(error, "reason", None) if isinstance(getattr(error, "reason", None), Exception) else inner
        if inner is None:
            return type(error).__name__
        error = inner


def _no_credentials(request: requests.PreparedRequest) -> requests.PreparedRequest:
    """Keeps requests from looking for some in ~/.netrc."""
    return request
