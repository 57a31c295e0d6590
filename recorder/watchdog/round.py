"""One round: gather the evidence, judge it, deliver what changed, publish what HTTP answers."""

import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence

import msgspec

from recorder.appliance.observation import observe
from recorder.process.health import WatchdogFigures
from recorder.process.log import get_logger
from recorder.process.reporting import Health
from recorder.settings import Settings
from recorder.watchdog import book, machine, rules
from recorder.watchdog.activity.keeper import ActivityKeeper, Charted
from recorder.watchdog.activity.question import TradeQuestion
from recorder.watchdog.alerts import Held, step
from recorder.watchdog.book import AlertBook, Delivery, Memory
from recorder.watchdog.causes import Consequences
from recorder.watchdog.database import DatabaseProbe
from recorder.watchdog.delivery.outbox import Traffic
from recorder.watchdog.evidence import Evidence
from recorder.watchdog.history import History
from recorder.watchdog.machine import Disks
from recorder.watchdog.pages import metrics
from recorder.watchdog.pages.samples import Own
from recorder.watchdog.totals import StreamSeconds, Totals

RECENT_S = 60.0
"""An answer of Postgres older than this does not say whether a condition still holds."""

_log = get_logger(__name__)


class Snapshot(msgspec.Struct, frozen=True):
    """What a round found: what is answered until the next one."""

    evidence: Evidence
    held: list[Held]
    metrics: bytes


