"""Health reports: one small JSON file per program, replaced once a second.

A report is `<home>/health/<program>.json`. It is a file and not a socket so that a program that hangs or died still
leaves its last report, and the age of the report shows it.

Every kind of program has its own figures. A reader of another version ignores fields that it does not know and uses
the default of fields that are absent.
"""

import os
import time
from pathlib import Path
from typing import Literal

import msgspec

from recorder.process.files import make_home

STALE_S = 10.0
"""A report older than this says nothing about now. Written once a second; two cores under load may skip a few."""

State = Literal["starting", "waiting", "live", "degraded", "stopping"]

UNREADABLE = "unreadable"
"""The state of a report whose file is damaged or of a kind that this version does not know."""


class LinkFailure(msgspec.Struct, frozen=True):
    """The last failure of a connection."""

    reason: str
    at: float  # unix seconds


class LinkFigures(msgspec.Struct, frozen=True):
    """One connection of a recorder. Ages are None before the first."""

    link: int = 0
    state: str = ""
    streams: int = 0  # that it shall carry
    refused: int = 0  # of these, by the venue
    last_frame_age_s: float | None = None
    last_data_age_s: float | None = None
    frames: int = 0
    events: int = 0
    quarantined: int = 0
    unsubscribed: int = 0  # rows of streams that were never subscribed, not stored
    sessions: int = 0
    failures: int = 0  # attempts in a row that brought no data
    heartbeat_failures: int = 0  # sessions in a row that ended by an unanswered ping, without data in between
    errors: int = 0  # connections that failed or were lost
    uptime_s: float | None = None  # of the open connection; None while there is none
    resyncs: int = 0  # books that were requested again
    last_error: LinkFailure | None = None


class Refusal(msgspec.Struct, frozen=True):
    """A stream that is not recorded though it is subscribed."""

    stream: str  # "trade BTC-USD"
    reason: str


class WitnessFigures(msgspec.Struct, frozen=True):
    """What the venue's REST service said about silent streams and about books, since the start of the recorder."""

    verdicts: dict[str, int] = {}  # how often, by verdict
    last: str = ""  # the last one, with its stream and reason
    last_at: float | None = None  # unix seconds


class RecorderFigures(msgspec.Struct, frozen=True, tag_field="kind", tag="recorder"):
    """Figures of the recorder of a venue, or of one of its shards."""

    links: list[LinkFigures] = []
    frames: int = 0
    frames_per_s: float = 0.0
    events: int = 0
    events_per_s: float = 0.0
    quarantined: int = 0
    unsubscribed: int = 0  # rows of streams that were never subscribed, not stored
    sessions: int = 0
    reconnects: int = 0  # connections that were opened after the first one of each link
    errors: int = 0  # connections that failed or were lost
    uptime_s: float = 0.0  # of the connection that was opened last; 0 while one of them is down
    last_message_s: float | None = None  # since the last frame of any connection; None while none is open
    journal_segment: int = 0
    journal_offset: int = 0
    blocks: int = 0
    pending_bytes: int = 0
    open_gaps: int = 0
    oldest_gap_s: float = 0.0  # of the streams that a person chose and that are not refused; 0 without a gap
    unplaced: int = 0  # streams for which no connection has room
    refused: int = 0  # streams that the venue refused, of those that a person chose
    followed_refused: int = 0  # those of markets that the poller chose: not every market has a stream
    refusals: list[Refusal] = []  # the first of `unplaced` and `refused`, with reasons
    silent: list[str] = []  # "trade BTC-USD": streams that stopped bringing data
    quiet: list[str] = []  # streams that are silent because the venue has nothing newer, as its REST service said
    witness: WitnessFigures = WitnessFigures()
    failures: int = 0  # the most attempts in a row without data, of all links
    heartbeat_failures: int = 0  # the most sessions in a row that ended by an unanswered ping, of all links
    resyncs: int = 0  # books that were requested again
    looping: int = 0  # books that do not come right, of those that a person chose
    shed: int = 0
    log_dropped: int = 0
    last_error: LinkFailure | None = None  # the latest of all links


class JournalFigures(msgspec.Struct, frozen=True):
    """How far the writer has loaded one journal."""

    lag_bytes: int = 0
    stored_until: float = 0.0  # unix seconds; every block written before is in the database
    lag_s: float = 0.0  # how long the database has been behind by that much


