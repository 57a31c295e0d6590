"""OKX over REST: instruments and their last 24 hours."""

import msgspec

from recorder.errors import DecodeError
from recorder.venues.base import Day, Listing, ListingPage
from recorder.venues.listing_rows import page
from recorder.venues.wire import MALFORMED, Amount

LISTED = ("SPOT", "SWAP", "FUTURES")  # options are listed per underlying only
LISTING_PATHS = tuple(f"/api/v5/public/instruments?instType={kind}" for kind in LISTED)
VOLUME_PATHS = tuple(f"/api/v5/market/tickers?instType={kind}" for kind in LISTED)
KIND = {"SPOT": "spot", "SWAP": "perpetual", "FUTURES": "future", "OPTION": "option"}


class _Instrument(msgspec.Struct, rename="camel", gc=False):
    inst_id: str
    inst_type: str
    state: str
    base_ccy: str = ""
    quote_ccy: str = ""
    uly: str = ""
    tick_sz: str = ""
    min_sz: str = ""


class _Instruments(msgspec.Struct, gc=False):
    code: str
    msg: str
    data: list[msgspec.Raw] = []


class _DayTicker(msgspec.Struct, rename="camel", gc=False):
    inst_id: str
    inst_type: str
    last: str = ""
    volume: str = msgspec.field(default="", name="volCcy24h")


class _DayTickers(msgspec.Struct, gc=False):
    code: str
    msg: str
    data: list[_DayTicker] = []


_decode_instrument = msgspec.json.Decoder(_Instrument).decode


def listings(body: bytes) -> ListingPage:
    """Decode a list of instruments."""
    try:
        answer = msgspec.json.decode(body, type=_Instruments)
    except MALFORMED as error:
        raise DecodeError(f"instrument list: {error}") from error
    if answer.code != "0":  # with HTTP status 200
        raise DecodeError(f"instrument list refused: {answer.code} {answer.msg}")
    return page("instrument list", answer.data, lambda row: [_listing(_decode_instrument(row))])


def volumes(body: bytes) -> dict[str, Day]:
    """Decode the tickers of one kind of instrument."""
    try:
        answer = msgspec.json.decode(body, type=_DayTickers)
        if answer.code != "0":
            raise DecodeError(f"tickers refused: {answer.code} {answer.msg}")
        days = {}
        for row in answer.data:
            if row.last and row.volume:  # empty where the instrument never traded
                price, volume = msgspec.convert((row.last, row.volume), tuple[Amount, Amount], strict=False)
                # The volume is in quote currency for spot, in base currency for derivatives.
                days[row.inst_id] = Day(price, volume if row.inst_type == "SPOT" else volume * price)
        return days
    except MALFORMED as error:
        raise DecodeError(f"tickers: {error}") from error


def _listing(row: _Instrument) -> Listing:
    base, _, quote = row.uly.partition("-")  # derivatives name their underlying instead
    kind = KIND.get(row.inst_type, row.inst_type.lower())
    return Listing(
        row.inst_id, row.base_ccy or base, row.quote_ccy or quote, kind, row.tick_sz or None, row.min_sz or None,
        row.state, trades=row.state == "live",
    )  # fmt: skip
