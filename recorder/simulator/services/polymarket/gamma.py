"""The simulated Gamma: listings by keyset, single markets and events, tags.

Kept from the original: an unknown parameter is ignored, `closed` is false unless it is given (also in a look-up by id),
pages are cut at 100 without an error, `cursor` instead of `after_cursor` gives the first page, an order in snake_case
is refused, and every answer is cached for five minutes by its address.
"""

import base64
import hashlib
import math
from collections.abc import Callable, Iterable, Mapping
from typing import ClassVar

import msgspec

from recorder.simulator.services.limits import Limit
from recorder.simulator.services.polymarket import times
from recorder.simulator.services.polymarket.life import Market
from recorder.simulator.services.polymarket.odd import odd_rows
from recorder.simulator.services.polymarket.rows import (
    event_number,
    event_row,
    market_row,
    slug_of_event,
    tag_of,
)
from recorder.simulator.services.polymarket.site import Shown, Site
from recorder.simulator.services.service import RestService, answer, error
from recorder.simulator.wire import Request, Response

PAGE = 100
_USUAL = 20
_MOST_VALUES = 100
_SCHEMA = "https://gamma-api.polymarket.com/schemas/KeysetResponse.json"
_LOOK_UPS = ("id", "slug", "condition_ids", "clob_token_ids", "position_ids", "question_ids")
_RANGES = ("end_date_min", "end_date_max", "start_date_min", "start_date_max", "volume_num_min", "volume_num_max",
           "liquidity_num_min", "liquidity_num_max")  # fmt: skip
_BOUND = (*_LOOK_UPS, *_RANGES, "closed", "order", "ascending", "version", "uma_resolution_status", "tag_id")

Sorting = Callable[[Shown], "float | str"]


class Refused(ValueError):
    """A request that Gamma answers with 422."""


class Gamma(RestService):
    """Gamma. Its numbers are those of the last full minute."""

    name: ClassVar[str] = "gamma"
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("", 4000), Limit("/markets", 300), Limit("/events", 500), Limit("/tags", 200),
    )  # fmt: skip
    cached_s: ClassVar[dict[str, float]] = {"/": 300.0}

    def __init__(self, site: Site) -> None:
        super().__init__(site.truth)
        self.site = site
        self._odd = 0

    def get(self, request: Request, now_ns: int) -> Response:
        """Answer a request."""
        now_s = now_ns / 1e9
        try:
            match request.method, request.path.strip("/").split("/"):
                case "GET", ["markets", "keyset"]:
                    return self._markets(request, now_s)
                case "GET", ["events", "keyset"]:
                    return self._events(request, now_s)
                case "GET", ["markets", "slug", slug]:
                    return self._one(self.site.by_slug(slug, now_s), now_s, request)
                case "GET", ["markets", number]:
                    return self._one(self._by_number(number, now_s), now_s, request)
                case "GET", ["markets", number, "tags"]:
                    market = self._by_number(number, now_s)
                    return _missing() if market is None else answer([tag_of(market.category), tag_of("all")])
                case "GET", ["events", "slug", slug]:
                    return self._event(lambda one: slug_of_event(one) == slug, now_s)
                case "GET", ["events", number]:
                    return self._event(lambda one: str(event_number(one)) == number, now_s)
                case "GET", ["tags"]:
                    categories = sorted({one.category for one in self.site.world.open(int(now_s))})
                    return answer([tag_of(one) for one in categories])
        except Refused as refusal:
            return error(422, str(refusal))
        return _missing()

    # ---- markets

    def _by_number(self, text: str, now_s: float) -> Shown | None:
        if not text.isdigit():
            raise Refused("id is invalid")
        return self.site.by_number(text, now_s)

    def _one(self, market: Shown | None, now_s: float, request: Request) -> Response:
        if market is None or (isinstance(market, Market) and not market.visible(now_s)):
            return _missing()
        self.site.note(market)
        tags = request.query.get("include_tag") == "true"
        return answer({"$schema": _SCHEMA, **market_row(market, now_s, tags=tags)})

    def _markets(self, request: Request, now_s: float) -> Response:
        chosen, cursor = self._page(request, now_s, self._chosen(request, now_s))
        tags = request.query.get("include_tag") == "true"
        for market in chosen:
            self.site.note(market)
        rows: list[object] = [market_row(market, now_s, tags=tags) for market in chosen]
        if self.faults.use("odd", request.path) is not None and rows:
            rows = odd_rows(rows)
        body: dict[str, object] = {"$schema": _SCHEMA, "markets": rows}
        return answer(body | ({"next_cursor": cursor} if cursor else {}))

    def _chosen(self, request: Request, now_s: float) -> list[Shown]:
        """Return the markets that pass the filters, in the order asked for."""
        query = request.query
        closed = query.get("closed", "false") == "true"
        versions, states = request.values("version"), request.values("uma_resolution_status")
        tag = query.get("tag_id")
        limits = {name: _number(query[name], name) for name in _RANGES if query.get(name)}
        found = [
            market
            for market in self._candidates(request, now_s, closed)
            if market.resolved(now_s) == closed
            and not (isinstance(market, Market) and not market.visible(now_s))
            and (not versions or market.version_at(now_s) in versions)
            and (not states or market_row(market, now_s).get("umaResolutionStatus") in states)
            and (tag is None or tag in (tag_of(market.category)["id"], tag_of("all")["id"]))
            and _within(market, limits, now_s)
        ]
        return _sorted(found, query, now_s)

    def _candidates(self, request: Request, now_s: float, closed: bool) -> Iterable[Shown]:
        """Return the markets that identifiers name, or all of them."""
        site, asked, found = self.site, False, dict[int, Shown]()
        find: Mapping[str, Callable[[str], Shown | None]] = {
            "id": lambda text: site.by_number(text, now_s),
            "slug": lambda text: site.by_slug(text, now_s),
            "condition_ids": lambda text: named.market if (named := site.by_condition(text, now_s)) else None,
            "clob_token_ids": lambda text: named.market if (named := site.by_token(text, now_s)) else None,
            "position_ids": lambda text: named.market if (named := site.by_token(text, now_s)) else None,
            "question_ids": lambda text: None,
        }
        for name, look_up in find.items():
            values = request.values(name)
            if len(values) > _MOST_VALUES:
                raise Refused(f"{name}: at most {_MOST_VALUES} values")
            asked = asked or bool(values)
            found |= {market.number: market for text in values if (market := look_up(text)) is not None}
        if asked:
            return found.values()
        world = site.world
        return [*(world.closed(int(now_s)) if closed else world.open(int(now_s))), *site.streamed()]

    # ---- events

    def _event(self, wanted: Callable[[Shown], bool], now_s: float) -> Response:
        shown: list[Shown] = [*self.site.world.open(int(now_s)), *self.site.streamed()]
        for market in shown:
            if wanted(market):
                return answer({"$schema": _SCHEMA, **event_row(self._members(market, now_s), now_s)})
        return _missing()

    def _members(self, market: Shown, now_s: float) -> list[Shown]:
        if not isinstance(market, Market):
            return [market]
        return [one for one in self.site.world.members(market) if one.visible(now_s)] or [market]

    def _events(self, request: Request, now_s: float) -> Response:
        heads: dict[int, Shown] = {}
        for market in self._chosen(request, now_s):
            heads.setdefault(event_number(market), market)
        chosen, cursor = self._page(request, now_s, list(heads.values()))
        nested = request.query.get("include_markets") != "false"
        rows = [event_row(self._members(market, now_s), now_s, markets=nested) for market in chosen]
        body: dict[str, object] = {"$schema": _SCHEMA, "events": rows}
        return answer(body | ({"next_cursor": cursor} if cursor else {}))

    # ---- pages

    def _page(self, request: Request, now_s: float, found: list[Shown]) -> tuple[list[Shown], str | None]:
        """Return the markets of the page that is asked for, and the cursor of the next."""
        query = request.query
        if "offset" in query:
            raise Refused("offset is not supported on keyset endpoints")
        limit = max(1, min(PAGE, int(_number(query.get("limit", str(_USUAL)), "limit"))))
        bound = hashlib.sha256(
            msgspec.json.encode([request.path, [pair for pair in request.pairs if pair[0] in _BOUND]])
        ).hexdigest()[:12]
        given = query.get("after_cursor")
        start = _start(given, bound, found, query) if given else 0
        page = found[start : start + limit]
        if start + limit >= len(found):
            return page, None
        if given and self.faults.use("echo_cursor", request.path) is not None:
            return page, given
        text = msgspec.json.encode([bound, page[-1].number, start + limit])
        return page, base64.urlsafe_b64encode(text).decode()


