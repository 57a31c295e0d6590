"""What a fake venue shall do wrong with its data: rules that match streams and run out."""

from collections.abc import Sequence

import msgspec

from recorder.simulator.market import Trade


class Rule(msgspec.Struct):
    """One misbehaviour on request; None for symbol or channel means all of them."""

    do: str
    symbol: str | None = None
    channel: str | None = None
    left: int | None = None  # how many times still; None until healed
    text: str = ""
    count: int = 0

    def matches(self, do: str, channel: str | None, symbol: str | None) -> bool:
        """Whether this rule speaks about that stream."""
        return (
            self.do == do
            and (self.symbol is None or self.symbol == symbol)
            and (self.channel is None or self.channel == channel)
        )


class Shaped(msgspec.Struct):
    """Prints of one event after mischief: what goes out, in order, and what is withheld and why."""

    out: list[tuple[Trade, bool]]  # the trade, and whether it was published before
    held: list[tuple[Trade, str]]


class Mischief:
    """The rules in force."""

    def __init__(self) -> None:
        self.rules: list[Rule] = []
        self._delayed: dict[str, list[Trade]] = {}

    def add(self, rule: Rule) -> None:
        """Put a rule in force."""
        self.rules.append(rule)

    def heal(self, do: str | None = None) -> int:
        """Drop the rules of one kind, or all; gives how many."""
        kept = [rule for rule in self.rules if do is not None and rule.do != do]
        dropped = len(self.rules) - len(kept)
        self.rules = kept
        return dropped

    def take(self, do: str, channel: str | None = None, symbol: str | None = None) -> Rule | None:
        """The first rule of that kind for that stream, one use of it being spent."""
        for rule in self.rules:
            if rule.matches(do, channel, symbol):
                if rule.left is not None:
                    rule.left -= 1
                    if rule.left <= 0:
                        self.rules.remove(rule)
                return rule
        return None

    def withheld(self, channel: str, symbol: str) -> str | None:
        """Why this message shall not be sent, if so."""
        if not self.rules:
            return None
        for do in ("freeze", "skip"):
            if self.take(do, channel, symbol) is not None:
                return do
        return None

    def shape(self, symbol: str, trades: Sequence[Trade]) -> Shaped:
        """Withhold, repeat or reorder the prints of one event."""
        if not self.rules and not self._delayed:
            return Shaped([(trade, False) for trade in trades], [])
        shaped = Shaped([], [])
        for trade in trades:
            reason = self.withheld("trade", symbol)
            if reason is not None:
                shaped.held.append((trade, reason))
            elif self.take("reorder", "trade", symbol) is not None:
                self._delayed.setdefault(symbol, []).append(trade)
            else:
                shaped.out.append((trade, False))
                if self.take("repeat", "trade", symbol) is not None:
                    shaped.out.append((trade, True))
                shaped.out += [(late, False) for late in self._delayed.pop(symbol, [])]
        return shaped

    def checksum(self, symbol: str, right: int) -> int:
        """The checksum to send."""
        if not self.rules:
            return right
        rule = self.take("checksum", "book", symbol)
        if rule is None:
            return right
        return 0 if rule.text == "zero" else right ^ 1
