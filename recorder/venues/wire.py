"""Values of venue messages: amounts, ids, lenient JSON decoders and event times."""

import re
from collections.abc import Callable
from typing import Annotated, TypeVar

import msgspec

from recorder.timestamps import EARLIEST_NS, NS_PER_DAY

Amount = Annotated[float, msgspec.Meta(ge=0.0, le=1e300)]
"""A price or a size: finite and not negative. The bounds refuse the texts "nan" and "inf"."""

Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
"""An id or a sequence number that fits its column."""

json_number: Callable[[bytes | msgspec.Raw], float] = msgspec.json.Decoder(float).decode
"""Returns the number that a JSON text is; it costs a quarter of float()."""

json_amount: Callable[[bytes | msgspec.Raw], float] = msgspec.json.Decoder(Amount).decode
"""Returns the amount that a JSON number is, and raises for one out of range."""

MALFORMED = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)
"""What parsing raises for a frame that does not have the documented shape."""

_BEGINS, _ENDS = (b"{", b"["), (b"}", b"]")
_BEFORE = b" \t\r\n\xef\xbb\xbf"  # white space and a byte order mark
_ABSENT = re.compile(rb'([:,\[]\s*)""')
_NS_PER_MS = 1_000_000

Message = TypeVar("Message")


def lenient(kind: type[Message]) -> Callable[[bytes | msgspec.Raw], Message]:
    """Return a JSON decoder that also accepts numbers written as strings."""
    return msgspec.json.Decoder(kind, strict=False).decode


def best(price: float | None, size: float | None) -> tuple[float | None, float | None]:
    """Return the best price of a side with its size; both None for an empty side, which venues spell 0 or null."""
    return (price, size) if price else (None, None)


def with_nulls(frame: bytes) -> bytes | None:
    """Return a JSON frame whose empty texts are nulls, because several venues write an absent number as "".

    Returns None where the frame has no empty text.
    """
    if b'""' not in frame:
        return None
    changed = _ABSENT.sub(rb"\1null", frame)
    return None if changed == frame else changed


def is_text(frame: bytes) -> bool:
    """Return whether a frame is a text that does not begin like JSON: a notice, a ping, a page of HTML, or nothing.

    Bytes that are no UTF-8 may be data in another encoding.
    """
    return frame.lstrip(_BEFORE)[:1] not in _BEGINS and _is_utf8(frame)


def ends_like_json(frame: bytes) -> bool:
    """Return whether a frame ends as a message does; one that does not begin as one may have been damaged."""
    return frame.rstrip()[-1:] in _ENDS


def _is_utf8(frame: bytes) -> bool:
    try:
        frame.decode()
    except UnicodeDecodeError:
        return False
    return True


def event_time(time_ns: int, ts_recv_ns: int) -> int | None:
    """Return the venue's time, or None where it cannot be true: before 2009, or a day ahead of our receipt."""
    return time_ns if EARLIEST_NS <= time_ns <= ts_recv_ns + NS_PER_DAY else None


def event_time_of_ms(time_ms: int, ts_recv_ns: int) -> int | None:
    """Return the venue's time in nanoseconds, or None where it cannot be true."""
    time_ns = time_ms * _NS_PER_MS
    return time_ns if EARLIEST_NS <= time_ns <= ts_recv_ns + NS_PER_DAY else None
