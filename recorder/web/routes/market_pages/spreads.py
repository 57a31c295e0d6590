"""The page of spreads between venues, now and over time."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from recorder.web.access import Role, guarded
from recorder.web.answers import prices
from recorder.web.answers.problems import Problem
from recorder.web.market_data import spreads
from recorder.web.market_data.spreads import Quoted, Spread
from recorder.web.routes.market_pages.charts import encoded
from recorder.web.state import web_of
from recorder.web.templates import render

router = guarded(Role.viewer, include_in_schema=False)


@router.get("/spreads")
def spreads_page(request: Request) -> HTMLResponse:
    """Return the page."""
    return render(request, "spreads.html", fees=sorted(web_of(request).settings.web.fees_bps.items()))


@router.get("/arbitrage")
def arbitrage() -> RedirectResponse:
    """Lead to the spreads, under the name of the specification."""
    return RedirectResponse("/spreads", 307)


@router.get("/data/spreads")
def spreads_now(request: Request) -> Response:
    """Return the spreads of now, the widest after fees first, and which quotes were left out, and why."""
    settings = web_of(request).settings.web
    with web_of(request).pool.transaction() as cursor:
        found, now = spreads.quotes(cursor)
    best = spreads.spreads(found, settings.fees_bps, now, settings.fresh_s)
    left_out = [one for one in found if not spreads.is_fresh(one, now, settings.fresh_s)]
    digits: dict[str, int] = {}
    for one in found:  # of all venues of a pair, so that one price reads the same in every row
        digits[one.canonical] = max(digits.get(one.canonical, 0), _digits(one))
    return encoded(
        {
            "as_of": now,
            "fresh_s": settings.fresh_s,
            "spreads": [_shown(one, now, digits[one.canonical]) for one in best],
            "left_out": [_left_out(one, now) for one in left_out],
        }
    )


@router.get("/data/spreads/history")
def spreads_history(
    request: Request,
    pair: Annotated[str, Query(min_length=1, max_length=100)],
    hours: Annotated[float, Query(gt=0, le=24)] = 1,
) -> Response:
    """Return the widest spread of a pair at each step."""
    settings = web_of(request).settings.web
    with web_of(request).pool.transaction() as cursor:
        found, _ = spreads.quotes(cursor, pair)
        if not found:
            raise Problem(404, f"{pair[:40]!r} is not recorded at two venues; /spreads lists the pairs that are")
        past: Mapping[str, list[Any]] = spreads.history(cursor, found, settings.fees_bps, hours, settings.fresh_s)
    return encoded({"pair": pair, **past})


def _shown(one: Spread, now: float, digits: int) -> dict[str, Any]:
    return {
        "pair": one.canonical,
        "buy": _side(one.buy, one.buy.ask, now),
        "sell": _side(one.sell, one.sell.bid, now),
        "gross_bps": one.gross_bps,
        "net_bps": one.net_bps,
        "size": one.size,
        "digits": digits,
    }


def _side(quote: Quoted, price: float | None, now: float) -> dict[str, Any]:
    age_s = max(0.0, now - (quote.ts_recv or now))
    return {"venue": quote.venue, "name": f"{quote.venue}:{quote.symbol}", "price": price, "age_s": age_s}


def _left_out(quote: Quoted, now: float) -> dict[str, Any]:
    if quote.ts_recv is None:
        reason = "no quote within an hour"
    elif quote.bid is None or quote.ask is None:
        reason = "one side of its book is empty"
    else:
        reason = f"its quote is {now - quote.ts_recv:.0f} s old"
    return {"pair": quote.canonical, "venue": quote.venue, "name": f"{quote.venue}:{quote.symbol}", "reason": reason}


def _digits(quote: Quoted) -> int:
    """Return the digits of an instrument's prices: those of its tick, or those that its quote has."""
    known = prices.digits_of(quote.tick_size)
    if known is not None:
        return known
    return min(prices.MOST_DECIMALS, max(prices.decimals(one) for one in (quote.bid or 0.0, quote.ask or 0.0)))
