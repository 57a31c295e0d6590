"""The public REST of OKX that a recorder uses. The status is 200 even for an error, whose number is `code`."""

from collections.abc import Iterator, Mapping

import msgspec

from recorder.simulator.market import SymbolMarket, minutes, text
from recorder.simulator.venues.okx.book import DEPTH, rows
from recorder.simulator.venues.okx.fills import fills, plain
from recorder.simulator.wire import Request, Response

_KINDS = ("SPOT", "SWAP", "FUTURES", "OPTION")
_SIDE = {"b": "buy", "s": "sell"}
_LATEST, _HISTORY = 500, 100  # rows of a page at most
_LISTED_MS = 1548133413000


def kind_of(symbol: str) -> str:
    """Return the instType of an instrument."""
    return "SWAP" if symbol.endswith("-SWAP") else "SPOT"


def answer(
    symbols: Mapping[str, SymbolMarket], sequences: Mapping[str, int], request: Request, now_ns: int
) -> Response:
    """Answer `/api/v5/...`.

    Args:
        symbols: Markets by instId.
        sequences: seqId of their books.
        request: The request.
        now_ns: The venue's time.
    """
    query, now_ms = request.query, now_ns // 1_000_000
    match request.path.removeprefix("/api/v5/"):
        case "public/time":
            return _data(f'{{"ts":"{now_ms}"}}')
        case "system/status":
            return _data()
        case "public/instruments" | "market/tickers" as path:
            kind = query.get("instType", "")
            if kind not in _KINDS:
                return _error("51000", "Parameter instType error")
            chosen = {name: one for name, one in symbols.items() if kind_of(name) == kind}
            if path == "market/tickers":
                return _data(*[ticker(name, one, now_ms) for name, one in chosen.items()])
            if "instId" in query and query["instId"] not in chosen:
                return _error("51001", "Instrument ID does not exist")
            wanted = [name for name in chosen if query.get("instId", name) == name]
            return _data(*[_instrument(name, chosen[name]) for name in wanted])
        case (
            "market/ticker" | "market/books" | "market/trades" | "market/history-trades" | "market/history-candles"
        ) as path:
            name = query.get("instId", "")
            if name not in symbols:
                return _error("51001", "Instrument ID does not exist")
        case _:
            return Response(404, b'{"msg":"API endpoint does not exist","code":"404"}')
    market = symbols[name]
    try:
        match path:
            case "market/ticker":
                return _data(ticker(name, market, now_ms))
            case "market/books":
                return _data(_book(market, min(DEPTH, int(query.get("sz", "1"))), sequences[name], now_ms))
            case "market/trades":
                return _data(*_trades(name, market, {}, min(_LATEST, int(query.get("limit", "100")))))
            case "market/history-candles":
                return _data(*_candles(market, query, now_ns))
        return _data(*_trades(name, market, query, min(_HISTORY, int(query.get("limit", "100")))))
    except ValueError:
        return _error("51000", "Parameter error")


def _data(*rows_of_it: str) -> Response:
    return Response(200, f'{{"code":"0","msg":"","data":[{",".join(rows_of_it)}]}}'.encode())


def _error(code: str, why: str) -> Response:
    return Response(200, msgspec.json.encode({"code": code, "msg": why, "data": []}))


def ticker(symbol: str, market: SymbolMarket, ts_ms: int) -> str:
    """Return a row of `tickers`, for the socket and for REST."""
    spec, stats, last = market.spec, market.stats, market.history[-1]
    p, q = spec.price_decimals, spec.size_decimals
    bid, ask = market.bids.best, market.asks.best
    opened, notional = plain(stats.open, p), plain(stats.notional, p + q)
    return (
        f'{{"instType":"{kind_of(symbol)}","instId":"{symbol}","last":"{plain(last.price, p)}",'
        f'"lastSz":"{plain(last.size, q)}","askPx":"{plain(ask, p)}","askSz":"{plain(market.asks.size(ask), q)}",'
        f'"bidPx":"{plain(bid, p)}","bidSz":"{plain(market.bids.size(bid), q)}","open24h":"{opened}",'
        f'"high24h":"{plain(stats.high, p)}","low24h":"{plain(stats.low, p)}","sodUtc0":"{opened}",'
        f'"sodUtc8":"{opened}","volCcy24h":"{notional}","vol24h":"{plain(stats.volume, q)}","ts":"{ts_ms}"}}'
    )


