"""Faults in the data of a simulated venue: rules that match streams and run out."""

from collections.abc import Sequence

import msgspec

from recorder.simulator.market import Trade


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
