"""Every type of message that the decoders handle, recognised by the shape of the wire alone, and where each was seen.

`tests/captures/conftest.py` prints the table after the capture tests. Captures are frames that venues sent
(TAPEDECK_DATA). The other examples are the frames in tests/captures, written from the venues' documentation.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from recorder.cli.decode.frame_files import read_frames, received
from support.captured_data import CAPTURES, ROOT

HANDMADE = ROOT / "tests" / "captures"
BESIDE = (".sent.jsonl", ".rest.jsonl")

_SIDED = ("snapshot", "update")


def capture_files(venue: str) -> list[Path]:
    """Return the files of frames of a venue, without answers of REST; none where there are no captures."""
    folder = CAPTURES / venue
    files = sorted(folder.glob("*.json*")) if folder.is_dir() else []
    return [
        file
        for file in files
        if not file.name.removesuffix(".gz").endswith(BESIDE) and (venue != "polymarket" or file.name.startswith("ws_"))
    ]


# ---- the type of a message -------------------------------------------------------------------------------------


def _binance(m: Any) -> str:
    data = m.get("data", m)
    if "rest" in m:
        return "answer of REST: depth"
    if "e" in data:
        return str(data["e"])
    if "u" in data:
        return "bookTicker"
    if "result" in m:
        return "result: list of streams" if isinstance(m["result"], list) else "result: null"
    return "error" if "error" in m else "code and msg"


def _bitfinex(m: Any) -> str | None:
    if isinstance(m, dict):
        event = str(m["event"])
        if event == "info":
            return f"info {m['code']}" if "code" in m else "info version"
        if event == "error":
            return f"error {m['code']}" if m["code"] in (10301, 10400, 10401) else "error, others"
        channel = m.get("channel")
        return f"subscribed {channel}" if event == "subscribed" else event
    if isinstance(m[0], list):
        return None  # an answer of REST between the frames
    what = m[1]
    if isinstance(what, str):
        return {"te": "trade te", "tu": "trade tu", "cs": "book checksum cs", "hb": "hb"}[what]
    if isinstance(m[0], dict):
        channel = m[0]["channel"]
        if channel == "candles" or m[0].get("prec") == "R0":
            return "of a channel not recorded"
    else:
        channel = None
    many = not what or isinstance(what[0], list)
    width = len(what[0]) if many and what else len(what)
    if channel == "ticker" or (channel is None and width >= 10):
        return "ticker"
    if channel == "trades" or width == 4:
        return "trade snapshot"
    return "book snapshot" if many else "book update"


def _coinbase(m: Any) -> str:
    return str(m["type"])


def _coinbase_advanced(m: Any) -> str:
    channel = m.get("channel")
    if channel in ("l2_data", "market_trades", "ticker"):
        return f"{channel} {m['events'][0]['type']}"
    return str(channel or m["type"])


def _figure(m: Any) -> str:
    if isinstance(m, list):
        return "list of subscriptions"
    if "channel" in m:
        return str(m["channel"])
    return f"code {m['code']}" if m.get("code") in (2, 5) else "code, others" if "code" in m else str(m["message"])


def _kraken(m: Any) -> str:
    if "channel" in m:
        channel = str(m["channel"])
        return f"{channel} {m['type']}" if channel in ("book", "ticker", "trade") else f"channel {channel}"
    method = m.get("method")
    if method == "subscribe":
        if m["success"]:
            return "method subscribe, accepted"
        return "method subscribe, refused" + (" without its symbol" if "symbol" not in m else "")
    return f"method {method}" if method else "error"


def _kraken_v1(m: Any) -> str:
    if isinstance(m, dict):
        return f"{m['event']} {m['status']}" if m["event"] == "subscriptionStatus" else str(m["event"])
    name = m[-2].partition("-")[0]
    if name != "book":
        return str(name)
    if len(m) == 5:
        return "book update of both sides"
    return "book snapshot" if "as" in m[1] or "bs" in m[1] else "book update"


def _okx(m: Any) -> str:
    if m == "pong":
        return "pong"
    if "event" in m:
        event = str(m["event"])
        if event == "notice":
            return "notice 64008" if m["code"] == "64008" else "notice, others"
        return event
    channel = str(m["arg"]["channel"])
    if channel.startswith("candle"):
        return "candle"
    if channel not in ("books", "books-l2-tbt", "books50-l2-tbt"):
        return channel
    (data,) = m["data"]
    alive = data.get("seqId") is not None and data.get("seqId") == data.get("prevSeqId")
    return f"{channel} {'keep-alive' if alive else m['action']}"


def _polymarket(m: Any) -> str:
    if m == "PONG":
        return "PONG"
    if m == []:
        return "empty list"
    kind = str(m["event_type"])
    if kind == "price_change":
        return f"price_change, {'price_changes' if 'price_changes' in m else 'changes' if 'changes' in m else 'bare'}"
    if kind == "book":
        return "book, buys and sells" if "buys" in m else "book, bids and asks"
    return kind


TYPE_OF: dict[str, Callable[[Any], str | None]] = {
    "binance": _binance,
    "bitfinex": _bitfinex,
    "coinbase": _coinbase,
    "coinbase_advanced": _coinbase_advanced,
    "figure": _figure,
    "kraken": _kraken,
    "kraken_v1": _kraken_v1,
    "okx": _okx,
    "polymarket": _polymarket,
}

KNOWN: dict[str, tuple[str, ...]] = {
    "binance": (
        "trade", "bookTicker", "depthUpdate", "answer of REST: depth", "aggTrade", "kline", "24hrTicker",
        "24hrMiniTicker", "avgPrice", "serverShutdown", "result: null", "result: list of streams", "error",
        "code and msg",
    ),
    "bitfinex": (
        "trade snapshot", "trade te", "trade tu", "ticker", "book snapshot", "book update", "book checksum cs", "hb",
        "of a channel not recorded", "info version", "info 20051", "info 20060", "info 20061", "pong", "conf",
        "subscribed trades", "subscribed ticker", "subscribed book", "unsubscribed", "error 10301", "error 10400",
        "error 10401", "error, others",
    ),
    "coinbase": (
        "match", "last_match", "ticker", "snapshot", "l2update", "heartbeat", "subscriptions", "status", "error",
    ),
    "coinbase_advanced": (
        *(f"{channel} {kind}" for channel in ("market_trades", "ticker", "l2_data") for kind in _SIDED),
        "subscriptions", "heartbeats", "candles", "ticker_batch", "status", "error",
    ),
    "figure": (
        "TRADES", "MARKET", "ORDER_BOOK", "CANDLES", "list of subscriptions", "UNSUBSCRIBED", "code 2", "code 5",
        "code, others",
    ),
    "kraken": (
        *(f"{channel} {kind}" for channel in ("trade", "ticker", "book") for kind in _SIDED),
        "channel heartbeat", "channel status", "channel pong", "channel ohlc", "channel instrument", "method pong",
        "method ping", "method subscribe, accepted", "method subscribe, refused",
        "method subscribe, refused without its symbol", "method unsubscribe", "error",
    ),
    "kraken_v1": (
        "trade", "ticker", "spread", "ohlc", "book snapshot", "book update", "book update of both sides", "heartbeat",
        "systemStatus", "pong", "subscriptionStatus subscribed", "subscriptionStatus unsubscribed",
        "subscriptionStatus error", "error",
    ),
    "okx": (
        "trades", "bbo-tbt", "tickers",
        *(f"{channel} {kind}" for channel in ("books", "books-l2-tbt", "books50-l2-tbt")
          for kind in (*_SIDED, "keep-alive")),
        "instruments", "books5", "status", "candle", "pong", "subscribe", "unsubscribe", "error", "notice 64008",
        "notice, others", "channel-conn-count", "channel-conn-count-error",
    ),
    "polymarket": (
        "book, bids and asks", "book, buys and sells", "price_change, price_changes", "price_change, changes",
        "price_change, bare", "last_trade_price", "best_bid_ask", "tick_size_change", "new_market", "market_resolved",
        "PONG", "empty list",
    ),
}  # fmt: skip
"""The messages that each dialect's decoders handle. A test compares them with the cases of the decoders themselves."""


