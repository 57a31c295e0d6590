"""One POST within a total time, and what it says about the message: taken, not now, never, or not known."""

import contextlib
import io
import ssl
import threading
from http.client import HTTPException
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import requests
from urllib3.exceptions import HTTPError

from recorder.backoff import retry_after_s
from recorder.clock import Clock
from recorder.process.deadline import Stopped
from recorder.rest.client import innermost
from recorder.rest.interruptible import deadline
from recorder.rest.transport import session
from recorder.watchdog.delivery.outbox import Answer

ANSWER_MAX = 4_096
"""Bytes of an answer that are read: what a service says of a refusal."""
_PASSING = frozenset({408, 409, 425, 429})
_OF_THE_MESSAGE = frozenset({400, 413, 414, 422})
"""Statuses that are about this message; every other refusal is about the address."""


class Received(NamedTuple):
    """An answer of any status."""

    status: int
    body: bytes
    retry_after_s: float | None


class Poster:
    """Posts to one address. The address is a secret: no text that it returns has it."""

    def __init__(self, url: str, user_agent: str, ca_file: Path | None, timeout_s: float, clock: Clock) -> None:
        """
        Raises:
            ConfigError: the file of authorities cannot be used.
        """
        self._url = url
        self._timeout_s = timeout_s
        self._clock = clock
        self._session = session(user_agent, ca_file)

    def post(self, data: bytes, kind: str, stop: threading.Event, url: str | None = None) -> Answer:
        """Post a body once.

        Args:
            data: The body.
            kind: Its media type.
            stop: Ends every wait.
            url: Instead of the address, for another path of the same service.

        Raises:
            Stopped: the program stops, and the body was not sent.
        """
        content = _Body(data)
        try:
            return judged(self._received(content, kind, stop, url or self._url))
        except Stopped:
            if content.sent:
                return Answer("unknown", "the program stopped before the answer came")
            raise
        except (requests.RequestException, HTTPError, HTTPException, OSError, ValueError) as error:
            if content.sent:
                return Answer("unknown", f"no answer ({reason(error)})")
            return Answer("later", reason(error))

    def _received(self, content: "_Body", kind: str, stop: threading.Event, url: str) -> Received:
        with (
            deadline(stop, self._clock, self._timeout_s),
            contextlib.closing(
                self._session.post(
                    url,
                    data=content,
                    headers={"Content-Type": kind, "Connection": "close", "Accept-Encoding": "identity"},
                    timeout=self._timeout_s,
                    stream=True,
                    allow_redirects=False,
                )
            ) as answer,
        ):
            asked_s = retry_after_s(answer.headers.get("Retry-After"), self._clock.wall_ns())
            status = int(answer.status_code)
            try:
                body = answer.raw.read(ANSWER_MAX, decode_content=False)
            except (Stopped, HTTPError, HTTPException, OSError):  # the status says all that matters
                body = b""
            return Received(status, body, asked_s)


class _Body(io.BytesIO):
    """A body that knows whether it was read: a request that failed before that cannot have been taken."""

    sent = False

    def read(self, size: int | None = -1) -> bytes:
        self.sent = True
        return super().read(-1 if size is None else size)


def judged(received: Received) -> Answer:
    """Return what an answer says about the message."""
    status = received.status
    if 200 <= status <= 299:
        return Answer("taken", f"HTTP {status}")
    text = f"HTTP {status}{_excerpt(received.body)}"
    if status in _OF_THE_MESSAGE:
        return Answer("refused", text)
    asked_s = received.retry_after_s
    if asked_s is None and status == 429:
        asked_s = _asked_in_body(received.body)
    if status in _PASSING or status >= 500:
        return Answer("later", text, asked_s)
    hint = "; is the address right?" if status in (401, 403, 404, 410) or 300 <= status <= 399 else ""
    return Answer("later", text + hint, max(60.0, asked_s or 0.0))


def _asked_in_body(body: bytes) -> float | None:
    """Return the wait that Discord (`retry_after`) and Telegram (`parameters.retry_after`) write in their answers."""
    try:
        answer: Any = msgspec.json.decode(body)
        asked = answer.get("retry_after", answer.get("parameters", {}).get("retry_after"))
    except (msgspec.MsgspecError, AttributeError, UnicodeDecodeError, RecursionError):
        return None
    return retry_after_s(str(asked), 0) if isinstance(asked, int | float) else None


def _excerpt(body: bytes) -> str:
    text = " ".join(body[:300].decode("utf-8", "replace").split())
    return f": {text[:120]}" if text else ""


def reason(error: BaseException) -> str:
    """Return why a connection failed, in words; the texts of the libraries have the address, which is a secret."""
    inner: BaseException | None = error
    for _ in range(10):
        if inner is None:
            break
        if isinstance(inner, ssl.SSLCertVerificationError):
            return f"the certificate is not accepted: {inner.verify_message}"
        arguments = (one for one in inner.args if isinstance(one, BaseException))
        cause = getattr(inner, "reason", None)
        inner = (cause if isinstance(cause, BaseException) else None) or inner.__cause__ or next(arguments, None)
    return innermost(error)
