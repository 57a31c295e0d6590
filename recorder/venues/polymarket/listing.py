"""Polymarket over REST: markets, page by page; a listing is one outcome token."""

from decimal import Decimal

import msgspec

from recorder.errors import DecodeError
from recorder.venues.base import Listing, ListingPage
from recorder.venues.listing_rows import page
from recorder.venues.polymarket.ids import trading_ids
from recorder.venues.polymarket.paging import page_after
from recorder.venues.wire import MALFORMED

LISTING_PATHS = ("/markets/keyset?closed=false&limit=100",)


class _Market(msgspec.Struct, rename="camel", gc=False):
    slug: str
    version: str | None = None  # v1, v2; absent in older answers
    outcomes: str | None = None  # arrays, encoded as JSON once more
    clob_token_ids: str | None = None  # of v1; absent on markets older than the order book
    position_ids: list[str] | str | None = None  # of v2; a real array, and perhaps one encoded as JSON
    order_price_min_tick_size: float | None = None
    order_min_size: float | None = None
    closed: bool = False
    accepting_orders: bool = False
    volume24hr: float | None = None  # USDC, of both tokens together


class _Markets(msgspec.Struct, gc=False):
    markets: list[msgspec.Raw]
    next_cursor: str | None = None


_decode_market = msgspec.json.Decoder(_Market).decode
_decode_texts = msgspec.json.Decoder(list[str]).decode


def listings(body: bytes) -> ListingPage:
    """Decode one page of markets."""
    try:
        markets = msgspec.json.decode(body, type=_Markets).markets
    except MALFORMED as error:
        raise DecodeError(f"market list: {error}") from error
    return page("market list", markets, lambda row: _tokens(_decode_market(row)))


def next_page(path: str, body: bytes) -> str | None:
    """Return the path of the page after the one answered at `path`; None after the last."""
    try:
        cursor = msgspec.json.decode(body, type=_Markets).next_cursor
    except MALFORMED as error:
        raise DecodeError(f"market list: {error}") from error
    return page_after(path, cursor) if cursor else None


def _tokens(market: _Market) -> list[Listing]:
    """Return one listing per token. Outcome and token of one index belong together, whatever the outcome is called."""
    positions, clob = ([] if not ids else _decode_texts(ids) if isinstance(ids, str) else ids
                       for ids in (market.position_ids, market.clob_token_ids))  # fmt: skip
    _, tokens = trading_ids(market.version, positions, clob)
    if not tokens or not market.outcomes:
        return []  # no order book, or not yet
    tick_size, min_size = (
        None if number is None else f"{Decimal(repr(number)).normalize():f}"
        for number in (market.order_price_min_tick_size, market.order_min_size)
    )
    status = "closed" if market.closed else "open" if market.accepting_orders else "paused"
    return [
        Listing(
            token, f"{market.slug}:{outcome}", "USDC", "outcome", tick_size, min_size, status,
            trades=status == "open", volume=market.volume24hr,
        )
        for token, outcome in zip(tokens, _decode_texts(market.outcomes), strict=True)
    ]  # fmt: skip
