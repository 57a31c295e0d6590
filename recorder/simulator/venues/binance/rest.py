"""The public REST of Binance that a recorder uses: symbols, volumes, trades, and the weight of a request."""

from collections.abc import Mapping
from itertools import islice

import msgspec

from recorder.simulator.market import SymbolMarket, Trade, minutes, text
from recorder.simulator.wire import Request, Response

_WEIGHT_PER_MINUTE = 6000
_WEIGHTS = {
    "/api/v3/exchangeInfo": 20,
    "/api/v3/trades": 25,
    "/api/v3/historicalTrades": 25,
    "/api/v3/aggTrades": 4,
}
_AGGREGATES = 77_000_000  # ids of aggregates differ from those of trades
_PAGE = 1000
_MINUTE_NS = 60_000_000_000


def eight(value: int, decimals: int) -> str:
    """Return a number of the market as Binance prints it, with eight decimals."""
    return text(value * 10 ** (8 - decimals), 8)


class Budget:
    """The weight used in this minute."""

    def __init__(self) -> None:
        self.used = 0
        self._minute = 0

    def spend(self, request: Request, now_ns: int) -> Response | None:
        """Count a request; return an answer if it exceeds the limit."""
        minute, passed_ns = divmod(now_ns, _MINUTE_NS)
        if minute != self._minute:
            self._minute, self.used = minute, 0
        self.used += _weight(request)
        if self.used <= _WEIGHT_PER_MINUTE:
            return None
        why = f"Too many requests; current limit is {_WEIGHT_PER_MINUTE} request weight per 1 MINUTE."
        left_s = (_MINUTE_NS - passed_ns) // 1_000_000_000 + 1
        return _error(-1003, why, 429, {"Retry-After": str(left_s), "X-MBX-USED-WEIGHT-1M": str(self.used)})


def _weight(request: Request) -> int:
    if request.path == "/api/v3/depth":
        limit = depth_limit(request)
        if isinstance(limit, Response):
            return 1
        return 5 if limit <= 100 else 25 if limit <= 500 else 50 if limit <= 1000 else 250
    if request.path == "/api/v3/ticker/24hr":
        return 2 if "symbol" in request.query else 80
    return _WEIGHTS.get(request.path, 1)


def depth_limit(request: Request) -> int | Response:
    """Return how many levels of a side are requested, or the answer that refuses it."""
    try:
        limit = int(request.query.get("limit", "100"))
    except ValueError:
        return _error(-1100, "Illegal characters found in parameter 'limit'; legal range is '^[0-9]{1,20}$'.")
    if not 1 <= limit <= 5000:
        return _error(-1130, "Data sent for parameter 'limit' is not valid.")
    return limit


