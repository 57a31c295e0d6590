"""Markets that ended or are about to: whom to ask how, and when.

A case begins when a market leaves its open phase or passes its scheduled end. It ends 72 hours after its label, when
the sources have been asked once more.
"""

import threading
from collections.abc import Container, Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from recorder.poller.polymarket.labels import RECHECK_NS, Conflict, Final, Label, Payouts, decide, heard
from recorder.venues.polymarket.polls.market import Market
from recorder.venues.polymarket.polls.resolutions import Reading, Source

MOST_CASES = 100_000
"""Of the cases in memory; three days of labels are about 30,000."""

_S = 10**9
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 60, 600
_AFTER_EXPECTED_NS = 30 * _S


class Case(msgspec.Struct, gc=False):
    """One market whose end is being asked for."""

    market_id: int
    condition_id: str
    tokens: tuple[str, ...]  # by outcome
    next_ns: int  # when to ask again
    pause_s: int = _FIRST_PAUSE_S
    finals: dict[Source, Final] = {}
    payouts: Payouts | None = None  # the label, once there is one
    labelled_ns: int = 0
    revision: int = 0


class Decision(NamedTuple):
    """A label that is new, or that was looked at again."""

    case: Case
    label: Label
    known_ns: int  # receipt time of the answer that decided; of a changed label, of the answer that changed it
    checked_ns: int | None  # set when it was looked at again
    before: Payouts | None  # the label that it was compared with


class Cases:
    """All cases. Each method takes the lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._cases: dict[str, Case] = {}

    def open(self, market: Market, now_ns: int) -> None:
        """Begin the case of a market, if it has none."""
        with self._lock:
            case = self._cases.get(market.condition_id)
            if case is not None:
                case.tokens = market.tokens or case.tokens
            elif len(self._cases) < MOST_CASES:
                case = Case(market.market_id, market.condition_id, market.tokens, now_ns)
                self._cases[market.condition_id] = case

    def add(self, cases: Iterable[Case]) -> int:
        """Begin cases of an earlier process, where there are none of their markets, and return their number."""
        added = 0
        with self._lock:
            for case in cases:
                if case.condition_id not in self._cases and len(self._cases) < MOST_CASES:
                    self._cases[case.condition_id] = case
                    added += 1
        return added

    def reopened(self, condition: str) -> None:
        """End the case of a market that is open and whose end is ahead again, where no source knows an end."""
        with self._lock:
            case = self._cases.get(condition)
            if case is not None and not case.finals and case.payouts is None:
                del self._cases[condition]

    def due(self, now_ns: int, most: int) -> list[Case]:
        """Return copies of the cases that are to be asked for now, those that wait longest first."""
        with self._lock:
            waiting = [case for case in self._cases.values() if case.next_ns <= now_ns]
            waiting.sort(key=lambda case: case.next_ns)
            return [msgspec.structs.replace(case) for case in waiting[:most]]

    def asked(self, conditions: Sequence[str], now_ns: int) -> None:
        """Choose when to ask again: each pause is twice as long as the one before, up to ten minutes."""
        with self._lock:
            for condition in conditions:
                case = self._cases.get(condition)
                if case is None or case.next_ns > now_ns:
                    continue
                if case.payouts is not None and now_ns > case.labelled_ns + 2 * RECHECK_NS:
                    del self._cases[condition]  # the sources do not agree again; the label stands
                else:
                    case.next_ns = now_ns + case.pause_s * _S
                    case.pause_s = min(2 * case.pause_s, _LONGEST_PAUSE_S)

    def hasten(self, condition: str, now_ns: int) -> None:
        """Ask now, and soon again, for a market that is said to be resolved and has no label."""
        with self._lock:
            case = self._cases.get(condition)
            if case is not None and case.payouts is None:
                case.next_ns, case.pause_s = min(case.next_ns, now_ns), _FIRST_PAUSE_S

    def hear(self, reading: Reading) -> None:
        """Remember what a source says of a market with a case, and ask again sooner where it names a time."""
        with self._lock:
            case = self._cases.get(reading.condition_id)
            if case is None:
                return
            case.finals = heard(case.finals, reading)
            if reading.expected_ns is not None:
                soonest_ns = reading.received_ns + _FIRST_PAUSE_S * _S
                case.next_ns = min(case.next_ns, max(reading.expected_ns + _AFTER_EXPECTED_NS, soonest_ns))

    def undecided(self, conditions: Sequence[str]) -> list[Case]:
        """Return copies of those cases of which a source knows the end; those that were just decided are not."""
        with self._lock:
            cases = (self._cases.get(condition) for condition in conditions)
            return [msgspec.structs.replace(case) for case in cases if case is not None and case.finals]

    def decide(self, conditions: Sequence[str], now_ns: int) -> tuple[list[Decision], list[tuple[Case, Conflict]]]:
        """Return what became certain, and which sources contradict each other.

        A decided case rests until it is looked at again; a case that was looked at again ends.
        """
        decisions: list[Decision] = []
        conflicts: list[tuple[Case, Conflict]] = []
        with self._lock:
            for condition in conditions:
                case = self._cases.get(condition)
                verdict = None if case is None else decide(case.finals, now_ns)
                if case is None or verdict is None:
                    continue
                if isinstance(verdict, Conflict):
                    conflicts.append((msgspec.structs.replace(case), verdict))
                    continue
                self._decided(case, verdict, now_ns, decisions)
        return decisions, conflicts

    def _decided(self, case: Case, label: Label, now_ns: int, decisions: list[Decision]) -> None:
        again = case.payouts is not None
        if again and now_ns < case.labelled_ns + RECHECK_NS:
            return
        before = case.payouts
        case.revision = max(case.revision + 1, now_ns // 1_000)
        case.payouts = label.payouts
        if not again:
            case.labelled_ns = now_ns
        known_ns = case.labelled_ns if before in (None, label.payouts) else now_ns
        decisions.append(Decision(msgspec.structs.replace(case), label, known_ns, now_ns if again else None, before))
        if again:
            del self._cases[case.condition_id]
        else:
            case.finals, case.next_ns, case.pause_s = {}, now_ns + RECHECK_NS, _FIRST_PAUSE_S

    def get(self, condition: str) -> Case | None:
        """Return a copy of the case of a market; None where it has none."""
        with self._lock:
            case = self._cases.get(condition)
            return None if case is None else msgspec.structs.replace(case)

    def of_tokens(self, tokens: Container[str]) -> list[Case]:
        """Return copies of the cases whose first outcome has one of these tokens."""
        with self._lock:
            return [
                msgspec.structs.replace(case)
                for case in self._cases.values()
                if case.tokens and case.tokens[0] in tokens
            ]

    def labelled(self, condition: str) -> bool:
        """Return whether a market has a label."""
        with self._lock:
            case = self._cases.get(condition)
            return case is not None and case.payouts is not None

    def drop(self, condition: str) -> None:
        """End the case of a market that is gone; a label waits for its second look all the same."""
        with self._lock:
            case = self._cases.get(condition)
            if case is not None and case.payouts is None:
                del self._cases[condition]

    def __len__(self) -> int:
        with self._lock:
            return len(self._cases)

    def snapshot(self) -> list[Case]:
        """Return copies of all that a restart needs."""
        with self._lock:
            return [msgspec.structs.replace(case) for case in self._cases.values()]

    def restore(self, cases: Sequence[Case]) -> None:
        """Take over the cases of an earlier process."""
        with self._lock:
            kept: Mapping[str, Case] = {case.condition_id: case for case in cases[:MOST_CASES]}
            self._cases.update(kept)
