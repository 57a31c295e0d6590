"""Lists of instruments, row by row: a row that is not understood costs itself, a list of such rows is refused."""

from collections.abc import Callable, Iterable

import msgspec

from recorder.errors import DecodeError
from recorder.venues.base import Listing, ListingPage
from recorder.venues.wire import MALFORMED

NAMES = ("symbol", "id", "product_id", "instId", "slug", "wsname", "name", "condition_id", "token_id")
_NAME_LENGTH = 80

decode_rows = msgspec.json.Decoder(list[msgspec.Raw]).decode


def page(what: str, rows: Iterable[msgspec.Raw], convert: Callable[[msgspec.Raw], Iterable[Listing]]) -> ListingPage:
    """Return the instruments of some rows, and the names of the rows that `convert` does not understand.

    Args:
        what: The list, for a person.
        rows: Of the venue's answer.
        convert: Returns the instruments of a row.

    Raises:
        DecodeError: More than half of the rows are not understood: the format has changed.
    """
    listings = ListingPage()
    count = 0
    why: Exception | None = None
    for row in rows:
        count += 1
        try:
            listings.extend(convert(row))
        except (*MALFORMED, IndexError) as error:
            why = error
            listings.odd.append(f"{row_name(row)}: {error}")
    if 2 * len(listings.odd) > count:
        raise DecodeError(f"{what}: {len(listings.odd)} of {count} rows are not understood: {why}") from why
    return listings


def row_name(row: msgspec.Raw) -> str:
    """Return what a row calls its instrument, else its beginning."""
    try:
        fields = msgspec.json.decode(row)
    except MALFORMED:
        fields = None
    if isinstance(fields, dict):
        for key in NAMES:
            if isinstance(fields.get(key), str):
                return str(fields[key])[:_NAME_LENGTH]
    return bytes(row)[:_NAME_LENGTH].decode("utf-8", "replace")
