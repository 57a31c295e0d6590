"""Past trades of Figure: `GET /trades/SYMBOL?start_date=&end_date=&size=200`, dates with nine decimals.

Ids are texts, and ours are their hashes, as in the feed; no side is given. No order is documented: after a page with
200 trades the next one begins at its newest time. Source: a public client that averages HASH-USD; figure.md.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from urllib.parse import quote

import msgspec

from recorder.identity import stable_hash64
from recorder.timestamps import Rfc3339
from recorder.venues.history import PastTrade, TimedHistory, checked
from recorder.venues.wire import Amount, lenient
from recorder.venues.witness import decoded

_ROWS = 200
_ID_CHARS = 200


class _Match(msgspec.Struct, gc=False):
    id: str
    price: Amount
    quantity: Amount
    created: str


class _Matches(msgspec.Struct, gc=False):
    matches: list[_Match]


_decode = lenient(_Matches)


def path(symbol: str, from_ns: int, until_ns: int) -> str:
    """Return the path of the trades of a time."""
    times = f"start_date={_date(from_ns)}&end_date={_date(until_ns)}"
    return f"/trades/{quote(symbol, safe='')}?{times}&size={_ROWS}"


def page(body: bytes) -> Sequence[PastTrade]:
    """Decode an answer of `trades`.

    Raises:
        DecodeError: The answer is not understood.
    """
    ns = Rfc3339().ns

    def read(body: bytes) -> Sequence[PastTrade]:
        trades = []
        for row in _decode(body).matches:
            if not 0 < len(row.id) <= _ID_CHARS:
                raise ValueError(f"a trade with the id {row.id[:40]!r}")
            trade_id = stable_hash64(row.id)
            trades.append(PastTrade(trade_id, ns(row.created), row.price, row.quantity, None, row.id))
        return checked(trades, _ROWS)

    return decoded("trades", body, read)


def _date(at_ns: int) -> str:
    seconds, rest_ns = divmod(at_ns, 10**9)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns:09d}Z"


TRADE_HISTORY = TimedHistory(_ROWS, path, page)
