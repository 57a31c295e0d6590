"""What Kraken's REST service says about trades, for the witnesses. kraken.md and the call `Trades` describe it."""

from urllib.parse import quote

import msgspec

from recorder.venues.kraken.listing import V2_ASSETS
from recorder.venues.wire import Int64, lenient
from recorder.venues.witness import TRADES_MAX, SeenTrade, TradeQuestion, WitnessQuestions, decoded, seen

_REST_ASSETS = {new: old for old, new in V2_ASSETS.items()}


class _Trades(msgspec.Struct, gc=False):
    error: list[str]
    result: dict[str, list[tuple[object, object, float, str, str, str, Int64]] | str] = {}


_decode = lenient(_Trades)


def trades_path(symbol: str, _now_ns: int) -> str:
    """Return the path of the newest trades of a symbol; without `since` they are the newest 1,000."""
    return f"/0/public/Trades?pair={pair_of(symbol)}"


def pair_of(symbol: str) -> str:
    """Return the name of a symbol in REST requests, such as XBTUSD, quoted for a path."""
    pair = "".join(_REST_ASSETS.get(asset, asset) for asset in symbol.split("/"))
    return quote(pair, safe="")


def trades(body: bytes) -> list[SeenTrade]:
    """Decode an answer of `Trades`. It is one list under the name of the pair, beside `last`; an id 0 is none.

    Raises:
        DecodeError: The answer is not understood, or refuses the question.
    """

    def rows(body: bytes) -> list[SeenTrade]:
        answer = _decode(body)
        if answer.error:
            raise ValueError(f"refused: {', '.join(answer.error)[:100]}")
        lists = [value for name, value in answer.result.items() if name != "last" and isinstance(value, list)]
        if len(lists) != 1:
            raise ValueError(f"{len(lists)} lists of trades")
        # The float of seconds has seven decimals at best: ids decide, and the time only has to be near.
        return seen([SeenTrade(row[6], round(row[2] * 1e9)) for row in lists[0][-TRADES_MAX:] if row[6]])

    return decoded("trades", body, rows)


WITNESS_QUESTIONS = WitnessQuestions(
    TradeQuestion(trades_path, trades),
    "each message of the feed proves the book by its checksum, and nothing more is asked",
)