def _instrument(symbol: str, market: SymbolMarket) -> str:
    """Return a row of the list; fields that do not apply are empty strings."""
    spec = market.spec
    spot = kind_of(symbol) == "SPOT"
    quote = spec.quote.split("-")[0]
    step = text(1, spec.size_decimals)
    return msgspec.json.encode(
        {
            "instType": kind_of(symbol), "instId": symbol, "uly": "" if spot else f"{spec.base}-{quote}",
            "instFamily": "" if spot else f"{spec.base}-{quote}", "baseCcy": spec.base if spot else "",
            "quoteCcy": quote if spot else "", "settleCcy": "" if spot else quote, "ctVal": "" if spot else "0.01",
            "ctMult": "" if spot else "1", "ctValCcy": "" if spot else spec.base, "ctType": "" if spot else "linear",
            "optType": "", "stk": "", "listTime": str(_LISTED_MS), "expTime": "", "lever": "10",
            "tickSz": plain(spec.tick, spec.price_decimals), "lotSz": step, "minSz": step, "alias": "",
            "state": "live", "ruleType": "normal", "maxLmtSz": "9999999999", "maxMktSz": "1000000",
        }
    ).decode()  # fmt: skip


def _book(market: SymbolMarket, depth: int, sequence: int, ts_ms: int) -> str:
    asks, bids = rows(market, market.asks.levels(depth)), rows(market, market.bids.levels(depth))
    return f'{{"asks":[{asks}],"bids":[{bids}],"ts":"{ts_ms}","seqId":{sequence}}}'


def _candles(market: SymbolMarket, query: dict[str, str], now_ns: int) -> Iterator[str]:
    """Answer with candles of minutes, newest first, older than `after` and newer than `before`."""
    after, before = int(query.get("after", str(1 << 50))), int(query.get("before", "0"))
    limit = min(_HISTORY, int(query.get("limit", "100")))
    p, q = market.spec.price_decimals, market.spec.size_decimals
    inside = [
        one for one in minutes(market.history, before // 1000, after // 1000) if before < one[0] * 1000 < after
    ]  # fmt: skip
    for minute, trades in inside[: -limit - 1 : -1]:
        prices = [one.price for one in trades]
        shown = ",".join(f'"{plain(one, p)}"' for one in (prices[0], max(prices), min(prices), prices[-1]))
        volume = plain(sum(one.size for one in trades), q)
        confirmed = int(now_ns // 1_000_000_000 >= minute + 60)
        yield f'["{minute * 1000}",{shown},"{volume}","{volume}","0","{confirmed}"]'


def _trades(symbol: str, market: SymbolMarket, query: dict[str, str], limit: int) -> Iterator[str]:
    """Answer with single fills, newest first: older than `after`, newer than `before`, by id or (`type=2`) by time."""
    p, q = market.spec.price_decimals, market.spec.size_decimals
    by_time = query.get("type", "1") == "2"
    after = int(query["after"]) if "after" in query else None
    before = int(query["before"]) if "before" in query else None
    given = 0
    for trade in reversed(market.past):
        ts_ms = trade.ts_ns // 1_000_000
        for number, size in reversed(fills(trade.id, trade.size)):
            place = ts_ms if by_time else number
            if given == limit or (before is not None and place <= before):
                return
            if after is not None and place >= after:
                continue
            given += 1
            yield (
                f'{{"instId":"{symbol}","side":"{_SIDE[trade.taker]}","sz":"{plain(size, q)}",'
                f'"px":"{plain(trade.price, p)}","source":"0","tradeId":"{number}","ts":"{ts_ms}"}}'
            )
