"""Trades of the complete site with their wallets: `GET /v2/trades` of the Data API, newest first.

Rows have no id. Equal rows are separate fills, so that a row is identified by its values and their number in one walk
of the feed. polymarket.md describes the service.
"""

from typing import Annotated, Any, Literal, NamedTuple, final
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec

from recorder.errors import DecodeError
from recorder.timestamps import EARLIEST_NS, NS_PER_DAY
from recorder.venues.polymarket.polls.values import condition_id
from recorder.venues.wire import MALFORMED, Int64

PATH = "/v2/trades"
PAGE = 1000
CURSOR_CHARS = 2048
OUTCOME_UNKNOWN = 999
_NS_PER_S = 10**9
_WHAT_CHARS = 80

Address = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{40}$")]
Hash = Annotated[str, msgspec.Meta(pattern="^0x[0-9a-fA-F]{64}$")]
TokenId = Annotated[str, msgspec.Meta(pattern="^[0-9]{1,78}$")]


class Fill(NamedTuple):
    """One row on the taker's side; `key` identifies it up to equal rows."""

    transaction: str
    token: str
    wallet: str
    side: Literal["BUY", "SELL"]
    size: float  # shares
    price: float  # USDC a share
    condition_id: str  # 0x and 64 hex digits
    ts_event_ns: int  # of the block
    outcome: str | None
    outcome_index: int | None  # None where the feed does not know it

    @property
    def key(self) -> tuple[str, str, str, str, float, float]:
        """Return what distinguishes fills, by the service's own description."""
        return self[0], self[1], self[2], self[3], self[4], self[5]

    @property
    def cash(self) -> float:
        """Return what the taker paid or received, USDC."""
        return self.size * self.price


@final
class Page(msgspec.Struct, frozen=True, gc=False):
    """One answer."""

    fills: list[Fill]
    next_cursor: str | None
    combinations: int  # rows of combinations of markets, which are left out
    odd: list[tuple[str, str]]


def path(least_usdc: float, unique: int, cursor: str | None = None) -> str:
    """Return the path of a page.

    Args:
        least_usdc: Rows of less cash are left out by the service.
        unique: Changes with each walk. The service caches an address for 5 minutes.
        cursor: Of the page before. The filters are sent again, because it does not hold them.
    """
    query: dict[str, object] = {
        "limit": PAGE, "taker_only": "true", "filter_type": "CASH", "filter_amount": f"{least_usdc:g}", "_": unique,
    }  # fmt: skip
    if cursor is not None:
        query["cursor"] = cursor
    return f"{PATH}?{urlencode(query)}"


def walk_of(path: str) -> int:
    """Return what distinguishes the walk of a page's path.

    Raises:
        DecodeError: It is no such path.
    """
    try:
        return int(parse_qs(urlsplit(path).query)["_"][0])
    except (KeyError, ValueError) as error:
        raise DecodeError(f"not the path of a page of trades: {path[:200]!r}") from error


def decode(body: bytes, received_ns: int) -> Page:
    """Return the fills of a page. An odd row costs itself only.

    Raises:
        DecodeError: The body is no page.
    """
    odd: list[tuple[str, str]] = []
    try:
        page = _decode_page(body)
    except MALFORMED as error:
        raise DecodeError(f"not a page of trades: {error}") from error
    fills: list[Fill] = []
    combinations = 0
    for raw in page.data:
        try:
            row = _decode_row(raw)
            if _is_combination(row.condition_id):
                combinations += 1
                continue
            fills.append(_fill(row, received_ns))
        except MALFORMED as error:
            odd.append((bytes(raw)[:_WHAT_CHARS].decode(errors="replace"), str(error)))
    return Page(fills, page.pagination.next_cursor or None, combinations, odd)


class _Row(msgspec.Struct, gc=False):
    proxy_wallet: Address
    side: Literal["BUY", "SELL"]
    token_id: TokenId
    condition_id: str
    size: Annotated[float, msgspec.Meta(gt=0.0, le=1e12)]
    price: Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
    timestamp: Int64
    transaction_hash: Hash
    outcome: Any = None
    outcome_index: Any = None


class _Pagination(msgspec.Struct, gc=False):
    next_cursor: Annotated[str, msgspec.Meta(max_length=CURSOR_CHARS)] | None = None


class _Page(msgspec.Struct, gc=False):
    data: list[msgspec.Raw]
    pagination: _Pagination


_decode_page = msgspec.json.Decoder(_Page).decode
_decode_row = msgspec.json.Decoder(_Row, strict=False).decode


def _is_combination(condition: str) -> bool:
    """Return whether a condition combines positions in several markets, and is no market itself.

    The ids of version 1 are hashes, one in 256 of which begins alike. Those of version 2 have 62 digits, or 00 behind.
    """
    return condition.lower().startswith("0x03") and (len(condition) == 64 or condition.endswith("00"))


def _fill(row: _Row, received_ns: int) -> Fill:
    time_ns = row.timestamp * _NS_PER_S
    if not EARLIEST_NS <= time_ns <= received_ns + NS_PER_DAY:
        raise ValueError(f"timestamp {row.timestamp} is no possible time")
    index = row.outcome_index
    known = isinstance(index, int) and not isinstance(index, bool) and 0 <= index < OUTCOME_UNKNOWN
    return Fill(
        row.transaction_hash.lower(), row.token_id, row.proxy_wallet.lower(), row.side, row.size, row.price,
        condition_id(row.condition_id), time_ns,
        row.outcome[:100] if isinstance(row.outcome, str) and row.outcome else None,
        index if known else None,
    )  # fmt: skip
