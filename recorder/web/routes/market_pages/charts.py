"""The page of a chart, and the bars it draws."""

from typing import Annotated, Any

import msgspec
from fastapi import Query
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from recorder.store.database import Cursor
from recorder.web.access import Role, guarded
from recorder.web.answers.prices import digits_of
from recorder.web.answers.problems import Problem
from recorder.web.assets import Assets
from recorder.web.market_data import bars, instruments
from recorder.web.state import web_of
from recorder.web.templates import render

SCRIPT = "vendor/lightweight-charts.js"
DEFAULT_INTERVAL = "1m"
JSON = "application/json"

router = guarded(Role.viewer, include_in_schema=False)

Slots = Annotated[int, Query(ge=1, le=bars.MAX_SLOTS)]
Seconds = Annotated[float | None, Query(ge=0, le=1e11, allow_inf_nan=False)]
Interval = Annotated[str, Query(max_length=8)]


def instrument_of(cursor: Cursor, name: str) -> instruments.Instrument:
    """Return the instrument that an address names.

    Raises:
        Problem: 404.
    """
    found = instruments.find(cursor, name[:400])
    if found is None:
        raise Problem(404, f"there is no instrument {name[:100]!r}; /instruments lists them as venue:symbol")
    return found


def seconds_of(interval: str) -> int:
    """Return the length of a bar by its name.

    Raises:
        Problem: 422.
    """
    if interval not in bars.INTERVALS:
        raise Problem(
            422, f"interval: there is no {interval[:8]!r}; ask for {', '.join(bars.INTERVALS)}", kind="invalid"
        )
    return bars.INTERVALS[interval]


def encoded(value: Any) -> Response:
    """Return a value as JSON; NaN and infinity are null."""
    return Response(msgspec.json.encode(value), media_type=JSON)


@router.get("/chart")
def chart_of_no_instrument() -> RedirectResponse:
    """Lead to the list, where an instrument is chosen."""
    return RedirectResponse("/instruments?for=chart", 307)


@router.get("/chart/{name:path}")
def chart(request: Request, name: str, interval: Interval = DEFAULT_INTERVAL) -> HTMLResponse:
    """Return the page of an instrument."""
    seconds_of(interval)
    with web_of(request).pool.transaction() as cursor:
        found = instrument_of(cursor, name)
    assets: Assets = request.app.state.assets
    return render(
        request,
        "chart.html",
        instrument=found,
        digits=digits_of(found.tick_size),
        interval=interval,
        intervals=bars.INTERVALS,
        slots=bars.DEFAULT_SLOTS,
        installed=assets.get(SCRIPT) is not None,
    )


@router.get("/data/chart/{name:path}")
def chart_data(
    request: Request,
    name: str,
    interval: Interval = DEFAULT_INTERVAL,
    slots: Slots = bars.DEFAULT_SLOTS,
    start: Seconds = None,
    end: Seconds = None,
    since: Seconds = None,
    indicators: Annotated[str, Query(max_length=400)] = "",
) -> Response:
    """Return a window of bars as columns, with its gaps and indicators; with `since` only what changed."""
    seconds = seconds_of(interval)
    names = [word for word in dict.fromkeys(indicators.split(",")) if word]
    with web_of(request).pool.transaction() as cursor:
        found = instrument_of(cursor, name)
        has = bars.extent(cursor, found.instrument_id, seconds)
        try:
            shown = bars.window(has, seconds, slots, end, start)
            values = bars.indicators(cursor, found.instrument_id, shown, names, since)
        except ValueError as error:
            raise Problem(422, str(error), kind="invalid") from None
        answer = {
            "instrument": found.name,
            "interval_s": seconds,
            "low": shown.low,
            "high": shown.high,
            "oldest": has.oldest,
            "as_of": has.now,
            "bars": bars.bars(cursor, found.instrument_id, shown, since),
            "indicators": values,
            "gaps": bars.gaps(cursor, found.instrument_id, shown, has.now),
        }
    return encoded(answer)


@router.get("/data/bars.csv")
def chart_csv(
    request: Request,
    instrument: Annotated[str, Query(max_length=400)],
    interval: Interval = DEFAULT_INTERVAL,
    start: Seconds = None,
    end: Seconds = None,
) -> Response:
    """Return the bars of a window as a file."""
    seconds = seconds_of(interval)
    with web_of(request).pool.transaction() as cursor:
        found = instrument_of(cursor, instrument)
        has = bars.extent(cursor, found.instrument_id, seconds)
        if start is not None and end is not None:
            start = max(start, end - (bars.MAX_SLOTS - 1) * seconds)
        try:
            shown = bars.window(has, seconds, bars.DEFAULT_SLOTS, end, start)
        except ValueError as error:
            raise Problem(422, str(error), kind="invalid") from None
        text = bars.csv(cursor, found.instrument_id, shown)
    kept = "".join(letter if letter.isalnum() else "-" for letter in found.name if letter.isascii())[:80]
    headers = {"Content-Disposition": f'attachment; filename="{kept}-{interval}.csv"'}
    return Response(text, media_type="text/csv; charset=utf-8", headers=headers)
