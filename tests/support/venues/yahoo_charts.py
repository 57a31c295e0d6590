"""Chart answers of Yahoo for tests, in the shape of the captured ones."""

import csv
import gzip
import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

OPENED_S = 1_790_947_800
"""2026-10-02 09:30 in New York."""
CLOSED_S = OPENED_S + 23_400

Rows = Sequence[Sequence[Any]]
"""time, open, high, low, close, volume"""


def chart_body(
    rows: Rows,
    *,
    interval: str = "1m",
    symbol: str = "AAPL",
    adjclose: Sequence[Any] | None = None,
    events: dict[str, Any] | None = None,
    **meta: Any,
) -> bytes:
    """Return an answer with these rows; keywords replace fields of its meta."""
    columns = list(zip(*rows, strict=True)) if rows else [()] * 6
    indicators: dict[str, Any] = {
        "quote": [dict(zip(("open", "high", "low", "close", "volume"), map(list, columns[1:]), strict=True))]
    }
    if adjclose is not None:
        indicators["adjclose"] = [{"adjclose": list(adjclose)}]
    result = {
        "meta": {
            "currency": "USD", "symbol": symbol, "exchangeName": "NMS", "priceHint": 2, "dataGranularity": interval,
            "exchangeTimezoneName": "America/New_York", "gmtoffset": -14400,
            "currentTradingPeriod": {"regular": {"start": OPENED_S, "end": CLOSED_S}},
        } | meta,
        "timestamp": list(columns[0]),
        "indicators": indicators,
    }  # fmt: skip
    if events is not None:
        result["events"] = events
    return json.dumps({"chart": {"result": [result], "error": None}}).encode()


def answer_of_history(path: Path, symbol: str, zone: str, currency: str) -> bytes:
    """Return the daily answer that a captured history of yfinance was made from.

    yfinance had divided prices in pence, so they are multiplied again; prices and amounts are otherwise as captured.
    """
    with gzip.open(path, "rt") as file:
        history = list(csv.DictReader(file))
    scale = 100.0 if currency in ("GBp", "ILA", "ZAc") else 1.0
    times = [int(datetime.fromisoformat(row.get("Datetime") or row["Date"]).timestamp()) for row in history]
    rows = [
        (at_s, *(_number(row[name], scale) for name in ("Open", "High", "Low", "Close")), _volume(row["Volume"]))
        for at_s, row in zip(times, history, strict=True)
    ]
    dividends = _events(times, (row["Dividends"] for row in history), scale)
    gains = _events(times, (row.get("Capital Gains", "0") for row in history), scale)
    splits = {
        str(at_s): {"date": at_s, "numerator": float(row["Stock Splits"]), "denominator": 1}
        for at_s, row in zip(times, history, strict=True)
        if float(row["Stock Splits"])
    }
    return chart_body(
        rows, interval="1d", symbol=symbol, adjclose=[_number(row["Adj Close"], scale) for row in history],
        events={"dividends": dividends, "splits": splits, "capitalGains": gains},
        exchangeTimezoneName=zone, currency=currency, priceHint=4,
    )  # fmt: skip


def _number(text: str, scale: float) -> float | None:
    return float(text) * scale if text else None


def _volume(text: str) -> int | None:
    return round(float(text)) if text else None  # a repaired volume may be a fraction


def _events(times: Iterable[int], amounts: Iterable[str], scale: float) -> dict[str, Any]:
    return {
        str(at_s): {"date": at_s, "amount": float(amount) * scale}
        for at_s, amount in zip(times, amounts, strict=True)
        if amount and float(amount)
    }