def answer(symbols: Mapping[str, SymbolMarket], request: Request, now_ns: int) -> Response:
    """Answer every request below `/api/v3` except one for an existing book."""
    query = request.query
    match request.path:
        case "/api/v3/ping":
            return Response(200, b"{}", {})
        case "/api/v3/time":
            return _json({"serverTime": now_ns // 1_000_000})
        case "/api/v3/exchangeInfo":
            return _exchange_info(symbols, query, now_ns)
        case "/api/v3/ticker/24hr" if "symbol" not in query:
            return _json([_day(symbol, one, now_ns) for symbol, one in symbols.items()])
        case "/api/v3/ticker/24hr" | "/api/v3/depth" | "/api/v3/trades" | "/api/v3/historicalTrades" as path:
            market = _named(symbols, query)
        case "/api/v3/aggTrades" | "/api/v3/klines" as path:
            market = _named(symbols, query)
        case _:
            return Response(404, b"<html><body>404 Not Found</body></html>", {"Content-Type": "text/html"})
    if isinstance(market, Response):
        return market
    try:
        if path == "/api/v3/ticker/24hr":
            return _json(_day(query["symbol"], market, now_ns))
        if path == "/api/v3/klines":
            return _candles(market, query)
        return _aggregates(market, query) if path == "/api/v3/aggTrades" else _trades(market, path, query)
    except ValueError:
        return _error(-1100, "Illegal characters found in a parameter.")


def _named(symbols: Mapping[str, SymbolMarket], query: dict[str, str]) -> SymbolMarket | Response:
    symbol = query.get("symbol", "")
    if not symbol:
        return _error(-1102, "Mandatory parameter 'symbol' was not sent, was empty/null, or malformed.")
    return symbols.get(symbol) or _error(-1121, "Invalid symbol.")


def _json(value: object) -> Response:
    return Response(200, msgspec.json.encode(value), {})


def _error(code: int, why: str, status: int = 400, headers: dict[str, str] | None = None) -> Response:
    return Response(status, msgspec.json.encode({"code": code, "msg": why}), headers or {})


def _exchange_info(symbols: Mapping[str, SymbolMarket], query: dict[str, str], now_ns: int) -> Response:
    wanted = list(symbols)
    if "symbol" in query:
        wanted = [query["symbol"]]
    elif "symbols" in query:
        try:
            wanted = msgspec.json.decode(query["symbols"], type=list[str])
        except msgspec.DecodeError:
            return _error(-1100, "Illegal characters found in parameter 'symbols'.")
    if any(symbol not in symbols for symbol in wanted):
        return _error(-1121, "Invalid symbol.")
    limits = {
        "rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": _WEIGHT_PER_MINUTE,
    }  # fmt: skip
    permissions = query.get("showPermissionSets") != "false"
    rows = [_symbol(symbol, symbols[symbol], permissions) for symbol in wanted]
    return _json(
        {
            "timezone": "UTC", "serverTime": now_ns // 1_000_000, "rateLimits": [limits], "exchangeFilters": [],
            "symbols": rows,
        }
    )  # fmt: skip


def _symbol(symbol: str, market: SymbolMarket, permissions: bool) -> dict[str, object]:
    spec = market.spec
    tick, step = eight(spec.tick, spec.price_decimals), eight(1, spec.size_decimals)
    return {
        "symbol": symbol, "status": "TRADING", "baseAsset": spec.base, "baseAssetPrecision": 8,
        "quoteAsset": spec.quote, "quotePrecision": 8, "quoteAssetPrecision": 8, "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8, "orderTypes": ["LIMIT", "LIMIT_MAKER", "MARKET"], "icebergAllowed": True,
        "ocoAllowed": True, "otoAllowed": True, "quoteOrderQtyMarketAllowed": True, "allowTrailingStop": True,
        "cancelReplaceAllowed": True, "isSpotTradingAllowed": True, "isMarginTradingAllowed": False,
        "filters": [
            {"filterType": "PRICE_FILTER", "minPrice": tick, "maxPrice": "1000000.00000000", "tickSize": tick},
            {"filterType": "LOT_SIZE", "minQty": step, "maxQty": "9000000.00000000", "stepSize": step},
            {"filterType": "NOTIONAL", "minNotional": "5.00000000", "applyMinToMarket": True,
             "maxNotional": "9000000.00000000", "applyMaxToMarket": False, "avgPriceMins": 5},
        ],
        "permissions": [], "permissionSets": [["SPOT"]] if permissions else [],
        "defaultSelfTradePreventionMode": "EXPIRE_MAKER", "allowedSelfTradePreventionModes": ["EXPIRE_MAKER"],
    }  # fmt: skip


def _day(symbol: str, market: SymbolMarket, now_ns: int) -> dict[str, object]:
    spec, stats, past = market.spec, market.stats, market.history
    p, q = spec.price_decimals, spec.size_decimals
    change = stats.last - stats.open
    bid, ask = market.bids.best, market.asks.best
    return {
        "symbol": symbol, "priceChange": ("-" if change < 0 else "") + eight(abs(change), p),
        "priceChangePercent": f"{100 * change / stats.open:.3f}",
        "weightedAvgPrice": eight(stats.notional // max(1, stats.volume), p), "prevClosePrice": eight(stats.open, p),
        "lastPrice": eight(stats.last, p), "lastQty": eight(past[-1].size, q), "bidPrice": eight(bid, p),
        "bidQty": eight(market.bids.size(bid), q), "askPrice": eight(ask, p),
        "askQty": eight(market.asks.size(ask), q), "openPrice": eight(stats.open, p), "highPrice": eight(stats.high, p),
        "lowPrice": eight(stats.low, p), "volume": eight(stats.volume, q),
        "quoteVolume": text(stats.notional, p + q), "openTime": now_ns // 1_000_000 - 86_400_000,
        "closeTime": now_ns // 1_000_000, "firstId": past[0].id, "lastId": past[-1].id, "count": stats.trades,
    }  # fmt: skip


def _page(market: SymbolMarket, query: dict[str, str], first: int | None) -> list[Trade]:
    limit = min(_PAGE, int(query.get("limit", "500")))
    past = market.past
    if first is None:
        return list(islice(past, max(0, len(past) - limit), None))
    return list(islice((trade for trade in past if trade.id >= first), limit))


def _trades(market: SymbolMarket, path: str, query: dict[str, str]) -> Response:
    first = int(query["fromId"]) if path == "/api/v3/historicalTrades" and "fromId" in query else None
    p, q = market.spec.price_decimals, market.spec.size_decimals
    return _json(
        [
            {
                "id": trade.id, "price": eight(trade.price, p), "qty": eight(trade.size, q),
                "quoteQty": eight(trade.price * trade.size // 10**q, p), "time": trade.ts_ns // 1_000_000,
                "isBuyerMaker": trade.taker == "s", "isBestMatch": True,
            }
            for trade in _page(market, query, first)
        ]
    )  # fmt: skip


def _candles(market: SymbolMarket, query: dict[str, str]) -> Response:
    """Answer with candles of minutes, oldest first."""
    first, last = int(query.get("startTime", "0")) // 1000, int(query.get("endTime", str(2**40))) // 1000
    p, q = market.spec.price_decimals, market.spec.size_decimals
    rows: list[list[object]] = []
    for minute, trades in minutes(market.history, first, last):
        prices = [one.price for one in trades]
        shown = [eight(price, p) for price in (prices[0], max(prices), min(prices), prices[-1])]
        volume = eight(sum(one.size for one in trades), q)
        rows.append([minute * 1000, *shown, volume, minute * 1000 + 59_999, "0", len(trades), "0", "0", "0"])
    return _json(rows)


def _aggregates(market: SymbolMarket, query: dict[str, str]) -> Response:
    """Answer with aggregates. Each print is one: the market prints one taker's fills at one price once."""
    p, q = market.spec.price_decimals, market.spec.size_decimals
    if "startTime" in query or "endTime" in query:
        since, until = int(query.get("startTime", "0")), int(query.get("endTime", str(2**63)))
        limit = min(_PAGE, int(query.get("limit", "500")))
        page = list(islice((one for one in market.past if since <= one.ts_ns // 1_000_000 <= until), limit))
    else:
        page = _page(market, query, int(query["fromId"]) - _AGGREGATES if "fromId" in query else None)
    return _json(
        [
            {
                "a": trade.id + _AGGREGATES, "p": eight(trade.price, p), "q": eight(trade.size, q), "f": trade.id,
                "l": trade.id, "T": trade.ts_ns // 1_000_000, "m": trade.taker == "s", "M": True,
            }
            for trade in page
        ]
    )  # fmt: skip
