"""Bitfinex over REST: pairs and their last 24 hours."""

import msgspec

from recorder.errors import DecodeError
from recorder.venues.base import Day, Listing, ListingPage
from recorder.venues.listing_rows import page
from recorder.venues.wire import MALFORMED, Amount

LISTING_PATHS = ("/v2/conf/pub:info:pair",)
VOLUME_PATHS = ("/v2/tickers?symbols=ALL",)
PERPETUAL = "F0"  # the end of both codes of a perpetual

# The venue has codes of its own, mostly of three letters, and lists them at /v2/conf/pub:map:currency:sym. These are
# from there and from `commonCurrencies` of ccxt's bitfinex, both as read 2026-11-30.
ASSETS = {
    "ALG": "ALGO", "AMP": "AMPL", "ATO": "ATOM", "BCHABC": "XEC", "BCHN": "BCH", "DAT": "DATA", "DOG": "MDOGE",
    "DSH": "DASH", "EDO": "PNT", "EUS": "EURS", "EUT": "EURT", "IDX": "ID", "IOT": "IOTA", "IQX": "IQ", "LUNA": "LUNC",
    "LUNA2": "LUNA", "MNA": "MANA", "PAS": "PASS", "QSH": "QASH", "QTM": "QTUM", "RBT": "RBTC", "SNG": "SNGLS",
    "STJ": "STORJ", "TERRAUST": "USTC", "TSD": "TUSD", "UDC": "USDC", "UST": "USDT", "VSY": "VSYS", "WAX": "WAXP",
    "XCH": "XCHF", "YGG": "YEED", "YYW": "YOYOW", "ZBT": "ZB",
}  # fmt: skip


class _Pair(msgspec.Struct, array_like=True, gc=False):
    name: str
    info: list[object]


_decode_pair = msgspec.json.Decoder(_Pair).decode


def listings(body: bytes) -> ListingPage:
    """Decode the list of pairs."""
    try:
        (pairs,) = msgspec.json.decode(body, type=tuple[list[msgspec.Raw]])
    except MALFORMED as error:
        raise DecodeError(f"pair list: {error}") from error
    return page("pair list", pairs, lambda row: [_listing(_decode_pair(row))])


def volumes(body: bytes) -> dict[str, Day]:
    """Decode the tickers of all symbols."""
    try:
        rows = msgspec.json.decode(body, type=list[list[object]])
        # Funding (fUSD) is not a pair. A row: symbol, 2 bid, 2 ask, 2 change, last price, volume in base units, ...
        return {
            str(row[0]): Day(price, price * volume)
            for row in rows
            if str(row[0]).startswith("t") and len(row) > 8 and None not in row[7:9]  # null where it never traded
            for price, volume in [msgspec.convert(row[7:9], type=tuple[Amount, Amount])]
        }
    except (*MALFORMED, IndexError) as error:
        raise DecodeError(f"tickers: {error}") from error


def _listing(pair: _Pair) -> Listing:
    # A colon separates codes that are longer than three letters.
    base, colon, quote = pair.name.partition(":")
    if not colon:
        base, quote = pair.name[:3], pair.name[3:]
    if not base or not quote:
        raise ValueError(f"not a pair: {pair.name[:40]!r}")
    least = pair.info[3] if len(pair.info) > 3 else None
    kind = "perpetual" if base.endswith(PERPETUAL) else "spot"
    # There is no tick size: a price has up to five significant digits. There is no status: every listed pair is live.
    return Listing(f"t{pair.name}", base, quote, kind, None, least if isinstance(least, str) else None, "listed")
