"""Coinbase Exchange over REST: products and their last 24 hours."""

import msgspec

from recorder.errors import DecodeError
from recorder.venues.base import Day, Listing, ListingPage
from recorder.venues.listing_rows import decode_rows, page
from recorder.venues.wire import MALFORMED, Amount

LISTING_PATHS = ("/products",)
VOLUME_PATHS = ("/products/stats",)


class _Product(msgspec.Struct, gc=False):
    id: str
    base_currency: str
    quote_currency: str
    quote_increment: str
    base_increment: str
    status: str
    trading_disabled: bool = False


class _DayStats(msgspec.Struct, gc=False):
    last: Amount | None = None  # absent or null where nothing traded
    volume: Amount | None = None  # base units


class _Stats(msgspec.Struct, gc=False):
    stats_24hour: _DayStats | None = None


_decode_product = msgspec.json.Decoder(_Product).decode


def listings(body: bytes) -> ListingPage:
    """Decode the list of products."""
    try:
        products = decode_rows(body)
    except MALFORMED as error:
        raise DecodeError(f"product list: {error}") from error
    return page("product list", products, lambda row: [_listing(_decode_product(row))])


def _listing(product: _Product) -> Listing:
    return Listing(
        product.id, product.base_currency, product.quote_currency, "spot", product.quote_increment,
        product.base_increment, product.status,
        trades=product.status == "online" and not product.trading_disabled,
    )  # fmt: skip


def volumes(body: bytes) -> dict[str, Day]:
    """Decode the statistics of all products."""
    try:
        rows = msgspec.json.decode(body, type=dict[str, _Stats], strict=False)
    except MALFORMED as error:
        raise DecodeError(f"product stats: {error}") from error
    return {
        symbol: Day(day.last, day.last * day.volume)
        for symbol, row in rows.items()
        if (day := row.stats_24hour) is not None and day.last is not None and day.volume is not None
    }
