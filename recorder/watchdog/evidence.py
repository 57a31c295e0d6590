"""What one round of the watchdog knows, and how old each part of it is. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from recorder.appliance.disk import DiskUse
from recorder.appliance.status import Line, Status
from recorder.appliance.supervisor import Process
from recorder.process.health import (
    ColumnsFigures,
    DeriverFigures,
    KeeperFigures,
    PollerFigures,
    RecorderFigures,
    Report,
    WebFigures,
    WriterFigures,
)
from recorder.shards import venue_of
from recorder.watchdog.activity.figures import Activity, InstrumentTrades

DatabaseState = Literal["up", "down", "hung", "unknown"]


class FileSystem(msgspec.Struct, frozen=True):
    """The use of the disk that a folder is on."""

    name: str  # "journal", "home"
    total: int  # bytes
    free: int  # bytes
    percent: float  # in use, of what this user may use


class MessageKind(msgspec.Struct, frozen=True):
    """One kind of quarantined message."""

    recorder: str
    kind: str
    count: int  # in the last 15 minutes


class PollSlots(msgspec.Struct, frozen=True):
    """The slots of the last hour with one outcome, in the ledger of polls."""

    state: str
    slots: int


class Loaded(msgspec.Struct, frozen=True):
    """The load ledger of one table."""

    table: str
    offered: int
    inserted: int
    duplicate: int
    quarantined: int


class JournalPosition(msgspec.Struct, frozen=True):
    """How far Postgres has one journal."""

    recorder: str
    segment: int
    position: int
    age_s: float  # since it moved


class BackupFacts(msgspec.Struct, frozen=True):
    """The backups, and the last proof that one can be restored."""

    verdict: str | None  # of the last proof; None before the first
    detail: str | None  # its reason
    name: str | None  # the backup it was of
    proved_days: float | None  # since a backup was last proved
    oldest_days: float | None  # since the first backup; None where there is none
    newest_days: float | None = None  # since the last one that is kept


class DatabaseFacts(msgspec.Struct, frozen=True):
    """What Postgres answered. Sums and lists are older than `at_s`, since they are asked for less often."""

    at_s: float = 0.0  # monotonic
    answer_s: float = 0.0  # from the connect to the last row
    server_version: int = 0
    schema_version: int = 0
    connections: int = 0  # in use, of all databases
    max_connections: int = 0  # for ordinary logins
    bytes: int = 0
    commits: int = 0
    rollbacks: int = 0
    deadlocks: int = 0
    temporary_bytes: int = 0
    default_partitions: list[str] = []  # tables with rows in their default partition
    partitions_ahead_days: int | None = None
    gaps: dict[str, int] = {}  # that go on, by venue, without refused and unsubscribed streams
    gap_habits: dict[str, float] = {}  # seconds; 99 of 100 gaps of a week were shorter, by venue
    breaks: dict[str, int] = {}  # of the lineage, and damaged blocks, in the last hour, by recorder
    kinds: list[MessageKind] = []
    slots: list[PollSlots] = []
    loaded: list[Loaded] = []
    positions: list[JournalPosition] = []
    subscriptions: int = 0
    backup: BackupFacts | None = None  # None where it is not known


class DatabaseEvidence(msgspec.Struct, frozen=True):
    """The state of Postgres, and its last answer."""

    state: DatabaseState = "unknown"
    reason: str = ""
    silent_s: float = 0.0  # since the question that has no answer
    facts: DatabaseFacts | None = None  # the last answer, however old


class ClockEvidence(msgspec.Struct, frozen=True):
    """The clock of this machine."""

    synchronised: bool | None = None  # as the kernel says; None where it does not
    offset_s: float | None = None  # to its reference; None where it has none
    step_s: float = 0.0  # the largest jump of the last five minutes


class Trends(msgspec.Struct, frozen=True):
    """What only several rounds together show."""

    restarts: dict[str, int] = {}  # in the last 10 minutes, by program
    no_data_s: dict[str, float] = {}  # since the last event of a venue, by venue
    frames: dict[str, int] = {}  # in the last 5 minutes, by recorder
    quarantined: dict[str, int] = {}  # the same
    shed: dict[str, int] = {}  # the same
    poll_rounds: int = 0  # in the last hour, or since the start
    poll_failed: int = 0  # of these
    poll_missed: int = 0  # slots, in the last 10 minutes
    new_kinds: list[MessageKind] = []  # that came for the first time within the last hour


class DiskEvidence(msgspec.Struct, frozen=True):
    """The disks: their use each round, the parts less often."""

    systems: list[FileSystem] = []
    at_s: float = 0.0  # monotonic, of `systems`
    use: DiskUse | None = None
    use_at_s: float = 0.0  # monotonic


class VenueState(NamedTuple):
    """What the recorders of one venue report together."""

    venue: str
    programs: tuple[str, ...]
    reporting: int  # processes whose report is fresh
    streams: int
    failures: int
    heartbeat_failures: int
    delivering: int  # links with an open session that was answered
    links: int
    silent: tuple[str, ...]
    refused: int
    looping: int
    oldest_gap_s: float
    last_error: str


class Evidence(msgspec.Struct, frozen=True):
    """All that one round knows."""

    at: float  # unix seconds
    at_s: float  # monotonic
    supervised: bool  # whether supervisord answered
    status: Status  # the judgement that `tapedeck status` shows
    processes: Mapping[str, Process] = {}
    reports: Mapping[str, Report] = {}
    venues: tuple[str, ...] = ()  # that these settings record
    database: DatabaseEvidence = DatabaseEvidence()
    disk: DiskEvidence = DiskEvidence()
    clock: ClockEvidence = ClockEvidence()
    trends: Trends = Trends()
    activity: Activity = Activity(0.0, problem="not known yet")
    charted: Sequence[InstrumentTrades] = ()  # those of `activity` that have series of their own

    def lines(self) -> dict[str, Line]:
        """Return the judgement on each program, by name."""
        return {line.program: line for line in self.status.programs}

    def fresh(self, program: str) -> bool:
        """Return whether the last report of a program says how it is now."""
        report = self.reports.get(program)
        process = self.processes.get(program)
        if report is None or report.stale(self.at):
            return False
        return process is None or process.pid == report.pid

    @property
    def writer(self) -> WriterFigures | None:
        """The last figures of the writer."""
        figures = self.reports["writer"].figures if "writer" in self.reports else None
        return figures if isinstance(figures, WriterFigures) else None

    @property
    def columns(self) -> ColumnsFigures | None:
        """The last figures of the program that writes column files."""
        figures = self.reports["columns"].figures if "columns" in self.reports else None
        return figures if isinstance(figures, ColumnsFigures) else None

    @property
    def deriver(self) -> DeriverFigures | None:
        """The last figures of the deriver."""
        figures = self.reports["deriver"].figures if "deriver" in self.reports else None
        return figures if isinstance(figures, DeriverFigures) else None

    @property
    def keeper(self) -> KeeperFigures | None:
        """The last figures of the keeper."""
        figures = self.reports["keeper"].figures if "keeper" in self.reports else None
        return figures if isinstance(figures, KeeperFigures) else None

    @property
    def web(self) -> WebFigures | None:
        """The last figures of the program that serves the API and the pages."""
        figures = self.reports["web"].figures if "web" in self.reports else None
        return figures if isinstance(figures, WebFigures) else None

    @property
    def poller(self) -> PollerFigures | None:
        """The last figures of the poller."""
        figures = self.reports["poller"].figures if "poller" in self.reports else None
        return figures if isinstance(figures, PollerFigures) else None

    def recorders(self) -> Iterator[tuple[str, RecorderFigures]]:
        """Yield (program, last figures) of every recorder of these settings."""
        for program, report in sorted(self.reports.items()):
            if isinstance(report.figures, RecorderFigures) and venue_of(program) in self.venues:
                yield program, report.figures

    def lag_s(self) -> float | None:
        """Return how far Postgres is behind the journals; None while the writer has said nothing."""
        writer = self.writer
        if writer is None or not writer.journals:
            return None
        if self.fresh("writer") and writer.database == "up":
            return max(journal.lag_s for journal in writer.journals.values())
        return max(max(journal.lag_s, self.at - journal.stored_until) for journal in writer.journals.values())

    def venue_states(self) -> Iterator[VenueState]:
        """Yield what the recorders of each venue report together."""
        by_venue: dict[str, list[tuple[str, RecorderFigures]]] = {}
        for program, figures in self.recorders():
            by_venue.setdefault(venue_of(program) or "", []).append((program, figures))
        for venue, found in by_venue.items():
            links = [link for _, figures in found for link in figures.links if link.streams]
            errors = [figures.last_error for _, figures in found if figures.last_error is not None]
            yield VenueState(
                venue=venue,
                programs=tuple(program for program, _ in found),
                reporting=sum(self.fresh(program) for program, _ in found),
                streams=sum(link.streams for link in links),
                failures=max(figures.failures for _, figures in found),
                heartbeat_failures=max(figures.heartbeat_failures for _, figures in found),
                delivering=sum(link.state in ("LIVE", "SUBSCRIBING") for link in links),
                links=len(links),
                silent=tuple(stream for _, figures in found for stream in figures.silent),
                refused=sum(figures.refused + figures.unplaced for _, figures in found),
                looping=sum(figures.looping for _, figures in found),
                oldest_gap_s=max(figures.oldest_gap_s for _, figures in found),
                last_error=max(errors, key=lambda error: error.at).reason if errors else "",
            )
