"""The lists of the API: one route for each of `queries.resources` and `queries.prediction_markets`."""

import inspect
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from starlette.requests import Request
from starlette.responses import Response

from recorder.store.database import Cursor
from recorder.web.access import Role, guarded
from recorder.web.answers import cursors
from recorder.web.answers.encode import JSON, encoded, instant, rows
from recorder.web.answers.problems import Problem
from recorder.web.answers.ranges import span
from recorder.web.answers.replies import reply
from recorder.web.queries import instruments, prediction_markets, resources
from recorder.web.queries.instruments import Instrument
from recorder.web.queries.listing import Filter, Listing, Order, key_value, page
from recorder.web.queries.quality import Quality, measure
from recorder.web.state import web_of
from recorder.web.views import page_view

LIMIT, MOST = 500, 10_000
_USUALLY_BEHIND = timedelta(seconds=15)
OnGap = Literal["refuse", "mask", "ignore"]

router = guarded(Role.viewer, prefix="/api/v1", tags=["data"])


def answer_list(
    request: Request,
    listing: Listing,
    *,
    find: Callable[[Cursor], Instrument] | None,
    start: str | None,
    end: str | None,
    given: Mapping[str, Any],
    after: str | None,
    order: Order | None,
    limit: int,
    on_gap: OnGap = "mask",
) -> Response:
    """Answer with a page of a list.

    Args:
        request: What is answered.
        listing: The list.
        find: Returns the instrument; None for all.
        start: Of the range, as given.
        end: Of the range, as given.
        given: Values of filters.
        after: Place after the page before.
        order: By key; None for that of the list.
        limit: Rows.
        on_gap: What is done where rows may be missing.

    Raises:
        Problem: a value is wrong, the instrument is not known, or the range has gaps that are refused.
    """
    web = web_of(request)
    ranged = bool(listing.time or listing.overlap)
    asked = span(start, end, listing.window, listing.longest) if ranged else None
    order = order or listing.order
    question = _question(request)
    place = None if after is None else cursors.read(web.keys.of("cursors"), question, after, len(listing.key))
    with web.pool.transaction() as cursor:
        one = None if find is None else find(cursor)
        quality = None
        if listing.channel and one is not None and asked is not None:
            quality = measure(cursor, one, listing.channel, asked, int(given.get("width_s") or 60))
            refuse_gaps(quality, on_gap, to_now=not end)
        fixed = is_fixed(start) and is_fixed(end)  # else it is another range at each request
        key = (request.url.path, question, after, limit, "" if quality is None else quality.revision)
        if fixed and quality is not None and quality.settled:
            kept = web.cache.get(key)
            if kept is not None:
                return reply(request, kept, JSON, quality, kept=True)
        found = page(cursor, listing, asked, None if one is None else one.instrument_id, given, place, order, limit)
    items = rows([column.name for column in listing.columns], found.rows)
    if quality is not None and on_gap == "mask":
        mask(listing, items, found.rows, quality)
    following = None
    if found.last is not None:
        following = cursors.make(web.keys.of("cursors"), question, [key_value(value) for value in found.last])
    document: dict[str, Any] = {"items": items, "next": following}
    if asked is not None:
        document["range"] = asked.text()
    if one is not None:
        document["instrument"] = {"instrument_id": str(one.instrument_id), "venue": one.venue, "symbol": one.symbol}
    if quality is not None:
        document["quality"] = quality.document()
    body = encoded(document)
    settled = fixed and quality is not None and quality.settled
    if settled:
        web.cache.put(key, body)
    return reply(request, body, JSON, quality, kept=settled, following=following)


def is_fixed(text: str | None) -> bool:
    """Return whether an end of a range is an instant, and not now or so long before now."""
    return text is not None and text != "" and not text.startswith("-")


def refuse_gaps(quality: Quality, on_gap: OnGap, *, to_now: bool = False) -> None:
    """Refuse a range in which rows may be missing, where that is asked for.

    Args:
        quality: Of the range.
        on_gap: What is asked for.
        to_now: Whether no end was given: then the last seconds, which are never loaded, are no reason.

    Raises:
        Problem: 409 with the ranges.
    """
    if on_gap != "refuse":
        return
    if quality.declared:
        detail = "rows may be missing in this range; choose another one, or set on_gap to mask or ignore"
        raise Problem(409, detail, kind="gaps", gaps=quality.listed(), quality=quality.document())
    if quality.not_loaded is None:
        return
    since, until = quality.not_loaded
    if to_now and until - since <= _USUALLY_BEHIND:
        return
    detail = (f"rows are known until {instant(since)} only; end the range there, ask again later, or set on_gap to "
              "mask or ignore")  # fmt: skip
    raise Problem(409, detail, kind="not-loaded", known_until=instant(since), gaps=quality.listed(),
                  quality=quality.document())  # fmt: skip


