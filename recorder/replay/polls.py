"""Takes the answers in the poller's journal again, and compares the rows with those that were recorded.

The journal is read and nothing is changed. Answers are given to the handlers that the jobs have now, in the order of
their receipt. Rows are compared round by round, as encoded tuples.
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
from recorder.poller.journal import NAME, decode_envelope, decode_state
from recorder.poller.ledger import OpenRound
from recorder.poller.round import KeptRound
from recorder.position import Position

OF_THE_LEDGER = frozenset({"poll_run", "poll_schedule", "session"})
_ALL_BYTES = 1 << 62
_OPEN_MAX = 1000  # rounds whose end is not in the journal are forgotten beyond this number, oldest first
_REASONS = 5


class PollTable(msgspec.Struct):
    """The rows of one table."""

    same: int = 0
    added: int = 0  # that the answers give now and did not give when they were recorded
    removed: int = 0  # the reverse


class PollReplay(msgspec.Struct):
    """The result for the poller's journal."""

    journal: str = NAME
    rounds: int = 0
    answers: int = 0
    without_answers: int = 0  # rounds whose answers are no longer in the journal, or not all of them
    unknown: int = 0  # rounds of jobs that these settings do not have
    odd: int = 0  # odd rows now
    tables: dict[str, PollTable] = {}
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
    jobs: Mapping[str, Job],
    from_ns: int,
    until_ns: int | None,
    progress: Callable[[Position], None],
) -> PollReplay:
    """Take the answers of the poller's journal again.

    Args:
        reader: The journal.
        jobs: The jobs as they are now, by name.
        from_ns: Only rounds that ended at or after this time.
        until_ns: Only rounds that ended before this time.
        progress: Receives the position of each block.
    """
    report = PollReplay()
    waiting: dict[int, list[tuple[str, int, Kept]]] = {}
    expected: dict[int, int] = {}  # answers of each round, as the last state says
    for item in reader.read(reader.first(), _ALL_BYTES, with_frames=True):
        progress(item.position)
        if isinstance(item, Damaged) or item.lost:
            report.skipped += 1
            continue
        if until_ns is not None and item.header.written_ns >= until_ns:
            break
        try:
            for frame in reader.frames_of(item) if item.frames else ():
                envelope = decode_envelope(frame.payload)
                kept = envelope.kept(frame.ts_recv_ns)
                waiting.setdefault(envelope.run_id, []).append((envelope.job, envelope.slot_ns, kept))
            state = decode_state(item.header.state) if item.header.state else None
        except (ValueError, msgspec.MsgspecError):
            report.skipped += 1
            continue
        if state is not None:
            for run_id in state.finished:
                answers = waiting.pop(run_id, [])
                if item.header.written_ns >= from_ns:
                    _compare(report, item, run_id, answers, expected.get(run_id, 0), jobs)
            expected = {run_id: opened.answers for run_id, opened in state.open.items()}
        while len(waiting) > _OPEN_MAX:
            del waiting[next(iter(waiting))]
    return report


def _tuples(part: Part) -> Counter[bytes]:
    """Return the rows of a table, with the columns of today."""
    wanted = [column for column, _ in POLLED[part.table]] if part.table in POLLED else part.columns
    return Counter(split(conform(part.data, part.columns, wanted)))


def _compare(
    report: PollReplay,
    block: StoredBlock,
    run_id: int,
    answers: list[tuple[str, int, Kept]],
    expected: int,
    jobs: Mapping[str, Job],
) -> None:
    before = {part.table: _tuples(part) for part in block.parts if part.table not in OF_THE_LEDGER}
    if not answers and not before:
        return
    report.rounds += 1
    if len(answers) != expected or not answers:
        report.without_answers += 1
        return
    job = jobs.get(answers[0][0])
    if job is None:
        report.unknown += 1
        return
    report.answers += len(answers)
    round = KeptRound(OpenRound(run_id, job.name, answers[0][1], 0, "", 0), threading.Event())
    for _, _, kept in answers:
        try:
            job.handler.take(round, kept)
        except RecorderError as error:
            report.note(f"{job.name} {kept.path}: {error}")
        except Exception as error:  # a handler with a fault is what this shows
            report.note(f"{job.name} {kept.path}: {type(error).__name__}: {error}")
    report.odd += round.odd_count
    for table in sorted({*before, *round.rows}):
        old = before.get(table, Counter())
        new = Counter(round.rows[table].data) if table in round.rows else Counter()
        count = report.tables.setdefault(table, PollTable())
        count.same += (old & new).total()
        count.added += (new - old).total()
        count.removed += (old - new).total()
