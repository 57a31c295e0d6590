"""How the appliance is: what `tapedeck status` says, and how well columns are filled."""

import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from fastapi import Query
from starlette.requests import Request
from starlette.responses import Response

from recorder.appliance.observation import observe
from recorder.web.access import Role, guarded
from recorder.web.answers.encode import JSON, encoded, instant
from recorder.web.answers.ranges import span
from recorder.web.queries import instruments
from recorder.web.queries.listing import DAY
from recorder.web.state import web_of

_FIELDS: dict[str, tuple[str, str]] = {  # column of time, and of the instrument
    "trade": ("ts_event", "instrument_id"),
    "quote": ("ts_recv", "instrument_id"),
    "market_snapshot": ("ts_recv", "instrument_id"),
}
_SAMPLE = 100_000

router = guarded(Role.viewer, prefix="/api/v1", tags=["monitoring"])


@router.get("/status", summary="All programs, as `tapedeck status` judges them")
def status(request: Request) -> Response:
    """Return every program with its state, figures and problem. Needs no Postgres."""
    observed = observe(web_of(request).settings)
    document = msgspec.to_builtins(observed.status)
    document["as_of"] = instant(datetime.now(UTC))
    return Response(encoded(document), media_type=JSON)


@router.get("/fields", summary="Share of rows in which each column is filled")
def fields(
    request: Request,
    table: Literal["trade", "quote", "market_snapshot"],
    instrument: Annotated[
        str | None, Query(description="Its id, or venue:symbol; all unless given.", max_length=310)
    ] = None,
    start: Annotated[str | None, Query(description="Begin; an hour before the end by default.", max_length=40)] = None,
    end: Annotated[str | None, Query(description="End; now unless given.", max_length=40)] = None,
) -> Response:
    """Return the shares over the range, of its first 100,000 rows."""
    asked = span(start, end, timedelta(hours=1), DAY)
    at, of = _FIELDS[table]
    with web_of(request).pool.transaction() as cursor:
        one = None if instrument is None else instruments.find(cursor, instrument)
        cursor.execute(
            "SELECT a.attname FROM pg_catalog.pg_attribute a WHERE a.attrelid = to_regclass(%s) AND a.attnum > 0 "
            "AND NOT a.attisdropped ORDER BY a.attnum",
            (f"public.{table}",),
        )
        names = [str(row[0]) for row in cursor.fetchall()]
        counts = ", ".join(f"count({name})" for name in names)
        cursor.execute(
            f"SELECT count(*), {counts} FROM (SELECT * FROM {table} WHERE {at} >= %s AND {at} < %s "
            f"AND (%s::bigint IS NULL OR {of} = %s) LIMIT {_SAMPLE}) AS sample",
            (asked.start, asked.end, *([None if one is None else one.instrument_id] * 2)),
        )
        total, *filled = cursor.fetchone() or (0, *[0] * len(names))
    shares = {name: count / total if total else None for name, count in zip(names, filled, strict=True)}
    return Response(
        encoded({"table": table, "rows": total, "sampled": total >= _SAMPLE, "fields": shares, "range": asked.text(),
                 "as_of": instant(datetime.fromtimestamp(time.time(), UTC))}),
        media_type=JSON,
    )  # fmt: skip
