"""Requests for charts: paths, and what a path asked for. Also the address and our budget."""

import re
from urllib.parse import parse_qs, quote, unquote, urlsplit

from recorder.errors import DecodeError
from recorder.printable import printable
from recorder.venues.base import RestLimits
from recorder.venues.yahoo.model import INTERVALS, Asked

NAME = "yahoo"
URL = "https://query2.finance.yahoo.com"
LIMITS = RestLimits(per_s=1.0, burst=1.0, attempts=1, failures_to_open=1, open_s=60.0)
"""One a second. A 429 lasts for minutes to hours, so nothing is asked twice."""
SYMBOL = r"[A-Za-z0-9^][A-Za-z0-9.=^_-]{0,23}"

_CHART = "/v8/finance/chart/"
_EVENTS = "div%2Csplits%2CcapitalGains"
_symbol = re.compile(SYMBOL, re.ASCII)


def today_path(symbol: str) -> str:
    """Return the path of the minutes of the present session."""
    return f"{_CHART}{quote(symbol, safe='')}?interval=1m&range=1d&{_rest()}"


def span_path(symbol: str, interval: str, first_s: int, until_s: int) -> str:
    """Return the path of the bars that begin from `first_s` until before `until_s`, seconds since 1970."""
    return f"{_CHART}{quote(symbol, safe='')}?interval={interval}&period1={first_s}&period2={until_s}&{_rest()}"


def is_span(path: str) -> bool:
    """Return whether a path asks for the bars of a span, not for those of the present session."""
    return "&period1=" in path


def asked_of(path: str) -> Asked:
    """Return what a path asked for.

    Raises:
        DecodeError: It is no path of a chart.
    """
    parts = urlsplit(path)
    symbol = unquote(parts.path.removeprefix(_CHART))
    interval = parse_qs(parts.query).get("interval", [""])[0]
    if not parts.path.startswith(_CHART) or not _symbol.fullmatch(symbol) or interval not in INTERVALS:
        raise DecodeError(f"no path of a chart: {printable(path[:100])}")
    return Asked(symbol, interval)


def _rest() -> str:
    return f"includePrePost=false&events={_EVENTS}"
