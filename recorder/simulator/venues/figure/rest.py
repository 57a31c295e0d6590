"""The public REST of Figure Markets that a recorder uses: markets in pages, trades by time, a book with its time."""

import calendar
import hashlib
import re
import time
import zlib

import msgspec

from recorder.simulator.market import Spec, SymbolMarket, Trade, text
from recorder.simulator.rfc3339 import rfc3339
from recorder.simulator.wire import Request, Response

LARGEST_PAGE = 50
_LARGEST_HISTORY = 200
_BASES = ("/public/v1", "/service-hft-exchange/api/v1")  # of api.figuremarkets.com and of the web app
_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_ID_BITS = 50
_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?Z")
UNIT = {"HASH": "nhash", "USD": "uusd.trading", "USDC": "uusdc.figure.se"}


def text_id(symbol: str, number: int) -> str:
    """Return the venue's id of a trade: a text without an order, different for every number and market."""
    mixed = (number * 16 + (zlib.crc32(symbol.encode()) & 15)) * 0x9E3779B97F4A7C15 % (1 << _ID_BITS)
    return f"4{''.join(_DIGITS[mixed >> shift & 31] for shift in range(0, _ID_BITS, 5))}R"


def stamp_ns(ts_ns: int) -> int:
    """Return the market's microseconds with the nanoseconds of a block, which all its trades share."""
    return ts_ns + ts_ns // 1000 % 1000


def stamp(ts_ns: int) -> str:
    """Return a time as RFC 3339 with nine decimals."""
    return f"{rfc3339(ts_ns)[:-1]}{ts_ns % 1000:03d}Z"


def answer(symbols: dict[str, SymbolMarket], others: dict[str, str], request: Request, now_ns: int) -> Response:
    """Answer a request below any of the venue's base paths.

    Args:
        symbols: The markets with a book, by symbol.
        others: The types of markets without a book, by symbol.
        request: The request.
        now_ns: The venue's time.
    """
    path = request.path
    for base in _BASES:
        path = path.removeprefix(base)
    match path.strip("/").split("/"):
        case ["markets"]:
            return _markets(symbols, others, request.query)
        case ["markets", symbol, "orderbook"]:
            return _book(symbols[symbol], request.query, now_ns) if symbol in symbols else _unknown(symbol)
        case ["markets", symbol]:
            return _json(_market(symbol, symbols[symbol])) if symbol in symbols else _unknown(symbol)
        case ["trades", symbol]:
            return _trades(symbol, symbols[symbol], request.query) if symbol in symbols else _unknown(symbol)
    return _error(404, "Not Found")


