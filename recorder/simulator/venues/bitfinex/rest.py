"""The public REST of Bitfinex that a recorder uses: pairs, platform status, tickers, trades and candles by time."""

from urllib.parse import unquote

import msgspec

from recorder.simulator.market import Spec, SymbolMarket, Trade, minutes
from recorder.simulator.venues.bitfinex.book import CHECKED, number
from recorder.simulator.wire import Request, Response

LARGEST_PAGE = 10_000
_USUAL_PAGE = 120


def answer(symbols: dict[str, SymbolMarket], request: Request, *, up: bool) -> Response:
    """Answer a request below `/v2`. A bad symbol or parameter gives status 500, as at the venue."""
    match unquote(request.path).strip("/").split("/"):
        case ["v2", "platform", "status"]:
            return Response(200, b"[%d]" % up)
        case ["v2", "conf", "pub:list:pair:exchange"]:
            return _json([[symbol[1:] for symbol in symbols]])
        case ["v2", "conf", "pub:info:pair"]:
            return _json([[[symbol[1:], _info(one.spec)] for symbol, one in symbols.items()]])
        case ["v2", "tickers"]:
            wanted = request.query.get("symbols", "ALL").split(",")
            rows = [
                f'["{symbol}",{ticker_row(one)}]'
                for symbol, one in symbols.items()
                if wanted == ["ALL"] or symbol in wanted
            ]
            return Response(200, f"[{','.join(rows)}]".encode())
        case ["v2", "trades", symbol, "hist"]:
            market = symbols.get(symbol)
            return _trades(market, request.query) if market is not None else _error("symbol: invalid")
        case ["v2", "candles", key, "hist"] if key.startswith("trade:1m:"):
            market = symbols.get(key.removeprefix("trade:1m:"))
            return _candles(market, request.query) if market is not None else _error("symbol: invalid")
    return Response(404, b'["error",10020,"path: invalid"]')


def ticker_row(market: SymbolMarket) -> str:
    """Return bid, size, ask, size, change, relative change, last, volume, high, low; sizes cover the best 25 levels."""
    spec, stats = market.spec, market.stats
    p, q = spec.price_decimals, spec.size_decimals
    sizes = [number(sum(size for _, size in side.levels(CHECKED)), q) for side in (market.bids, market.asks)]
    change = stats.last - stats.open
    sign = "-" if change < 0 else ""
    relative = number(abs(change) * 10**8 // stats.open, 8)
    return (
        f"{number(market.bids.best, p)},{sizes[0]},{number(market.asks.best, p)},{sizes[1]},"
        f"{sign}{number(abs(change), p)},{sign}{relative},{number(stats.last, p)},{number(stats.volume, q)},"
        f"{number(stats.high, p)},{number(stats.low, p)}"
    )


def trade_row(spec: Spec, trade: Trade) -> str:
    """Return `[id, ms, amount, price]`; a negative amount was sold by the taker."""
    sign = "-" if trade.taker == "s" else ""
    amount, price = number(trade.size, spec.size_decimals), number(trade.price, spec.price_decimals)
    return f"[{trade.id},{trade.ts_ns // 1_000_000},{sign}{amount},{price}]"


def _info(spec: Spec) -> list[str | None]:
    least = number(max(1, round(spec.usual_size * 10**spec.size_decimals / 500)), spec.size_decimals)
    return [None, None, None, least, f"{spec.usual_size * 40_000}", None, None, None, None, None, None, None]


def _trades(market: SymbolMarket, query: dict[str, str]) -> Response:
    try:
        start, end = int(query.get("start", "0")), int(query.get("end", str(1 << 62)))
        limit, oldest_first = int(query.get("limit", str(_USUAL_PAGE))), query.get("sort", "-1") == "1"
    except ValueError:
        return _error("time_interval: invalid")
    if not 0 < limit <= LARGEST_PAGE:
        return _error("limit: invalid")
    found = [trade for trade in market.past if start <= trade.ts_ns // 1_000_000 <= end]
    page = found[:limit] if oldest_first else found[: -limit - 1 : -1]
    return Response(200, f"[{','.join(trade_row(market.spec, trade) for trade in page)}]".encode())


def _candles(market: SymbolMarket, query: dict[str, str]) -> Response:
    """Answer with candles of minutes, oldest first: time, open, close, high, low, volume."""
    try:
        first, last = int(query.get("start", "0")) // 1000, int(query.get("end", str(1 << 50))) // 1000
        limit = int(query.get("limit", str(_USUAL_PAGE)))
    except ValueError:
        return _error("time_interval: invalid")
    p, q = market.spec.price_decimals, market.spec.size_decimals
    rows = []
    for minute, trades in minutes(market.history, first, last)[:limit]:
        prices = [one.price for one in trades]
        shown = ",".join(number(one, p) for one in (prices[0], prices[-1], max(prices), min(prices)))
        rows.append(f"[{minute * 1000},{shown},{number(sum(one.size for one in trades), q)}]")
    return Response(200, f"[{','.join(rows)}]".encode())


def _error(message: str) -> Response:
    return Response(500, msgspec.json.encode(["error", 10020, message]))


def _json(content: object) -> Response:
    return Response(200, msgspec.json.encode(content))
