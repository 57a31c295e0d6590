"""Whether the program lives, and what the watchdog says: /health, /critical, /metrics, the pulse of the pages."""

import http.client
import time
from datetime import UTC, datetime

from starlette.requests import Request
from starlette.responses import Response

from recorder.web.access import Role, guarded
from recorder.web.answers.encode import JSON, encoded
from recorder.web.answers.problems import Problem
from recorder.web.metrics import exposition
from recorder.web.state import web_of

_RELAY_S = 3.0
_RELAY_BYTES = 8 << 20

router = guarded(None, tags=["life"])
watched = guarded(Role.viewer, tags=["life"])


@router.get("/health", summary="Whether this program lives")
async def health(request: Request) -> Response:
    """Answer 200 while the program lives, whatever else fails; `database` says whether Postgres answers."""
    web = web_of(request)
    problem = web.pool.problem()
    body = {
        "status": "alive",
        "up_s": round(time.time() - web.started_at, 1),
        "database": "up" if problem is None else "away",
        "as_of": datetime.now(UTC),
    }
    return Response(encoded(body), media_type=JSON)


@router.get("/api/v1/pulse", summary="What pages ask every two seconds")
async def pulse(request: Request) -> Response:
    """Return whether Postgres answers; a page that gets no answer says that this program is away."""
    problem = web_of(request).pool.problem()
    return Response(encoded({"database": problem is None, "as_of": datetime.now(UTC)}), media_type=JSON)


@watched.get("/critical", summary="What is critical, as the watchdog says")
def critical(request: Request) -> Response:
    """Relay the watchdog's /critical: 200, or 503 with the reasons."""
    status, kind, body = _ask(request, "/critical")
    return Response(body, status, media_type=kind)


@watched.get("/metrics", summary="Metrics of all programs and of this one, for Prometheus")
def metrics(request: Request) -> Response:
    """Relay the watchdog's /metrics and append those of this program, which are there without the watchdog, too."""
    web = web_of(request)
    try:
        _status, kind, body = _ask(request, "/metrics")
    except Problem:
        kind, body = "text/plain; version=0.0.4; charset=utf-8", b""
    return Response(body + exposition(web), media_type=kind)


def _ask(request: Request, path: str) -> tuple[int, str, bytes]:
    """Return status, type and body of an answer of the watchdog.

    Raises:
        Problem: it does not answer.
    """
    settings = web_of(request).settings.watchdog
    connection = http.client.HTTPConnection("127.0.0.1", settings.port, timeout=_RELAY_S)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", JSON), answer.read(_RELAY_BYTES)
    except (OSError, http.client.HTTPException) as error:
        reason = str(error) or type(error).__name__
        raise Problem(
            503, f"the watchdog does not answer ({reason}); `tapedeck status` shows it", kind="watchdog-away"
        ) from None
    finally:
        connection.close()
