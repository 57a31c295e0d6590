"""Coverage: the heat map of completeness, an hour of it, and the stream behind a row."""

import csv
import io
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from recorder.errors import ConfigError, StoreError
from recorder.identity import instrument_id
from recorder.store.database import Cursor
from recorder.web.access import Role, guarded
from recorder.web.answers.encode import JSON, encoded, instant
from recorder.web.answers.problems import Problem
from recorder.web.monitor import formats
from recorder.web.queries import coverage
from recorder.web.queries.coverage import HOUR, MOST_HOURS, MOST_ROWS, STATES, Row, Window
from recorder.web.state import web_of
from recorder.web.templates import render

Channel = Literal["trade", "quote", "book"]
_STATEMENT_S = 10.0
_FIRST = datetime(2009, 1, 1, tzinfo=UTC)
_REASONS = 20

pages = guarded(Role.viewer, include_in_schema=False)
router = guarded(Role.viewer, prefix="/api/v1/coverage", tags=["coverage"])

Hours = Annotated[int, Query(ge=1, le=MOST_HOURS, description="Length of the window, hours")]
End = Annotated[datetime | None, Query(description="Its end; without one it ends with the hour that goes on")]
Text = Annotated[str, Query(max_length=100)]
Rows = Annotated[int, Query(ge=1, le=MOST_ROWS)]


@pages.get("/coverage")
def page(
    request: Request,
    channel: Channel = "trade",
    hours: Hours = 48,
    venue: Text = "",
    text: Text = "",
    trouble: str = "",
) -> Response:
    """Return the page; its script asks for the window."""
    try:
        with web_of(request).pool.transaction() as cursor:
            venues = _venues(cursor)
    except (StoreError, ConfigError):  # the page says itself that Postgres is away
        venues = []
    values = {"channel": channel, "hours": hours, "venue": venue, "text": text, "trouble": trouble == "1"}
    return render(request, "coverage.html", venues=venues, channels=coverage.CHANNELS, **values)


@pages.get("/coverage/{instrument:path}")
def stream(request: Request, instrument: str, channel: Channel = "trade", hour: datetime | None = None,
           hours: Hours = 24) -> Response:  # fmt: skip
    """Return the gaps and certificates of a stream in a time: an hour, or the last day."""
    start = coverage.window_before(datetime.now(UTC), hours) if hour is None else _hour(hour)
    end = start + (hours * HOUR if hour is None else HOUR)
    with web_of(request).pool.transaction(statement_s=_STATEMENT_S) as cursor:
        found, name = _instrument(cursor, instrument)
        gaps = coverage.gaps(cursor, found, channel, start, end)
        made = coverage.certificates(cursor, found, channel, start) if hour is not None else []
        rows = coverage.grid(cursor, _window(channel, hours, end, "", "", 1, "")._replace(instrument=found))
    values = {"instrument": name, "instrument_id": found, "channel": channel, "start": start, "end": end, "hour": hour}
    cells = _cells(rows, start, hours) if hour is None else []
    return render(
        request, "coverage_stream.html", gaps=gaps, certificates=made, reasons=_reasons(made), cells=cells,
        states=STATES, most_gaps=coverage.MOST_CELL_GAPS,
        before=start - HOUR, after=start + HOUR, f=formats, channels=coverage.CHANNELS, **values,
    )  # fmt: skip


@router.get("/grid", summary="The state of each instrument and hour, for a heat map")
def grid(
    request: Request, channel: Channel = "trade", hours: Hours = 48, end: End = None, venue: Text = "", text: Text = "",
    trouble: str = "", limit: Rows = MOST_ROWS, after: Text = "",
) -> Response:  # fmt: skip
    """Return a letter for each hour, oldest first.

    o open, g gap, n not subscribed, p subscribed in part, h healed, c complete, u unknown.

    States come from certificates and gaps, never from the number of rows. `missing` has the share of an hour that is
    missing, by the number of the hour from 0.
    """
    window = _window(channel, hours, end, venue, text, limit, after)._replace(trouble=trouble == "1")
    rows = _rows(request, window)
    more = len(rows) > limit
    rows = rows[:limit]
    body = {
        "channel": channel,
        "start": window.start,
        "hours": hours,
        "as_of": datetime.now(UTC),
        "states": {letter: name for letter, (name, _) in STATES.items()},
        "counts": coverage.counts(rows),
        "items": [
            {"instrument_id": row.instrument_id, "instrument": f"{row.venue}:{row.symbol}", "cells": row.cells,
             "missing": row.missing}
            for row in rows
        ],
        "next": f"{rows[-1].venue}:{rows[-1].symbol}" if more else None,
    }  # fmt: skip
    return Response(encoded(body), media_type=JSON)


