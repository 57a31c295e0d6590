"""Faults of a REST service: rules that match the path of a request and run out."""

from typing import Literal

import msgspec

Kind = Literal["away", "rest", "delay", "html", "truncate", "echo_cursor", "odd", "incomplete"]


class RestRule(msgspec.Struct):
    """One fault of the answers to paths that begin with `symbol`."""

    do: Kind
    symbol: str | None = None  # beginning of the path; None means all paths
    channel: str | None = None  # unused: the rules of venues have it, and a reader shows both alike
    left: int | None = None  # how many more answers; None: until healed
    text: str = ""
    count: int = 0
    amount: float = 0.0


class RestFaults:
    """The rules in force."""

    def __init__(self) -> None:
        self.rules: list[RestRule] = []

    def add(self, rule: RestRule) -> None:
        """Add a rule."""
        self.rules.append(rule)

    def heal(self, do: str | None = None) -> int:
        """Remove the rules of one kind, or all; return how many."""
        kept = [rule for rule in self.rules if do is not None and rule.do != do]
        dropped = len(self.rules) - len(kept)
        self.rules = kept
        return dropped

    def use(self, do: Kind, path: str) -> RestRule | None:
        """Return the first rule of that kind for that path and count one use of it; None where there is none."""
        for rule in self.rules:
            if rule.do == do and path.startswith(rule.symbol or ""):
                if rule.left is not None:
                    rule.left -= 1
                    if rule.left <= 0:
                        self.rules.remove(rule)
                return rule
        return None
