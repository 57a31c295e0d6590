"""The public REST of Kraken that a recorder uses: pairs, tickers, trades, candles. The status is always 200."""

import msgspec

from recorder.simulator.market import Market, Spec, SymbolMarket, Trade, minutes, text
from recorder.simulator.wire import Request, Response

_V1 = {"BTC": "XBT", "DOGE": "XDG"}
_FIAT = {"USD"}
_PAGE = 1000
_CANDLES = 720


def answer(market: Market, request: Request) -> Response:
    """Answer `AssetPairs`, `Ticker`, `Trades?pair=&since=&count=` and `OHLC?pair=&interval=1&since=` of `/0/public`."""
    match request.path:
        case "/0/public/AssetPairs":
            return _result({legacy_id(one.spec): _pair(one.spec) for one in market.symbols})
        case "/0/public/Ticker":
            return _result({legacy_id(one.spec): _ticker(one) for one in market.symbols})
        case "/0/public/Trades":
            return _trades(market, request.query)
        case "/0/public/OHLC":
            return _candles(market, request.query)
    return _error("EGeneral:Unknown method")


def altname(spec: Spec) -> str:
    """Return a name like XBTUSD."""
    return _V1.get(spec.base, spec.base) + _V1.get(spec.quote, spec.quote)


def legacy_id(spec: Spec) -> str:
    """Return a name like XXBTZUSD."""

    def long(name: str) -> str:
        short = _V1.get(name, name)
        return ("Z" if name in _FIAT else "X") + short if len(short) == 3 and name != "SOL" else short

    return altname(spec) if spec.base == "SOL" else long(spec.base) + long(spec.quote)


def _result(result: object) -> Response:
    return Response(200, msgspec.json.encode({"error": [], "result": result}))


def _error(message: str) -> Response:
    return Response(200, msgspec.json.encode({"error": [message]}))


def _pair(spec: Spec) -> dict[str, object]:
    return {
        "altname": altname(spec), "wsname": f"{_V1.get(spec.base, spec.base)}/{_V1.get(spec.quote, spec.quote)}",
        "aclass_base": "currency", "base": legacy_id(spec)[: len(legacy_id(spec)) // 2], "aclass_quote": "currency",
        "quote": legacy_id(spec)[len(legacy_id(spec)) // 2 :], "pair_decimals": spec.price_decimals,
        "cost_decimals": 5, "lot_decimals": spec.size_decimals, "lot_multiplier": 1, "ordermin": "0.0001",
        "costmin": "0.5", "tick_size": text(spec.tick, spec.price_decimals), "status": "online",
    }  # fmt: skip


def _ticker(market: SymbolMarket) -> dict[str, object]:
    """Return a ticker. Volumes are in base units, of today and of 24 hours; here both are since the market opened."""
    spec, stats = market.spec, market.stats
    volume, last = text(stats.volume, spec.size_decimals), text(stats.last, spec.price_decimals)
    return {"c": [last, text(1, spec.size_decimals)], "v": [volume, volume], "t": [stats.trades, stats.trades]}


def _named(market: Market, query: dict[str, str]) -> SymbolMarket | None:
    wanted = query.get("pair", "")
    for one in market.symbols:
        if wanted in (altname(one.spec), legacy_id(one.spec), f"{one.spec.base}/{one.spec.quote}"):
            return one
    return None


def _candles(market: Market, query: dict[str, str]) -> Response:
    """Answer with the newest 720 minutes, the one that goes on included, whatever `since` says."""
    found = _named(market, query)
    if found is None:
        return _error("EQuery:Unknown asset pair")
    try:
        since = int(query.get("since", "0") or "0")
    except ValueError:
        return _error("EGeneral:Invalid arguments")
    p, q = found.spec.price_decimals, found.spec.size_decimals
    rows = []
    for minute, trades in minutes(found.history, since + 1, 1 << 40)[-_CANDLES:]:
        prices = [one.price for one in trades]
        shown = (prices[0], max(prices), min(prices), prices[-1], sum(prices) // len(prices))
        volume = text(sum(one.size for one in trades), q)
        rows.append([minute, *(text(price, p) for price in shown), volume, len(trades)])
    return _result({legacy_id(found.spec): rows, "last": rows[-1][0] if rows else since})


def _trades(market: Market, query: dict[str, str]) -> Response:
    found = _named(market, query)
    if found is None:
        return _error("EQuery:Unknown asset pair")
    try:
        since = int(query.get("since", "0") or "0")
        count = min(_PAGE, int(query.get("count", str(_PAGE))))
    except ValueError:
        return _error("EGeneral:Invalid arguments")
    if 0 < since < 10**12:
        since *= 10**9  # the venue accepts seconds too
    past = list(found.past)
    page = [trade for trade in past if trade.ts_ns > since][:count] if since else past[-count:]
    rows = ",".join(_row(found.spec, trade) for trade in page)
    last = page[-1].ts_ns if page else since
    body = f'{{"error":[],"result":{{"{legacy_id(found.spec)}":[{rows}],"last":"{last}"}}}}'
    return Response(200, body.encode())


def _row(spec: Spec, trade: Trade) -> str:
    price, size = text(trade.price, spec.price_decimals), text(trade.size, spec.size_decimals)
    kind = "m" if trade.id % 3 == 0 else "l"
    return f'["{price}","{size}",{trade.ts_ns / 1e9!r},"{trade.taker}","{kind}","",{trade.id}]'
