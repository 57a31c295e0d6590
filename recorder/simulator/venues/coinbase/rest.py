"""The public REST of Coinbase Exchange that a recorder uses: products, their figures, trades by cursor."""

import calendar
import time
from collections.abc import Mapping

import msgspec

from recorder.simulator.market import Spec, SymbolMarket, Trade, minutes, text
from recorder.simulator.rfc3339 import rfc3339
from recorder.simulator.wire import Request, Response

MAKER = {"b": "sell", "s": "buy"}  # the resting side of a taker
_PAGE = 1000
_TIME = "%Y-%m-%dT%H:%M:%SZ"


def answer(symbols: Mapping[str, SymbolMarket], request: Request) -> Response:
    """Answer `/products`, `/products/stats`, `/products/ID`, its `trades?limit=&after=&before=` and `book?level=2`."""
    match request.path.strip("/").split("/"):
        case ["products"]:
            return Response(200, msgspec.json.encode([_product(name, one.spec) for name, one in symbols.items()]))
        case ["products", "stats"]:
            stats = {name: {"stats_24hour": _stats(one)} for name, one in symbols.items()}
            return Response(200, msgspec.json.encode(stats))
        case ["products", symbol] if symbol in symbols:
            return Response(200, msgspec.json.encode(_product(symbol, symbols[symbol].spec)))
        case ["products", symbol, "trades"] if symbol in symbols:
            return _trades(symbols[symbol], request.query)
        case ["products", symbol, "candles"] if symbol in symbols:
            return _candles(symbols[symbol], request.query)
        case ["products", symbol, "book"] if symbol in symbols and request.query.get("level") == "2":
            return _book(symbols[symbol])
    return Response(404, b'{"message":"NotFound"}')


def _product(name: str, spec: Spec) -> dict[str, str | bool]:
    return {
        "id": name, "base_currency": spec.base, "quote_currency": spec.quote,
        "quote_increment": text(spec.tick, spec.price_decimals), "base_increment": text(1, spec.size_decimals),
        "display_name": f"{spec.base}/{spec.quote}", "min_market_funds": "1", "margin_enabled": False,
        "post_only": False, "limit_only": False, "cancel_only": False, "status": "online", "status_message": "",
        "trading_disabled": False, "fx_stablecoin": False, "auction_mode": False,
    }  # fmt: skip


def _stats(market: SymbolMarket) -> dict[str, str]:
    """Return the figures since the market opened; `volume` is in base units."""
    spec, stats = market.spec, market.stats
    prices = {"open": stats.open, "high": stats.high, "low": stats.low, "last": stats.last}
    shown = {name: text(price, spec.price_decimals) for name, price in prices.items()}
    return shown | {"volume": text(stats.volume, spec.size_decimals)}


def _book(market: SymbolMarket) -> Response:
    """Answer with all levels, each with its price, size and number of orders."""
    p, q = market.spec.price_decimals, market.spec.size_decimals
    sides = {
        name: [[text(price, p), text(size, q), 1] for price, size in side.levels()]
        for name, side in (("bids", market.bids), ("asks", market.asks))
    }
    more = {"sequence": market.sequence, "auction_mode": False, "auction": None}
    return Response(200, msgspec.json.encode(sides | more))


def _candles(market: SymbolMarket, query: dict[str, str]) -> Response:
    """Answer with candles of minutes, newest first: time, low, high, open, close, volume."""
    try:
        first, last = (calendar.timegm(time.strptime(query[name], _TIME)) for name in ("start", "end"))
    except (KeyError, ValueError):
        return Response(400, b'{"message":"granularity, start and end are needed"}')
    p, q = market.spec.price_decimals, market.spec.size_decimals
    rows = []
    for minute, trades in minutes(market.history, first, last):
        prices = [one.price for one in trades]
        shown = (min(prices), max(prices), prices[0], prices[-1])
        volume = text(sum(one.size for one in trades), q)
        rows.append(f"[{minute},{','.join(text(price, p) for price in shown)},{volume}]")
    return Response(200, f"[{','.join(reversed(rows))}]".encode())


def _trades(market: SymbolMarket, query: dict[str, str]) -> Response:
    """Answer with trades, newest first: older than `after`, newer than `before`."""
    try:
        limit = min(_PAGE, int(query.get("limit", str(_PAGE))))
        after = int(query["after"]) if "after" in query else None
        before = int(query["before"]) if "before" in query else None
    except ValueError:
        return Response(400, b'{"message":"invalid pagination"}')
    page: list[Trade] = []
    for trade in reversed(market.past):
        if len(page) == limit or (before is not None and trade.id <= before):
            break
        if after is None or trade.id < after:
            page.append(trade)
    spec = market.spec
    rows = [
        {
            "trade_id": trade.id, "side": MAKER[trade.taker], "size": text(trade.size, spec.size_decimals),
            "price": text(trade.price, spec.price_decimals), "time": rfc3339(trade.ts_ns),
        }
        for trade in page
    ]  # fmt: skip
    headers = {"CB-BEFORE": str(page[0].id), "CB-AFTER": str(page[-1].id)} if page else {}
    return Response(200, msgspec.json.encode(rows), headers)
