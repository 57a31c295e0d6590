"""The page of a book, now and at a past time, and the book itself."""

from typing import Annotated

from fastapi import Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from recorder.web.access import Role, guarded
from recorder.web.answers.prices import digits_of
from recorder.web.market_data import books
from recorder.web.routes.market_pages.charts import Seconds, encoded, instrument_of
from recorder.web.state import web_of
from recorder.web.templates import render

router = guarded(Role.viewer, include_in_schema=False)


@router.get("/book")
def book_of_no_instrument() -> RedirectResponse:
    """Lead to the list, where an instrument is chosen."""
    return RedirectResponse("/instruments?for=book", 307)


@router.get("/book/{name:path}")
def book(request: Request, name: str) -> HTMLResponse:
    """Return the page of an instrument."""
    with web_of(request).pool.transaction() as cursor:
        found = instrument_of(cursor, name)
    return render(request, "book.html", instrument=found, digits=digits_of(found.tick_size))


@router.get("/data/book/{name:path}")
def book_data(
    request: Request,
    name: str,
    levels: Annotated[int, Query(ge=1, le=500)] = 10,
    step: Annotated[float | None, Query(gt=0, le=1e12, allow_inf_nan=False)] = None,
    at: Seconds = None,
) -> Response:
    """Return the book now or at a past time, and the trades before it."""
    web = web_of(request)
    with web.pool.transaction() as cursor:
        found = instrument_of(cursor, name)
        cut_depth = books.cut_depth_of(found.venue)
        if at is None:
            there = web.books.now(cursor, found.instrument_id, cut_depth)
        else:
            there = web.books.at(cursor, found.instrument_id, books.instant_of(at), cut_depth)
        answer = {
            "instrument": found.name,
            "book": books.shown(there, levels, step),
            "trades": books.trades(cursor, found.instrument_id, there.at),
        }
    return encoded(answer)
