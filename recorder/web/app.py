"""The application: routes, errors, and what runs beside the requests."""

import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio.to_thread
import fastapi_offline
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import BaseRoute

from recorder import __version__
from recorder.errors import ConfigError, NoAnswer, RowRejected, StoreError
from recorder.printable import one_line
from recorder.process.log import get_logger
from recorder.settings import Settings
from recorder.web.answers.problems import CONTENT_TYPE, Problem, away
from recorder.web.assets import Assets
from recorder.web.edge import Edge
from recorder.web.queries.pool import PoolExhausted
from recorder.web.routers import PARTS, ROUTERS
from recorder.web.state import Web
from recorder.web.templates import Templates, render

THREADS = 12  # of routes that wait for Postgres: the pool of 8, and those of the browser and the users

_DOCS = Path(fastapi_offline.__file__).parent / "static"

_log = get_logger(__name__)


def make_app(settings: Settings) -> FastAPI:
    """Make the application.

    Raises:
        ConfigError: the key that signs tokens cannot be read or made.
    """
    web = Web(settings)
    web.parts = list(PARTS)
    assets = Assets(mounted={"docs": _DOCS})

    @contextlib.asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        anyio.to_thread.current_default_thread_limiter().total_tokens = THREADS
        async with web.running():
            yield

    app = FastAPI(
        title="Tapedeck",
        version=__version__,
        summary="What is recorded, how complete it is, and how the programs are.",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    for router in ROUTERS:
        app.include_router(router)
    app.state.web = web
    app.state.assets = assets
    app.state.templates = Templates(assets)
    app.state.pages = frozenset(
        route.path for route in routes(app) if isinstance(route, APIRoute) and not route.include_in_schema
    )
    handlers: dict[Any, Any] = {
        Problem: _on_problem,
        HTTPException: _on_http,
        RequestValidationError: _on_invalid,
        StoreError: _on_store,
        ConfigError: _on_store,
        Exception: _on_failure,
    }
    for kind, handler in handlers.items():
        app.add_exception_handler(kind, handler)
    app.add_middleware(Edge, web=web)
    return app


def routes(app: FastAPI) -> Iterator[BaseRoute]:
    """Yield every route of the application, also those of the routers that it includes."""
    waiting = list(app.router.routes)
    while waiting:
        route = waiting.pop(0)
        inner = getattr(route, "original_router", None)
        if inner is None:
            yield route
        else:
            waiting += inner.routes


def answer(request: Request, problem: Problem) -> Response:
    """Return a problem as its client reads it: a page for a browser that asks for one, else a document."""
    path = request.url.path
    page = not path.startswith("/api/") and "text/html" in request.headers.get("accept", "")
    if page and problem.status == 401 and request.method == "GET":
        target = path + (f"?{request.url.query}" if request.url.query else "")
        return RedirectResponse(f"/login?next={quote(target, safe='')}", 303, headers=problem.headers)
    if page:
        shown = render(request, "problem.html", problem.status, problem=problem)
        shown.headers.update(problem.headers)
        return shown
    body = problem.document(path, request.scope["state"].get("request_id", ""))
    return Response(body, problem.status, problem.headers, CONTENT_TYPE)


async def _on_problem(request: Request, problem: Problem) -> Response:
    return answer(request, problem)


async def _on_http(request: Request, error: HTTPException) -> Response:
    sentences = {
        404: "there is nothing at this address; /docs lists the API",
        405: f"{request.method} is not possible here; /docs lists the API",
    }
    detail = sentences.get(error.status_code, str(error.detail))
    return answer(request, Problem(error.status_code, detail, headers=error.headers))


async def _on_invalid(request: Request, error: RequestValidationError) -> Response:
    faults = [{"loc": [str(part) for part in one["loc"]], "msg": str(one["msg"])[:300]} for one in error.errors()[:20]]
    first = f"{faults[0]['loc'][-1]}: {faults[0]['msg']}" if faults else "the request is not of the documented form"
    return answer(request, Problem(422, one_line(first), kind="invalid", errors=faults))


async def _on_store(request: Request, error: Exception) -> Response:
    detail = one_line(str(error))[:500]
    match error:
        case PoolExhausted():
            problem = Problem(503, f"{detail}; try again", kind="busy", headers={"Retry-After": "1"})
        case NoAnswer():
            problem = Problem(503, f"{detail}; ask for a shorter range, or filter", kind="too-slow")
        case RowRejected():
            problem = Problem(422, detail, kind="invalid")
        case _:
            problem = away(f"Postgres cannot be asked: {detail}")
    return answer(request, problem)


async def _on_failure(request: Request, error: Exception) -> Response:
    request_id = request.scope["state"].get("request_id", "")
    _log.error("request.error", request_id=request_id, path=request.url.path[:200], exc_info=error)
    return answer(request, Problem(500, f"this is a fault of Tapedeck; its log names the request {request_id}"))
