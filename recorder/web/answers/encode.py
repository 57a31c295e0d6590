"""JSON of the API: 64-bit ids as text, not-a-number as null, instants in UTC with microseconds and Z."""

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

JSON = "application/json"
_EXACT = 2**53 - 1  # JavaScript rounds what is larger
_TEXT_SUFFIXES = ("_id", "_ids")
_TEXT_NAMES = frozenset(
    {"id", "tokens", "transaction_hash", "last_id", "first_id", "sequence", "dirty_id", "incarnation", "block_seq"}
)


def encoded(value: Any) -> bytes:
    """Return a document."""
    return msgspec.json.encode(plain(value))


def plain(value: Any) -> Any:
    """Return a value as JSON has it, at any depth."""
    match value:
        case float():
            return value if math.isfinite(value) else None
        case datetime():
            return instant(value)
        case Mapping():
            return {key: plain(as_text(key, one)) for key, one in value.items()}
        case bool():
            return value
        case int():
            return value if abs(value) <= _EXACT else str(value)
        case str() | None:
            return value
        case bytes() | memoryview():
            return bytes(value).hex()
        case Sequence() | set() | frozenset():
            return [plain(one) for one in value]
        case _:
            return plain(msgspec.to_builtins(value, enc_hook=str))


def as_text(name: str, value: Any) -> Any:
    """Return the value of a column; a 64-bit id as text, because JavaScript would round the number."""
    if (name in _TEXT_NAMES or name.endswith(_TEXT_SUFFIXES)) and value is not None:
        if isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        if isinstance(value, list):
            return [str(one) for one in value]
    return value


def instant(at: datetime) -> str:
    """Return an instant as RFC 3339, UTC, with microseconds and Z."""
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def rows(names: Sequence[str], found: Iterable[Sequence[Any]]) -> list[dict[str, Any]]:
    """Return rows as objects, by the names of their columns."""
    return [{name: as_text(name, value) for name, value in zip(names, row, strict=True)} for row in found]
