"""Bars, indicators, features and books of one instrument, and the paths that earlier systems had for them."""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import Path, Query
from starlette.requests import Request
from starlette.responses import Response

from recorder.store.database import Cursor
from recorder.web.access import Role, guarded
from recorder.web.answers import cursors
from recorder.web.answers.encode import JSON, encoded, plain
from recorder.web.answers.ranges import Span, parse, span
from recorder.web.answers.replies import reply
from recorder.web.market_data import books
from recorder.web.queries import derived, instruments
from recorder.web.queries.derived import Table
from recorder.web.queries.instruments import Instrument
from recorder.web.queries.listing import Order
from recorder.web.queries.quality import measure
from recorder.web.queries.resources import BARS
from recorder.web.routes.lists import LIMIT, MOST, OnGap, answer_list, is_fixed, refuse_gaps
from recorder.web.state import web_of
from recorder.web.views import page_view

Width = Literal["1m", "5m", "15m", "1h", "4h", "1d"]
WIDTHS_S: dict[Width, int] = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14_400, "1d": 86_400}
BARS_SHOWN = 500

Instr = Annotated[str, Query(alias="instrument", description="Its id, or venue:symbol.", max_length=310)]
Start = Annotated[str | None, Query(description="Begin, included; 500 bars before the end by default.", max_length=40)]
End = Annotated[str | None, Query(description="End, excluded; now unless given.", max_length=40)]
After = Annotated[str | None, Query(description="`next` of the page before.", max_length=2000)]
Limit = Annotated[int, Query(ge=1, le=MOST, description="Rows of a page.")]
Venue = Annotated[str | None, Query(description="Where several venues have the symbol.", max_length=64)]
Symbol = Annotated[str, Path(description="As the venue writes it, such as BTC/USD, or BTC-USD.", max_length=300)]

router = guarded(Role.viewer, prefix="/api/v1", tags=["data"])
aliases = guarded(Role.viewer, tags=["paths of earlier systems"])


@router.get("/bars", summary="Bars of an instrument", response_model=page_view(BARS))
def bars(
    request: Request,
    instrument: Instr,
    width: Width = "1m",
    start: Start = None,
    end: End = None,
    on_gap: OnGap = "mask",
    order: Order | None = None,
    limit: Limit = LIMIT,
    after: After = None,
) -> Response:
    """Return bars by their start. With `on_gap=mask` the values of a bar that a gap touches are null."""
    return _bars(
        request, lambda cursor: instruments.find(cursor, instrument), width, start, end, on_gap, order, limit, after
    )


@aliases.get("/bars/{symbol:path}", summary="Bars of a symbol")
def bars_of_symbol(
    request: Request,
    symbol: Symbol,
    venue: Venue = None,
    timeframe: Width = "1m",
    start: Start = None,
    end: End = None,
    on_gap: OnGap = "mask",
    limit: Limit = LIMIT,
    after: After = None,
) -> Response:
    """Return bars as /api/v1/bars does; 409 with the candidates where several venues have the symbol."""
    return _bars(
        request,
        lambda cursor: instruments.by_symbol(cursor, symbol, venue),
        timeframe, start, end, on_gap, None, limit, after,
    )  # fmt: skip


def _bars(
    request: Request,
    find: Callable[[Cursor], Instrument],
    width: Width,
    start: str | None,
    end: str | None,
    on_gap: OnGap,
    order: Order | None,
    limit: int,
    after: str | None,
) -> Response:
    listing = BARS._replace(window=timedelta(seconds=WIDTHS_S[width] * BARS_SHOWN))
    return answer_list(
        request, listing, find=find, start=start, end=end, given={"width_s": WIDTHS_S[width]}, after=after,
        order=order, limit=limit, on_gap=on_gap,
    )  # fmt: skip


@router.get("/indicators", summary="Indicators of an instrument")
def indicators(
    request: Request,
    instrument: Instr,
    width: Width = "1m",
    start: Start = None,
    end: End = None,
    on_gap: OnGap = "mask",
    limit: Limit = LIMIT,
    after: After = None,
) -> Response:
    """Return one row for each bar; a value whose window a gap touches is null, as docs/bars.md says."""
    return _derived(request, "indicator", lambda cursor: instruments.find(cursor, instrument), width, start, end,
                    on_gap, limit, after)  # fmt: skip


@aliases.get("/indicators/{symbol:path}", summary="Indicators of a symbol")
def indicators_of_symbol(
    request: Request,
    symbol: Symbol,
    venue: Venue = None,
    timeframe: Width = "1m",
    start: Start = None,
    end: End = None,
    on_gap: OnGap = "mask",
    limit: Limit = LIMIT,
    after: After = None,
) -> Response:
    """Return indicators as /api/v1/indicators does."""
    return _derived(request, "indicator", lambda cursor: instruments.by_symbol(cursor, symbol, venue), timeframe,
                    start, end, on_gap, limit, after)  # fmt: skip


@router.get("/features", summary="Features of an instrument")
def features(
    request: Request,
    instrument: Instr,
    start: Start = None,
    end: End = None,
    on_gap: OnGap = "refuse",
    limit: Limit = LIMIT,
    after: After = None,
) -> Response:
    """Return the features of 1-minute bars. A range in which rows may be missing is refused by default."""
    return _derived(request, "bar_feature", lambda cursor: instruments.find(cursor, instrument), "1m", start, end,
                    on_gap, limit, after)  # fmt: skip


