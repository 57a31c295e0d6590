"""What only several rounds together show: restarts, silence of a venue, rates, steps of the clock. Does no I/O."""

from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from recorder.appliance.observation import Observation
from recorder.process.health import PollerFigures, RecorderFigures
from recorder.shards import venue_of
from recorder.watchdog.evidence import MessageKind, Trends
from recorder.watchdog.totals import Totals

RESTARTS_S = 600.0
RATES_S = 300.0
POLLS_S = 3600.0
MISSED_S = 600.0
STEP_SHOWN_S = 300.0
KIND_NEW_S = 3600.0
STEP_S = 0.5
_SAMPLE_S = 15.0
_MOST_KINDS = 1_000


class _Sample(NamedTuple):
    at_s: float
    counts: Mapping[str, float]


class History:
    """Remembers what earlier rounds saw. Not thread-safe.

    Attributes:
        quiet_s: How long each venue has brought no data; kept over a restart.
        kinds: When each kind of quarantined message came first, unix seconds; kept over a restart.
    """

    def __init__(self, quiet_s: Mapping[str, float], kinds: Mapping[str, float] | None) -> None:
        """
        Args:
            quiet_s: As the watchdog before left it.
            kinds: The same; None where there was none: what is found first is known then.
        """
        self.quiet_s = dict(quiet_s)
        self.kinds: dict[str, float] | None = None if kinds is None else dict(kinds)
        self._pids: dict[str, int] = {}
        self._restarts: dict[str, deque[float]] = {}
        self._events: dict[str, float] = {}
        self._totals = Totals()
        self._samples: deque[_Sample] = deque()
        self._clock: tuple[float, float] | None = None
        self._steps: deque[tuple[float, float]] = deque()

    def update(
        self, seen: Observation, kinds: Sequence[MessageKind] | None, venues: Sequence[str], now: float, now_s: float
    ) -> Trends:
        """Take a round, and return the trends.

        Args:
            seen: What the round saw.
            kinds: The kinds of quarantined messages; None while Postgres has not been asked.
            venues: That these settings record.
            now: Unix seconds.
            now_s: Monotonic.
        """
        passed_s = 0.0 if self._clock is None else now_s - self._clock[1]
        self._note_clock(now, now_s)
        self._note_restarts(seen, now_s)
        self._note_data(seen, venues, passed_s)
        counts = self._counts(seen)
        if not self._samples or now_s - self._samples[-1].at_s >= _SAMPLE_S:
            self._samples.append(_Sample(now_s, counts))
        while now_s - self._samples[0].at_s > POLLS_S:
            self._samples.popleft()
        recent, hour = self._since(counts, now_s - RATES_S), self._since(counts, now_s - POLLS_S)
        missed = self._since(counts, now_s - MISSED_S)
        return Trends(
            restarts={program: len(times) for program, times in self._restarts.items() if times},
            no_data_s=dict(self.quiet_s),
            frames=_named("frames ", recent),
            quarantined=_named("quarantined ", recent),
            shed=_named("shed ", recent),
            poll_rounds=int(hour.get("rounds", 0)),
            poll_failed=int(hour.get("failed", 0)),
            poll_missed=int(missed.get("missed", 0)),
            new_kinds=self._new_kinds(kinds, now),
        )

    @property
    def step_s(self) -> float:
        """The largest step of the wall clock of the last minutes; negative when it was set back."""
        return max((seconds for _, seconds in self._steps), key=abs, default=0.0)

    def _note_clock(self, now: float, now_s: float) -> None:
        if self._clock is not None:
            step_s = (now - self._clock[0]) - (now_s - self._clock[1])
            if abs(step_s) >= STEP_S:
                self._steps.append((now_s, step_s))
        self._clock = now, now_s
        while self._steps and now_s - self._steps[0][0] > STEP_SHOWN_S:
            self._steps.popleft()

    def _note_restarts(self, seen: Observation, now_s: float) -> None:
        for name, process in seen.processes.items():
            times = self._restarts.setdefault(name, deque(maxlen=100))
            before = self._pids.get(name)
            if (process.pid and before is not None and process.pid != before) or process.state == "BACKOFF":
                times.append(now_s)
            if process.pid:
                self._pids[name] = process.pid
            while times and now_s - times[0] > RESTARTS_S:
                times.popleft()

    def _note_data(self, seen: Observation, venues: Sequence[str], passed_s: float) -> None:
        brought: set[str] = set()
        for program, report in seen.reports.items():
            if isinstance(report.figures, RecorderFigures):
                events = report.figures.events + report.started_at  # a restart is no data, but a later count is
                before = self._events.get(program)
                venue = venue_of(program) or ""
                if not any(link.streams for link in report.figures.links):
                    brought.add(venue)  # nothing is subscribed, so nothing is missing
                elif before is not None and events != before and report.figures.events:
                    brought.add(venue)
                self._events[program] = events
        self.quiet_s = {venue: 0.0 if venue in brought else self.quiet_s.get(venue, 0.0) + passed_s for venue in venues}

    def _counts(self, seen: Observation) -> dict[str, float]:
        counts: dict[str, float] = {}
        for program, report in seen.reports.items():
            match report.figures:
                case RecorderFigures() as recorder:
                    parts: dict[str, float] = {
                        f"frames {program}": recorder.frames,
                        f"quarantined {program}": recorder.quarantined,
                        f"shed {program}": recorder.shed,
                    }
                case PollerFigures() as poller:
                    jobs = poller.jobs.values()
                    parts = {
                        "rounds": sum(job.rounds for job in jobs),
                        "failed": sum(job.failed for job in jobs),
                        "missed": sum(job.missed for job in jobs),
                    }
                case _:
                    continue
            for name, raw in parts.items():
                counts[name] = self._totals.add(name, raw, report.started_at)
        return counts

    def _since(self, counts: Mapping[str, float], since_s: float) -> dict[str, float]:
        """Return by how much each count rose since a time, or since it was seen first."""
        oldest: dict[str, float] = {}
        for sample in reversed(self._samples):
            oldest.update(sample.counts)
            if sample.at_s <= since_s:
                break
        return {name: count - oldest.get(name, count) for name, count in counts.items()}

    def _new_kinds(self, kinds: Sequence[MessageKind] | None, now: float) -> list[MessageKind]:
        if kinds is None:
            return []
        if self.kinds is None:
            self.kinds = {_name(kind): 0.0 for kind in kinds[:_MOST_KINDS]}
        for kind in kinds:
            if len(self.kinds) < _MOST_KINDS:
                self.kinds.setdefault(_name(kind), now)
        return [kind for kind in kinds if 0 <= now - self.kinds.get(_name(kind), 0.0) < KIND_NEW_S]


def _named(prefix: str, counts: Mapping[str, float]) -> dict[str, int]:
    return {name.removeprefix(prefix): int(count) for name, count in counts.items() if name.startswith(prefix)}


def _name(kind: MessageKind) -> str:
    return f"{kind.recorder}: {kind.kind}"
