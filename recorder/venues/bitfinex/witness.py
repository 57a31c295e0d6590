"""What Bitfinex's REST service says about trades, for the witnesses. bitfinex.md describes the call.

Its answers come through a cache and may be five seconds old; a changing end of the time range asks past it.
"""

from urllib.parse import quote

from recorder.venues.wire import Int64, lenient
from recorder.venues.witness import TRADES_ASKED, SeenTrade, TradeQuestion, WitnessQuestions, decoded, seen

_AHEAD_MS = 60_000  # the venue's clock may be ahead of ours: the end of the range must not cut its newest trades

_decode = lenient(list[tuple[Int64, Int64, float, float]])


def trades_path(symbol: str, now_ns: int) -> str:
    """Return the path of the newest trades of a symbol."""
    end_ms = now_ns // 10**6 + _AHEAD_MS
    return f"/v2/trades/{quote(symbol, safe='')}/hist?limit={TRADES_ASKED}&sort=-1&end={end_ms}"


def trades(body: bytes) -> list[SeenTrade]:
    """Decode an answer of `trades/SYMBOL/hist`: rows of id, ms, amount and price.

    Raises:
        DecodeError: The answer is not understood.
    """
    return decoded("trades", body, lambda body: seen([SeenTrade(row[0], row[1] * 10**6) for row in _decode(body)]))


WITNESS_QUESTIONS = WitnessQuestions(
    TradeQuestion(trades_path, trades), "the feed proves the book by checksums, and nothing more is asked"
)
