"""The simulated chart service of Yahoo Finance: `/v8/finance/chart/{symbol}`.

Kept from the original: the live quote as a last row off the grid, rows of nulls, a first minute without volume, prices
adjusted for later splits, a running day that is sometimes there twice, 429 as plain text to a bare client.
"""

from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from functools import lru_cache
from typing import ClassVar, Literal
from urllib.parse import unquote

import msgspec

from recorder.simulator.services.limits import Limit
from recorder.simulator.services.service import RestService, Truth, answer
from recorder.simulator.services.yahoo.bars import (
    MINUTE_S,
    STOCKS,
    Action,
    Bar,
    Stock,
    actions,
    day_bar,
    factor,
    float32,
    level,
    minute_bars,
)
from recorder.simulator.services.yahoo.calendar import Session
from recorder.simulator.wire import Request, Response
from recorder.truth import ServedBar

_DAY_S = 86_400
_MINUTES = {"1m": 1, "2m": 2, "5m": 5, "15m": 15, "30m": 30, "60m": 60, "90m": 90, "1h": 60}
_INTERVALS = ("1m", "2m", "5m", "15m", "30m", "60m", "90m", "1h", "1d", "5d", "1wk", "1mo", "3mo")
_RANGES = {"1d": 1, "5d": 5, "1mo": 30, "3mo": 91, "6mo": 182, "1y": 365, "2y": 730, "5y": 1826, "10y": 3652,
           "ytd": 0, "max": 3652}  # fmt: skip
_BACK_DAYS = {"1m": 30, "60m": 730, "1h": 730}  # how far back an interval reaches; 60 for the others
_SPAN_DAYS = 8  # the most of one request for minutes
_BARE = ("python-requests", "python-urllib", "python-httpx", "curl")
_FIRST = date(2016, 1, 4)  # of the daily history

Row = tuple[int, Bar | None]


class Refused(ValueError):
    """A request that is answered with an error of its own."""

    def __init__(self, status: int, code: str, words: str) -> None:
        super().__init__(words)
        self.status = status
        self.code = code


