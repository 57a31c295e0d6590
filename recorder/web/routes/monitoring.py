"""Monitoring: the first page, the logs of programs, and the API of both."""

import time
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from recorder.web.access import Role, guarded
from recorder.web.answers.encode import JSON, encoded
from recorder.web.answers.problems import Problem
from recorder.web.monitor import formats, logs
from recorder.web.monitor import rows as monitoring
from recorder.web.monitor.panels import Shown
from recorder.web.queries.monitoring import MOST_ERRORS
from recorder.web.routes import life
from recorder.web.state import web_of
from recorder.web.templates import render

_LOG_LINES = 200

pages = guarded(Role.viewer, include_in_schema=False)
router = guarded(Role.viewer, prefix="/api/monitoring", tags=["monitoring"])
router.add_api_route("/critical", life.critical, summary="What is critical, as the watchdog says")


@pages.get("/")
@pages.get("/monitoring")
def page(request: Request, part: str = "", unhealthy: str = "") -> Response:
    """Return the page, or its part that is fresh every second."""
    values = web_of(request).monitor.page(unhealthy=unhealthy == "1")
    return render(request, "monitoring_live.html" if part == "live" else "monitoring.html", **values)


@pages.get("/logs/{program}")
def log(
    request: Request, program: str, part: str = "", lines: Annotated[int, Query(ge=1, le=500)] = _LOG_LINES
) -> Response:
    """Return the last lines of a program's log."""
    home = web_of(request).settings.home
    try:
        found = logs.tail(home, program, lines)
    except FileNotFoundError:
        raise Problem(
            404, f"there is no log of {program[:60]!r}; there are {', '.join(logs.names(home)) or 'none'}"
        ) from None
    except OSError as error:
        raise Problem(503, f"the log cannot be read: {error.strerror}") from None
    name = "log_live.html" if part == "live" else "log.html"
    return render(request, name, program=program, lines=found, names=logs.names(home), f=formats)


@router.get("/health", summary="Programs, venues and polls as `tapedeck status` and the watchdog judge them")
def health(request: Request) -> Response:
    """Return the judgement, the state of each venue's streams, the success of polls, and trades a minute."""
    monitor = web_of(request).monitor
    values = monitor.page(unhealthy=False)
    status = monitor.observed.now().observation.status
    return _answer(
        {
            "healthy": status.healthy,
            "problems": [one["text"] for one in values["problems"]],
            "trades_per_minute": values["totals"]["trades_minute"],
            "poll_success": values["success"],
            "programs": [row._asdict() for row in values["programs"]],
            "venues": [_venue(row) for row in values["venues"]],
            "alerts": [one["alert"] for one in values["alerts"]],
            "panels": {name: _panel(panel) for name, panel in values["panels"].items()},
        }
    )


@router.get("/websocket-coverage", summary="Streams that should be subscribed against those that are, by venue")
def websocket_coverage(request: Request) -> Response:
    """Return the counts of each venue; `share` is null where nothing should be subscribed."""
    lines, panel = web_of(request).monitor.streams()
    by_venue: dict[str, list[monitoring.StreamLine]] = {}
    for line in lines or ():
        by_venue.setdefault(line.venue, []).append(line)
    return _answer(
        {
            "items": [
                {
                    "venue": venue,
                    "should_be": len(found),
                    "subscribed": sum(line.subscribed for line in found),
                    "share": sum(line.subscribed for line in found) / len(found),
                    "missing": [_stream(line) for line in found if not line.subscribed][:100],
                }
                for venue, found in sorted(by_venue.items())
            ],
            "panel": _panel(panel),
        }
    )


@router.get("/subscription-health", summary="Streams that are stale or disconnected, and why")
def subscription_health(request: Request) -> Response:
    """Return the number of streams in each state, null while it is not known, and those that are not live."""
    lines, panel = web_of(request).monitor.streams()
    states = None if lines is None else [line.state for line in lines]
    return _answer(
        {
            "live": None if states is None else states.count("LIVE"),
            "stale": None if states is None else states.count("STALE"),
            "disconnected": None if states is None else states.count("DISCONNECTED"),
            "items": [_stream(line) for line in lines or () if line.state != "LIVE"],
            "panel": _panel(panel),
        }
    )


@router.get("/connections", summary="The connections of all recorders")
def connections(request: Request) -> Response:
    """Return each connection, worst first."""
    found = monitoring.connections(web_of(request).monitor.observed.now())
    return _answer({"items": [row._asdict() for row in found]})


@router.get("/field-completeness", summary="Share of market snapshots that have each field, by category and tier")
def field_completeness(request: Request) -> Response:
    """Return the shares of the last hour."""
    panel = web_of(request).monitor.shown("fields")["fields"]
    found = monitoring.fields(panel.value or [])
    items = [{"category": row.category, "tier": row.tier, "rows": row.rows, "share": row.share, "fields": row.shares}
             for row in found]  # fmt: skip
    return _answer({"items": items, "panel": _panel(panel)})


@router.get("/errors", summary="What failed in the last day, with tracebacks")
def errors(request: Request, limit: Annotated[int, Query(ge=1, le=MOST_ERRORS)] = 50) -> Response:
    """Return failed polls, quarantined frames and rows, broken connections and journals, the newest first."""
    panel = web_of(request).monitor.shown("errors")["errors"]
    return _answer({"items": [row._asdict() for row in (panel.value or [])[:limit]], "panel": _panel(panel)})


def _answer(body: dict[str, Any]) -> Response:
    return Response(encoded({"as_of": datetime.now(UTC), **body}), media_type=JSON)


def _venue(row: monitoring.VenueLine) -> dict[str, Any]:
    return {**row._asdict(), "rows": None if row.rows is None else row.rows._asdict()}


def _stream(line: monitoring.StreamLine) -> dict[str, Any]:
    return {**line._asdict(), "subscribed": line.subscribed}


def _panel(panel: Shown[Any]) -> dict[str, Any]:
    """Return when a panel was read last, and why not later."""
    at = None if panel.at is None else datetime.fromtimestamp(panel.at, UTC)
    return {
        "as_of": at,
        "age_s": None if panel.at is None else max(0.0, time.time() - panel.at),
        "problem": panel.problem,
    }
