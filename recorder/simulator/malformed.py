"""Malformed frames by kind. Each resembles a frame of the venue as far as it can."""

_KINDS: dict[str, bytes] = {
    "truncated": b'{"channel":"trade","type":"match","data":[{"symbol":"BTC/USD","price":7757',
    "invalid_utf8": b'{"channel":"trade","type":"match","product_id":"\xff\xfe\xc3\x28"}',
    "nan": (
        b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":NaN,"qty":Infinity,'
        b'"ord_type":"limit","trade_id":1,"timestamp":"2026-09-25T17:48:26.844359Z"}]}'
    ),
    "huge_int": (
        b'{"channel":"trade","type":"update","data":[{"symbol":"BTC/USD","side":"buy","price":1.0,"qty":1.0,'
        b'"ord_type":"limit","trade_id":' + b"9" * 400 + b',"timestamp":"2026-09-25T17:48:26.844359Z"}]}'
    ),
    "deep": b'{"channel":"trade","data":' + b"[" * 50_000 + b"]" * 50_000 + b"}",
    "unknown_type": b'{"channel":"surprise","type":"surprise","data":[{"new":true}]}',
    "empty_array": b"[]",
    "empty": b"",
    "not_json": b"<html><body>502 Bad Gateway</body></html>",
    # Seen on Coinbase: a size that is not a number, and the year one as a time.
    "odd_number": b'{"type":"l2update","product_id":"BTC-USD","changes":[["buy","1.00","0.-10000"]],'
    b'"time":"2026-09-25T17:48:26.844359Z"}',
    "year_one": b'{"type":"l2update","product_id":"NOT-THERE","changes":[["buy","1.00","0.00000000"]],'
    b'"time":"0001-01-01T00:00:00.000000Z"}',
}

KINDS = tuple(_KINDS)


def malformed_frame(kind: str) -> bytes:
    """Return the payload of a malformed message."""
    return _KINDS[kind]


def oversized(megabytes: float) -> bytes:
    """Return a valid JSON text of about that size."""
    return b'{"channel":"trade","type":"update","pad":"' + b"x" * int(megabytes * 1_000_000) + b'"}'
