"""The REST of Polymarket that a recorder uses. Gamma, CLOB and Data API share no path, so one port serves all."""

import base64
import binascii
import hashlib
from collections.abc import Sequence

import msgspec

from recorder.simulator.market import Trade
from recorder.simulator.venues.polymarket.market import ONE, OutcomeMarket, Print, price_text, size_text
from recorder.simulator.wire import Request, Response

_PAGE = 100  # larger pages are cut without an error
_TRADES = 500
_TRADES_BACK = 10_000
_LONGEST_S = 15 * 86_400
_COARSE_MIN = 720  # least fidelity, in minutes, that shows prices of a resolved market
_INTERVAL_S = {
    "1h": 3600, "6h": 21_600, "1d": 86_400, "1w": 604_800, "1m": 2_592_000, "max": 1 << 40, "all": 1 << 40,
}  # fmt: skip
_NO_BOOK = b'{"error":"No orderbook exists for the requested token id"}'


def answer(markets: Sequence[OutcomeMarket], request: Request, now_ns: int) -> Response:
    """Answer a request to any of the three services."""
    try:
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["markets", "keyset"]:
                return _keyset(markets, request.query)
            case "GET", ["markets", "slug", slug]:
                return _found([gamma_row(one) for one in markets if one.spec.base == slug])
            case "GET", ["markets", condition]:
                return _found([clob_record(one) for one in markets if one.condition == condition])
            case "GET", ["book"]:
                return _book(markets, request.query.get("token_id", ""), now_ns)
            case "POST", ["books"]:
                return _books(markets, request.body, now_ns)
            case "GET", ["prices-history"]:
                return _history(markets, request.query, now_ns)
            case "GET", ["trades"]:
                return _trades(markets, request.query)
            case "GET", ["time"]:
                return Response(200, str(now_ns // 10**9).encode())
    except ValueError as error:
        return _error(400, str(error))
    return _error(404, "not found")


def _error(status: int, words: str) -> Response:
    return Response(status, msgspec.json.encode({"error": words}))


def _found(rows: list[dict[str, object]]) -> Response:
    return Response(200, msgspec.json.encode(rows[0])) if rows else _error(404, "market not found")


def _of_token(markets: Sequence[OutcomeMarket], token: str) -> OutcomeMarket | None:
    return next((one for one in markets if token in one.tokens), None)


# ---- Gamma


def _keyset(markets: Sequence[OutcomeMarket], query: dict[str, str]) -> Response:
    """Answer with a page of markets. `after_cursor` asks for the next; any other name is ignored and gives page one."""
    closed = query.get("closed", "false") == "true"
    limit = max(1, min(_PAGE, int(query.get("limit", "20"))))
    rows = [one for one in markets if (one.winner is not None) == closed]
    start = _cursor(query["after_cursor"], closed) if "after_cursor" in query else 0
    body: dict[str, object] = {"markets": [gamma_row(one) for one in rows[start : start + limit]]}
    if start + limit < len(rows):
        body["next_cursor"] = base64.urlsafe_b64encode(f"{start + limit}:{closed}".encode()).decode()
    return Response(200, msgspec.json.encode(body))


def _cursor(text: str, closed: bool) -> int:
    """Return the position of a cursor.

    Raises:
        ValueError: it is not a cursor of this service, or not one of a query with these filters.
    """
    try:
        start, of = base64.urlsafe_b64decode(text).decode().split(":")
    except (binascii.Error, UnicodeDecodeError) as error:
        raise ValueError("invalid cursor") from error
    if of != str(closed):
        raise ValueError("cursor does not match the query")
    return int(start)


def gamma_row(market: OutcomeMarket) -> dict[str, object]:
    """Return a market in the form of Gamma: some numbers are numbers, others are text, and arrays are JSON text."""
    spec, stats, resolved = market.spec, market.stats, market.winner is not None
    volume = stats.notional / 1e6
    last = stats.last
    prices = [
        ("1" if token == market.winner else "0") if resolved else price_text(last if place == 0 else ONE - last)
        for place, token in enumerate(market.tokens)
    ]
    row: dict[str, object] = {
        "id": market.number, "question": f"{spec.base.replace('-', ' ')}?",
        "conditionId": market.condition, "slug": spec.base, "resolutionSource": "", "endDate": "2026-12-31T12:00:00Z",
        "liquidity": "20328.3747", "startDate": "2026-03-11T09:29:01.328428Z", "description": "",
        "outcomes": msgspec.json.encode(market.outcomes).decode(),
        "outcomePrices": msgspec.json.encode(prices).decode(), "volume": f"{volume:.6f}", "active": True,
        "closed": resolved, "createdAt": "2026-03-11T09:27:51.140253Z", "updatedAt": "2026-03-11T15:14:46.097817Z",
        "new": False, "featured": False, "archived": False, "restricted": True,
        "questionID": "0x" + hashlib.sha256(market.condition.encode()).hexdigest(), "enableOrderBook": True,
        "orderPriceMinTickSize": spec.tick / ONE, "orderMinSize": 5, "volumeNum": volume, "endDateIso": "2026-12-31",
        "startDateIso": "2026-03-11", "volume24hr": volume,
        "clobTokenIds": msgspec.json.encode(market.tokens).decode(), "volume24hrClob": volume,
        "acceptingOrders": market.open, "negRisk": False, "umaResolutionStatuses": "[]", "feesEnabled": True,
    }  # fmt: skip
    if resolved:
        row |= {"closedTime": "2026-11-21 12:00:00+00", "umaResolutionStatus": "resolved", "acceptingOrders": True}
    elif market.open:
        bid, ask = market.touch(market.tokens[0])
        row |= {
            "spread": (ask - bid) / ONE, "lastTradePrice": last / ONE, "bestBid": bid / ONE, "bestAsk": ask / ONE,
        }  # fmt: skip
    return row


# ---- CLOB


def clob_record(market: OutcomeMarket) -> dict[str, object]:
    resolved = market.winner is not None
    last = market.stats.last
    tokens = [
        {
            "outcome": outcome, "token_id": token, "winner": token == market.winner,
            "price": int(token == market.winner) if resolved else (last if place == 0 else ONE - last) / ONE,
        }
        for place, (outcome, token) in enumerate(zip(market.outcomes, market.tokens, strict=True))
    ]  # fmt: skip
    return {
        "accepting_orders": market.open, "active": True, "archived": False, "closed": resolved,
        "condition_id": market.condition, "enable_order_book": market.open, "is_50_50_outcome": False,
        "market_slug": market.spec.base, "minimum_order_size": 5, "minimum_tick_size": market.spec.tick / ONE,
        "neg_risk": False, "tokens": tokens,
    }  # fmt: skip


def book_of(market: OutcomeMarket, token: str, now_ns: int) -> dict[str, object]:
    """Return a book with the worst prices first, as on the websocket."""
    bids, asks = (
        [{"price": price_text(price), "size": size_text(size)} for price, size in reversed(levels)]
        for levels in market.levels(token)
    )
    digest = hashlib.sha1(msgspec.json.encode([bids, asks]), usedforsecurity=False).hexdigest()
    return {
        "market": market.condition, "asset_id": token, "bids": bids, "asks": asks, "hash": digest,
        "timestamp": str(now_ns // 1_000_000), "min_order_size": "5", "tick_size": price_text(market.spec.tick),
        "neg_risk": False, "last_trade_price": price_text(market.stats.last),
    }  # fmt: skip


def _book(markets: Sequence[OutcomeMarket], token: str, now_ns: int) -> Response:
    market = _of_token(markets, token)
    if market is None or not market.open:
        return Response(404, _NO_BOOK)
    return Response(200, msgspec.json.encode(book_of(market, token, now_ns)))


def _books(markets: Sequence[OutcomeMarket], body: bytes, now_ns: int) -> Response:
    """Answer with the books of the known tokens."""
    wanted = [one["token_id"] for one in msgspec.json.decode(body, type=list[dict[str, str]]) if "token_id" in one]
    found = [(market, token) for token in wanted if (market := _of_token(markets, token)) is not None and market.open]
    return Response(200, msgspec.json.encode([book_of(market, token, now_ns) for market, token in found]))


def _history(markets: Sequence[OutcomeMarket], query: dict[str, str], now_ns: int) -> Response:
    """Answer with a price per `fidelity` minutes: the last print, where the venue gives the middle."""
    token = query.get("market", "")
    market = _of_token(markets, token)
    if market is None:
        raise ValueError("invalid token id")
    now_s = now_ns // 10**9
    fidelity = max(1, int(query.get("fidelity", "1")))
    if "interval" in query:
        if query["interval"] not in _INTERVAL_S:
            raise ValueError("invalid interval")
        start, end = now_s - _INTERVAL_S[query["interval"]], now_s
        if market.winner is not None and fidelity < _COARSE_MIN:
            return Response(200, b'{"history":[]}')
    else:
        start, end = int(query.get("startTs", str(now_s - 86_400))), int(query.get("endTs", str(now_s)))
        if end - start > _LONGEST_S:
            raise ValueError("interval is too long")
    points: dict[int, tuple[int, int]] = {}
    for trade in _prints(market):
        at = trade.ts_ns // 10**9
        if start <= at <= end:
            points[at // (fidelity * 60)] = (at, trade.price if trade.token == token else ONE - trade.price)
    rows = ",".join(f'{{"t":{at},"p":{price_text(price)}}}' for at, price in points.values())
    return Response(200, f'{{"history":[{rows}]}}'.encode())


# ---- Data API


def _trades(markets: Sequence[OutcomeMarket], query: dict[str, str]) -> Response:
    """Answer with prints, newest first and with times in seconds; `offset` has a limit."""
    limit, offset = min(_TRADES, int(query.get("limit", "100"))), int(query.get("offset", "0"))
    if offset > _TRADES_BACK:
        raise ValueError("max historical activity offset exceeded")
    wanted = query["market"].split(",") if "market" in query else [one.condition for one in markets]
    rows = [(trade, market) for market in markets if market.condition in wanted for trade in _prints(market)]
    rows.sort(key=lambda row: row[0].ts_ns, reverse=True)
    page = [_trade(trade, market) for trade, market in rows[offset : offset + limit]]
    return Response(200, msgspec.json.encode(page))


def _trade(trade: Print, market: OutcomeMarket) -> dict[str, object]:
    place = market.tokens.index(trade.token)
    tx = trade.tx or "0x" + hashlib.sha256(f"{trade.token}{trade.id}".encode()).hexdigest()
    return {
        "proxyWallet": "0x" + tx[-40:], "side": "BUY" if trade.taker == "b" else "SELL", "asset": trade.token,
        "conditionId": market.condition, "size": trade.size / 100, "price": trade.price / ONE,
        "timestamp": trade.ts_ns // 10**9, "title": market.spec.base, "slug": market.spec.base,
        "eventSlug": market.spec.base, "outcome": market.outcomes[place], "outcomeIndex": place, "name": "",
        "pseudonym": "", "transactionHash": tx,
    }  # fmt: skip


def _prints(market: OutcomeMarket) -> list[Print]:
    """Return the prints of both tokens, oldest first."""
    both: list[Trade] = [*market.history, *market.other.history]
    return sorted((trade for trade in both if isinstance(trade, Print)), key=lambda trade: trade.ts_ns)