class Yahoo(RestService):
    """The chart service."""

    name: ClassVar[str] = "yahoo"
    limits: ClassVar[tuple[Limit, ...]] = (Limit("/v8/finance/chart", 60),)
    above: ClassVar[Literal["delay", "refuse"]] = "refuse"
    cached_s: ClassVar[dict[str, float]] = {"/v8/finance/chart": 10.0}

    def __init__(self, truth: Truth, seed: int) -> None:
        super().__init__(truth, limit_window_s=60.0)
        self._seed = seed

    def too_many(self) -> Response:
        """Return the answer to a request above the limit."""
        return Response(429, b"Too Many Requests\r\n", {"Content-Type": "text/plain"})

    def get(self, request: Request, now_ns: int) -> Response:
        """Answer a request."""
        agent = request.headers.get("user-agent", "").lower()
        if not agent or agent.startswith(_BARE):
            return self.too_many()
        match request.method, request.path.strip("/").split("/"):
            case "GET", ["v8", "finance", "chart", symbol]:
                try:
                    return self._chart(unquote(symbol), request, now_ns / 1e9)
                except Refused as refusal:
                    return _refusal(refusal.status, refusal.code, str(refusal))
            case "GET", ["v1", "test", "getcrumb"]:
                return Response(200, b"a1B2c3D4e5", {"Content-Type": "text/plain"})
        return _refusal(404, "Not Found", "HTTP 404 Not Found")

    def _chart(self, symbol: str, request: Request, now_s: float) -> Response:
        query = request.query
        stock = STOCKS.get(symbol)
        if stock is None:
            raise Refused(404, "Not Found", "No data found, symbol may be delisted")
        interval = query.get("interval", "1d")
        if interval not in _INTERVALS:
            words = (
                f"Invalid input - interval={interval[:20]} is not supported. Valid intervals: [{', '.join(_INTERVALS)}]"
            )
            raise Refused(400, "Bad Request", words)
        if query.get("range") == "max" and interval == "1d":
            interval = "1mo"  # without a word
        first_s, until_s = _window(stock, interval, query, now_s)
        if interval in _MINUTES:
            rows = self._minutes(stock, interval, first_s, until_s, now_s, query.get("includePrePost") == "true")
        else:
            rows = self._days(stock, interval, first_s, until_s, now_s)
        if not stock.trades:
            rows = []
        rule = self.faults.use("incomplete", request.path)
        if rule is not None:
            rows = rows[: int(len(rows) * (1 - rule.amount))]
        self._log(stock, interval, rows)
        events = [one for one in _actions(stock.symbol, first_s, until_s) if stock.trades and one.at_s <= now_s]
        chart = _Chart(self._seed, stock, interval, now_s).body(rows, events, query.get("range", ""))
        if self.faults.use("odd", request.path) is not None:
            _spoil(chart)
        return answer({"chart": {"result": [chart], "error": None}})

    # ---- rows

    def _sessions(self, stock: Stock, first_s: float, until_s: float) -> Iterator[Session]:
        exchange = stock.exchange
        yield from exchange.sessions(max(_FIRST, exchange.day(first_s)), exchange.day(until_s))

    def _minutes(
        self, stock: Stock, interval: str, first_s: float, until_s: float, now_s: float, outside: bool
    ) -> list[Row]:  # fmt: skip
        step_s = _MINUTES[interval] * MINUTE_S
        rows: list[Row] = []
        for session in self._sessions(stock, first_s, until_s):
            if outside and not stock.exchange.always:
                before = Session(session.day, session.open_s - 5 * 3600, session.open_s)
                rows += [
                    (at, bar and bar._replace(volume=0)) for at, bar in self._session(stock, before, step_s, now_s)
                ]
            rows += self._session(stock, session, step_s, now_s)
        rows = [(at, bar) for at, bar in rows if first_s <= at < until_s]
        session = stock.exchange.latest(now_s)
        live_s = int(now_s) - (1 if (int(now_s) - session.open_s) % step_s == 0 else 0)
        if rows and session.open_s < live_s < session.close_s and live_s < until_s:
            price = level(self._seed, stock, live_s)
            rows.append((live_s, Bar(live_s, price, price, price, price, 0, False)))
        return rows

    def _session(self, stock: Stock, session: Session, step_s: int, now_s: float) -> Iterator[Row]:
        for one in minute_bars(self._seed, stock, session, step_s, now_s):
            yield (one, None) if isinstance(one, int) else (one.start_s, one)

    def _days(self, stock: Stock, interval: str, first_s: float, until_s: float, now_s: float) -> list[Row]:
        bars = [
            day_bar(self._seed, stock, session, now_s)
            for session in self._sessions(stock, first_s, until_s)
            if first_s <= session.open_s < until_s and session.open_s <= now_s
        ]
        if interval != "1d":
            return _grouped(stock, interval, bars)
        rows: list[Row] = [(bar.start_s, bar) for bar in bars]
        session = stock.exchange.latest(now_s)
        running = bool(rows) and rows[-1][0] == session.open_s and now_s < session.close_s
        if running and int(now_s) // MINUTE_S % 3 == 0 and int(now_s) > session.open_s:
            rows.append((int(now_s), bars[-1]))  # the running day, again
        return rows

    def _log(self, stock: Stock, interval: str, rows: list[Row]) -> None:
        for at_s, bar in rows:
            if bar is None or not bar.final or not self.truth.once(stock.symbol, (interval, at_s)):
                continue
            shares = factor(stock, at_s)
            o, h, low, c = (float32(value / shares) for value in (bar.open, bar.high, bar.low, bar.close))
            self.truth.line(ServedBar(stock.symbol, interval, at_s, o, h, low, c, int(bar.volume * shares)))


@lru_cache(maxsize=256)
def _actions_of(symbol: str, first: date, last: date) -> tuple[Action, ...]:
    return tuple(actions(STOCKS[symbol], first, last))


def _actions(symbol: str, first_s: float, until_s: float) -> list[Action]:
    exchange = STOCKS[symbol].exchange
    first = max(_FIRST, exchange.day(first_s))
    found = _actions_of(symbol, first, exchange.day(until_s))
    return [one for one in found if first_s <= one.at_s < until_s]


def _refusal(status: int, code: str, words: str) -> Response:
    body = {"chart": {"result": None, "error": {"code": code, "description": words}}}
    return Response(status, msgspec.json.encode(body))