class WriterFigures(msgspec.Struct, frozen=True, tag_field="kind", tag="writer"):
    """Figures of the writer."""

    rows: int = 0
    rows_per_s: float = 0.0
    duplicates: int = 0
    quarantined: int = 0
    transactions: int = 0
    lag_bytes: int = 0
    database: str = ""  # "up", or why it is not
    journals: dict[str, JournalFigures] = {}  # by recorder

    def has_stored(self, until: float) -> bool:
        """Return whether every block that any journal held at this unix time is in the database."""
        return self.database == "up" and all(journal.stored_until >= until for journal in self.journals.values())


class DeriverFigures(msgspec.Struct, frozen=True, tag_field="kind", tag="deriver"):
    """Figures of the deriver. Counts are since its start."""

    bars: int = 0  # written, of any length
    bars_per_s: float = 0.0
    revised: int = 0  # of these, that had been complete
    removed: int = 0  # because they have no trade any more
    marks: int = 0  # that were taken
    lag_s: float = 0.0  # for how long a change of trades in Postgres may not be in the bars yet
    ranges: int = 0  # of whole days that are to be derived again, behind everything else
    database: str = ""  # "up", or why it is not


class KeepFigures(msgspec.Struct, frozen=True):
    """One job of the keeper."""

    next_at: float | None = None  # unix seconds; None while it runs
    running_since: float | None = None  # unix seconds; None while it does not run
    last_end: float | None = None  # unix seconds
    last_state: str = ""  # done, skipped, failed; waits: Postgres is away
    last_detail: str = ""  # for a person
    problem: str = ""  # why a person should look
    damaged: int = 0  # files of the archive that its last run found missing or changed
    let_go_bytes: int = 0  # of the archive that its last run removed for good
    period_s: float = 0.0  # between two runs by its schedule


class KeeperFigures(msgspec.Struct, frozen=True, tag_field="kind", tag="keeper"):
    """Figures of the keeper."""

    jobs: dict[str, KeepFigures] = {}


class JobFigures(msgspec.Struct, frozen=True):
    """One job of the poller. Counts are since its start."""

    next_at: float | None = None  # unix seconds; None while nothing is planned
    running_since: float | None = None  # unix seconds; None while it does not run
    last_slot: float | None = None  # unix seconds, of its last round
    last_end: float | None = None  # unix seconds
    last_state: str = ""  # done, late, failed, skipped
    last_reason: str = ""
    last_duration_s: float | None = None
    rounds: int = 0
    failed: int = 0
    late: int = 0
    missed: int = 0  # slots
    rows: int = 0
    answers: int = 0
    bytes: int = 0
    odd: int = 0
    overdue: int = 0  # slots that should have begun and are not accounted for
    counts: dict[str, int] = {}  # what its handler counts, by name
    problem: str = ""  # why a person should look


class PollerFigures(msgspec.Struct, frozen=True, tag_field="kind", tag="poller"):
    """Figures of the poller."""

    jobs: dict[str, JobFigures] = {}
    services: dict[str, str] = {}  # the last failure of each service that fails
    circuits: list[str] = []  # services that are asked no more for now, because they failed too often
    notices: dict[str, dict[str, int]] = {}  # by service: answers by what they announce of its interface
    rounds: int = 0
    answers: int = 0
    answer_bytes: int = 0
    rows: int = 0
    journal_segment: int = 0
    journal_offset: int = 0
    blocks: int = 0


class FakeVenueFigures(msgspec.Struct, frozen=True):
    """One simulated venue."""

    clients: int = 0
    events: int = 0  # of its market
    messages: int = 0
    items: int = 0


class SimulatorFigures(msgspec.Struct, frozen=True, tag_field="kind", tag="simulator"):
    """Figures of the simulator."""

    venues: dict[str, FakeVenueFigures] = {}
    answers: dict[str, int] = {}  # of each service that has REST only


class WatchdogFigures(msgspec.Struct, frozen=True, tag_field="kind", tag="watchdog"):
    """Figures of the watchdog."""

    rounds: int = 0
    round_s: float = 0.0  # duration of the last one
    pending: int = 0  # alerts whose condition holds for less than their time
    firing: int = 0
    not_stored: int = 0  # changes of alerts that Postgres does not have yet
    port: int = 0  # where it answers
    messages_waiting: int = 0  # that a channel has not taken yet