# ---- where it was seen -----------------------------------------------------------------------------------------


def messages(dialect: str, frame: bytes) -> Iterator[Any]:
    """Return the messages of a frame: usually one; Polymarket sends several in a list."""
    if frame in (b"pong", b"PONG"):
        yield frame.decode()
        return
    message = json.loads(frame)
    if dialect == "polymarket" and isinstance(message, list) and message:
        yield from message
    else:
        yield message


def dialect_of(venue: str, message: Any) -> str:
    """Return the dialect of a captured message, by its shape."""
    if venue == "coinbase" and "channel" in message:
        return "coinbase_advanced"
    if venue == "kraken" and (isinstance(message, list) or "event" in message):
        return "kraken_v1"
    return venue


def seen_in_captures() -> dict[str, Counter[str]]:
    """Count the messages of each dialect and type that venues sent."""
    seen: dict[str, Counter[str]] = {dialect: Counter() for dialect in KNOWN}
    for venue in ("binance", "bitfinex", "coinbase", "figure", "kraken", "okx", "polymarket"):
        for file in capture_files(venue):
            # Only one decoder reads answers of REST that lie beside a capture: Binance's reads its snapshots.
            frames = (item.frame for item in received(file) if venue == "binance" or not item.rest)
            _count(seen, venue, frames)
    return seen


def seen_in_examples() -> dict[str, Counter[str]]:
    """Count the messages of each dialect and type in the frames written from documentation."""
    seen: dict[str, Counter[str]] = {dialect: Counter() for dialect in KNOWN}
    for dialect in KNOWN:
        for file in sorted((HANDMADE / dialect).glob("*.jsonl")):
            _count(seen, dialect, read_frames(file))
    return seen


def _count(seen: dict[str, Counter[str]], venue: str, frames: Iterator[bytes]) -> None:
    for frame in frames:
        for message in messages(venue, frame):
            dialect = dialect_of(venue, message)
            kind = TYPE_OF[dialect](message)
            if kind is not None:
                seen[dialect][kind] += 1


def table() -> Table:
    """Return a table of venue, message type, and where it was seen."""
    captured, examples = seen_in_captures(), seen_in_examples()
    drawn = Table(title="Messages the decoders handle, and where each was seen", title_justify="left", show_lines=True)
    for column in ("dialect", "in captures (how many)", "in documentation examples only", "never"):
        drawn.add_column(column, overflow="fold")
    for dialect, known in KNOWN.items():
        real, documented = captured[dialect], examples[dialect]
        drawn.add_row(
            dialect,
            ", ".join(f"{kind} ({real[kind]})" for kind in known if real[kind]),
            ", ".join(kind for kind in known if documented[kind] and not real[kind]),
            ", ".join(kind for kind in known if not (documented[kind] or real[kind])),
        )
    return drawn
