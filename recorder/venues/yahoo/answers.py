"""The outside of a chart answer: what its status and its first bytes mean, before any row of it is read."""

import msgspec

from recorder.errors import RestInvalidResponse, RestRefused, RestUnavailable
from recorder.printable import printable
from recorder.venues.wire import MALFORMED, is_text

_REFUSED = (400, 401, 403, 404, 422)
_WAIT_TEXT = b"too many requests"
_SAMPLE = 200


class _Error(msgspec.Struct, gc=False):
    code: str = ""
    description: str | None = None


class _Chart(msgspec.Struct, gc=False):
    result: list[msgspec.Raw] | None = None
    error: _Error | None = None


class _Envelope(msgspec.Struct, gc=False):
    chart: _Chart


_decode = msgspec.json.Decoder(_Envelope).decode


def result_of(status: int, body: bytes) -> msgspec.Raw:
    """Return the one result in an answer to a chart request.

    Raises:
        RestUnavailable: Yahoo asks us to wait, or its server failed. The text "Too Many Requests" also comes with
            status 200.
        RestRefused: This request has no data: an unknown or delisted symbol, or a range that is not offered.
        RestInvalidResponse: The body is a page of HTML, cut, or of another shape.
    """
    if status == 429 or _WAIT_TEXT in body[:_SAMPLE].lower():
        raise RestUnavailable(f"Yahoo answers HTTP {status}: too many requests")
    if status >= 500:
        raise RestUnavailable(f"Yahoo answers HTTP {status}")
    envelope = _parsed(body)
    error = envelope.chart.error if envelope else None
    if status in _REFUSED or error is not None:
        raise RestRefused(f"Yahoo answers HTTP {status}{_reason(error)}")
    if status != 200 or envelope is None:
        kind = "a text" if is_text(body) else "no chart"
        raise RestInvalidResponse(f"Yahoo answers HTTP {status} with {kind}: {_sample(body)}")
    if not envelope.chart.result or len(envelope.chart.result) != 1:
        raise RestInvalidResponse(f"Yahoo answers with {len(envelope.chart.result or ())} results in place of one")
    return envelope.chart.result[0]


def _parsed(body: bytes) -> _Envelope | None:
    try:
        return _decode(body)
    except MALFORMED:
        return None


def _reason(error: _Error | None) -> str:
    if error is None:
        return ""
    return ": " + printable(f"{error.code}: {error.description or ''}"[:_SAMPLE])


def _sample(body: bytes) -> str:
    return printable(body[:60].decode("utf-8", "replace"))
