"""Places in a list, for the next page: opaque, signed, and good for the same question only."""

import base64
import binascii
import hashlib
import hmac
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from recorder.web.answers.encode import instant
from recorder.web.answers.problems import Problem

_MAC_BYTES = 16
LONGEST = 2000


def make(key: bytes, question: str, values: Sequence[Any]) -> str:
    """Return the place after a row.

    Args:
        key: Signs it.
        question: What the list is about: path, filters, range, order.
        values: Of the sort key of the last row.
    """
    body = json.dumps([instant(one) if isinstance(one, datetime) else one for one in values]).encode()
    return base64.urlsafe_b64encode(_mac(key, question, body) + body).decode().rstrip("=")


def read(key: bytes, question: str, place: str, length: int) -> list[Any]:
    """Return the values of a place.

    Raises:
        Problem: it was changed, or belongs to another question.
    """
    try:
        raw = base64.urlsafe_b64decode(place + "=" * (-len(place) % 4)) if len(place) <= LONGEST else b""
    except (binascii.Error, ValueError):
        raw = b""
    mac, body = raw[:_MAC_BYTES], raw[_MAC_BYTES:]
    if not hmac.compare_digest(mac, _mac(key, question, body)):
        raise Problem(400, "`after` does not belong to this question; take it from `next` of the page before",
                      kind="wrong-place")  # fmt: skip
    values: list[Any] = json.loads(body)
    if len(values) != length:
        raise Problem(400, "`after` is of another version; begin again without it", kind="wrong-place")
    return values


def _mac(key: bytes, question: str, body: bytes) -> bytes:
    return hmac.digest(key, question.encode() + b"\0" + body, hashlib.sha256)[:_MAC_BYTES]
