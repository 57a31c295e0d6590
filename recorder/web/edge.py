"""What every request passes first and last: Host and Origin, size, rate, who asks, security headers, the log.

A pure ASGI middleware: it sees WebSockets too, and streams pass through it.
"""

import re
import secrets
import time
from http import HTTPStatus
from http.cookies import CookieError, SimpleCookie
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recorder.process.log import get_logger
from recorder.web.access import ANYBODY, Principal
from recorder.web.answers.problems import CONTENT_TYPE, NO_NUL, Problem
from recorder.web.rates import RateLimit
from recorder.web.state import Web

CSP = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
ACCESS_COOKIE, REFRESH_COOKIE = "tapedeck", "tapedeck-refresh"
BODY_BYTES = 64 << 10
LOGIN_BYTES = 4 << 10
SLOW_S = 1.0
_SAFE = ("GET", "HEAD", "OPTIONS")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
_FREE = ("/static/", "/health", "/api/v1/pulse")  # of the rate limit
_COSTS = (("/api/v1/export", 100.0), ("/api/database/", 5.0), ("/api/v1/tables", 5.0), ("/tables", 5.0))

_log = get_logger(__name__)


class Edge:
    """Wraps the application."""

    def __init__(self, app: ASGIApp, web: Web) -> None:
        self._app = app
        self._web = web
        settings = web.settings.web
        named = {settings.host.lower(), *(name.lower() for name in settings.hosts)}
        self._hosts = {*_LOOPBACK, *named}
        self._rate = RateLimit(settings.requests_per_minute)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        given = headers.get("x-request-id", "")
        request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)
        state = scope.setdefault("state", {})
        state["request_id"] = request_id
        state["client"] = client_of(scope, headers, self._web.settings.web.trusted_proxy)
        exchange = _Exchange(self._web, scope, headers, send, request_id)
        try:
            self._check_host(headers)
            _check_text(scope)
            state["principal"] = principal = self._who(headers)
            self._check_origin(scope, headers, principal)
            exchange.origin = self._allowed_origin(headers)
            if scope["type"] == "http" and scope["method"] == "OPTIONS" and exchange.origin:
                await exchange.preflight()
                return
            self._check_rate(scope, principal, state["client"], exchange)
            limited = _limited(scope, headers, receive)
        except Problem as problem:
            await exchange.refuse(problem)
            return
        try:
            await self._app(scope, limited, exchange.send)
        finally:
            exchange.done()

    def _check_host(self, headers: Headers) -> None:
        """Refuse a name that is not ours: a page in a browser may make its own name lead here (DNS rebinding)."""
        host = headers.get("host", "").lower()
        name = re.sub(r":\d+$", "", host)
        if name not in self._hosts:
            raise Problem(421, "this address is not known here; add its name to web.hosts")

    def _who(self, headers: Headers) -> Principal | None:
        """Return who asks; None without a login."""
        given = headers.get("authorization")
        if given is not None:
            scheme, _, token = given.partition(" ")
            found = self._web.tokens.read(token.strip()) if scheme.lower() == "bearer" else None
            return None if found is None or self._web.denied(found) else found
        token = cookie(headers, ACCESS_COOKIE, self._web.settings.web.secure)
        if token:
            found = self._web.tokens.read(token, by_cookie=True)
            if found is not None and not self._web.denied(found):
                return found
        return ANYBODY if self._web.settings.web.public_read else None

    def _check_origin(self, scope: Scope, headers: Headers, principal: Principal | None) -> None:
        """Refuse what another site makes a browser do. CORS does not cover WebSockets, so they are checked here."""
        unsafe = scope["type"] == "websocket" or scope["method"] not in _SAFE
        if not unsafe:
            return
        origin = headers.get("origin")
        if origin == "null" and headers.get("sec-fetch-site") == "same-origin":
            return  # a form of ours: under Referrer-Policy no-referrer browsers send this Origin
        own = origin is not None and urlsplit(origin).netloc.lower() == headers.get("host", "").lower()
        if origin is not None and not own and origin not in self._web.settings.web.origins:
            raise Problem(403, "this request comes from another site", kind="foreign-origin")
        cookies = headers.get("cookie") is not None and headers.get("authorization") is None
        if cookies and not own and (origin is not None or headers.get("sec-fetch-site") != "same-origin"):
            raise Problem(403, "a login by cookie needs the Origin of these pages; scripts send a token instead",
                          kind="foreign-origin")  # fmt: skip

    def _allowed_origin(self, headers: Headers) -> str:
        origin = headers.get("origin", "")
        return origin if origin in self._web.settings.web.origins else ""

    def _check_rate(self, scope: Scope, principal: Principal | None, client: str, exchange: "_Exchange") -> None:
        path = scope["path"]
        if path.startswith(_FREE):
            return
        cost = next((cost for prefix, cost in _COSTS if path.startswith(prefix)), 1.0)
        who = principal.name if principal is not None and not principal.anonymous else f"address {client}"
        verdict = self._rate.take(who, cost)
        exchange.rate = f"{verdict.limit}, {verdict.remaining}"
        if not verdict.allowed:
            self._web.counts.refused += 1
            raise Problem(
                429,
                f"too many requests; try again in {verdict.retry_s} s",
                headers={
                    "Retry-After": str(verdict.retry_s),
                    "RateLimit-Limit": str(verdict.limit),
                    "RateLimit-Remaining": str(verdict.remaining),
                    "RateLimit-Reset": str(verdict.retry_s),
                },
            )


