"""Labels: each is the payout of its market, none is early, and none is missing that two sources have named."""

from collections.abc import Callable, Sequence
from urllib.parse import parse_qs, urlsplit

import msgspec

from recorder.truth import Answered, MarketLife
from recorder.verify.served.result import ServedCheck

BATCH = 1_000
SETTLED_NS = 10 * 10**9
"""A market counts as asked for from this long after its payout: a source may hear of it some seconds later."""

_LABELLED_NS = 120 * 10**9  # the round that asks the second source decides
_TARGET_CHARS = 2000  # of the log; a longer one is cut

Stored = tuple[int, int, int]
"""Payouts of both outcomes, and when the label became known, ns."""

Find = Callable[[Sequence[int]], dict[int, Stored]]
"""Returns the stored labels of some markets."""


class _Life(msgspec.Struct, gc=False):
    market_id: int
    resolved_ns: int | None
    payouts: tuple[int, int] | None
    odd: bool
    first: bool = False  # whether the first source has named its payout to the poller
    second: bool = False


class LabelCheck:
    """Compares the labels of one group of services. Its memory grows with the markets of the logs, 300 B each."""

    def __init__(self, services: str, until_ns: int | None, find: Find) -> None:
        self.check = ServedCheck(services, "labels")
        self._until_ns = until_ns
        self._find = find
        self._lives: dict[str, _Life] = {}  # by market
        self._of: dict[str, _Life] = {}  # by condition and by token

    def lives(self, line: MarketLife) -> None:
        """Note the life of a market."""
        if line.id in self._lives:
            return
        payouts = (line.payouts[0], line.payouts[1]) if line.payouts else None
        resolved_ns = None if line.resolved is None else line.resolved * 10**9
        one = self._lives[line.id] = _Life(int(line.id), resolved_ns, payouts, bool(line.odd))
        for name in (*line.conditions, *(token for pair in line.tokens for token in pair)):
            self._of[name] = one

    def answered(self, line: Answered) -> None:
        """Note which payouts an answer that the poller received has named."""
        if len(line.target) >= _TARGET_CHARS or (self._until_ns is not None and line.t + _LABELLED_NS > self._until_ns):
            return
        parts = urlsplit(line.target)
        if parts.path.endswith("/resolutions"):
            for one in self._paid(parse_qs(parts.query).get("condition", []), line.t):
                one.first = True
        elif parts.path.endswith("/tokens"):
            for one in self._paid(parse_qs(parts.query).get("token_id", []), line.t):
                one.second = True

    def end(self) -> ServedCheck:
        """Judge every market, and return the result."""
        lives = list(self._lives.values())
        for first in range(0, len(lives), BATCH):
            batch = lives[first : first + BATCH]
            stored = self._find([one.market_id for one in batch])
            for one in batch:
                self._judge(one, stored.get(one.market_id))
        return self.check

    def _paid(self, texts: Sequence[str], at_ns: int) -> list[_Life]:
        names = (name for text in texts for name in text.split(","))
        found = (self._of.get(name) for name in names)
        return [
            one for one in found
            if one is not None and one.resolved_ns is not None and one.resolved_ns + SETTLED_NS <= at_ns
        ]  # fmt: skip

    def _judge(self, one: _Life, stored: Stored | None) -> None:
        named = one.first and one.second and not one.odd
        self.check.served += named
        if stored is None:
            if named:
                self.check.missing += 1
                self.check.note(f"market {one.market_id} has no label")
            return
        self.check.stored += 1
        if one.payouts is None or one.resolved_ns is None:
            self.check.wrong += 1
            self.check.note(f"market {one.market_id} has a label and never paid")
        elif stored[:2] != one.payouts:
            self.check.wrong += 1
            self.check.note(f"market {one.market_id} paid {one.payouts}, and its label is {stored[:2]}")
        elif stored[2] < one.resolved_ns:
            self.check.wrong += 1
            self.check.note(f"market {one.market_id} has a label from before its payout")
