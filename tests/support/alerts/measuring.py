"""Measures how long each alert takes from its injection to the sink, and from its cure to its resolution."""

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from recorder.watchdog import rules
from support.alerts.proofs import Bench, Proof
from support.machine.message_sinks import WebhookSink

LIMIT_S = 30.0
"""The longest from the injection to the sink, beside the time of the rule and what its condition needs."""
MEDIAN_S = 30.0
_WAITED_S = 60.0  # beyond the limit, so that a late message is measured and not only missing
_RESOLVED_S = 120.0


class Arrival(NamedTuple):
    """A message that the sink took."""

    at_s: float  # monotonic
    body: dict[str, Any]

    @property
    def key(self) -> tuple[str, str]:
        """Its rule and subject."""
        return self.body["rule"], self.body["subject"]


class Measured(NamedTuple):
    """What became of one proof. None: it did not come."""

    proof: Proof
    for_s: float
    limit: float
    fired_s: float | None
    resolved_s: float | None
    text: str

    @property
    def allowed_s(self) -> float:
        """The longest that is allowed from the injection to the sink."""
        return self.proof.needs_s + self.for_s + LIMIT_S


class Run:
    """Runs scenes and gathers what was measured, and what fired without a reason."""

    def __init__(self, bench: Bench, sink: WebhookSink) -> None:
        self.bench = bench
        self.sink = sink
        self.measured: list[Measured] = []
        self.unexpected: list[str] = []
        self._limits = rules.limits(bench.appliance.settings.watchdog)
        self._later: list[tuple[int, float]] = []  # what resolves with time only: its place, and its cure
        self._seen = 0

    def arrivals(self) -> Iterator[Arrival]:
        """Yield every message so far."""
        bodies = self.sink.bodies()
        yield from map(Arrival, list(self.sink.arrived_s), bodies)

    def scene(self, scene: Sequence[Proof]) -> None:
        """Make the injections of a scene, cure each when its message came, and wait for the resolutions."""
        before = {proof.after for proof in scene}
        self._await_resolutions([one.proof for one in self.measured if one.proof.rule in before])
        for proof in scene:
            if proof.prepare is not None:
                proof.prepare(self.bench)
        began_s: dict[str, float] = {}
        for proof in scene:
            began_s[proof.rule] = time.monotonic()
            proof.inject(self.bench)
        cured_s: dict[str, float] = {}
        fired: dict[str, Arrival] = {}

        def step() -> bool:
            for proof in scene:
                if proof.rule in cured_s:
                    continue
                found = self._first(proof, began_s[proof.rule], ("firing", "summary"))
                late_s = self._for_s(proof) + proof.needs_s + LIMIT_S + _WAITED_S
                if found is not None:
                    fired[proof.rule] = found
                if found is not None or time.monotonic() - began_s[proof.rule] > late_s:
                    cured_s[proof.rule] = time.monotonic()
                    proof.cure(self.bench)
            return len(cured_s) == len(scene)

        self.bench.appliance.wait("every proof of the scene ends", step, 900.0)
        for proof in scene:
            arrival = fired.get(proof.rule)
            fired_s = None if arrival is None else arrival.at_s - began_s[proof.rule]
            text = "" if arrival is None else str(arrival.body["text"])
            one = Measured(proof, self._for_s(proof), self._limits[proof.rule].threshold, fired_s, None, text)
            self.measured.append(one)
            self._later.append((len(self.measured) - 1, cured_s[proof.rule]))
        self._await_resolutions([proof for proof in scene if proof.over_s <= 60])
        self._judge(scene)
        for one in self.measured[-len(scene) :]:
            print(row(one), flush=True)

    def end(self) -> None:
        """Wait for what only time resolves."""
        self._await_resolutions([one.proof for one in self.measured])

    def _await_resolutions(self, chosen: Sequence[Proof]) -> None:
        def step() -> bool:
            waiting = False
            for place, cured_s in list(self._later):
                one = self.measured[place]
                if one.fired_s is None or one.proof not in chosen:
                    continue
                found = self._first(one.proof, cured_s, ("resolved", "summary"), state="resolved")
                if found is not None:
                    self.measured[place] = one._replace(resolved_s=found.at_s - cured_s)
                    self._later.remove((place, cured_s))
                elif time.monotonic() - cured_s < one.proof.over_s + _RESOLVED_S:
                    waiting = True
            return not waiting

        self.bench.appliance.wait("alerts are resolved", step, 1_800.0)

    def _judge(self, scene: Sequence[Proof]) -> None:
        """Note every message that fires without a proof, and a second one for one cause."""
        expected = {(proof.rule, proof.subject) for proof in scene}
        brought = {rule for proof in scene for rule in proof.brings}
        arrivals = list(self.arrivals())
        for arrival in arrivals[self._seen :]:
            if arrival.body["kind"] not in ("firing", "summary"):
                continue
            if arrival.key in expected:
                expected.discard(arrival.key)
            elif arrival.key[0] not in brought:
                self.unexpected.append(" | ".join(arrival.body["text"].splitlines()[:2]))
                print("UNEXPECTED", self.unexpected[-1], flush=True)
        self._seen = len(arrivals)

    def _first(self, proof: Proof, since_s: float, kinds: Sequence[str], state: str = "firing") -> Arrival | None:
        for arrival in self.arrivals():
            body = arrival.body
            if (
                arrival.at_s >= since_s
                and arrival.key == (proof.rule, proof.subject)
                and body["kind"] in kinds
                and body["state"] == state
            ):
                return arrival
        return None

    def _for_s(self, proof: Proof) -> float:
        return self._limits[proof.rule].for_s


def table(measured: Sequence[Measured]) -> str:
    """Return the table as docs/guarantees.md has it."""
    places = {rule.id: place for place, rule in enumerate(rules.RULES)}
    lines = [
        "| rule | injection | needs | `for` | at the sink after | resolved after |",
        "| --- | --- | --- | --- | --- | --- |",
        *(row(one) for one in sorted(measured, key=lambda one: places[one.proof.rule])),
    ]
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    median_s = statistics.median([one.fired_s for one in measured if one.fired_s is not None])
    return "\n".join([*lines, "", f"Median {median_s:.0f} s; load average {load} on {os.cpu_count()} cores."])


def row(one: Measured) -> str:
    """Return the line of one rule; times in seconds."""
    fired = "never" if one.fired_s is None else f"{one.fired_s:.0f} s"
    resolved = "not seen" if one.resolved_s is None else f"{one.resolved_s:.0f} s"
    needs = f"{one.proof.needs_s:.0f} s" if one.proof.needs_s else "-"
    return f"| `{one.proof.rule}` | {one.proof.what} | {needs} | {one.for_s:g} s | {fired} | {resolved} |"