def mask(listing: Listing, items: list[dict[str, Any]], found: list[tuple[Any, ...]], quality: Quality) -> None:
    """Mark rows that a gap touches; the values of such a bar are null, because rows may be missing in it."""
    names = [column.name for column in listing.columns]
    if listing.name == "bars":
        kept = ("start", "coverage", "in_gap", "complete", "revision")
        for item in items:
            if item["in_gap"]:
                item.update(dict.fromkeys(name for name in names if name not in kept))
        return
    at = names.index(listing.time)
    for item, row in zip(items, found, strict=True):
        item["in_gap"] = quality.touches(row[at], row[at])


def _question(request: Request) -> str:
    """Return what a request asks apart from the place and the size of the page."""
    apart = ("after", "limit")
    pairs = sorted((name, value) for name, value in request.query_params.multi_items() if name not in apart)
    return f"{request.url.path}?{pairs}"


def _parameter(name: str, kind: Any, default: Any, help_text: str, **limits: Any) -> inspect.Parameter:
    annotation = Annotated[kind, Query(description=help_text, **limits)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


def _of_filter(one: Filter) -> inspect.Parameter:
    kind: Any = float if one.number else Literal[one.choices] if one.choices else str
    if one.number:
        return _parameter(one.name, kind | None, None, one.help, allow_inf_nan=False, ge=-9e18, le=9e18)
    return _parameter(one.name, kind | None, None, one.help, **({} if one.choices else {"max_length": 300}))


def list_parameters(listing: Listing) -> list[inspect.Parameter]:
    """Return the parameters that a list has besides its instrument."""
    found = [_of_filter(one) for one in listing.filters if one.name != "width_s"]
    if listing.time or listing.overlap:
        hours = listing.window.total_seconds() / 3600
        found += [
            _parameter("start", str | None, None, f"Begin, included; {hours:g} h before the end unless given. "
                       "RFC 3339, or -15m, -2h, -1d.", max_length=40),
            _parameter("end", str | None, None, "End, excluded; now unless given.", max_length=40),
        ]  # fmt: skip
    if listing.channel:
        found.append(_parameter("on_gap", OnGap, "mask", "Where rows may be missing: refuse, mask or ignore."))
    return [
        *found,
        _parameter("order", Literal["asc", "desc"] | None, None, f"By key; {listing.order} unless given."),
        _parameter("limit", int, LIMIT, "Rows of a page.", ge=1, le=MOST),
        _parameter("after", str | None, None, "`next` of the page before.", max_length=2000),
    ]


def _add(to: APIRouter, listing: Listing) -> None:
    """Add the route of a list."""
    must = bool(listing.channel)
    parameters = list_parameters(listing)
    if listing.instrument:
        help_text = "Its id, or venue:symbol, such as kraken:BTC/USD."
        kind: Any = str if must else str | None
        default = inspect.Parameter.empty if must else None
        parameters = [_parameter("instrument", kind, default, help_text, max_length=310), *parameters]

    def endpoint(request: Request, **given: Any) -> Response:
        instrument = given.pop("instrument", None)
        return answer_list(
            request,
            listing,
            find=None if instrument is None else lambda cursor: instruments.find(cursor, instrument),
            start=given.pop("start", None),
            end=given.pop("end", None),
            after=given.pop("after"),
            order=given.pop("order"),
            limit=given.pop("limit"),
            on_gap=given.pop("on_gap", "mask"),
            given=_printable(given),
        )

    first = inspect.Parameter("request", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=Request)
    endpoint.__signature__ = inspect.Signature([first, *parameters])  # type: ignore[attr-defined]
    endpoint.__name__ = f"list_{listing.name}"
    endpoint.__doc__ = f"{listing.summary}."
    to.add_api_route(
        f"/{listing.name}", endpoint, methods=["GET"], summary=listing.summary, response_model=page_view(listing)
    )


def _printable(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of filters; Postgres has no text with a zero character.

    Raises:
        Problem: one has.
    """
    if any(isinstance(value, str) and "\0" in value for value in given.values()):
        raise Problem(422, "a filter has a zero character", kind="invalid")
    return dict(given)


for _listing in (*resources.LISTINGS, *prediction_markets.LISTINGS):
    _add(router, _listing)
