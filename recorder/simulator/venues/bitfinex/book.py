"""The book of Bitfinex: numbers as JavaScript prints them, a window of `len` levels, its checksum."""

import zlib

from recorder.simulator.book import BookSide
from recorder.simulator.market import Change, Step, SymbolMarket, text
from recorder.truth import Pairs

CHECKED = 25  # levels of a side that the checksum covers

Entry = tuple[int, int]
"""Price and size in units of the last decimal; size 0 deletes the level."""


def number(value: int, decimals: int) -> str:
    """Return an integer in units of the last decimal as JavaScript's `String`: no trailing zeros, `7e-7` below 1e-6."""
    if not decimals:
        return str(value)
    if value > 0 and value * 1_000_000 < 10**decimals:
        digits = str(value)
        shown = digits.rstrip("0")
        point = "." if len(shown) > 1 else ""
        return f"{shown[0]}{point}{shown[1:]}e-{decimals - len(digits) + 1}"
    return text(value, decimals).rstrip("0").rstrip(".")


def orders_at(price: int, size: int) -> int:
    """Return the number of orders of a level. The market has none, so this is a figure that depends on the level."""
    return 1 + (price + size) % 5


class Window:
    """The best `depth` levels of both sides. A level that leaves it is deleted; one that enters it is set."""

    def __init__(self, market: SymbolMarket, depth: int) -> None:
        self.depth = depth
        self._worst = (market.bids.worst_of(depth), market.asks.worst_of(depth))

    def update(self, step: Step) -> tuple[list[Entry], list[Entry]]:
        """Return the entries to send after a step: bids and asks."""
        market = step.market
        bids = self._side(market.bids, step.bids, self._worst[0]) if step.bids else []
        asks = self._side(market.asks, step.asks, self._worst[1]) if step.asks else []
        self._worst = (market.bids.worst_of(self.depth), market.asks.worst_of(self.depth))
        return bids, asks

    def _side(self, side: BookSide, changes: list[Change], before: int | None) -> list[Entry]:
        after = side.worst_of(self.depth)
        entries: list[Entry] = []
        included = set()
        for change in changes:
            key = side.key(change.price)
            was = change.old > 0 and (before is None or key <= before)
            now = change.new > 0 and (after is None or key <= after)
            if was or now:
                entries.append((change.price, change.new if now else 0))
                included.add(change.price)
        if before is not None and (after is None or after > before):
            entered = side.beyond(before, self.depth)
            entries += [(price, side.size(price)) for price in entered if price not in included]
        elif after is not None and (before is None or after < before):
            pushed = side.beyond(after, self.depth + len(changes))
            entries += [
                (price, 0)
                for price in pushed
                if price not in included and (before is None or side.key(price) <= before)
            ]
        return entries


def checksum_of(market: SymbolMarket, depth: int) -> int:
    """Return the signed CRC-32 of the best 25 levels, bid and ask in turn, with the digits of the wire."""
    p, q = market.spec.price_decimals, market.spec.size_decimals
    bids, asks = market.bids.levels(min(depth, CHECKED)), market.asks.levels(min(depth, CHECKED))
    parts = []
    for rank in range(max(len(bids), len(asks))):
        if rank < len(bids):
            parts.append(f"{number(bids[rank][0], p)}:{number(bids[rank][1], q)}")
        if rank < len(asks):
            parts.append(f"{number(asks[rank][0], p)}:-{number(asks[rank][1], q)}")
    value = zlib.crc32(":".join(parts).encode())
    return value - (1 << 32) if value >= 1 << 31 else value


def row_of(market: SymbolMarket, entry: Entry, sign: int) -> str:
    """Return `[price, count, amount]`: a negative amount is an ask; count 0 deletes, and the amount names the side."""
    price, size = entry
    shown = number(price, market.spec.price_decimals)
    if not size:
        return f"[{shown},0,{sign}]"
    minus = "-" if sign < 0 else ""
    return f"[{shown},{orders_at(price, size)},{minus}{number(size, market.spec.size_decimals)}]"


def pairs_of(market: SymbolMarket, levels: list[Entry]) -> Pairs:
    """Return levels in the form of the truth log, with the prices and sizes of the wire."""
    p, q = market.spec.price_decimals, market.spec.size_decimals
    return [(number(price, p), number(size, q)) for price, size in levels]
