"""Where the values of the metrics come from. Pure."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

from recorder.printable import printable
from recorder.process.health import (
    ColumnsFigures,
    DeriverFigures,
    JobFigures,
    KeepFigures,
    LinkFigures,
    PollerFigures,
    RecorderFigures,
    SimulatorFigures,
    WebFigures,
    WriterFigures,
)
from recorder.shards import venue_of
from recorder.watchdog.activity.figures import InstrumentTrades, VenueTrades, VenueTraffic
from recorder.watchdog.alerts import Held
from recorder.watchdog.delivery.outbox import Traffic
from recorder.watchdog.evidence import BackupFacts, DatabaseFacts, Evidence, Loaded
from recorder.watchdog.rules import Limit

SYMBOL_LENGTH = 100
States = ("up", "down", "hung", "unknown")


class Own(NamedTuple):
    """What the watchdog counts of itself, since its start."""

    rounds: int
    round_s: float
    not_stored: int
    requests: Mapping[str, int]  # answers, by path
    traffic: Mapping[str, Traffic] = MappingProxyType({})  # messages, by channel
    wanted_s: Mapping[str, float] = MappingProxyType({})  # stream-seconds, by venue
    recorded_s: Mapping[str, float] = MappingProxyType({})  # of these, by venue
    restarts: Mapping[str, int] = MappingProxyType({})  # of stuck programs, by program


class Round(NamedTuple):
    """All that a metric may look at."""

    evidence: Evidence
    held: Sequence[Held]
    limits: Mapping[str, Limit]
    own: Own
    started_at: float  # of the watchdog, unix seconds


class Sample(NamedTuple):
    """One value."""

    labels: tuple[str, ...]
    value: float | None  # None: there is none now
    since: float = 0.0  # start of the program that counts, unix seconds


def single(value: Callable[[Round], float | None]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        yield Sample((), value(given))

    return samples


def of_watchdog(value: Callable[[Own], float]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        yield Sample((), value(given.own), given.started_at)

    return samples


def of_recorders(value: Callable[[RecorderFigures], float | None]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        for program, figures in given.evidence.recorders():
            labels = venue_of(program) or "", program
            yield Sample(labels, value(figures), given.evidence.reports[program].started_at)

    return samples


def of_links(value: Callable[[Sequence[LinkFigures]], float | None]) -> Callable[[Round], Iterator[Sample]]:
    return of_recorders(lambda figures: value([link for link in figures.links if link.streams]))


def youngest(age_s: Callable[[LinkFigures], float | None]) -> Callable[[Round], Iterator[Sample]]:
    return of_links(lambda links: min((age for link in links if (age := age_s(link)) is not None), default=None))


def of_writer(value: Callable[[WriterFigures], float]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        writer = given.evidence.writer
        if writer is not None:
            yield Sample((), value(writer), given.evidence.reports["writer"].started_at)

    return samples


def of_columns(value: Callable[[ColumnsFigures], float]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        columns = given.evidence.columns
        if columns is not None:
            yield Sample((), value(columns), given.evidence.reports["columns"].started_at)

    return samples


def of_deriver(value: Callable[[DeriverFigures], float]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        deriver = given.evidence.deriver
        if deriver is not None:
            yield Sample((), value(deriver), given.evidence.reports["deriver"].started_at)

    return samples


def of_keeper(value: Callable[[KeepFigures], float | None]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        keeper = given.evidence.keeper
        for name, job in ({} if keeper is None else keeper.jobs).items():
            yield Sample((name,), value(job))

    return samples


def of_web(value: Callable[[WebFigures], float]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        web = given.evidence.web
        if web is not None:
            yield Sample((), value(web), given.evidence.reports["web"].started_at)

    return samples


def backup_seconds(days: Callable[[BackupFacts], float | None]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        facts = given.evidence.database.facts
        found = None if facts is None or facts.backup is None else days(facts.backup)
        yield Sample((), None if found is None else found * 86_400)

    return samples


def of_poller(value: Callable[[PollerFigures], float | None]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        poller = given.evidence.poller
        if poller is not None:
            yield Sample((), value(poller), given.evidence.reports["poller"].started_at)

    return samples


def of_jobs(value: Callable[[JobFigures], float | None]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        poller = given.evidence.poller
        for name, job in ({} if poller is None else poller.jobs).items():
            yield Sample((name,), value(job), given.evidence.reports["poller"].started_at)

    return samples


def of_postgres(value: Callable[[DatabaseFacts], float | None]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        facts = given.evidence.database.facts
        if facts is not None:
            yield Sample((), value(facts))

    return samples


def of_ledger(value: Callable[[Loaded], int]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        facts = given.evidence.database.facts
        yield from (Sample((one.table,), value(one)) for one in ([] if facts is None else facts.loaded))

    return samples


def programs(given: Round) -> list[str]:
    return [line.program for line in given.evidence.status.programs]


def up(given: Round) -> Iterator[Sample]:
    for line in given.evidence.status.programs:
        yield Sample((line.program,), float(line.supervisor == "RUNNING"))


def healthy(given: Round) -> Iterator[Sample]:
    for line in given.evidence.status.programs:
        yield Sample((line.program,), float(line.problem is None))


def uptime(given: Round) -> Iterator[Sample]:
    for line in given.evidence.status.programs:
        yield Sample((line.program,), line.uptime_s)


def report_age(given: Round) -> Iterator[Sample]:
    for program in programs(given):
        report = given.evidence.reports.get(program)
        if report is not None:
            yield Sample((program,), report.age_s(given.evidence.at))


def restarts(given: Round) -> Iterator[Sample]:
    for program in programs(given):
        yield Sample((program,), given.evidence.trends.restarts.get(program, 0))


def no_data(given: Round) -> Iterator[Sample]:
    yield from (Sample((venue,), quiet_s) for venue, quiet_s in given.evidence.trends.no_data_s.items())


def stream_seconds(seconds: Callable[[Own], Mapping[str, float]]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        for venue in given.evidence.venues:
            yield Sample((venue,), seconds(given.own).get(venue, 0.0), given.started_at)

    return samples


def journal_lag(given: Round) -> Iterator[Sample]:
    writer = given.evidence.writer
    for name, journal in ({} if writer is None else writer.journals).items():
        yield Sample((name,), journal.lag_s)


def journal_lag_bytes(given: Round) -> Iterator[Sample]:
    writer = given.evidence.writer
    for name, journal in ({} if writer is None else writer.journals).items():
        yield Sample((name,), journal.lag_bytes)


def loaded_segment(given: Round) -> Iterator[Sample]:
    facts = given.evidence.database.facts
    yield from (Sample((one.recorder,), one.segment) for one in ([] if facts is None else facts.positions))


def loaded_age(given: Round) -> Iterator[Sample]:
    facts = given.evidence.database.facts
    for one in [] if facts is None else facts.positions:
        yield Sample((one.recorder,), one.age_s)


def database_state(given: Round) -> Iterator[Sample]:
    yield from (Sample((state,), float(given.evidence.database.state == state)) for state in States)


def gaps(given: Round) -> Iterator[Sample]:
    facts = given.evidence.database.facts
    if facts is not None:
        yield from (Sample((venue,), facts.gaps.get(venue, 0)) for venue in given.evidence.venues)


def breaks(given: Round) -> Iterator[Sample]:
    facts = given.evidence.database.facts
    yield Sample((), None if facts is None else sum(facts.breaks.values()))


def slots(given: Round) -> Iterator[Sample]:
    facts = given.evidence.database.facts
    yield from (Sample((one.state,), one.slots) for one in ([] if facts is None else facts.slots))


def of_disks(value: Callable[[int, int], float]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        for system in given.evidence.disk.systems:
            yield Sample((system.name,), value(system.total, system.free))

    return samples


def disk_used(given: Round) -> Iterator[Sample]:
    yield from (Sample((system.name,), system.percent / 100) for system in given.evidence.disk.systems)


def parts(given: Round) -> Iterator[Sample]:
    use = given.evidence.disk.use
    if use is not None:
        parts = ("journal", use.journal), ("database", use.database), ("truth", use.truth), ("log", use.logs)
        yield from (Sample((name,), size) for name, size in parts)


def simulated(given: Round) -> Iterator[Sample]:
    report = given.evidence.reports.get("simulator")
    if report is not None and isinstance(report.figures, SimulatorFigures):
        for venue, figures in report.figures.venues.items():
            yield Sample((venue,), figures.messages, report.started_at)


def alerts(given: Round) -> Iterator[Sample]:
    counts: dict[tuple[str, str, str], int] = {}
    for held in given.held:
        limit = given.limits.get(held.rule)
        if limit is not None:
            key = held.rule, limit.rule.severity, "firing" if held.firing else "pending"
            counts[key] = counts.get(key, 0) + 1
    for name, limit in given.limits.items():
        for state in ("pending", "firing"):
            yield Sample((name, limit.rule.severity, state), counts.get((name, limit.rule.severity, state), 0))


def firing(given: Round) -> Iterator[Sample]:
    for held in given.held:
        limit = given.limits.get(held.rule)
        if limit is not None and held.firing:
            venue = venue_of(held.subject) or (held.subject if held.subject in given.evidence.venues else "")
            yield Sample((held.rule, limit.rule.severity, held.subject, venue), 1)


def ages(given: Round) -> Iterator[Sample]:
    evidence = given.evidence
    facts = evidence.database.facts
    reports = [report.age_s(evidence.at) for report in evidence.reports.values()]
    yield Sample(("reports",), max(reports, default=None))
    yield Sample(("postgres",), None if facts is None else evidence.at_s - facts.at_s)
    yield Sample(("disk_parts",), None if evidence.disk.use is None else evidence.at_s - evidence.disk.use_at_s)


def poll_rounds(given: Round) -> Iterator[Sample]:
    poller = given.evidence.poller
    if poller is not None:
        since = given.evidence.reports["poller"].started_at
        failed = sum(job.failed for job in poller.jobs.values())
        yield Sample(("failed",), failed, since)
        yield Sample(("ended",), sum(job.rounds for job in poller.jobs.values()) - failed, since)


def success(given: Round) -> float | None:
    trends = given.evidence.trends
    return 1 - trends.poll_failed / trends.poll_rounds if trends.poll_rounds else None


def requests(given: Round) -> Iterator[Sample]:
    yield from (Sample((path,), count, given.started_at) for path, count in sorted(given.own.requests.items()))


def of_channels(value: Callable[[Traffic], float]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        for channel, traffic in sorted(given.own.traffic.items()):
            yield Sample((channel,), value(traffic), given.started_at)

    return samples


def stuck_restarts(given: Round) -> Iterator[Sample]:
    for program in programs(given):
        yield Sample((program,), given.own.restarts.get(program, 0), given.started_at)


# ---- the last interval ---------------------------------------------------------------------------------------


def of_traffic(value: Callable[[VenueTraffic], float | None]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        yield from (Sample((one.venue,), value(one)) for one in given.evidence.activity.traffic)

    return samples


def of_venue_trades(value: Callable[[VenueTrades], float]) -> Callable[[Round], Iterator[Sample]]:
    """Return samples for every venue of the settings: one without a trade in the interval has zeros."""

    def samples(given: Round) -> Iterator[Sample]:
        trades = given.evidence.activity.trades
        if trades is not None:
            found = {one.venue: one for one in trades.venues}
            for venue in given.evidence.venues:
                yield Sample((venue,), value(found.get(venue, VenueTrades(venue, 0, 0, 0))))

    return samples


def of_instruments(value: Callable[[InstrumentTrades], float | None]) -> Callable[[Round], Iterator[Sample]]:
    def samples(given: Round) -> Iterator[Sample]:
        seen: set[tuple[str, str]] = set()  # one series twice would make the page unreadable
        for one in given.evidence.charted:
            labels = one.venue, printable(one.symbol)[:SYMBOL_LENGTH]
            if labels not in seen:
                seen.add(labels)
                yield Sample(labels, value(one))

    return samples


def trades_until(given: Round) -> float | None:
    trades = given.evidence.activity.trades
    return None if trades is None else trades.until