@router.get("/grid.csv", summary="The same as CSV, one line for each instrument and hour")
def grid_csv(
    request: Request, channel: Channel = "trade", hours: Hours = 48, end: End = None, venue: Text = "", text: Text = "",
    trouble: str = "", limit: Rows = MOST_ROWS, after: Text = "",
) -> Response:  # fmt: skip
    """Return the heat map as a file."""
    window = _window(channel, hours, end, venue, text, limit, after)._replace(trouble=trouble == "1")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["venue", "symbol", "instrument_id", "channel", "hour", "state", "missing"])
    for row in _rows(request, window)[:limit]:
        for number, letter in enumerate(row.cells):
            hour = instant(window.start + number * HOUR)
            missing = row.missing.get(str(number), 0)
            symbol = f"'{row.symbol}" if row.symbol[:1] in "=+-@" else row.symbol  # a spreadsheet would run it
            writer.writerow([row.venue, symbol, row.instrument_id, channel, hour, STATES[letter][0], missing])
    name = f"coverage-{channel}-{window.start:%Y%m%dT%H}-{hours}h.csv"
    return Response(out.getvalue(), media_type="text/csv; charset=utf-8",
                    headers={"Content-Disposition": f'attachment; filename="{name}"'})  # fmt: skip


@router.get("/cell", summary="Why an hour of a stream has its state")
def cell(request: Request, instrument: Text, hour: datetime, channel: Channel = "trade") -> Response:
    """Return the gaps that touch an hour, and its certificates, the newest first."""
    start = _hour(hour)
    with web_of(request).pool.transaction() as cursor:
        found, name = _instrument(cursor, instrument)
        gaps = coverage.gaps(cursor, found, channel, start, start + HOUR)
        made = coverage.certificates(cursor, found, channel, start)
    body = {
        "instrument_id": found,
        "instrument": name,
        "channel": channel,
        "hour": start,
        "gaps": [gap._asdict() for gap in gaps],
        "gaps_cut": len(gaps) >= coverage.MOST_CELL_GAPS,
        "certificates": [{**one._asdict(), "document": None} for one in made],
        "reasons": _reasons(made),
    }
    return Response(encoded(body), media_type=JSON)


def _rows(request: Request, window: Window) -> list[Row]:
    """Return one row more than asked for, which shows whether there is another page."""
    with web_of(request).pool.transaction(statement_s=_STATEMENT_S) as cursor:
        return coverage.grid(cursor, window._replace(rows=window.rows + 1))


def _window(channel: str, hours: int, end: datetime | None, venue: str, text: str, rows: int, after: str) -> Window:
    if end is None:
        start = coverage.window_before(datetime.now(UTC), hours)
    else:
        start = _hour(end) - hours * HOUR
        if _hour(end) != end.astimezone(UTC):
            start += HOUR
    last = after.partition(":")
    return Window(channel, start, hours, venue, text, rows, (last[0], last[2]))


def _hour(at: datetime) -> datetime:
    """Return the begin of an hour.

    Raises:
        Problem: it has no zone, or is absurd.
    """
    if at.tzinfo is None:
        raise Problem(422, "write times with their zone, such as 2026-12-01T09:00:00Z", kind="invalid")
    if not _FIRST <= at <= datetime.now(UTC) + 24 * HOUR:  # first of all: not every instant can be moved to UTC
        raise Problem(422, "the time is before 2009 or in the future", kind="invalid")
    return at.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _instrument(cursor: Cursor, name: str) -> tuple[int, str]:
    """Return id and name of an instrument that is given by either.

    Raises:
        Problem: there is none.
    """
    venue, colon, symbol = name.partition(":")
    try:
        found = instrument_id(venue, symbol) if colon else int(name)
    except ValueError:
        found = 2**63
    if -(2**63) <= found < 2**63:
        cursor.execute("SELECT venue, symbol FROM instrument WHERE instrument_id = %s", (found,))
        row = cursor.fetchone()
        if row is not None:
            return found, f"{row[0]}:{row[1]}"
    raise Problem(404, f"there is no instrument {name[:100]!r}; write kraken:BTC/USD, or its id")


def _venues(cursor: Cursor) -> list[str]:
    cursor.execute("SELECT name FROM venue ORDER BY name LIMIT 100")
    return [name for (name,) in cursor.fetchall()]


def _reasons(made: list[coverage.CertificateLine]) -> list[str]:
    """Return why the newest certificate has its grade."""
    if not made:
        return []
    try:
        found: Any = msgspec.json.decode(made[0].document)
    except msgspec.MsgspecError:
        return []
    reasons = found.get("reasons", []) if isinstance(found, dict) else []
    return [str(one)[:300] for one in reasons][:_REASONS]


def _cells(rows: list[Row], start: datetime, hours: int) -> list[dict[str, Any]]:
    """Return the hours of one row, oldest first, for a page."""
    row = rows[0] if rows else None
    return [
        {
            "hour": start + number * HOUR,
            "letter": row.cells[number] if row is not None else "u",
            "missing": row.missing.get(str(number)) if row is not None else None,
        }
        for number in range(hours)
    ]
