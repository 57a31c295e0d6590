"""Faults in the data of a simulated venue: rules that match streams and run out, and what they spoil."""

from collections.abc import Sequence

import msgspec

from recorder.simulator.market import Taker, Trade

HISTORY = "history"
HISTORY_LOOP = "history_loop"
HISTORY_KINDS = ("omit", "floor", "late", "side", "round")
_OTHER: dict[Taker, Taker] = {"b": "s", "s": "b"}
_MS = 1_000_000


class Rule(msgspec.Struct):
    """One fault; None for symbol or channel means all of them."""

    do: str
    symbol: str | None = None
    channel: str | None = None
    left: int | None = None  # how many more times; None: until healed
    text: str = ""
    count: int = 0

    def matches(self, do: str, channel: str | None, symbol: str | None) -> bool:
        """Return whether this rule is of that kind and covers that stream."""
        return (
            self.do == do
            and (self.symbol is None or self.symbol == symbol)
            and (self.channel is None or self.channel == channel)
        )


class Outgoing(msgspec.Struct):
    """The prints of one event after the faults."""

    out: list[tuple[Trade, bool]]  # to send, in order: the trade, and whether it was published before
    held: list[tuple[Trade, str]]  # withheld, with the kind of the fault


class FaultRules:
    """The rules in force."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._delayed: dict[str, list[Trade]] = {}

    def add(self, rule: Rule) -> None:
        """Add a rule."""
        self.rules.append(rule)

    def heal(self, do: str | None = None) -> int:
        """Remove the rules of one kind, or all; return how many."""
        kept = [rule for rule in self.rules if do is not None and rule.do != do]
        dropped = len(self.rules) - len(kept)
        self.rules = kept
        return dropped

    def use(self, do: str, channel: str | None = None, symbol: str | None = None) -> Rule | None:
        """Return the first rule of that kind for that stream and count one use of it; None where there is none."""
        for rule in self.rules:
            if rule.matches(do, channel, symbol):
                if rule.left is not None:
                    rule.left -= 1
                    if rule.left <= 0:
                        self.rules.remove(rule)
                return rule
        return None

    def withheld(self, channel: str, symbol: str) -> str | None:
        """Return the kind of the fault that withholds this message; None if it is to be sent."""
        if not self.rules:
            return None
        for do in ("freeze", "skip"):
            if self.use(do, channel, symbol) is not None:
                return do
        return None

    def apply(self, symbol: str, trades: Sequence[Trade]) -> Outgoing:
        """Withhold, repeat or reorder the prints of one event."""
        if not self.rules and not self._delayed:
            return Outgoing([(trade, False) for trade in trades], [])
        outgoing = Outgoing([], [])
        for trade in trades:
            reason = self.withheld("trade", symbol)
            if reason is not None:
                outgoing.held.append((trade, reason))
            elif self.use("reorder", "trade", symbol) is not None:
                self._delayed.setdefault(symbol, []).append(trade)
            else:
                outgoing.out.append((trade, False))
                if self.use("repeat", "trade", symbol) is not None:
                    outgoing.out.append((trade, True))
                outgoing.out += [(late, False) for late in self._delayed.pop(symbol, [])]
        return outgoing

    def checksum(self, symbol: str, right: int) -> int:
        """Return the checksum to send."""
        if not self.rules:
            return right
        rule = self.use("checksum", "book", symbol)
        if rule is None:
            return right
        return 0 if rule.text == "zero" else right ^ 1


class SpoiledHistory(msgspec.Struct, frozen=True):
    """One fault of a history; the text of its rule is this as JSON."""

    kind: str
    first: int = 0
    last: int = 0

    def apply(self, past: list[Trade]) -> list[Trade]:
        """Return what the venue lists of some trades."""
        match self.kind:
            case "omit":
                return [one for one in past if not self.first <= one.id <= self.last]
            case "floor":
                return [one for one in past if one.id >= self.first]
            case "late":
                return past[: max(0, len(past) - self.last)]
            case "side":
                return [msgspec.structs.replace(one, taker=_OTHER[one.taker]) for one in past]
        return [msgspec.structs.replace(one, ts_ns=one.ts_ns // _MS * _MS) for one in past]


def history_rule(symbol: str | None, spoiled: SpoiledHistory) -> Rule:
    """Return the rule of a fault, until it is healed."""
    return Rule(HISTORY, symbol, None, None, msgspec.json.encode(spoiled).decode())


def listed_history(history: Sequence[Trade], rules: Sequence[Rule], symbol: str) -> Sequence[Trade]:
    """Return the trades of a symbol that the venue lists by REST."""
    spoils = [msgspec.json.decode(one.text, type=SpoiledHistory) for one in rules if one.matches(HISTORY, None, symbol)]
    if not spoils:
        return history
    past = list(history)
    for spoiled in spoils:
        past = spoiled.apply(past)
    return past