def _window(stock: Stock, interval: str, query: Mapping[str, str], now_s: float) -> tuple[float, float]:
    """Return the first second that is asked for, and the one after the last.

    Raises:
        Refused: the interval does not reach so far.
    """
    if "period1" in query or "period2" in query:
        try:
            first_s = float(query.get("period1", "0"))
            until_s = min(float(query.get("period2", str(now_s + 1))), now_s + _DAY_S)
        except ValueError:
            raise Refused(400, "Bad Request", "Invalid input - period1 and period2 are numbers") from None
        if not -1e12 < first_s < until_s:
            raise Refused(400, "Bad Request", "Invalid input - start date cannot be after end date")
    else:
        wanted = query.get("range", "1d")
        if wanted not in _RANGES:
            raise Refused(422, "Unprocessable Entity", f"Invalid range {wanted[:20]}")
        until_s = now_s + 1
        first_s = _range_start(stock, wanted, now_s)
    _check_reach(stock, interval, first_s, until_s, now_s)
    return first_s, until_s


def _range_start(stock: Stock, wanted: str, now_s: float) -> float:
    session = stock.exchange.latest(now_s)
    if wanted == "1d":
        return session.open_s
    first = date(session.day.year, 1, 1) if wanted == "ytd" else session.day - timedelta(days=_RANGES[wanted])
    if wanted == "5d":
        back = [one.open_s for one in stock.exchange.sessions(session.day - timedelta(days=15), session.day)]
        return back[-5]
    sessions = stock.exchange.sessions(first, session.day)
    return next(sessions, session).open_s


def _check_reach(stock: Stock, interval: str, first_s: float, until_s: float, now_s: float) -> None:
    if interval not in _MINUTES:
        return
    days = _BACK_DAYS.get(interval, 60)
    if now_s - first_s > days * _DAY_S:
        raise Refused(
            422, "Unprocessable Entity",
            f"{interval} data not available for startTime={int(first_s)} and endTime={int(until_s)}. The requested "
            f"range must be within the last {days} days.",
        )  # fmt: skip
    if interval == "1m" and until_s - first_s > _SPAN_DAYS * _DAY_S:
        raise Refused(
            422, "Unprocessable Entity",
            f"1m data not available for startTime={int(first_s)} and endTime={int(until_s)}. Only {_SPAN_DAYS} days "
            "worth of 1m granularity data are allowed to be fetched per request.",
        )  # fmt: skip


def _grouped(stock: Stock, interval: str, bars: list[Bar]) -> list[Row]:
    """Return weeks that begin on Monday, or months."""
    groups: dict[date, list[Bar]] = {}
    for bar in bars:
        day = stock.exchange.day(bar.start_s)
        months = {"1mo": 1, "3mo": 3}.get(interval)
        first = day - timedelta(days=day.weekday()) if months is None else _month(day, months)
        groups.setdefault(first, []).append(bar)
    rows: list[Row] = []
    for group in groups.values():
        high, low = max(bar.high for bar in group), min(bar.low for bar in group)
        volume = sum(bar.volume for bar in group)
        bar = Bar(group[0].start_s, group[0].open, high, low, group[-1].close, volume, False)
        rows.append((bar.start_s, bar))
    return rows