def _missing() -> Response:
    return Response(404, b'{"type":"not found error","error":"not found"}')


def _number(text: str, name: str) -> float:
    try:
        value = times.read(text) if "date" in name else float(text)
    except (ValueError, OverflowError):
        raise Refused(f"{name} is invalid") from None
    if not math.isfinite(value):
        raise Refused(f"{name} is invalid")
    return value


def _within(market: Shown, limits: Mapping[str, float], now_s: float) -> bool:
    for name, limit in limits.items():
        value: float | None
        if name.startswith("end"):
            value = market.end_at(now_s)
        elif name.startswith("start"):
            value = market.created_s
        else:
            value = market.volume_at(now_s) if name.startswith("volume") else 1000.0
        if value is None or (value < limit if name.endswith("min") else value > limit):
            return False
    return True


def _sorted(found: list[Shown], query: Mapping[str, str], now_s: float) -> list[Shown]:
    """Sort by number unless another order is asked for. `volume` sorts the text of the number."""
    orders: dict[str, Sorting] = {
        "id": lambda one: one.number, "createdAt": lambda one: one.created_s, "startDate": lambda one: one.created_s,
        "endDate": lambda one: one.end_at(now_s) or 0, "volumeNum": lambda one: one.volume_at(now_s),
        "volume24hr": lambda one: one.volume_at(now_s), "liquidityNum": lambda one: one.number,
        "volume": lambda one: f"{one.volume_at(now_s):.6f}", "liquidity": lambda one: str(one.number),
    }  # fmt: skip
    name = query.get("order", "id")
    if name not in orders:
        raise Refused("order fields are not valid")
    descending = query.get("ascending", "true") == "false"
    return sorted(found, key=lambda one: (orders[name](one), one.number), reverse=descending)


def _start(cursor: str, bound: str, found: list[Shown], query: Mapping[str, str]) -> int:
    """Return where a page begins. In the order of numbers it is after the last one that was shown."""
    try:
        of, last, place = msgspec.json.decode(base64.urlsafe_b64decode(cursor), type=tuple[str, int, int])
    except (ValueError, msgspec.DecodeError):
        raise Refused("after_cursor is invalid") from None
    if of != bound:
        raise Refused("after_cursor does not match the query")
    if query.get("order", "id") != "id":
        return place
    down = query.get("ascending", "true") == "false"
    return next(
        (index for index, one in enumerate(found) if (one.number < last if down else one.number > last)), 1 << 60
    )
