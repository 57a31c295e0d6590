"""The simulated Data API v2: trades, resolutions, facts about tokens, open interest, status.

The older API is gone: `/trades` is a 404.
"""

import base64
import uuid
from collections.abc import Callable, Iterable
from itertools import islice
from typing import ClassVar, Literal

import msgspec

from recorder.simulator.services.limits import Limit
from recorder.simulator.services.polymarket.feed import LAG_S, Place, Row
from recorder.simulator.services.polymarket.ids import padded
from recorder.simulator.services.polymarket.life import Market
from recorder.simulator.services.polymarket.resolutions import resolution_row, token_rows
from recorder.simulator.services.polymarket.rows import event_number
from recorder.simulator.services.polymarket.site import Named, Shown, Site
from recorder.simulator.services.polymarket.times import iso
from recorder.simulator.services.service import RestService, answer
from recorder.simulator.wire import Request, Response

PAGE = 1000
_USUAL = 100
_LEAST = 0.01


class Refused(ValueError):
    """A request that the Data API answers with 400."""


class Data(RestService):
    """The Data API. It refuses what is above its limits, without telling for how long."""

    name: ClassVar[str] = "data"
    limits: ClassVar[tuple[Limit, ...]] = (Limit("", 1000), Limit("/v2/trades", 200))
    above: ClassVar[Literal["delay", "refuse"]] = "refuse"
    cached_s: ClassVar[dict[str, float]] = {"/v2/trades": 300.0, "/v2/oi": 300.0}

    def __init__(self, site: Site) -> None:
        super().__init__(site.truth)
        self.site = site

    def too_many(self) -> Response:
        """Return the answer to a request above a limit."""
        return _refusal(429, "too many requests", "rate_limited")

    def get(self, request: Request, now_ns: int) -> Response:
        """Answer a request."""
        now_s = now_ns / 1e9
        paths: dict[str, Callable[[Request, float], Response]] = {
            "/v2/trades": self._trades, "/v2/resolutions": self._resolutions, "/v2/tokens": self._tokens,
            "/v2/oi": self._open_interest, "/v2/status": self._status,
        }  # fmt: skip
        found = paths.get(request.path)
        if found is None or request.method != "GET":
            return _refusal(404, "not found", "not_found")
        try:
            return found(request, now_s)
        except Refused as refusal:
            return _refusal(400, str(refusal), "invalid_request")

    # ---- trades

    def _trades(self, request: Request, now_s: float) -> Response:
        query = request.query
        if "offset" in query:
            raise Refused("offset is not supported; follow pagination.next_cursor")
        limit, before = _number(query.get("limit", str(_USUAL)), "limit"), None
        if limit > PAGE:
            raise Refused(f"limit must be at most {PAGE}")
        if query.get("cursor"):
            before, limit = _read_cursor(query["cursor"])
        keep = self._filter(request, now_s)
        self.site.trades(int(now_s))
        wanted = (row for row in self.site.feed.newest_first(int(now_s)) if keep(row))
        rows = list(islice((row for row in wanted if before is None or row.place < before), int(limit) + 1))
        more = len(rows) > limit
        rows = rows[: int(limit)]
        cursor = _cursor(rows[-1].place, int(limit)) if more and rows else None
        if cursor and query.get("cursor") and self.faults.use("echo_cursor", request.path) is not None:
            cursor = query["cursor"]
        shown: list[object] = [row.shown() for row in rows]
        if self.faults.use("odd", request.path) is not None and shown:
            shown = _odd_trades(shown)
        page = {"limit": int(limit), "offset": 0, "has_more": more, "next_cursor": cursor}
        return answer({"data": shown, "pagination": page})

    def _filter(self, request: Request, now_s: float) -> Callable[[Row], bool]:
        query = request.query
        side, kind = query.get("side"), query.get("filter_type", query.get("filterType", "TOKENS"))
        if side not in (None, "BUY", "SELL"):
            raise Refused("side must be BUY or SELL")
        if kind not in ("CASH", "TOKENS"):
            raise Refused("filterType must be CASH or TOKENS")
        least = max(_LEAST, _number(query.get("filter_amount", query.get("filterAmount", "0")), "filter_amount"))
        conditions: set[str] | None = None
        if _values(request, "event_id"):
            conditions = {
                padded(market.condition(market.version_at(now_s)))
                for market in self._of_events(_values(request, "event_id"), now_s)
            }
        elif _conditions(request):
            conditions = {padded(one) for one in _conditions(request, malformed=True)}

        def keep(row: Row) -> bool:
            return (
                (conditions is None or padded(row.condition) in conditions)
                and (side is None or row.side == side)
                and (row.cash if kind == "CASH" else row.size) >= least
            )

        return keep

    # ---- resolutions and tokens

    def _of_events(self, numbers: Iterable[str], now_s: float) -> list[Shown]:
        found: list[Shown] = []
        for number in numbers:
            market = self.site.by_number(number, now_s)
            if isinstance(market, Market):
                found += self.site.world.members(market)
            elif market is not None and str(event_number(market)) == number:
                found.append(market)
        return found

    def _resolutions(self, request: Request, now_s: float) -> Response:
        conditions, events = _conditions(request, malformed=True, short=False), _values(request, "event_id")
        given = [bool(conditions), bool(events), "question_id" in request.query]
        if sum(given) != 1:
            raise Refused("provide exactly one of 'question_id', 'condition', or 'event_id'")
        named = [found for one in conditions if (found := self.site.by_condition(one, now_s, short=False))]
        named += [Named(one, one.version_at(now_s)) for one in self._of_events(events, now_s)]
        for one in named:
            self.site.note(one.market)
        return answer({"data": [row for one in named if (row := resolution_row(one, now_s)) is not None]})

    def _tokens(self, request: Request, now_s: float) -> Response:
        tokens = _values(request, "token_id", most=50)
        conditions = _conditions(request, malformed=True, most=10)
        if bool(tokens) == bool(conditions):
            raise Refused("provide exactly one of 'token_id' or 'condition'")
        rows = []
        for one in tokens:
            named = self.site.by_token(one, now_s)
            if named is not None:
                rows.append(token_rows(named, now_s)[named.outcome])
        for one in conditions:
            named = self.site.by_condition(one, now_s)
            if named is not None:
                rows += token_rows(named, now_s)
        return answer({"data": rows})

    def _open_interest(self, request: Request, now_s: float) -> Response:
        conditions = _conditions(request, malformed=True)
        if not conditions:
            return answer({"data": [{"condition_id": "GLOBAL", "value": 412_345_678.9}]})
        rows = [
            {"condition_id": padded(one), "value": round(named.market.volume_at(int(now_s) // 300 * 300) * 0.4, 2)}
            for one in conditions
            if (named := self.site.by_condition(one, now_s)) is not None
        ]
        return answer({"data": rows})

    def _status(self, request: Request, now_s: float) -> Response:
        mechanisms = [{"name": "activity_feed", "age_seconds": LAG_S}, {"name": "pnl", "age_seconds": 1}]
        ingestion = {"most_lagged": {"name": "exchange", "lag_seconds": 1}}
        serving = {"lag_seconds": LAG_S, "worst": "activity_feed", "mechanisms": mechanisms}
        return answer(
            {"data": {"computed_at": iso(now_s), "age_seconds": 0, "serving": serving, "ingestion": ingestion}}
        )


def _refusal(status: int, words: str, code: str) -> Response:
    body = {"error": words, "code": code, "retryable": status >= 429, "trace_id": uuid.uuid4().hex}
    return Response(status, msgspec.json.encode(body))


def _number(text: str, name: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise Refused(f"invalid {name}") from None
    if not 0 <= value < 1e12:
        raise Refused(f"invalid {name}")
    return value


def _values(request: Request, name: str, most: int = 20) -> list[str]:
    camel = "".join(part.title() if place else part for place, part in enumerate(name.split("_")))
    given = [*request.values(name), *(request.values(camel) if camel != name else [])]
    values = list(dict.fromkeys(part for text in given for part in text.split(",") if part))
    if len(values) > most:
        raise Refused(f"at most {most} distinct values of {name}")
    return values


def _conditions(request: Request, *, malformed: bool = False, short: bool = True, most: int = 20) -> list[str]:
    found: list[str] = []
    for name in ("condition", "condition_id"):
        found += _values(request, name, most)
    for one in found if malformed else ():
        sizes = (64, 66) if short else (66,)
        if not one.startswith("0x") or len(one) not in sizes or any(c not in "0123456789abcdef" for c in one[2:]):
            raise Refused(f"invalid condition id {one[:80]}")
    return found


def _cursor(place: Place, limit: int) -> str:
    return base64.urlsafe_b64encode(msgspec.json.encode([*place, limit])).decode()


def _read_cursor(text: str) -> tuple[Place, int]:
    try:
        second, source, number, limit = msgspec.json.decode(
            base64.urlsafe_b64decode(text), type=tuple[int, int, int, int]
        )
    except (ValueError, msgspec.DecodeError):
        raise Refused("invalid cursor") from None
    if not 0 < limit <= PAGE:
        raise Refused("invalid cursor")
    return (second, source, number), limit


def _odd_trades(rows: list[object]) -> list[object]:
    """Return the rows with odd ones before them; each must cost a reader only itself."""
    sample = rows[0]
    if not isinstance(sample, dict):
        return rows
    changes: tuple[dict[str, object], ...] = (
        {"size": "many"}, {"price": None}, {"timestamp": -1}, {"timestamp": 1 << 60}, {"token_id": "x"},
        {"proxy_wallet": ""}, {"transaction_hash": None}, {"side": "HOLD"}, {"condition_id": "0x"}, {"price": 17.5},
    )  # fmt: skip
    return [None, [], "row", *({**sample, **change} for change in changes), *rows]