class _Exchange:
    """One request and its answer."""

    def __init__(self, web: Web, scope: Scope, headers: Headers, send: Send, request_id: str) -> None:
        self._web = web
        self._scope = scope
        self._headers = headers
        self._send = send
        self._request_id = request_id
        self._began_s = time.monotonic()
        self._status = 0
        self.origin = ""  # of another site that may read the answer
        self.rate = ""

    async def send(self, message: Message) -> None:
        """Send a part of the answer, with the headers that every answer has."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            headers = MutableHeaders(scope=message)
            headers.setdefault("Content-Security-Policy", CSP)
            headers.setdefault("Cache-Control", "no-store")
            headers["X-Content-Type-Options"] = "nosniff"
            headers["Referrer-Policy"] = "no-referrer"
            headers["Cross-Origin-Opener-Policy"] = "same-origin"
            headers["Cross-Origin-Resource-Policy"] = "same-origin" if not self.origin else "cross-origin"
            headers["X-Request-ID"] = self._request_id
            if self._web.settings.web.secure:
                headers["Strict-Transport-Security"] = "max-age=31536000"
            if self.rate:
                limit, _, left = self.rate.partition(", ")
                headers["RateLimit-Limit"], headers["RateLimit-Remaining"] = limit, left
            if self.origin:
                headers["Access-Control-Allow-Origin"] = self.origin
                headers["Access-Control-Expose-Headers"] = "Tapedeck-Quality, X-Request-ID, Link, ETag, Retry-After"
                headers.add_vary_header("Origin")
        elif message["type"] == "websocket.accept":
            self._status = HTTPStatus.SWITCHING_PROTOCOLS
        await self._send(message)

    async def preflight(self) -> None:
        """Answer the question of a browser whether another site may call."""
        headers = [
            (b"access-control-allow-methods", b"GET, POST, PATCH, DELETE"),
            (b"access-control-allow-headers", b"authorization, content-type, x-request-id"),
            (b"access-control-max-age", b"600"),
        ]
        await self.send({"type": "http.response.start", "status": 204, "headers": headers})
        await self.send({"type": "http.response.body", "body": b""})
        self.done()

    async def refuse(self, problem: Problem) -> None:
        """Answer with a problem, without asking the application."""
        if self._scope["type"] == "websocket":
            await self._send({"type": "websocket.close", "code": 1008, "reason": problem.detail[:120]})
            self._status = problem.status
        else:
            body = problem.document(self._scope["path"], self._request_id)
            headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", str(len(body)).encode())]
            headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
            await self.send({"type": "http.response.start", "status": problem.status, "headers": headers})
            await self.send({"type": "http.response.body", "body": body})
        self.done()

    def done(self) -> None:
        """Count the answer, and log it where it was slow or failed."""
        took_s = time.monotonic() - self._began_s
        route = getattr(self._scope.get("route"), "path", "other")
        self._web.counts.answered(route, self._status, took_s)
        slow = took_s > SLOW_S and self._scope["type"] == "http"
        if slow or self._status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            _log.warning(
                "request.failed" if self._status >= HTTPStatus.INTERNAL_SERVER_ERROR else "request.slow",
                method=self._scope.get("method", "WEBSOCKET"),
                path=self._scope["path"][:200],
                status=self._status,
                took_s=round(took_s, 3),
                request_id=self._request_id,
            )


def cookie(headers: Headers, name: str, secure: bool) -> str:
    """Return the value of a cookie of ours; empty where it is absent or not readable."""
    text = headers.get("cookie", "")
    if len(text) > LOGIN_BYTES * 2:
        return ""
    try:
        found = SimpleCookie(text).get(cookie_name(name, secure))
    except CookieError:
        return ""
    return "" if found is None else found.value


def cookie_name(name: str, secure: bool) -> str:
    """Return the name of a cookie; over TLS the browser lets no other host set it."""
    return f"__Host-{name}" if secure else name


def client_of(scope: Scope, headers: Headers, trusted_proxy: str | None) -> str:
    """Return the address of the client; a proxy is believed only where the settings name it."""
    client = scope.get("client")
    address = client[0] if client else ""
    if trusted_proxy is not None and address == trusted_proxy:
        forwarded = headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
        return forwarded[:64] or address
    return address


def _check_text(scope: Scope) -> None:
    """Refuse a path or query with the character NUL: Postgres has no text with it.

    Raises:
        Problem: it has one. Bodies are checked where they are read, in `forms`.
    """
    query = scope["query_string"]
    if "\0" in scope["path"] or b"%00" in query or b"\0" in query:
        raise Problem(422, NO_NUL, kind="invalid")


def _limited(scope: Scope, headers: Headers, receive: Receive) -> Receive:
    """Return a receive that refuses a body above its limit.

    Raises:
        Problem: the request says itself that it is larger.
    """
    if scope["type"] != "http":
        return receive
    limit = LOGIN_BYTES if scope["path"].startswith(("/login", "/setup", "/api/v1/auth")) else BODY_BYTES
    too_large = Problem(413, f"the body is larger than {limit} bytes")
    length = headers.get("content-length", "0")
    if not length.isdigit() or int(length) > limit:
        raise too_large
    seen = 0

    async def counted() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > limit:
                raise too_large
        return message

    return counted
