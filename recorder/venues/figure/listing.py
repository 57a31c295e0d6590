"""Figure over REST: markets, page by page."""

import msgspec

from recorder.errors import DecodeError
from recorder.venues.base import Listing, ListingPage
from recorder.venues.listing_rows import page
from recorder.venues.wire import MALFORMED, Amount, lenient

LISTING_PATHS = ("/markets?page=1&size=50",)  # more than 50 a page is refused


class _Market(msgspec.Struct, rename="camel", gc=False):
    symbol: str
    denom: str
    quote_denom: str
    market_type: str
    status: str
    display_name: str | None = None  # BTC-USD for BTC-USD-2S
    last_traded_price: Amount | None = None
    volume24h: Amount | None = None  # quote units


class _Pagination(msgspec.Struct, rename="camel", gc=False):
    page: int
    total_pages: int


class _Markets(msgspec.Struct, gc=False):
    data: list[msgspec.Raw]
    pagination: _Pagination | None = None


_decode_market = lenient(_Market)


def listings(body: bytes) -> ListingPage:
    """Decode one page of markets."""
    return page("market list", _decode(body).data, lambda row: [_listing(_decode_market(row))])


def next_page(body: bytes) -> str | None:
    """Return the path of the page that follows this answer; None after the last."""
    pagination = _decode(body).pagination
    if pagination is None or pagination.page >= pagination.total_pages:
        return None
    return f"/markets?page={pagination.page + 1}&size=50"


def _decode(body: bytes) -> _Markets:
    try:
        return msgspec.json.decode(body, type=_Markets, strict=False)
    except MALFORMED as error:
        raise DecodeError(f"market list: {error}") from error


def _listing(market: _Market) -> Listing:
    base, dash, quote = (market.display_name or market.symbol).partition("-")
    if not dash:
        quote = market.quote_denom
    kind = "spot" if market.market_type == "CRYPTO" else market.market_type.lower()
    # The market list has increments, under names that no source quotes: left out until an answer has been seen.
    return Listing(
        market.symbol, base, quote, kind, None, None, market.status, market.denom, market.quote_denom,
        trades=market.status == "OPEN", price=market.last_traded_price, volume=market.volume24h,
    )  # fmt: skip
