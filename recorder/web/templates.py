"""Pages: templates filled on the server. Values are escaped always; a page has no script or style of its own inside."""

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import jinja2
from starlette.requests import Request
from starlette.responses import HTMLResponse

from recorder import __version__
from recorder.watchdog.first_steps import parted
from recorder.web.access import principal_of
from recorder.web.assets import Assets
from recorder.web.state import web_of

_FOLDER = Path(__file__).parent / "pages"


class NavEntry(NamedTuple):
    """A page in the navigation."""

    path: str
    title: str
    admin: bool = False


NAV = (
    NavEntry("/", "Monitoring"),
    NavEntry("/coverage", "Coverage"),
    NavEntry("/instruments", "Instruments"),
    NavEntry("/markets", "Markets"),
    NavEntry("/jobs", "Jobs"),
    NavEntry("/models", "Models"),
    NavEntry("/alerts", "Alerts"),
    NavEntry("/spreads", "Spreads"),
    NavEntry("/tables", "Tables"),
    NavEntry("/docs", "API"),
    NavEntry("/users", "Users", admin=True),
    NavEntry("/audit", "Audit", admin=True),
)
"""Pages in the order of the navigation; one that has no route is left out."""


class Templates:
    """The templates of `pages/`."""

    def __init__(self, assets: Assets) -> None:
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(_FOLDER),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self._environment.globals.update(static=assets.url, version=__version__)
        self._environment.filters.update(utc=utc, parted=parted)

    def render(self, request: Request, template: str, status: int = 200, /, **values: Any) -> HTMLResponse:
        """Return a page.

        Args:
            request: What is answered.
            template: File in `pages/`.
            status: HTTP status.
            values: Of the template, besides `user`, `nav`, `path`, `as_of` and `database`.
        """
        web = web_of(request)
        principal = principal_of(request)
        paths: frozenset[str] = request.app.state.pages
        text = self._environment.get_template(template).render(
            user=principal,
            nav=[entry for entry in NAV if entry.path in paths and (not entry.admin or principal.role.name == "admin")],
            path=request.url.path,
            as_of=datetime.now(UTC),
            database=web.pool.problem(),
            **values,
        )
        return HTMLResponse(text, status)


def render(request: Request, template: str, status: int = 200, /, **values: Any) -> HTMLResponse:
    """Return a page; as `Templates.render`."""
    templates: Templates = request.app.state.templates
    return templates.render(request, template, status, **values)


def utc(at: datetime | float | None, places: int = 0) -> str:
    """Return an instant as people read it, UTC, with the zone; an empty text for None."""
    if at is None:
        return ""
    moment = datetime.fromtimestamp(at, UTC) if isinstance(at, float | int) else at.astimezone(UTC)
    return moment.isoformat(" ", "milliseconds" if places else "seconds").removesuffix("+00:00") + " UTC"


def age(at: float) -> float:
    """Return the seconds since a unix time."""
    return max(0.0, time.time() - at)
