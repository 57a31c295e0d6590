"""Coinbase Advanced Trade over REST: products."""

import msgspec

from recorder.errors import DecodeError
from recorder.venues.base import Listing, ListingPage
from recorder.venues.listing_rows import page
from recorder.venues.wire import MALFORMED, Amount

LISTING_PATHS = ("/api/v3/brokerage/market/products",)
KIND = {"SPOT": "spot", "FUTURE": "future"}


class _Product(msgspec.Struct, gc=False):
    product_id: str
    base_currency_id: str
    quote_currency_id: str
    product_type: str
    status: str
    price_increment: str = ""
    base_min_size: str = ""
    is_disabled: bool = False
    trading_disabled: bool = False
    price: str = ""
    approximate_quote_24h_volume: str = ""
    alias: str = ""  # BTC-USD for BTC-USDC: one book under two names; its data comes under the first


class _Products(msgspec.Struct, gc=False):
    products: list[msgspec.Raw]


_decode_product = msgspec.json.Decoder(_Product).decode


def listings(body: bytes) -> ListingPage:
    """Decode the list of products."""
    try:
        products = msgspec.json.decode(body, type=_Products).products
    except MALFORMED as error:
        raise DecodeError(f"product list: {error}") from error
    return page("product list", products, lambda row: [_listing(_decode_product(row))])


def _listing(row: _Product) -> Listing:
    return Listing(
        row.product_id, row.base_currency_id, row.quote_currency_id,
        KIND.get(row.product_type, row.product_type.lower()),
        row.price_increment or None, row.base_min_size or None, row.status,
        trades=row.status == "online" and not (row.is_disabled or row.trading_disabled),
        price=_amount(row.price), volume=_amount(row.approximate_quote_24h_volume), alias_of=row.alias or None,
    )  # fmt: skip


def _amount(text: str) -> float | None:
    """Return a figure, or None where the venue leaves it empty."""
    return msgspec.convert(text, type=Amount, strict=False) if text else None
