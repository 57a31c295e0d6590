"""Takes the answers in the poller's journal again, and compares the rows with those that were recorded.

The journal is read and nothing is changed. Answers are given to the handlers that the jobs have now, in the order in
which they were journalled, and the handlers begin again where a process of the poller did. Rows are compared round by
round, as encoded tuples.

A row depends on earlier answers: a value is stored where it changed, a large trade once. So a journal is taken from its
first block on. Where that was deleted, the jobs that remember markets for as long as these live are named and left out,
and the others for two hours: nothing else that they remember is older.
"""

import threading
from collections import Counter
from collections.abc import Callable, Mapping

import msgspec

from recorder.errors import RecorderError
from recorder.journal.reader import Damaged, JournalReader, Part, StoredBlock
from recorder.pgcopy.decode import conform, split
from recorder.pgcopy.polled import POLLED
from recorder.poller.job import Job, Kept
from recorder.poller.journal import NAME, Envelope, decode_envelope, decode_state
from recorder.poller.ledger import OpenRound
from recorder.poller.round import KeptRound
from recorder.position import Position

OF_THE_LEDGER = frozenset({"poll_run", "poll_schedule", "poll_hole", "session"})
_ALL_BYTES = 1 << 62
_OPEN_MAX = 1000  # rounds whose end is not in the journal are forgotten beyond this number, oldest first
_REASONS = 5
WARM_NS = 2 * 3600 * 10**9
"""After this time, what jobs without a memory on disk remember follows from the answers since."""

_FORGOTTEN = "they depend on answers of markets that are not in the journal any more"
_OF_DATABASE = "their rows follow from the database too"
_RECENT = "they depend on answers of the two hours before, which are not in the journal"

MakeJobs = Callable[[], Mapping[str, Job]]
"""Makes the jobs of one process. What they keep in files must be of an empty folder at the first call."""


class PollTable(msgspec.Struct):
    """The rows of one table."""

    same: int = 0
    added: int = 0  # that the answers give now and did not give when they were recorded
    removed: int = 0  # the reverse


class LeftOut(msgspec.Struct):
    """Rounds of a job that cannot be compared."""

    reason: str
    rounds: int = 0


class PollReplay(msgspec.Struct):
    """The result for the poller's journal."""

    journal: str = NAME
    rounds: int = 0
    answers: int = 0
    without_answers: int = 0  # rounds whose answers are no longer in the journal, or not all of them
    unknown: int = 0  # rounds of jobs that these settings do not have
    odd: int = 0  # odd rows now
    tables: dict[str, PollTable] = {}
    left_out: dict[str, LeftOut] = {}  # by job: rounds that depend on what the journal does not have
    skipped: int = 0  # blocks that are damaged
    reasons: list[str] = []  # why answers cannot be taken, the first of them

    @property
    def differs(self) -> bool:
        """Whether the answers give other rows than were recorded."""
        return any(table.added or table.removed for table in self.tables.values())

    def note(self, reason: str) -> None:
        """Keep the first few reasons."""
        if len(self.reasons) < _REASONS:
            self.reasons.append(reason[:200])


def is_polls(reader: JournalReader) -> bool:
    """Return whether a journal is that of the poller."""
    return reader.folder.name == NAME


def replay_polls(
    reader: JournalReader,
    make_jobs: MakeJobs,
    from_ns: int,
    until_ns: int | None,
    progress: Callable[[Position], None],
) -> PollReplay:
    """Take the answers of the poller's journal again.

    Every answer is taken, also of rounds that are not compared, because what a row says depends on earlier answers.

    Args:
        reader: The journal.
        make_jobs: Returns the jobs as they are now, by name, as a poller makes them at its start.
        from_ns: Only rounds that ended at or after this time are compared.
        until_ns: Only rounds that ended before this time.
        progress: Receives the position of each block.
    """
    return _Replay(reader, make_jobs, from_ns, until_ns).run(progress)


class _Taken:
    """A round whose answers are taken, and whose end is not read yet."""

    def __init__(self, job: str, slot_ns: int, run_id: int) -> None:
        self.job = job
        self.answers: list[Kept] = []
        self._slot_ns = slot_ns
        self._run_id = run_id
        self.begin()

    def begin(self) -> None:
        """Begin without rows."""
        self.round = KeptRound(OpenRound(self._run_id, self.job, self._slot_ns, 0, "", 0), threading.Event())


