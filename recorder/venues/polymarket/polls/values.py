"""Values of polled answers. Each is read by itself, so that one odd field costs that field."""

import math
import re
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar

import msgspec

from recorder.timestamps import EARLIEST_NS, NS_PER_DAY, Rfc3339
from recorder.venues.wire import MALFORMED

LONGEST_ID = 80
"""Characters of a token id, which has up to 78 digits."""

MOST_OUTCOMES = 64
_LATEST_NS = EARLIEST_NS + 191 * 365 * NS_PER_DAY  # about 2200; nanoseconds end in 2262
_SPACED = re.compile(r"(\d{4}-\d\d-\d\d)[ T](\d\d:\d\d:\d\d(?:\.\d{1,9})?)(?:Z|\+00(?::?00)?)", re.ASCII)
_HEX = re.compile(r"0x(?:[0-9a-f]{62}|[0-9a-f]{64})", re.ASCII)
_TOKEN = re.compile(r"[0-9]{1,80}", re.ASCII)
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{0,40})?(?:[eE][-+]?[0-9]{1,3})?", re.ASCII)
_SAMPLE = 60  # characters of an odd value in its reason

_decode_texts = msgspec.json.Decoder(list[str]).decode

Value = TypeVar("Value")


class Odd(NamedTuple):
    """A row or a field that is not as documented."""

    what: str  # the row, and the field where only that is odd
    reason: str


class Fields:
    """The fields of one row. An odd field becomes None, and is added to `odd`.

    Absent, null and the empty text are all "the venue does not say".

    Args:
        row: The decoded row.
        name: What the row is called.
        odd: Receives the odd fields.
        times: Parses the times.
    """

    def __init__(self, row: Mapping[str, object], name: str, odd: list[Odd], times: Rfc3339) -> None:
        self._row = row
        self._name = name
        self._odd = odd
        self._times = times

    def text(self, key: str, most: int) -> str | None:
        """Return a text without the space around it, cut where it is longer than `most` characters."""

        def read(value: object) -> str | None:
            if not isinstance(value, str):
                raise ValueError(f"no text: {sample(value)}")
            if len(value) > most:
                self.name_odd(key, f"cut at {most} of {len(value)} characters")
            return value[:most].strip() or None

        return self._read(key, read)

    def number(self, key: str, least: float, most: float) -> float | None:
        """Return a number, which may be written as a text."""
        return self._read(key, lambda value: number(value, least, most))

    def whole(self, key: str) -> int | None:
        """Return an id of decimal digits, which may be a number or a text."""
        return self._read(key, gamma_id)

    def flag(self, key: str) -> bool | None:
        """Return a bool."""

        def read(value: object) -> bool:
            if not isinstance(value, bool):
                raise ValueError(f"neither true nor false: {sample(value)}")
            return value

        return self._read(key, read)

    def time_ns(self, key: str) -> int | None:
        """Return a time in either of the venue's formats, nanoseconds since 1970."""
        return self._read(key, lambda value: time_ns(value, self._times))

    def texts(self, key: str, most: int) -> tuple[str, ...] | None:
        """Return an array of texts, which may be encoded as JSON once more."""
        return self._read(key, lambda value: texts(value, most))

    def rows(self, key: str) -> list[dict[str, object]]:
        """Return the objects of an array; those that are none are odd."""
        value = self._row.get(key)
        if value is None:
            return []
        if not isinstance(value, list):
            self.name_odd(key, f"no array: {sample(value)}")
            return []
        objects = [item for item in value if isinstance(item, dict)]
        if len(objects) < len(value):
            self.name_odd(key, f"{len(value) - len(objects)} of its items are no objects")
        return objects

    def within(self, key: str) -> "Fields":
        """Return the fields of an object in a field; without any where it is absent."""
        value = self._row.get(key)
        if value is not None and not isinstance(value, dict):
            self.name_odd(key, f"no object: {sample(value)}")
        return self.of(value if isinstance(value, dict) else {}, key)

    def of(self, row: Mapping[str, object], key: str) -> "Fields":
        """Return the fields of an object that stands in this row."""
        return Fields(row, f"{self._name} {key}", self._odd, self._times)

    def name_odd(self, key: str, reason: str) -> None:
        """Name a field as odd whose value is used all the same."""
        self._odd.append(Odd(f"{self._name} {key}", reason))

    def _read(self, key: str, read: Callable[[object], Value | None]) -> Value | None:
        value = self._row.get(key)
        if value is None or value == "":
            return None
        try:
            return read(value)
        except MALFORMED as error:
            self.name_odd(key, str(error))
            return None


