"""Binance over REST: symbols and their last 24 hours."""

import msgspec

from recorder.errors import DecodeError
from recorder.venues.base import Day, Listing, ListingPage
from recorder.venues.listing_rows import page
from recorder.venues.wire import MALFORMED, Amount

LISTING_PATHS = ("/api/v3/exchangeInfo?showPermissionSets=false",)  # above 10 MB with the permission sets
VOLUME_PATHS = ("/api/v3/ticker/24hr?type=MINI",)


class _Filter(msgspec.Struct, rename="camel", gc=False):
    filter_type: str
    tick_size: str | None = None
    min_qty: str | None = None


class _Symbol(msgspec.Struct, rename="camel", gc=False):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    filters: list[_Filter]


class _ExchangeInfo(msgspec.Struct, gc=False):
    symbols: list[msgspec.Raw]


class _DayTicker(msgspec.Struct, rename="camel", gc=False):
    symbol: str
    last_price: Amount
    quote_volume: Amount


_decode_symbol = msgspec.json.Decoder(_Symbol).decode


def listings(body: bytes) -> ListingPage:
    """Decode the list of symbols."""
    try:
        symbols = msgspec.json.decode(body, type=_ExchangeInfo).symbols
    except MALFORMED as error:
        raise DecodeError(f"symbol list: {error}") from error
    return page("symbol list", symbols, lambda row: [_listing(_decode_symbol(row))])


def volumes(body: bytes) -> dict[str, Day]:
    """Decode the tickers of all symbols; the venue sums price by size itself."""
    try:
        rows = msgspec.json.decode(body, type=list[_DayTicker], strict=False)
    except MALFORMED as error:
        raise DecodeError(f"tickers of 24 hours: {error}") from error
    return {row.symbol: Day(row.last_price, row.quote_volume) for row in rows}


def _listing(row: _Symbol) -> Listing:
    tick_size = next((rule.tick_size for rule in row.filters if rule.filter_type == "PRICE_FILTER"), None)
    min_size = next((rule.min_qty for rule in row.filters if rule.filter_type == "LOT_SIZE"), None)
    return Listing(
        row.symbol, row.base_asset, row.quote_asset, "spot", tick_size, min_size, row.status,
        trades=row.status == "TRADING",
    )  # fmt: skip
