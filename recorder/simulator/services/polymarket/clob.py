"""The simulated CLOB: books, last trades and the record of a market."""

import random
from typing import ClassVar

import msgspec

from recorder.simulator.services.limits import Limit
from recorder.simulator.services.polymarket.book import book_at, changed_ns
from recorder.simulator.services.polymarket.ids import padded
from recorder.simulator.services.polymarket.life import MICRO, Market
from recorder.simulator.services.polymarket.site import Named, Site
from recorder.simulator.services.service import RestService, answer, error
from recorder.simulator.venues.polymarket.market import ONE, price_text
from recorder.simulator.wire import Request, Response

MOST_TOKENS = 500
_POINTS = 1000
_NO_BOOK = "No orderbook exists for the requested token id"


class _Wanted(msgspec.Struct):
    token_id: str


_decode = msgspec.json.Decoder(list[_Wanted]).decode


class Clob(RestService):
    """The CLOB. A token without a book is left out of an answer for many, and a 404 alone."""

    name: ClassVar[str] = "clob"
    limits: ClassVar[tuple[Limit, ...]] = (
        Limit("", 9000), Limit("/books", 500), Limit("/book", 1500), Limit("/prices-history", 1000),
    )  # fmt: skip

    def __init__(self, site: Site) -> None:
        super().__init__(site.truth)
        self.site = site

    def get(self, request: Request, now_ns: int) -> Response:
        """Answer a request."""
        now_s = now_ns / 1e9
        match request.method, request.path.strip("/").split("/"):
            case "POST", ["books"]:
                return self._books(request, now_ns)
            case "POST", ["last-trades-prices"]:
                return self._last_trades(request, now_ns)
            case "GET", ["books"]:
                return error(400, "Invalid payload")
            case "GET", ["book"]:
                found = self.site.books([request.query.get("token_id", "")], now_ns)
                return Response(200, found[0].body) if found else error(404, _NO_BOOK)
            case "GET", ["clob-markets", condition]:
                named = self.site.by_condition(condition, now_s, short=False)
                return error(404, "market not found") if named is None else answer(self._short(named, now_s))
            case "GET", ["markets", condition]:
                named = self.site.by_condition(condition, now_s, short=False)
                return error(404, "market not found") if named is None else answer(self._record(named, now_s))
            case "GET", ["prices-history"]:
                return self._history(request, now_s)
            case "GET", ["tick-size"]:
                named = self.site.by_token(request.query.get("token_id", ""), now_s)
                return (
                    error(404, "market not found")
                    if named is None
                    else answer({"minimum_tick_size": self._short(named, now_s)["mts"]})
                )
            case "GET", ["time"]:
                return Response(200, str(now_ns // 10**9).encode())
            case "GET", ["version"]:
                return answer({"version": 2})
        return error(404, "not found")

    def _tokens(self, request: Request) -> list[str] | Response:
        try:
            tokens = [one.token_id for one in _decode(request.body)]
        except msgspec.DecodeError:
            return error(400, "Invalid payload")
        return error(400, "Payload exceeds the limit") if len(tokens) > MOST_TOKENS else tokens

    def _books(self, request: Request, now_ns: int) -> Response:
        tokens = self._tokens(request)
        if isinstance(tokens, Response):
            return tokens
        shuffled = random.Random(now_ns)
        found = self.site.books(list(dict.fromkeys(tokens)), now_ns)
        shuffled.shuffle(found)
        rule = self.faults.use("incomplete", request.path)
        if rule is not None:
            found = found[: int(len(found) * (1 - rule.amount))]
        bodies = [one.body for one in found]
        if self.faults.use("odd", request.path) is not None and found:
            bodies[0] = _odd_book(bodies[0])
        self.books = [(one.token, one.ts_ms) for one in found]
        return Response(200, b"[" + b",".join(bodies) + b"]")

    def _last_trades(self, request: Request, now_ns: int) -> Response:
        tokens = self._tokens(request)
        if isinstance(tokens, Response):
            return tokens
        rows = []
        for token in dict.fromkeys(tokens):
            named = self.site.by_token(token, now_ns / 1e9)
            if named is None or not isinstance(named.market, Market):
                continue
            last = book_at(named.market, changed_ns(named.market, now_ns)).last
            if last is not None:
                price = price_text(ONE - last if named.outcome else last)
                rows.append({"price": price, "side": "BUY", "token_id": token})
        random.Random(now_ns).shuffle(rows)
        return answer(rows)

    def _short(self, named: Named, now_s: float) -> dict[str, object]:
        market = named.market
        is_world = isinstance(market, Market)
        tokens = market.tokens(named.version)
        return {
            "t": [{"t": token, "o": label} for token, label in zip(tokens, market.outcomes, strict=True)],
            "mts": market.tick_at(now_s) / ONE if isinstance(market, Market) else market.record["minimum_tick_size"],
            "mos": 5, "nr": isinstance(market, Market) and market.neg_risk,
            "ao": market.has_book(now_s) if isinstance(market, Market) else market.open,
            "fd": {"r": 0.02 if is_world else 0, "e": 1, "to": True}, "v": named.version,
            "c": padded(market.condition(named.version)),
        }  # fmt: skip

    def _record(self, named: Named, now_s: float) -> dict[str, object]:
        market = named.market
        if not isinstance(market, Market):
            return market.record
        resolved = market.resolved(now_s)
        value = market.price_at(now_s)
        tokens = [
            {
                "outcome": label, "token_id": token, "winner": resolved and market.payouts[place] == MICRO,
                "price": market.payouts[place] / MICRO if resolved else round(abs(place - value), 4),
            }
            for place, (label, token) in enumerate(zip(market.outcomes, market.tokens(named.version), strict=True))
        ]  # fmt: skip
        return {
            "accepting_orders": market.has_book(now_s), "active": True, "archived": False, "closed": resolved,
            "condition_id": market.condition(named.version), "enable_order_book": not resolved,
            "is_50_50_outcome": resolved and market.payouts == (MICRO // 2, MICRO // 2), "market_slug": market.slug,
            "minimum_order_size": 5, "minimum_tick_size": market.tick_at(now_s) / ONE, "neg_risk": market.neg_risk,
            "tokens": tokens,
        }  # fmt: skip

    def _history(self, request: Request, now_s: float) -> Response:
        named = self.site.by_token(request.query.get("market", ""), now_s)
        if named is None or not isinstance(named.market, Market):
            return answer({"history": []})
        try:
            step_s = max(60, int(request.query.get("fidelity", "1")) * 60)
            last_s = min(int(request.query.get("endTs", int(now_s))), int(now_s), named.market.stop_s)
            first_s = max(int(request.query.get("startTs", last_s - 86_400)), named.market.clob_s)
        except ValueError:
            return error(400, "invalid number")
        points = [
            {"t": at, "p": round(abs(named.outcome - named.market.price_at(at)), 4)}
            for at in range(-(-first_s // step_s) * step_s, last_s, step_s)
        ]
        return answer({"history": points[-_POINTS:]})


def _odd_book(body: bytes) -> bytes:
    """Return a book with a price that is no number and a level that is no level."""
    head, bids, rest = body.partition(b'"bids":[')
    comma = b"" if rest.startswith(b"]") else b","
    return head + bids + b'null,{"price":"NaN","size":"-1"}' + comma + rest
