"""The page of monitoring as data: programs, venues, streams, polls. Worst first. Pure.

The judgements are those of `tapedeck status` and of the watchdog; here they are put side by side and put in order. An
age is that of now: of what a report says, plus the age of the report.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from recorder.appliance.status import Line
from recorder.process.health import LinkFigures, RecorderFigures, Report
from recorder.shards import venue_of
from recorder.watchdog.verdicts import HealthPage, Item
from recorder.web.monitor.observed import Seen
from recorder.web.queries.monitoring import FieldRow, PollRow, StreamRow, VenueRows

Sign = Literal["good", "warn", "bad", "unknown"]
State = Literal["LIVE", "STALE", "DISCONNECTED"]
LATE_REPORT_S = 2.5
"""A report this old is pointed out at once; `recorder.process.health.STALE_S` judges it."""
_RANK: Mapping[str, int] = {"bad": 0, "warn": 1, "unknown": 2, "good": 3}
_SIGNS: Mapping[str, Sign] = {"ok": "good", "warning": "warn", "critical": "bad", "unknown": "unknown"}
_STATES: Mapping[State, int] = {"DISCONNECTED": 0, "STALE": 1, "LIVE": 2}


class ProgramRow(NamedTuple):
    """One program."""

    name: str
    sign: Sign
    state: str
    text: str  # the problem, or what it says of itself
    uptime_s: float
    report_age_s: float | None  # None of a program that writes no report
    messages_per_s: float | None
    data_age_s: float | None
    lag_bytes: int | None
    lag_s: float | None
    rows_per_s: float | None
    streams: int | None
    open_gaps: int | None
    command: str  # what to run about a problem; empty without one


class ConnectionRow(NamedTuple):
    """One connection of a recorder."""

    program: str
    venue: str
    link: int
    sign: Sign
    state: str
    streams: int
    refused: int
    frame_age_s: float | None
    data_age_s: float | None
    frames: int
    sessions: int
    errors: int
    quarantined: int
    resyncs: int
    uptime_s: float | None
    last_error: str


class StreamLine(NamedTuple):
    """One stream that should be recorded."""

    venue: str
    symbol: str
    channel: str
    origin: str
    state: State
    cause: str
    for_s: float | None  # how long the gap has gone on

    @property
    def subscribed(self) -> bool:
        """Whether the venue sends it; one that is stale is subscribed, too."""
        return self.state != "DISCONNECTED"


class VenueLine(NamedTuple):
    """One venue."""

    venue: str
    sign: Sign
    state: State | None  # of its streams together; None where it has none, or Postgres did not say yet
    text: str
    connections_open: int
    connections: int
    messages_per_s: float
    data_age_s: float | None
    reconnects: int
    errors: int
    should_be: int | None
    subscribed: int | None
    live: int | None
    stale: int | None
    disconnected: int | None
    refused: int
    rows: VenueRows | None


class FieldLine(NamedTuple):
    """How complete the snapshots of markets of one category and tier are."""

    category: str
    tier: str
    rows: int
    share: float  # of all fields of all rows, 0 to 1
    worst: list[tuple[str, float]]  # the fields with the least share, which are not complete
    shares: dict[str, float]


POSTGRES = "postgres"
"""The program of the embedded server. It writes no report, so its own answer says how it is."""


def programs(seen: Seen, database: str | None = None) -> list[ProgramRow]:
    """Return all programs, worst first.

    Args:
        seen: What was seen of them.
        database: Why Postgres does not answer; None where it does.
    """
    rows = [
        _program(line, seen.observation.reports.get(line.program), seen.at) for line in seen.observation.status.programs
    ]
    rows = [_answering(row, database) if row.name == POSTGRES and row.sign == "good" else row for row in rows]
    return sorted(rows, key=lambda row: (_RANK[row.sign], row.name))


def _program(line: Line, report: Report | None, now: float) -> ProgramRow:
    age_s = None if report is None else report.age_s(now)
    sign: Sign = "good"
    if line.problem is not None:
        sign = "bad" if line.supervisor != "RUNNING" or line.state == "silent" else "warn"
    text = line.problem or line.detail
    if not text and not line.state:
        text = f"supervisord reports {line.supervisor}; it writes no report"
    if age_s is not None and age_s > LATE_REPORT_S and line.problem is None:
        sign, text = "unknown", f"its last report is {age_s:.0f} s old"
    return ProgramRow(
        name=line.program,
        sign=sign,
        state=line.state or line.supervisor,
        text=text,
        uptime_s=line.uptime_s,
        report_age_s=age_s,
        messages_per_s=line.messages_per_s,
        data_age_s=None if line.data_age_s is None else line.data_age_s + (age_s or 0.0),
        lag_bytes=line.journal_lag_bytes,
        lag_s=line.bars_lag_s,
        rows_per_s=line.rows_per_s,
        streams=line.streams,
        open_gaps=line.open_gaps,
        command=f"tapedeck logs {line.program}" if sign != "good" else "",
    )


def _answering(row: ProgramRow, problem: str | None) -> ProgramRow:
    """Return the row of Postgres: that its process runs does not say that it answers."""
    if problem is None:
        return row._replace(state="answers", text="answers questions")
    return row._replace(
        sign="bad", state="silent", text=f"it does not answer: {problem}", command=f"tapedeck logs {row.name}"
    )


def connections(seen: Seen) -> list[ConnectionRow]:
    """Return all connections of all recorders, worst first."""
    rows = [
        _connection(program, venue, link, report, seen.at)
        for program, venue, figures, report in _recorders(seen)
        for link in figures.links
        if link.streams or link.state == "LIVE"
    ]
    return sorted(rows, key=lambda row: (_RANK[row.sign], row.program, row.link))


def _connection(program: str, venue: str, link: LinkFigures, report: Report, now: float) -> ConnectionRow:
    age_s = report.age_s(now)
    sign: Sign = "good" if link.state == "LIVE" else "warn" if link.state in ("CONNECTING", "SUBSCRIBING") else "bad"
    return ConnectionRow(
        program=program,
        venue=venue,
        link=link.link,
        sign="unknown" if report.stale(now) else sign,
        state=link.state,
        streams=link.streams,
        refused=link.refused,
        frame_age_s=None if link.last_frame_age_s is None else link.last_frame_age_s + age_s,
        data_age_s=None if link.last_data_age_s is None else link.last_data_age_s + age_s,
        frames=link.frames,
        sessions=link.sessions,
        errors=link.errors,
        quarantined=link.quarantined,
        resyncs=link.resyncs,
        uptime_s=link.uptime_s,
        last_error="" if link.last_error is None else link.last_error.reason,
    )


def streams(rows: Iterable[StreamRow], seen: Seen) -> list[StreamLine]:
    """Return the streams that should be recorded, worst first.

    A stream is disconnected while a gap goes on in it or its recorder does not report, and stale while its recorder
    says that it is silent.
    """
    silent: dict[str, set[str]] = {}
    reporting: set[str] = set()
    for program, venue, figures, report in _recorders(seen):
        silent.setdefault(venue, set()).update(figures.silent)
        process = seen.observation.processes.get(program)
        if not report.stale(seen.at) and (process is None or process.state == "RUNNING"):
            reporting.add(venue)
    found = [_stream(row, silent.get(row.venue, set()), row.venue in reporting, seen.at) for row in rows]
    return sorted(found, key=lambda one: (_STATES[one.state], -(one.for_s or 0.0), one.venue, one.symbol, one.channel))


def _stream(row: StreamRow, silent: set[str], reporting: bool, now: float) -> StreamLine:
    state: State = "LIVE"
    cause = ""
    if f"{row.channel} {row.symbol}" in silent or row.cause == "silent":
        state, cause = "STALE", "silent"
    elif row.cause is not None:
        state, cause = "DISCONNECTED", row.cause
    elif not reporting:
        state, cause = "DISCONNECTED", "its recorder does not report"
    for_s = None if row.since is None else max(0.0, now - row.since.timestamp())
    return StreamLine(row.venue, row.symbol, row.channel, row.origin, state, cause, for_s)


def venues(
    seen: Seen, health: HealthPage | None, rows: Sequence[VenueRows] | None, lines: Sequence[StreamLine] | None
) -> list[VenueLine]:
    """Return the venues, worst first.

    Args:
        seen: The look at the appliance.
        health: Of the watchdog, whose verdict counts; None while it does not answer.
        rows: What Postgres has of them; None while it did not say.
        lines: Their streams; None as well.
    """
    verdicts = {} if health is None else {item.name.removeprefix("venue "): item for item in health.items}
    stored = {row.venue: row for row in rows or ()}
    by_venue: dict[str, list[tuple[RecorderFigures, Report]]] = {}
    for _, venue, figures, report in _recorders(seen):
        by_venue.setdefault(venue, []).append((figures, report))
    found = []
    for venue in sorted({*by_venue, *stored}):
        item = verdicts.get(venue)
        recorders = by_venue.get(venue, [])
        links = [link for figures, _ in recorders for link in figures.links if link.streams]
        ages = [
            link.last_data_age_s + report.age_s(seen.at)
            for figures, report in recorders
            for link in figures.links
            if link.last_data_age_s is not None
        ]
        own = None if lines is None else [line for line in lines if line.venue == venue]
        states = None if own is None else [line.state for line in own]
        found.append(
            VenueLine(
                venue=venue,
                sign=_sign(item, states),
                state=_together(states),
                text="" if item is None else item.text,
                connections_open=sum(link.state in ("LIVE", "SUBSCRIBING") for link in links),
                connections=len(links),
                messages_per_s=sum(figures.frames_per_s for figures, report in recorders if not report.stale(seen.at)),
                data_age_s=min(ages, default=None),
                reconnects=sum(figures.reconnects for figures, _ in recorders),
                errors=sum(figures.errors for figures, _ in recorders),
                should_be=None if own is None else len(own),
                subscribed=None if own is None else sum(line.subscribed for line in own),
                live=None if states is None else states.count("LIVE"),
                stale=None if states is None else states.count("STALE"),
                disconnected=None if states is None else states.count("DISCONNECTED"),
                refused=sum(figures.refused + figures.unplaced for figures, _ in recorders),
                rows=stored.get(venue),
            )
        )
    return sorted(found, key=lambda line: (_RANK[line.sign], -(line.disconnected or 0), -(line.stale or 0), line.venue))


def _sign(item: Item | None, states: Sequence[State] | None) -> Sign:
    """Return the verdict of the watchdog; a venue with a stream that is disconnected is not good."""
    sign = "unknown" if item is None else _SIGNS[item.verdict]
    return "warn" if sign == "good" and "DISCONNECTED" in (states or ()) else sign


def _together(states: Sequence[State] | None) -> State | None:
    """Return the state of a venue: live while most of its streams are."""
    if not states:
        return None
    if states.count("DISCONNECTED") * 2 > len(states):
        return "DISCONNECTED"
    return "STALE" if states.count("LIVE") * 2 < len(states) else "LIVE"


def success(rows: Sequence[PollRow]) -> float | None:
    """Return the share of the slots of the last hour that were polled, 0 to 1; None where there was none."""
    slots = sum(row.slots for row in rows)
    return sum(row.good for row in rows) / slots if slots else None


def fields(rows: Sequence[FieldRow]) -> list[FieldLine]:
    """Return how complete snapshots are, the least complete first."""
    found = []
    for row in rows:
        shares = {name: count / row.rows for name, count in row.filled.items()} if row.rows else {}
        worst = sorted((share, name) for name, share in shares.items() if share < 1)[:5]
        found.append(
            FieldLine(
                category=row.category,
                tier=row.tier,
                rows=row.rows,
                share=sum(shares.values()) / len(shares) if shares else 0.0,
                worst=[(name, share) for share, name in worst],
                shares=shares,
            )
        )
    return sorted(found, key=lambda line: (line.share, line.category, line.tier))


def _recorders(seen: Seen) -> Iterable[tuple[str, str, RecorderFigures, Report]]:
    """Yield program, venue, figures and report of each recorder."""
    for program, report in sorted(seen.observation.reports.items()):
        venue = venue_of(program)
        if venue is not None and isinstance(report.figures, RecorderFigures):
            yield program, venue, report.figures, report