def _month(day: date, months: int) -> date:
    return date(day.year, (day.month - 1) // months * months + 1, 1)


class _Chart:
    """One answer: the rows of a stock as they look at one moment."""

    def __init__(self, seed: int, stock: Stock, interval: str, now_s: float) -> None:
        self._seed, self._stock, self._interval, self._now_s = seed, stock, interval, now_s
        self._shares = factor(stock, now_s)  # splits rescale the past
        self._session = stock.exchange.latest(now_s)

    def body(self, rows: list[Row], events: list[Action], wanted: str) -> dict[str, object]:
        """Return the `result` of the chart."""
        body: dict[str, object] = {"meta": self._meta(rows, wanted)}
        if rows:
            body["timestamp"] = [at for at, _ in rows]
        if events:
            body["events"] = self._events(events)
        indicators: dict[str, object] = {"quote": [self._quote(rows)]}
        if self._interval not in _MINUTES:
            indicators["adjclose"] = [{"adjclose": self._adjusted(rows)} if rows else {}]
        body["indicators"] = indicators
        return body

    def _price(self, value: float) -> float:
        return float32(value / self._shares)

    def _quote(self, rows: list[Row]) -> dict[str, object]:
        if not rows:
            return {}
        bars = [bar for _, bar in rows]
        return {
            "volume": [None if bar is None else int(bar.volume * self._shares) for bar in bars],
            "low": [None if bar is None else self._price(bar.low) for bar in bars],
            "close": [None if bar is None else self._price(bar.close) for bar in bars],
            "open": [None if bar is None else self._price(bar.open) for bar in bars],
            "high": [None if bar is None else self._price(bar.high) for bar in bars],
        }

    def _adjusted(self, rows: list[Row]) -> list[float | None]:
        """Return the closes, each lowered by the dividends that came after it."""
        first_s = rows[0][0] if rows else 0
        paid = [one for one in _actions(self._stock.symbol, first_s, self._now_s) if one.amount]
        found: list[float | None] = []
        for at_s, bar in rows:
            if bar is None:
                found.append(None)
                continue
            value = bar.close
            for one in paid:
                if one.at_s > at_s:
                    value *= 1 - one.amount / level(self._seed, self._stock, one.at_s - 1)
            found.append(self._price(value))
        return found

    def _events(self, events: list[Action]) -> dict[str, object]:
        dividends = {
            str(one.at_s): {"amount": round(one.amount / self._shares, 6), "date": one.at_s}
            for one in events
            if one.amount
        }
        splits = {
            str(one.at_s): {
                "date": one.at_s, "numerator": one.numerator, "denominator": one.denominator,
                "splitRatio": f"{one.numerator}:{one.denominator}",
            }
            for one in events
            if one.numerator
        }  # fmt: skip
        return {name: found for name, found in (("dividends", dividends), ("splits", splits)) if found}

    def _meta(self, rows: list[Row], wanted: str) -> dict[str, object]:
        stock, exchange, session = self._stock, self._stock.exchange, self._session
        market_s = min(int(self._now_s), session.close_s)
        offset_s, zone = exchange.offset_s(self._now_s), exchange.abbreviation(self._now_s)
        earlier = level(self._seed, stock, (rows[0][0] if rows else session.open_s) - 1)

        def period(start_s: int, end_s: int) -> dict[str, object]:
            return {"timezone": zone, "start": start_s, "end": end_s, "gmtoffset": offset_s}

        wide_s = 0 if exchange.always else 5 * 3600
        meta: dict[str, object] = {
            "currency": stock.currency, "symbol": stock.symbol, "exchangeName": exchange.code,
            "fullExchangeName": exchange.name, "instrumentType": stock.kind, "firstTradeDate": 1_451_917_800,
            "regularMarketTime": market_s, "hasPrePostMarketData": not exchange.always, "gmtoffset": offset_s,
            "timezone": zone, "exchangeTimezoneName": exchange.zone,
            "regularMarketPrice": round(level(self._seed, stock, market_s) / self._shares, stock.hint),
            "longName": stock.name, "shortName": stock.name,
            "chartPreviousClose": round(earlier / self._shares, stock.hint + 1), "priceHint": stock.hint,
            "currentTradingPeriod": {
                "pre": period(session.open_s - wide_s, session.open_s),
                "regular": period(session.open_s, session.close_s),
                "post": period(session.close_s, session.close_s + wide_s),
            },
            "dataGranularity": self._interval, "range": wanted, "validRanges": list(_RANGES),
        }  # fmt: skip
        if self._interval in _MINUTES:
            meta["previousClose"] = meta["chartPreviousClose"]
            days = dict.fromkeys(exchange.day(at) for at, _ in rows)
            meta["tradingPeriods"] = [
                [period(one.open_s, one.close_s)] for day in days if (one := exchange.session(day)) is not None
            ]
        return meta


def _spoil(chart: dict[str, object]) -> None:
    """Make some rows odd: a price of zero, one a hundred times too high, a high below the low, a text."""
    indicators = chart["indicators"]
    quote = indicators["quote"][0] if isinstance(indicators, dict) else {}
    closes = quote.get("close", [])
    for place, value in enumerate(closes[:4]):
        if value is not None:
            closes[place] = (0.0, value * 100, "n/a", value)[place]
    if len(closes) > 3 and quote["low"][3] is not None:
        quote["high"][3] = quote["low"][3] / 2
