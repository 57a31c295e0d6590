"""Rounds whose answers a test writes, markets, and a service of books over them."""

import json
from collections.abc import Callable
from typing import Any

import msgspec

from recorder.poller.job import Kept
from recorder.poller.polymarket.board import Board
from recorder.poller.polymarket.tiers import TierRules
from recorder.venues.polymarket.polls.market import Market, Numbers
from support.poller.polling import Storing

NOW_NS = 1_764_000_000 * 10**9
HOUR_NS = 3600 * 10**9
Answer = Callable[[str, str, bytes], tuple[int, bytes] | Exception]


class ScriptedRound(Storing):
    """A round that gives each request to a function of the test."""

    def __init__(self, answer: Answer, job: str = "test", slot_ns: int = NOW_NS) -> None:
        super().__init__(job, slot_ns)
        self.now_ns = NOW_NS + 10**9
        self.kept: list[Kept] = []
        self._answer = answer

    def get(self, service: str, path: str) -> Kept:
        return self.post(service, path, b"")

    def post(self, service: str, path: str, body: bytes) -> Kept:
        given = self._answer(service, path, body)
        if isinstance(given, Exception):
            raise given
        self.kept.append(Kept(service, path, body, given[0], given[1], self.now_ns, "r1"))
        return self.kept[-1]


def market(number: int, **changed: Any) -> Market:
    """Return an open market that ends in half an hour."""
    numbers = Numbers(
        NOW_NS, NOW_NS - 10**9, price=0.46, volume=5000.0, volume_24h=700.0, volume_1w=1500.0, volume_1mo=3000.0,
        liquidity=250.0, event_volume=9000.0, event_open_interest=400.0,
    )  # fmt: skip
    first = Market(
        number, f"0x{number:064x}", "v1", (f"{number}00", f"{number}01"), ("Yes", "No"), f"market-{number}",
        f"Market {number}?", 7, "sports", ("sports",), "open", True, True, False, False, True,
        NOW_NS - 24 * HOUR_NS, NOW_NS + HOUR_NS // 2, None, None, 0.01, 5.0, None, None, None, None, None, None, None,
        None, None, None, None, None, None, None, None, 0, numbers,
    )  # fmt: skip
    return msgspec.structs.replace(first, **changed)


def board(*markets: Market) -> Board:
    """Return markets in memory, with their tiers."""
    result = Board(TierRules())
    for one in markets:
        result.put(one)
    result.retier(NOW_NS)
    return result


def wire_book(token: str, **changed: Any) -> dict[str, Any]:
    """Return a book as the service sends it."""
    bids = [{"price": "0.01", "size": "1000"}, {"price": "0.45", "size": "100"}]
    asks = [{"price": "0.99", "size": "2000"}, {"price": "0.47", "size": "300"}]
    return {
        "market": f"0x{int(token[:-2]):064x}", "asset_id": token, "timestamp": str(NOW_NS // 10**6), "hash": "aa",
        "bids": bids, "asks": asks, "min_order_size": "5", "tick_size": "0.01", "neg_risk": False,
        "last_trade_price": "0.46",
    } | changed  # fmt: skip


def tokens_of(body: bytes) -> list[str]:
    """Return the tokens of a request of books."""
    return [entry["token_id"] for entry in json.loads(body)]


def books_of(body: bytes) -> tuple[int, bytes]:
    """Return an answer with every book that a request names."""
    return 200, json.dumps([wire_book(token) for token in tokens_of(body)]).encode()
