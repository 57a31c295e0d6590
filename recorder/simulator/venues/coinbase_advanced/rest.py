"""The public REST of Coinbase Advanced Trade that a recorder uses: products, a book, recent trades."""

from collections.abc import Mapping

import msgspec

from recorder.simulator.market import Spec, SymbolMarket, short_text, text
from recorder.simulator.rfc3339 import rfc3339_nano
from recorder.simulator.wire import Request, Response

_PAGE = 1000
_MAKER = {"b": "SELL", "s": "BUY"}


def answer(
    symbols: Mapping[str, SymbolMarket], canonical: Mapping[str, str], request: Request, now_ns: int
) -> Response:
    """Answer `/api/v3/brokerage/market/...`. The answer for an alias has the figures of its product."""
    try:
        match request.path.removeprefix("/api/v3/brokerage/market/").split("/"):
            case ["products"]:
                return _products(symbols, canonical, request.query)
            case ["products", name] if canonical.get(name, name) in symbols:
                product = _product(name, symbols[canonical.get(name, name)], canonical)
                return Response(200, msgspec.json.encode(product))
            case ["products", name, "ticker"] if canonical.get(name, name) in symbols:
                return _ticker(name, symbols[canonical.get(name, name)], request.query)
            case ["product_book"] if canonical.get(name := request.query.get("product_id", ""), name) in symbols:
                return _book(name, symbols[canonical.get(name, name)], request.query, now_ns)
    except ValueError as error:
        return _error(400, "INVALID_ARGUMENT", str(error))
    return _error(404, "NOT_FOUND", "product not found")


def _error(status: int, code: str, words: str) -> Response:
    body = {"error": code, "error_details": words, "message": words}
    return Response(status, msgspec.json.encode(body))


def _products(symbols: Mapping[str, SymbolMarket], canonical: Mapping[str, str], query: dict[str, str]) -> Response:
    """Answer with all products, or those of `limit` and `offset`."""
    names = [*symbols, *canonical]
    offset, limit = int(query.get("offset", "0")), int(query.get("limit", "0")) or len(names)
    rows = [_product(name, symbols[canonical.get(name, name)], canonical) for name in names[offset : offset + limit]]
    return Response(200, msgspec.json.encode({"products": rows, "num_products": len(names)}))


def _product(name: str, market: SymbolMarket, canonical: Mapping[str, str]) -> dict[str, object]:
    """Return a product. The `alias` of BTC-USDC is BTC-USD, and its `alias_to` lists BTC-USDC (captured 2026-08-09)."""
    spec, stats = market.spec, market.stats
    p, q = spec.price_decimals, spec.size_decimals
    base, quote = name.split("-")
    change = f"{100 * (stats.last - stats.open) / stats.open:.14f}"
    return {
        "product_id": name, "price": short_text(stats.last, p), "price_percentage_change_24h": change,
        "volume_24h": short_text(stats.volume, q), "volume_percentage_change_24h": "0", "base_increment": text(1, q),
        "quote_increment": text(spec.tick, p), "quote_min_size": "1", "quote_max_size": "150000000",
        "base_min_size": text(1, q), "base_max_size": "3400", "base_name": base, "quote_name": quote,
        "watched": False, "is_disabled": False, "new": False, "status": "online", "cancel_only": False,
        "limit_only": False, "post_only": False, "trading_disabled": False, "auction_mode": False,
        "product_type": "SPOT", "quote_currency_id": quote, "base_currency_id": base,
        "fcm_trading_session_details": None, "mid_market_price": "", "alias": canonical.get(name, ""),
        "alias_to": [alias for alias, of in canonical.items() if of == name], "base_display_symbol": base,
        "quote_display_symbol": quote, "view_only": False, "price_increment": text(spec.tick, p),
        "display_name": name, "product_venue": "CBE", "approximate_quote_24h_volume": _notional(spec, stats.notional),
        "high_24h": short_text(stats.high, p), "low_24h": short_text(stats.low, p),
    }  # fmt: skip


def _notional(spec: Spec, notional: int) -> str:
    return f"{notional / 10 ** (spec.price_decimals + spec.size_decimals):.2f}"


def _book(name: str, market: SymbolMarket, query: dict[str, str], now_ns: int) -> Response:
    spec = market.spec
    p, q = spec.price_decimals, spec.size_decimals
    limit = int(query.get("limit", "0")) or None
    bids, asks = (
        [{"price": short_text(price, p), "size": short_text(size, q)} for price, size in side.levels(limit)]
        for side in (market.bids, market.asks)
    )
    bid, ask = market.bids.best, market.asks.best
    middle = short_text((bid + ask) * 5, p + 1)
    body = {
        "pricebook": {
            "product_id": name, "bids": bids, "asks": asks, "time": rfc3339_nano(now_ns // 1000 * 1000),
        },
        "last": short_text(market.stats.last, p), "mid_market": middle,
        "spread_bps": f"{(ask - bid) / (ask + bid) * 20_000:.12f}", "spread_absolute": short_text(ask - bid, p),
    }  # fmt: skip
    return Response(200, msgspec.json.encode(body))


def _ticker(name: str, market: SymbolMarket, query: dict[str, str]) -> Response:
    """Answer with the trades between the unix seconds `start` and `end`, newest first."""
    limit = min(_PAGE, int(query.get("limit", "100")))
    start, end = int(query.get("start", "0")), int(query.get("end", str(1 << 40)))
    spec = market.spec
    p, q = spec.price_decimals, spec.size_decimals
    chosen = [trade for trade in reversed(market.past) if start <= trade.ts_ns // 10**9 <= end][:limit]
    rows = [
        {
            "trade_id": str(trade.id), "product_id": name, "price": short_text(trade.price, p),
            "size": short_text(trade.size, q), "time": rfc3339_nano(trade.ts_ns), "side": _MAKER[trade.taker],
            "exchange": "",
        }
        for trade in chosen
    ]  # fmt: skip
    body = {
        "trades": rows, "best_bid": short_text(market.bids.best, p), "best_ask": short_text(market.asks.best, p)
    }  # fmt: skip
    return Response(200, msgspec.json.encode(body))