class _Replay:
    """Does what the processes did that wrote a journal: each began with what the one before it remembered."""

    def __init__(self, reader: JournalReader, make_jobs: MakeJobs, from_ns: int, until_ns: int | None) -> None:
        self.report = PollReplay()
        self._reader = reader
        self._make_jobs = make_jobs
        self._from_ns = from_ns
        self._until_ns = until_ns
        self._jobs: Mapping[str, Job] = make_jobs()
        self._session_id: int | None = None
        self._waiting: dict[int, _Taken] = {}
        self._expected: dict[int, int] = {}  # answers of each round that runs, as the last state says
        self._cut = reader.first().segment > 1  # what was answered before is not known
        self._first_ns: int | None = None  # of the journal

    def run(self, progress: Callable[[Position], None]) -> PollReplay:
        """Read the journal."""
        for item in self._reader.read(self._reader.first(), _ALL_BYTES, with_frames=True):
            progress(item.position)
            if isinstance(item, Damaged) or item.lost:
                self.report.skipped += 1
                self._cut, self._first_ns = True, None  # what it said of markets is not known from here on
                continue
            if self._until_ns is not None and item.header.written_ns >= self._until_ns:
                break
            try:
                self._block(item)
            except (ValueError, msgspec.MsgspecError):
                self.report.skipped += 1
        return self.report

    def _block(self, block: StoredBlock) -> None:
        header = block.header
        if self._first_ns is None:
            self._first_ns = header.written_ns
        for session in header.sessions:
            if session.ended_ns is None and session.session_id != self._session_id:
                self._process(session.session_id)
        state = decode_state(header.state) if header.state else None
        if state is not None:
            for run_id, opened in state.open.items():
                job = self._jobs.get(opened.job)
                if run_id not in self._expected and job is not None and job.at_begin is not None:
                    job.at_begin()
        for frame in self._reader.frames_of(block) if block.frames else ():
            envelope = decode_envelope(frame.payload)
            self._take(envelope, envelope.kept(frame.ts_recv_ns))
        if state is not None:
            for run_id in state.finished:
                taken = self._waiting.pop(run_id, None)
                if header.written_ns >= self._from_ns:
                    self._compare(block, taken, self._expected.get(run_id, 0))
            self._expected = {run_id: opened.answers for run_id, opened in state.open.items()}
        while len(self._waiting) > _OPEN_MAX:
            del self._waiting[next(iter(self._waiting))]

    def _process(self, session_id: int) -> None:
        """Begin another process of the poller: what it kept in files goes on, all else begins again."""
        if self._session_id is not None:
            for job in self._jobs.values():
                if job.at_stop is not None:
                    job.at_stop()
            self._jobs = self._make_jobs()
            for taken in self._waiting.values():  # of rounds that a kill has ended: the new process takes them again
                again = self._jobs.get(taken.job)
                if again is not None and again.repeatable and again.memory is None:
                    taken.begin()
                    for kept in taken.answers:
                        self._give(again, taken, kept)
        self._session_id = session_id

    def _take(self, envelope: Envelope, kept: Kept) -> None:
        taken = self._waiting.get(envelope.run_id)
        if taken is None:
            taken = self._waiting[envelope.run_id] = _Taken(envelope.job, envelope.slot_ns, envelope.run_id)
        taken.answers.append(kept)
        job = self._jobs.get(envelope.job)
        if job is not None and job.repeatable:
            self._give(job, taken, kept)

    def _give(self, job: Job, taken: _Taken, kept: Kept) -> None:
        try:
            job.handler.take(taken.round, kept)
        except RecorderError as error:
            self.report.note(f"{job.name} {kept.path}: {error}")
        except Exception as error:  # a handler with a fault is what this shows
            self.report.note(f"{job.name} {kept.path}: {type(error).__name__}: {error}")

    def _compare(self, block: StoredBlock, taken: _Taken | None, expected: int) -> None:
        before = {part.table: _tuples(part) for part in block.parts if part.table not in OF_THE_LEDGER}
        report = self.report
        if taken is None and not before:
            return
        report.rounds += 1
        if taken is None or len(taken.answers) != expected:
            report.without_answers += 1
            return
        job = self._jobs.get(taken.job)
        if job is None:
            report.unknown += 1
            return
        if not job.repeatable:
            report.left_out.setdefault(job.name, LeftOut(_OF_DATABASE)).rounds += 1
            return
        if self._cut:
            since_ns = block.header.written_ns - (self._first_ns or 0)
            reason = _FORGOTTEN if job.memory is not None else _RECENT if since_ns < WARM_NS else ""
            if reason:
                report.left_out.setdefault(job.name, LeftOut(reason)).rounds += 1
                return
        report.answers += len(taken.answers)
        report.odd += taken.round.odd_count
        rows = taken.round.rows
        for table in sorted({*before, *rows}):
            old = before.get(table, Counter())
            new = Counter(rows[table].data) if table in rows else Counter()
            count = report.tables.setdefault(table, PollTable())
            count.same += (old & new).total()
            count.added += (new - old).total()
            count.removed += (old - new).total()


def _tuples(part: Part) -> Counter[bytes]:
    """Return the rows of a table, with the columns of today."""
    wanted = [column for column, _ in POLLED[part.table]] if part.table in POLLED else part.columns
    return Counter(split(conform(part.data, part.columns, wanted)))