@aliases.get("/features/{symbol:path}", summary="Features of a symbol")
def features_of_symbol(
    request: Request,
    symbol: Symbol,
    venue: Venue = None,
    start: Start = None,
    end: End = None,
    on_gap: OnGap = "refuse",
    limit: Limit = LIMIT,
    after: After = None,
) -> Response:
    """Return features as /api/v1/features does."""
    return _derived(request, "bar_feature", lambda cursor: instruments.by_symbol(cursor, symbol, venue), "1m",
                    start, end, on_gap, limit, after)  # fmt: skip


def _derived(
    request: Request,
    table: Table,
    find: Callable[[Cursor], Instrument],
    width: Width,
    start: str | None,
    end: str | None,
    on_gap: OnGap,
    limit: int,
    after: str | None,
) -> Response:
    web = web_of(request)
    width_s = WIDTHS_S[width]
    asked = span(start, end, timedelta(seconds=width_s * BARS_SHOWN), BARS.longest)
    question = f"{request.url.path} {request.query_params.get('start')} {request.query_params.get('end')} {width}"
    place = None if after is None else cursors.read(web.keys.of("cursors"), question, after, 1)[0]
    with web.pool.transaction() as cursor:
        one = find(cursor)
        quality = measure(cursor, one, "trade", asked, width_s)
        refuse_gaps(quality, on_gap, to_now=not end)
        names = derived.columns(cursor, table)
        found = derived.read(cursor, table, one, width_s, asked, names, place, limit + 1)
    more = len(found) > limit
    at = names.index("start")
    items = [dict(zip(names, row, strict=True)) for row in found[:limit]]
    following = cursors.make(web.keys.of("cursors"), question, [found[limit - 1][at]]) if more else None
    body = encoded({
        "items": items, "next": following, "range": asked.text(), "quality": quality.document(), "width": width,
        "instrument": {"instrument_id": str(one.instrument_id), "venue": one.venue, "symbol": one.symbol},
    })  # fmt: skip
    kept = is_fixed(start) and is_fixed(end) and quality.settled
    return reply(request, body, JSON, quality, kept=kept, following=following)


@router.get("/books/{instrument:path}", summary="The book of an instrument at an instant")
def book(
    request: Request,
    instrument: Annotated[str, Path(description="Its id, or venue:symbol.", max_length=310)],
    at: Annotated[str | None, Query(description="Instant by our clock; now unless given.", max_length=40)] = None,
    levels: Annotated[int, Query(ge=1, le=1000, description="Levels of each side.")] = 20,
) -> Response:
    """Return the book as it was, made again from recorded messages. After a gap it is unknown until a snapshot."""
    moment = parse("at", at) if at else None
    web = web_of(request)
    with web.pool.transaction() as cursor:
        one = instruments.find(cursor, instrument)
        cut_depth = books.cut_depth_of(one.venue)
        if moment is None:
            found = web.books.now(cursor, one.instrument_id, cut_depth, None)
        else:
            found = web.books.at(cursor, one.instrument_id, moment, cut_depth, None)
        quality = measure(cursor, one, "book", Span(found.at - timedelta(minutes=1), found.at))
    document: dict[str, Any] = {
        "instrument": {"instrument_id": str(one.instrument_id), "venue": one.venue, "symbol": one.symbol},
        **plain(books.document(found, levels)),
        "quality": quality.document(),
    }
    return reply(request, encoded(document), JSON, quality)


@router.get("/instruments/{instrument:path}", summary="One instrument")
def instrument(
    request: Request,
    instrument: Annotated[str, Path(description="Its id, or venue:symbol.", max_length=310)],
) -> Response:
    """Return an instrument, its last trade and its last quote."""
    with web_of(request).pool.transaction() as cursor:
        one = instruments.find(cursor, instrument)
        cursor.execute("SELECT to_jsonb(i) FROM instrument i WHERE instrument_id = %s", (one.instrument_id,))
        (row,) = cursor.fetchone() or ({},)
        cursor.execute(
            "SELECT ts_event, price, size FROM trade WHERE instrument_id = %s AND ts_event > now() - interval '1 day' "
            "ORDER BY ts_event DESC, trade_id DESC LIMIT 1",
            (one.instrument_id,),
        )
        trade = cursor.fetchone()
        cursor.execute(
            "SELECT ts_recv, bid, bid_size, ask, ask_size FROM quote WHERE instrument_id = %s "
            "AND ts_recv > now() - interval '1 day' ORDER BY ts_recv DESC, frame_seq DESC LIMIT 1",
            (one.instrument_id,),
        )
        quote = cursor.fetchone()
    document = {
        **row,
        "instrument_id": str(one.instrument_id),
        "last_trade": trade and dict(zip(("ts_event", "price", "size"), trade, strict=True)),
        "last_quote": quote and dict(zip(("ts_recv", "bid", "bid_size", "ask", "ask_size"), quote, strict=True)),
    }
    return Response(encoded(document), media_type=JSON)
