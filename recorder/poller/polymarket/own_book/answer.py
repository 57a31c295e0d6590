"""The answer of the service `stream` to a request of books: that of the CLOB, and what our own books are then.

It is one answer, so that the journal has both or neither, and a replay makes the same rows of it.
"""

from typing import Literal, get_args

import msgspec

from recorder.errors import DecodeError, RestCircuitOpen, RestError, RestRefused, RestUnavailable
from recorder.venues.polymarket.polls.books import LEVELS_MAX, Book
from recorder.venues.wire import MALFORMED

Check = Literal["agrees", "differs", "uncompared", "unchecked"]
Unchecked = Literal["breaker", "unavailable", "refused", "invalid"]
"""Why no answer of the venue checked our own book."""

PATHS: dict[Unchecked, str] = {reason: f"/own-books/{reason}" for reason in get_args(Unchecked)}
"""By which the service `stream` is asked for our own books alone."""


class Own(msgspec.Struct, gc=False, omit_defaults=True):
    """Our own book of one token, compared with the venue's."""

    token: str
    check: Check
    reason: str = ""  # why it was not compared or not checked
    looked_ns: int = 0  # when our book was looked at; 0 where there is no certain one
    stamp_ns: int = 0  # the venue's time of it
    same: bool = True  # whether our book is the venue's now; else it has gone on
    bids: list[tuple[float, float]] = []  # best first; where it has gone on
    asks: list[tuple[float, float]] = []


class Compared(msgspec.Struct):
    """One answer."""

    received_ns: int  # when the venue's books were received
    own: list[Own]
    books: msgspec.Raw  # the answer of the CLOB; an empty array where it gave none


encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Compared).decode


def decode(body: bytes) -> Compared | None:
    """Return an answer; None where it is one of the CLOB alone, an array.

    Raises:
        DecodeError: It is neither.
    """
    if body.lstrip()[:1] != b"{":
        return None
    try:
        answer = _decode(body)
    except MALFORMED as error:
        raise DecodeError(f"not an answer of books: {error}") from error
    if any(max(len(own.bids), len(own.asks)) > LEVELS_MAX for own in answer.own):
        raise DecodeError("an own book with too many levels")
    return answer


def reason_of(error: RestError | DecodeError) -> Unchecked:
    """Return why a failed request checked nothing, in one word."""
    if isinstance(error, RestCircuitOpen):
        return "breaker"
    if isinstance(error, RestUnavailable):
        return "unavailable"
    return "refused" if isinstance(error, RestRefused) else "invalid"


def unchecked(own: Own, condition_id: str) -> Book:
    """Return our own book where no answer checked it. What no message of the stream says is not known."""
    return Book(own.token, condition_id, own.stamp_ns, None, own.bids, own.asks, None, None, None, None)


def taken(own: Own, theirs: Book) -> Book:
    """Return our own book as it is stored. What no message of the stream says is the venue's."""
    if own.same:
        return msgspec.structs.replace(theirs, ts_event_ns=own.stamp_ns)
    return msgspec.structs.replace(theirs, ts_event_ns=own.stamp_ns, hash=None, bids=own.bids, asks=own.asks)