def _markets(symbols: dict[str, SymbolMarket], others: dict[str, str], query: dict[str, str]) -> Response:
    try:
        page, size = int(query.get("page", "1")), int(query.get("size", str(LARGEST_PAGE)))
    except ValueError:
        return _error(400, "page and size are numbers")
    if not (0 < size <= LARGEST_PAGE and page > 0):
        return _error(400, f"size must be between 1 and {LARGEST_PAGE}, page at least 1")
    rows = [_market(symbol, one) for symbol, one in symbols.items()] + [
        {
            "id": symbol, "symbol": symbol, "displayName": symbol, "denom": f"pm.{symbol.lower()}",
            "quoteDenom": UNIT["USD"], "marketType": kind, "status": "OPEN", "pricePrecision": 4,
            "lastTradedPrice": "0", "midMarketPrice": "0", "volume24h": "0", "baseVolume24h": "0", "high24h": "0",
            "low24h": "0", "tradeCount24h": 0, "marketLocations": ["US"],
        }
        for symbol, kind in others.items()
    ]  # fmt: skip
    for parameter, name in (("market_type", "marketType"), ("base_asset", "baseAsset")):
        if parameter in query:
            rows = [row for row in rows if row.get(name) == query[parameter]]
    pagination = {"page": page, "size": size, "totalPages": -(-len(rows) // size), "totalCount": len(rows)}
    return _json({"data": rows[(page - 1) * size : page * size], "pagination": pagination})


def _market(symbol: str, market: SymbolMarket) -> dict[str, object]:
    spec, stats = market.spec, market.stats
    p, q = spec.price_decimals, spec.size_decimals
    bid, ask = market.bids.best, market.asks.best
    return {
        "id": symbol, "symbol": symbol, "displayName": f"{spec.base}-{spec.quote}", "denom": unit(spec.base),
        "quoteDenom": unit(spec.quote), "marketType": "CRYPTO", "status": "OPEN", "pricePrecision": p,
        "lastTradedPrice": text(stats.last, p), "bestBid": text(bid, p), "bestAsk": text(ask, p),
        "midMarketPrice": text((bid + ask) * 5, p + 1), "indexPrice": text(stats.last, p),
        "volume24h": text(stats.notional, p + q), "baseVolume24h": text(stats.volume, q),
        "high24h": text(stats.high, p), "low24h": text(stats.low, p), "tradeCount24h": stats.trades,
        "baseAsset": spec.base, "quoteAsset": spec.quote, "marketLocations": ["US"],
    }  # fmt: skip


def unit(asset: str) -> str:
    """Return the denomination in which an asset settles, its smallest unit."""
    return UNIT.get(asset, f"n{asset.lower()}.figure.se")


def _book(market: SymbolMarket, query: dict[str, str], now_ns: int) -> Response:
    try:
        depth = 1 if query.get("level") == "1" else int(query.get("depth", "0")) or None
    except ValueError:
        return _error(400, "depth is a number")
    sides = {
        name: [_level(market.spec, level) for level in side.levels(depth)]
        for name, side in (("bids", market.bids), ("asks", market.asks))
    }
    return _json({**sides, "timestamp": stamp(stamp_ns(now_ns // 1000 * 1000))})


def _level(spec: Spec, level: tuple[int, int]) -> dict[str, float]:
    quantity = float(text(level[1], spec.size_decimals))
    return {"price": float(text(level[0], spec.price_decimals)), "quantity": quantity, "totalQuantity": quantity}


def _trades(symbol: str, market: SymbolMarket, query: dict[str, str]) -> Response:
    try:
        size = int(query.get("size", str(_LARGEST_HISTORY)))
        start_ns, end_ns = (_ns(query.get(name, "")) for name in ("start_date", "end_date"))
    except ValueError:
        return _error(400, "invalid date or size")
    if not 0 < size <= _LARGEST_HISTORY:
        return _error(400, f"size must be between 1 and {_LARGEST_HISTORY}")
    found = [
        trade
        for trade in market.past
        if (start_ns or 0) <= stamp_ns(trade.ts_ns) and (end_ns is None or stamp_ns(trade.ts_ns) <= end_ns)
    ]
    page = found[:size] if start_ns is not None else found[-size:]
    matches = [_match(symbol, market.spec, trade) for trade in page]
    body = {"denom": unit(market.spec.base), "symbol": symbol, "marketId": symbol, "matches": matches}
    return _json(body)


def _match(symbol: str, spec: Spec, trade: Trade) -> dict[str, str]:
    name = text_id(symbol, trade.id)
    return {
        "id": name, "price": text(trade.price, spec.price_decimals), "quantity": text(trade.size, spec.size_decimals),
        "created": stamp(stamp_ns(trade.ts_ns)),
        "settlementTxHash": hashlib.sha256(name.encode()).hexdigest().upper(),
    }  # fmt: skip


def _ns(date: str) -> int | None:
    """Return the nanoseconds of a date parameter, None where it is absent.

    Raises:
        ValueError: the parameter is not a date.
    """
    if not date:
        return None
    found = _TIME.fullmatch(date)
    if found is None:
        raise ValueError(date)
    seconds = calendar.timegm(time.strptime(found[1], "%Y-%m-%dT%H:%M:%S"))
    return seconds * 1_000_000_000 + int((found[2] or "").ljust(9, "0"))


def _unknown(symbol: str) -> Response:
    return _error(404, f"No market for {symbol}")


def _error(status: int, words: str) -> Response:
    return _json({"errors": [words]}, status)


def _json(content: object, status: int = 200) -> Response:
    return Response(status, msgspec.json.encode(content))