def number(value: object, least: float, most: float) -> float:
    """Return a finite number between two bounds, which may be written as a text.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError(f"no number: {sample(value)}")
    if isinstance(value, str) and not _NUMBER.fullmatch(value):
        raise ValueError(f"no number: {sample(value)}")
    try:
        result = float(value)
    except OverflowError:
        result = math.inf
    if not (math.isfinite(result) and least <= result <= most):
        raise ValueError(f"{sample(value)} is not between {least:g} and {most:g}")
    return result


def time_ns(value: object, times: Rfc3339) -> int:
    """Return a time written as ISO in UTC, as `2020-11-02 16:31:01+00`, or in seconds as text or number.

    Returns:
        Nanoseconds since 1970.

    Raises:
        ValueError: It is none, or outside 2009 to 2200.
    """
    match = _SPACED.fullmatch(value) if isinstance(value, str) else None
    if match is not None:
        result = times.ns(f"{match[1]}T{match[2]}Z")
    elif isinstance(value, str) and not value.isdecimal():
        raise ValueError(f"no UTC time: {sample(value)}")
    else:
        result = int(number(value, 0.0, _LATEST_NS / 1e9)) * 10**9
    if not EARLIEST_NS <= result <= _LATEST_NS:
        raise ValueError(f"{sample(value)} is not between 2009 and 2200")
    return result


def texts(value: object, most: int) -> tuple[str, ...]:
    """Return an array of texts, each cut at `most` characters; the array may be encoded as JSON once more.

    Raises:
        ValueError, msgspec.MsgspecError: It is none, or is too long.
    """
    items: object = _decode_texts(value) if isinstance(value, str) else value
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError(f"no array of texts: {sample(value)}")
    if len(items) > MOST_OUTCOMES:
        raise ValueError(f"{len(items)} items, above {MOST_OUTCOMES}")
    return tuple(item[:most] for item in items)


def gamma_id(value: object) -> int:
    """Return a decimal id of Gamma, which may be a number or a text.

    Raises:
        ValueError: It is none, or does not fit bigint.
    """
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,18}", value, re.ASCII):
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**18:
        return value
    raise ValueError(f"no decimal id: {sample(value)}")


def condition_id(value: object) -> str:
    """Return a condition id as 0x and 64 hex digits, lower case. V2 writes 62 digits in some places.

    Raises:
        ValueError: It is none, or names a combination of markets instead of a market.
    """
    text = value.lower() if isinstance(value, str) and len(value) <= LONGEST_ID else ""
    if not _HEX.fullmatch(text):
        raise ValueError(f"no condition id: {sample(value)}")
    if len(text) == 66:
        return text
    match text[2:4]:
        case "01" | "02":
            return f"{text}00"
        case "03":
            raise ValueError(f"a combination of markets: {sample(value)}")
    raise ValueError(f"a condition id of an unknown kind: {sample(value)}")


def token_id(value: object) -> str:
    """Return the id under which an outcome trades, as text.

    Raises:
        ValueError: It is none.
    """
    if isinstance(value, str) and _TOKEN.fullmatch(value):
        return value
    raise ValueError(f"no token id: {sample(value)}")


def sample(value: object) -> str:
    """Return the beginning of a value for a reason."""
    return (repr(value[:_SAMPLE]) if isinstance(value, str) else repr(value))[:_SAMPLE]
