"""The `meta` of a chart answer: odd fields count as absent, apart from those without which no row can be read."""

import re
from collections.abc import Mapping
from typing import TypeVar
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from recorder.errors import RestInvalidResponse
from recorder.printable import printable
from recorder.venues.wire import MALFORMED
from recorder.venues.yahoo.model import Asked
from recorder.venues.yahoo.prices import PRICE_MAX, Unit, unit_of

Fields = Mapping[str, msgspec.Raw]
Value = TypeVar("Value")

FIRST_S = -2_208_988_800
"""1900-01-01: no history of Yahoo is older."""
LAST_S = 4_102_444_800
"""2100-01-01: no session of today is later."""

_CODE = re.compile(r"[A-Za-z0-9=._-]{1,16}", re.ASCII)
_ZONE = re.compile(r"[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}", re.ASCII)
_ZONE_LENGTH = 64


class _Session(msgspec.Struct, gc=False):
    start: int
    end: int


class _CurrentTradingPeriod(msgspec.Struct, gc=False):
    regular: _Session


class Meta(msgspec.Struct, frozen=True):
    """What the rows of an answer need to be read."""

    symbol: str
    exchange: str
    zone: ZoneInfo
    zone_name: str
    unit: Unit
    regular: tuple[int, int] | None
    market_time_s: int | None
    market_price: float | None  # as on the wire


def meta_of(raw: msgspec.Raw, asked: Asked) -> Meta:
    """Return the description of an answer.

    Raises:
        RestInvalidResponse: It answers another request (other symbol, other interval), or names no time zone.
    """
    try:
        fields = msgspec.json.decode(raw, type=dict[str, msgspec.Raw])
    except MALFORMED as error:
        raise RestInvalidResponse(f"chart answer without meta: {error}") from error
    symbol = _text(fields, "symbol")
    if symbol.upper() != asked.symbol.upper():
        raise RestInvalidResponse(f"chart answer of {_shown(symbol)} in place of {asked.symbol}")
    granularity = _text(fields, "dataGranularity")
    if granularity != asked.interval and {granularity, asked.interval} != {"60m", "1h"}:
        raise RestInvalidResponse(f"bars of {_shown(granularity)} in place of {asked.interval}")
    zone_name = _text(fields, "exchangeTimezoneName")
    currency = _text(fields, "currency")
    price = _number(fields, "regularMarketPrice")
    return Meta(
        asked.symbol,
        exchange if _CODE.fullmatch(exchange := _text(fields, "exchangeName")) else "",
        _zone(zone_name),
        zone_name,
        unit_of(currency if _CODE.fullmatch(currency) else None, _integer(fields, "priceHint", 0, 100)),
        _regular(fields),
        _integer(fields, "regularMarketTime", FIRST_S, LAST_S),
        price if price is not None and 0 < price <= PRICE_MAX else None,
    )


def _zone(name: str) -> ZoneInfo:
    """Return a time zone; the offset in the same answer is that of today only."""
    if len(name) <= _ZONE_LENGTH and _ZONE.fullmatch(name):
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # OSError: the name is that of a folder
            raise RestInvalidResponse(f"chart answer with the unknown time zone {_shown(name)}") from error
    raise RestInvalidResponse(f"chart answer with no time zone: {_shown(name)}")


def _regular(fields: Fields) -> tuple[int, int] | None:
    period = _convert(fields, "currentTradingPeriod", _CurrentTradingPeriod)
    if period is None:
        return None
    start, end = period.regular.start, period.regular.end
    return (start, end) if FIRST_S <= start <= end <= LAST_S else None


def _text(fields: Fields, name: str) -> str:
    return _convert(fields, name, str) or ""


def _integer(fields: Fields, name: str, low: int, high: int) -> int | None:
    value = _convert(fields, name, int)
    return value if value is not None and low <= value <= high else None


def _number(fields: Fields, name: str) -> float | None:
    return _convert(fields, name, float)


def _convert(fields: Fields, name: str, kind: type[Value]) -> Value | None:
    try:
        return msgspec.json.decode(fields[name], type=kind)
    except (KeyError, *MALFORMED):
        return None


def _shown(text: str) -> str:
    return printable(repr(text[:40]))
