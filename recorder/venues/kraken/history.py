"""Past trades of Kraken: `GET /0/public/Trades?since=NS`, rising; the cursor is a time in nanoseconds.

Whether `since` includes its instant is disputed, and `last` is the stamp of the last row of the page. So the next page
is asked for from one nanosecond before `last`, and its first rows are known by their ids. Fewer than 19 digits would be
read as seconds. The time of a row is a float with seven decimals; the feed has microseconds. An id of 0 is none: rows
before 2024-06-13 had it for a while, and such a page cannot be used. Sources: kraken.md, and
https://docs.kraken.com/api/docs/rest-api/get-recent-trades
"""

import re

import msgspec

from recorder.errors import RestUnavailable
from recorder.venues.history import PastPage, PastTrade, TradeHistory, checked
from recorder.venues.kraken.witness import pair_of
from recorder.venues.wire import Amount, Int64, lenient
from recorder.venues.witness import decoded

_ROWS = 1000
_BEFORE_NS = 1_000_000  # the stamps of REST and of the feed differ by a microsecond at most

_WAIT = re.compile("Too many requests|Rate limit exceeded")

_Row = tuple[Amount, Amount, float, str, str, str, Int64]
"""Price, volume, time in seconds, side of the taker, type of order, nothing, id."""


class _Trades(msgspec.Struct, gc=False):
    error: list[str]
    result: dict[str, list[_Row] | str | int] = {}


_decode = lenient(_Trades)


def path(symbol: str, cursor: int) -> str:
    """Return the path of the page from a time on."""
    return f"/0/public/Trades?pair={pair_of(symbol)}&count={_ROWS}&since={cursor:019d}"


def page(body: bytes) -> PastPage:
    """Decode an answer of `Trades`.

    Raises:
        DecodeError: The answer is not understood, refuses the question, or has trades without an id.
        RestUnavailable: There were too many questions.
    """

    def read(body: bytes) -> PastPage:
        answer = _decode(body)
        if any(_WAIT.search(error) for error in answer.error):
            raise RestUnavailable(f"Kraken answers {answer.error[0][:100]}")
        if answer.error:
            raise ValueError(f"refused: {', '.join(answer.error)[:100]}")
        lists = [value for name, value in answer.result.items() if name != "last" and isinstance(value, list)]
        if len(lists) != 1:
            raise ValueError(f"{len(lists)} lists of trades")
        trades = [_trade(row) for row in lists[0]]
        last = answer.result.get("last")
        # `last` is missing now and then. A float of seconds is exact to a quarter of a microsecond.
        newest_ns = max((one.ts_event_ns for one in trades), default=0) - 1_000
        following = int(last) if isinstance(last, str | int) and len(str(last)) == 19 else newest_ns
        return PastPage(checked(trades, _ROWS), following - 1 if trades else None)

    return decoded("trades", body, read)


def _trade(row: _Row) -> PastTrade:
    price, size, seconds, side, _, _, trade_id = row
    if not trade_id or side not in ("b", "s"):
        raise ValueError(f"a trade with the id {trade_id} and the side {side[:20]!r}")
    return PastTrade(trade_id, round(seconds * 1e6) * 1000, price, size, "b" if side == "b" else "s")


TRADE_HISTORY = TradeHistory(_ROWS, True, lambda _trade_id, ts_ns: ts_ns - _BEFORE_NS, path, page)
