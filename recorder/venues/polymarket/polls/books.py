"""Books by `POST /books`: the requests, and their answers as typed values.

The answer is an array in any order. A token without a book is left out of it, which is data and not an error. Each side
comes with its worst price first. polymarket.md describes the service.
"""

import json
from collections.abc import Iterable, Sequence
from typing import Annotated, Any, NamedTuple, final

import msgspec

from recorder.errors import DecodeError
from recorder.timestamps import EARLIEST_NS, NS_PER_DAY
from recorder.venues.polymarket.polls.values import condition_id, number
from recorder.venues.wire import MALFORMED, Int64

PATH = "/books"
CHUNK = 250
"""Tokens of one request. The service refuses more than 500; one answer of 500 took 0.39 s and 1.6 MB."""
LEVELS_MAX = 10_000
"""Levels of one side: a tick of 0.0001 has 9,999 prices between 0 and 1."""
SIZE_MAX = 1e12
_NS_PER_MS = 1_000_000
_WHAT_CHARS = 80

Probability = Annotated[float, msgspec.Meta(gt=0.0, lt=1.0)]
Shares = Annotated[float, msgspec.Meta(ge=0.0, le=SIZE_MAX)]
Token = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,78}$")]
Side = list[tuple[float, float]]
"""Levels as (price, size), best first."""


@final
class Book(msgspec.Struct, frozen=True, gc=False):
    """The book of one token. Prices are probabilities, sizes are shares."""

    token: str
    condition_id: str | None  # 0x and 64 hex digits; None where the answer does not name it
    ts_event_ns: int  # the venue's time of the book
    hash: str | None  # equal hashes are equal books
    bids: Side
    asks: Side
    tick_size: float | None
    min_size: float | None  # shares
    last_trade_price: float | None  # of outcome 0, in the book of either token; None where it has never traded
    version: str | None  # "v2"; None in books of version 1


class Odd(NamedTuple):
    """A book that was refused."""

    what: str
    reason: str
    token: str | None  # None where it does not even say whose book it is


@final
class Books(msgspec.Struct, frozen=True, gc=False):
    """One answer."""

    books: list[Book]
    odd: list[Odd]

    def without(self, tokens: Iterable[str]) -> list[str]:
        """Return the tokens that the venue has no book of; none where a refused book may be of any of them."""
        if any(odd.token is None for odd in self.odd):
            return []
        answered = {book.token for book in self.books} | {odd.token for odd in self.odd}
        return [token for token in tokens if token not in answered]


def chunks(tokens: Sequence[str], size: int = CHUNK) -> list[Sequence[str]]:
    """Return the tokens in chunks of one request each."""
    return [tokens[first : first + size] for first in range(0, len(tokens), size)]


def halves(tokens: Sequence[str]) -> list[Sequence[str]]:
    """Return a chunk whose request failed in two parts, so that one bad id costs one of them only."""
    middle = (len(tokens) + 1) // 2
    return [part for part in (tokens[:middle], tokens[middle:]) if part]


def request(tokens: Sequence[str]) -> bytes:
    """Return the body of a request."""
    return json.dumps([{"token_id": token} for token in tokens], separators=(",", ":")).encode()


def requested(body: bytes) -> list[str]:
    """Return the tokens that a request named, each once.

    Raises:
        DecodeError: The bytes are no such request.
    """
    try:
        return list(dict.fromkeys(entry.token_id for entry in _decode_request(body)))
    except MALFORMED as error:
        raise DecodeError(f"not a request of books: {error}") from error


def decode(body: bytes, received_ns: int) -> Books:
    """Return the books of an answer. An odd book costs itself only.

    Raises:
        DecodeError: The body is not an array, so that it says nothing of any token.
    """
    odd: list[Odd] = []
    books: dict[str, Book] = {}
    try:
        wires = _decode_all(body)
    except MALFORMED:
        wires = _one_by_one(body, odd)
    for wire in wires:
        try:
            book = _book(wire, received_ns)
        except MALFORMED as error:
            odd.append(Odd(wire.asset_id, str(error), wire.asset_id))
            continue
        if books.setdefault(book.token, book) is not book:
            odd.append(Odd(book.token, "the answer holds a second book of this token", book.token))
    return Books(list(books.values()), odd)


class _Level(msgspec.Struct, gc=False):
    price: Probability
    size: Shares


class _Wire(msgspec.Struct, gc=False):
    asset_id: Token
    timestamp: Int64
    bids: Annotated[list[_Level], msgspec.Meta(max_length=LEVELS_MAX)] | None = None
    asks: Annotated[list[_Level], msgspec.Meta(max_length=LEVELS_MAX)] | None = None
    market: Any = None
    hash: Any = None
    tick_size: Any = None
    min_order_size: Any = None
    last_trade_price: Any = None
    version: Any = None

    def __post_init__(self) -> None:
        if self.bids is None and self.asks is None:
            raise ValueError("a book without bids and asks")


class _Named(msgspec.Struct, gc=False):
    asset_id: Token


class _Entry(msgspec.Struct, gc=False):
    token_id: Token


_decode_all = msgspec.json.Decoder(list[_Wire], strict=False).decode  # lenient: all numbers are strings
_decode_wire = msgspec.json.Decoder(_Wire, strict=False).decode
_decode_token = msgspec.json.Decoder(_Named).decode
_decode_raws = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_request = msgspec.json.Decoder(list[_Entry]).decode


def _one_by_one(body: bytes, odd: list[Odd]) -> list[_Wire]:
    try:
        raws = _decode_raws(body)
    except MALFORMED as error:
        raise DecodeError(f"not an array of books: {error}") from error
    wires = []
    for raw in raws:
        try:
            wires.append(_decode_wire(raw))
        except MALFORMED as error:
            token = _token(raw)
            odd.append(Odd(token or bytes(raw)[:_WHAT_CHARS].decode(errors="replace"), str(error), token))
    return wires


def _token(raw: msgspec.Raw) -> str | None:
    try:
        return _decode_token(raw).asset_id
    except MALFORMED:
        return None


def _book(wire: _Wire, received_ns: int) -> Book:
    time_ns = wire.timestamp * _NS_PER_MS
    if not EARLIEST_NS <= time_ns <= received_ns + NS_PER_DAY:
        raise ValueError(f"timestamp {wire.timestamp} is no possible time")
    return Book(
        wire.asset_id,
        None if wire.market is None else condition_id(wire.market),
        time_ns,
        wire.hash if isinstance(wire.hash, str) and 0 < len(wire.hash) <= 128 else None,
        _side(wire.bids, descending=True),
        _side(wire.asks, descending=False),
        _number(wire.tick_size, 1.0) or None,
        _number(wire.min_order_size, SIZE_MAX),
        _number(wire.last_trade_price, 1.0),
        wire.version if isinstance(wire.version, str) and len(wire.version) <= 16 else None,
    )


def _number(value: object, most: float) -> float | None:
    """Return a number; None where it is absent, which is also written ""."""
    return None if value is None or value == "" else number(value, 0.0, most)


def _side(levels: list[_Level] | None, *, descending: bool) -> Side:
    """Return a side with its best price first. The order of the wire is not relied on, because documents contradict it.

    Raises:
        ValueError: Two levels have one price, so that the size there is not known.
    """
    side = [(level.price, level.size) for level in levels or () if level.size]
    side.reverse()
    side.sort(reverse=descending)  # in order already, which takes a pass over it
    if len({price for price, _ in side}) != len(side):
        raise ValueError("two levels of one side have one price")
    return side
