"""The description of the API: OpenAPI, and a page of it that needs no network."""

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from recorder.web.access import Role, guarded
from recorder.web.answers.encode import JSON
from recorder.web.answers.problems import KINDS, PAGE
from recorder.web.edge import CSP
from recorder.web.openapi import document
from recorder.web.templates import render

# Swagger UI writes styles into the page.
_CSP = CSP.replace("style-src 'self'", "style-src 'self' 'unsafe-inline'")

router = guarded(Role.viewer, include_in_schema=False)
explained = guarded(None, include_in_schema=False)


@router.get("/api/v1/openapi.json")
@router.get("/openapi.json")
async def openapi(request: Request) -> Response:
    """Return the OpenAPI document."""
    return Response(document(request.app), media_type=JSON)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """Return the page of the API, where it can be tried."""
    page = render(request, "docs.html")
    page.headers["Content-Security-Policy"] = _CSP
    return page


@explained.get(PAGE)
async def problems(request: Request) -> HTMLResponse:
    """Return what each kind of problem means and what to do; without a login, because a refusal leads here, too."""
    return render(request, "problems.html", kinds=sorted(KINDS.items()))