class ColumnsFigures(msgspec.Struct, frozen=True, tag_field="kind", tag="columns"):
    """Figures of the program that writes column files. Counts are since its start."""

    rows: int = 0  # trades and quotes
    rows_per_s: float = 0.0
    duplicates: int = 0
    refused: int = 0  # rows that Postgres refuses, too
    unnamed: int = 0  # rows of instruments whose symbol is not known
    expired: int = 0  # rows of days that are not kept any more
    losses: int = 0  # parts of journals that are missing in the files
    lag_bytes: int = 0
    lag_s: float = 0.0
    disk: str = ""  # "up", or why the files cannot be written
    journals: dict[str, JournalFigures] = {}


class WebFigures(msgspec.Struct, frozen=True, tag_field="kind", tag="web"):
    """Figures of the program that serves the API and the pages. Counts are since its start."""

    requests: int = 0
    failed: int = 0  # answers with a status of 500 or more
    sockets: int = 0  # open streams now
    connections: int = 0  # to Postgres, in use now
    cache_hits: int = 0
    cache_misses: int = 0
    database: str = ""  # "up", or why it is not
    port: int = 0  # where it answers


Figures = (
    RecorderFigures
    | WriterFigures
    | DeriverFigures
    | ColumnsFigures
    | KeeperFigures
    | PollerFigures
    | SimulatorFigures
    | WatchdogFigures
    | WebFigures
)


class Report(msgspec.Struct, frozen=True):
    """The latest report of one program."""

    program: str
    pid: int
    started_at: float  # unix seconds
    updated_at: float  # unix seconds
    state: str  # one of State, or UNREADABLE
    detail: str  # for a person: what it waits for, what is wrong
    figures: Figures | None = None

    def age_s(self, now: float) -> float:
        """Return the seconds since the report was written."""
        return max(0.0, now - self.updated_at)

    def stale(self, now: float, limit_s: float = STALE_S) -> bool:
        """Return whether the report is too old to describe the program."""
        return self.age_s(now) > limit_s


class _Stored(msgspec.Struct):
    """A report whose figures are not decoded yet: the process id is of use even where they are not."""

    program: str
    pid: int
    started_at: float
    updated_at: float
    state: str
    detail: str
    figures: msgspec.Raw = msgspec.Raw(b"null")


class HealthFile:
    """Writes the report of this process."""

    def __init__(self, home: Path, program: str) -> None:
        self.program = program
        self._path = home / "health" / f"{program}.json"
        self._started_at = time.time()

    def write(self, state: State, detail: str = "", figures: Figures | None = None) -> bool:
        """Replace the report; a reader sees the old one or the new one, never a part.

        The file is not synced to the disk: a report does not outlive a power cut in any useful sense.

        Returns:
            False when the disk does not take it, which must not end the program that reports.
        """
        report = Report(self.program, os.getpid(), self._started_at, time.time(), state, detail, figures)
        draft = self._path.with_suffix(f".{os.getpid()}.tmp")
        try:
            make_home(self._path.parent)
            draft.write_bytes(msgspec.json.encode(report))
            draft.replace(self._path)
        except OSError:
            return False
        return True

    def remove(self) -> None:
        """Withdraw the report, at a clean stop."""
        self._path.unlink(missing_ok=True)


def read_all(home: Path) -> dict[str, Report]:
    """Return the latest report of every program that has one, by program.

    A file that cannot be read as a report gives one whose state is UNREADABLE and whose detail is the reason.
    """
    reports: dict[str, Report] = {}
    for path in sorted((home / "health").glob("*.json")):
        try:
            report = _decode(path.stem, path.read_bytes(), path.stat().st_mtime)
        except FileNotFoundError:  # withdrawn this moment
            continue
        except OSError as error:
            report = Report(path.stem, 0, 0.0, 0.0, UNREADABLE, f"{path}: {error.strerror}")
        reports[report.program] = report
    return reports


def _decode(program: str, data: bytes, modified_at: float) -> Report:
    try:
        stored = msgspec.json.decode(data, type=_Stored)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        return Report(program, 0, 0.0, modified_at, UNREADABLE, f"the health report is damaged: {error}")
    report = Report(stored.program, stored.pid, stored.started_at, stored.updated_at, stored.state, stored.detail)
    try:
        figures = msgspec.json.decode(stored.figures, type=Figures | None)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        detail = f"the figures of the health report cannot be read: {error}"
        return msgspec.structs.replace(report, state=UNREADABLE, detail=detail)
    return msgspec.structs.replace(report, figures=figures)
