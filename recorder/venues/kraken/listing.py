"""Kraken over REST: pairs and their last 24 hours."""

import msgspec

from recorder.errors import DecodeError
from recorder.venues.base import Day, Listing, ListingPage
from recorder.venues.listing_rows import page
from recorder.venues.wire import MALFORMED, Amount

LISTING_PATHS = ("/0/public/AssetPairs",)
VOLUME_PATHS = ("/0/public/Ticker",)
TRADING = frozenset({"online", "post_only", "limit_only", "reduce_only"})
V2_ASSETS = {"XBT": "BTC", "XDG": "DOGE"}  # the two assets whose REST names version 2 refuses; see kraken.md


class _DayTicker(msgspec.Struct, gc=False):
    c: tuple[Amount, Amount]  # price and size of the last trade
    v: tuple[Amount, Amount]  # volume of today and of 24 hours, base units


class _Tickers(msgspec.Struct, gc=False):
    error: list[str]
    result: dict[str, _DayTicker] = {}


class _Pair(msgspec.Struct, gc=False):
    wsname: str | None = None
    tick_size: str | None = None
    ordermin: str | None = None
    status: str = "unknown"


class _Pairs(msgspec.Struct, gc=False):
    error: list[str]
    result: dict[str, msgspec.Raw] = {}


_decode_pair = msgspec.json.Decoder(_Pair).decode


def listings(body: bytes) -> ListingPage:
    """Decode the list of pairs."""
    try:
        answer = msgspec.json.decode(body, type=_Pairs)
    except MALFORMED as error:
        raise DecodeError(f"pair list: {error}") from error
    if answer.error:
        raise DecodeError(f"pair list refused: {', '.join(answer.error)}")
    legacy = iter(answer.result)
    return page("pair list", answer.result.values(), lambda row: _listing(next(legacy), row))


def _listing(legacy: str, row: msgspec.Raw) -> list[Listing]:
    pair = _decode_pair(row)
    if not pair.wsname or pair.wsname.count("/") != 1:
        return []
    base, quote = (V2_ASSETS.get(asset, asset) for asset in pair.wsname.split("/"))
    return [
        Listing(
            f"{base}/{quote}", base, quote, "spot", pair.tick_size, pair.ordermin, pair.status,
            trades=pair.status in TRADING, rest_symbol=legacy,
        )
    ]  # fmt: skip


def volumes(body: bytes) -> dict[str, Day]:
    """Decode the tickers of all pairs."""
    try:
        answer = msgspec.json.decode(body, type=_Tickers, strict=False)
    except MALFORMED as error:
        raise DecodeError(f"tickers: {error}") from error
    if answer.error:
        raise DecodeError(f"tickers refused: {', '.join(answer.error)}")
    return {legacy: Day(row.c[0], row.c[0] * row.v[1]) for legacy, row in answer.result.items()}