class Watch:
    """Judges the appliance, round after round.

    Attributes:
        snapshot: What the last round found; None before the first.
    """

    def __init__(
        self,
        settings: Settings,
        probe: DatabaseProbe,
        disks: Disks,
        alerts: AlertBook,
        deliveries: Sequence[Delivery],
        question: TradeQuestion,
    ) -> None:
        """
        Args:
            settings: Of the appliance.
            probe: Knows how Postgres is.
            disks: Knows how the disks are.
            alerts: The book of alerts; it hears of every change first.
            deliveries: Who hears of every change, too.
            question: Knows what traded in the last interval.

        Raises:
            ConfigError: the settings change a rule that there is not.
        """
        self.snapshot: Snapshot | None = None
        self._settings = settings
        self._probe = probe
        self._disks = disks
        self._book = alerts
        self._deliveries = (alerts, *deliveries)
        self._limits = rules.limits(settings.watchdog)
        self._consequences = Consequences()
        self._venues = tuple(name for name, venue in settings.venues.items() if venue.enabled)
        self._activity = ActivityKeeper(settings, self._venues, question)
        self._charted = Charted(self._venues)
        memory = book.read_memory(settings.home, alerts.alerts())
        self._held = memory.held  # also of rules that are off now: their alerts are resolved
        self._history = History(memory.quiet_s, memory.kinds)
        self._totals = Totals(memory.totals)
        self._stream_seconds = StreamSeconds()
        self._started_at = time.time()
        self._rounds = 0
        self._round_s = 0.0
        self._last_s: float | None = None
        self.requests: Callable[[], dict[str, int]] = dict
        self.traffic: Callable[[], Mapping[str, Traffic]] = dict
        self.restarts: Callable[[], Mapping[str, int]] = dict
        self.action: Callable[[str, float, float | None], str] = lambda _program, _since, _until: ""

    def part(self, stop: threading.Event) -> None:
        """Look at everything again and again until it is stopped."""
        every_s = self._settings.watchdog.every_s
        while not stop.is_set():
            began_s = time.monotonic()
            self.round()
            self._round_s = time.monotonic() - began_s
            stop.wait(max(0.05, every_s - self._round_s))

    def round(self) -> None:
        """Gather evidence, judge it, deliver what changed, publish the pages."""
        evidence = self._gather()
        everything = rules.findings(evidence, self._limits)
        found, explained = self._consequences.without(everything, self._limits, evidence.at_s)
        passed_s = 0.0 if self._last_s is None else min(evidence.at_s - self._last_s, self._longest_s)
        self._last_s = evidence.at_s
        self._stream_seconds.add(evidence, passed_s)
        before = self._held
        self._held, changes = step(
            before,
            found,
            passed_s,
            evidence.at,
            for_s=lambda rule: self._limits[rule].for_s,
            clear_s=self._settings.watchdog.clear_s,
            unknown=lambda held: held.key in explained or self._unknown(held.rule, evidence),
            new_id=lambda: secrets.randbits(62) + 1,
        )
        firing = {held.key for held in self._held if held.firing}
        self._consequences.remember(everything, self._limits, evidence.at_s, firing)
        for change in changes:
            severity = rules.severity(change.held.rule)
            alert = self._book.alert(change, severity)
            for delivery in self._deliveries:
                delivery.deliver(change, severity, alert)
        for one in self._book.alerts():  # also of those that are over: the outcome may be known later
            if one.rule == "program_stuck" and (action := self.action(one.subject, one.started_at, one.resolved_at)):
                self._book.note_action(one.alert_id, action)
        self._book.save()
        self._rounds += 1
        text = metrics.render(evidence, self._totals, self._held, self._limits, self._own(), self._started_at)
        # What is shown is kept before it is shown, so that a restart never shows less.
        memory = Memory(self._held, self._totals.kept, self._history.quiet_s, self._history.kinds)
        book.write_memory(self._settings.home, memory)
        self.snapshot = Snapshot(evidence, self._held, text)

    @property
    def _longest_s(self) -> float:
        """The most that a round adds to the time of a condition: what a stopped watchdog did not see is not held."""
        return 3 * self._settings.watchdog.every_s + 5

    def _own(self) -> Own:
        return Own(
            self._rounds,
            self._round_s,
            self._book.unsaved_count,
            self.requests(),
            self.traffic(),
            self._stream_seconds.wanted,
            self._stream_seconds.recorded,
            self.restarts(),
        )

    def _gather(self) -> Evidence:
        seen = observe(self._settings)
        now, now_s = time.time(), time.monotonic()
        database = self._probe.evidence()
        kinds = None if database.facts is None else database.facts.kinds
        trends = self._history.update(seen, kinds, self._venues, now, now_s)
        activity = self._activity.update(seen.reports, database, now_s)
        return Evidence(
            at=now,
            at_s=now_s,
            supervised=bool(seen.processes),
            status=seen.status,
            processes=seen.processes,
            reports=seen.reports,
            venues=self._venues,
            database=database,
            disk=self._disks.evidence(),
            clock=machine.clock(self._history.step_s),
            trends=trends,
            activity=activity,
            charted=self._charted.of(activity),
        )

    def _unknown(self, rule: str, evidence: Evidence) -> bool:
        """Return whether the evidence of a rule is too old to say that its condition is gone."""
        limit = self._limits.get(rule)
        if limit is None:
            return False
        if not evidence.supervised and "supervisord_gone" in limit.rule.caused_by:
            return True
        if not limit.rule.asks_postgres:
            return False
        facts = evidence.database.facts
        return facts is None or evidence.at_s - facts.at_s > RECENT_S

    def health(self) -> Health:
        """Return the state of the watchdog and its figures."""
        firing = sum(held.firing for held in self._held)
        figures = WatchdogFigures(
            rounds=self._rounds,
            round_s=round(self._round_s, 3),
            pending=len(self._held) - firing,
            firing=firing,
            not_stored=self._book.unsaved_count,
            port=self._settings.watchdog.port,
        )
        if self.snapshot is None:
            return Health("starting", "the first round is not over", figures)
        age_s = time.monotonic() - self.snapshot.evidence.at_s
        if age_s > self._longest_s:
            return Health("degraded", f"the last round ended {age_s:.0f} s ago", figures)
        return Health("live", f"{firing} alerts fire: `tapedeck alerts` lists them" if firing else "", figures)
