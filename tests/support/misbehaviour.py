"""The actions of the simulated venues with arguments, as data of the fault tests."""

from typing import Any

# Every action that all venues have. FIRST stands for the first symbol of the venue.
FIRST = "the first symbol"
FAULTS: list[tuple[str, dict[str, Any]]] = [
    ("close", {"how": "rst"}),
    ("close", {"how": "fin"}),
    ("close", {"how": "torn"}),
    ("close", {"how": "frame"}),
    ("slow", {"chunk": 400, "every_s": 0.05}),
    ("fragment", {"largest": 20}),
    ("refuse", {"channel": "trade", "times": 2, "reason": "not now"}),
    ("freeze", {"symbol": FIRST}),
    ("freeze", {"channel": "book"}),
    ("skip", {"times": 5, "symbol": FIRST}),
    ("skip", {"times": 5, "channel": "quote"}),
    ("skip", {"times": 20, "channel": "book", "symbol": FIRST}),
    ("repeat", {"times": 5}),
    ("repeat", {"times": 5, "channel": "quote"}),
    ("repeat", {"times": 5, "channel": "book"}),
    ("reorder", {"times": 5}),
    ("republish", {"count": 40, "now": True}),
    ("republish", {"count": 200, "times": 2}),
    ("checksum", {"times": 2}),
    ("checksum", {"times": 1, "zero": True, "symbol": FIRST}),
    ("malformed", {}),
    ("malformed", {"kind": "truncated", "instead": True, "symbol": FIRST}),
    ("malformed", {"kind": "invalid_utf8", "instead": True, "channel": "book", "symbol": FIRST}),
    ("malformed", {"kind": "not_json", "instead": True, "channel": "quote"}),
    ("oversized", {"megabytes": 40.0}),
    ("burst", {"events": 5000}),
    ("rest", {"times": 2}),
]
# The actions that only one venue has.
OWN: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "binance": [("old_snapshot", {"times": 2}), ("session_end", {"lead_s": 0.5})],
    "bitfinex": [
        ("sequence_hole", {"frames": 2}),
        ("tu_first", {"times": 3}),
        ("late_answer", {"times": 2}),
        ("maintenance", {"lasts_s": 1.0}),
        ("restart", {"grace_s": 0.5}),
    ],
    "coinbase_advanced": [
        ("sequence_hole", {"missing": 2}),
        ("repeat_sequence", {"times": 2}),
        ("deep_book", {"levels": 20_000}),
    ],
    "figure": [("empty", {"times": 2, "symbol": FIRST}), ("session_end", {})],
    "okx": [
        ("maintenance", {}),
        ("checksum_returns", {"right": True}),
        ("checksum_returns", {"right": False}),
        ("keepalive", {"every_s": 1.0}),
        ("upgrade", {"lead_s": 0.5}),
    ],
    "polymarket": [
        ("equal_prints", {"times": 3}),
        ("tick_size", {"symbol": FIRST}),
        ("bookless", {"symbol": FIRST}),
        ("shape", {"shape": "changes"}),
        ("shape", {"shape": "single"}),
    ],
}
LAST: tuple[str, dict[str, Any]] = ("reset_ids", {"symbol": FIRST, "first": 1})  # ids prove less after it
ENDS: dict[str, dict[str, Any]] = {"shape": {"shape": "price_changes"}}
