"""Takes kept answers again at a start, so that jobs know what the last process knew.

An answer of a round that a kill left open is taken for its rows. One that is newer than the file of a memory is taken
for what the jobs remember of it; its rows are in the journal already. Both in the order of their receipt, because what
an answer changes depends on those before it.
"""

from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import msgspec

from recorder.errors import RecorderError
from recorder.journal.block import FILE_HEADER
from recorder.journal.reader import JournalReader, StoredBlock, segment_path, segments
from recorder.poller.job import Job, Kept, Remembering
from recorder.poller.journal import Envelope, PollJournal, decode_envelope
from recorder.poller.ledger import OpenRound
from recorder.poller.round import KeptRound, KnownRound
from recorder.poller.runner import row_of
from recorder.position import Position
from recorder.process.log import get_logger

KILLED = "stopped: the program ended in the middle of the round"
_ALL_BYTES = 1 << 62
_LONGEST_NS = 3 * 3_600 * 10**9
_MOST_BYTES = 256 << 20
"""Of the journal that is read for memories whose file is absent or old: half a minute of a start."""

_log = get_logger(__name__)


def recover(journal: PollJournal, jobs: Mapping[str, Job]) -> int:
    """Restore the memories of the jobs, and finish the rounds that the last process left open.

    Each round becomes one block, as the rounds that end well do: a kill during the recovery repeats nothing.

    Returns:
        The number of answers taken for their rows.
    """
    rounds = {opened.run_id: KeptRound(opened, journal.never) for opened in journal.recovered_rounds}
    if rounds:
        journal.flush()
    known = _restored(journal, jobs)
    begins = [
        Position(opened.first_segment, FILE_HEADER.size) for opened in journal.recovered_rounds if opened.first_segment
    ]
    taken = remembered = 0
    for position, envelope, received_ns in _answers(journal.journal.folder, [*begins, *known.values()]):
        job = jobs.get(envelope.job)
        if job is None:
            continue
        if envelope.run_id in rounds:
            taken += take(job, rounds[envelope.run_id], envelope.kept(received_ns))
        elif job.name in known and position >= known[job.name]:
            opened = OpenRound(envelope.run_id, job.name, envelope.slot_ns, 0, "", received_ns)
            remembered += take(job, KnownRound(opened, journal.never), envelope.kept(received_ns))
    if remembered:
        _log.info("poll.remembered", answers=remembered)
    for round in rounds.values():
        opened = round.opened
        journal.finish(row_of(round, "failed", KILLED, None), round.rows)
        _log.warning(
            "poll.recovered", job=opened.job, answers=opened.answers, rows=round.row_count, odd=round.odd_count
        )
    return taken


def take(job: Job, round: KeptRound, kept: Kept) -> bool:
    """Give one kept answer to the handler of its job; an answer that cannot be used is odd."""
    try:
        job.handler.take(round, kept)
    except RecorderError as error:
        round.odd(kept.path, str(error))
        return False
    except Exception as error:  # one answer must not keep the program from its start
        round.odd(kept.path, f"{type(error).__name__}: {error}")
        _log.exception("poll.take_failed", job=job.name, path=kept.path)
        return False
    return True


def _restored(journal: PollJournal, jobs: Mapping[str, Job]) -> dict[str, Position]:
    """Restore each memory, and return by job from where on its answers are not in the file."""
    sharing: dict[int, tuple[Remembering, list[str]]] = {}
    for job in jobs.values():
        if job.memory is not None:
            sharing.setdefault(id(job.memory), (job.memory, []))[1].append(job.name)
    known: dict[str, Position] = {}
    for memory, names in sharing.values():
        mark = memory.restore(partial(journal.cut, frozenset(names)))
        begin = _recent(journal)
        if mark is not None and mark.journal_id == journal.journal.journal_id:
            begin = max(begin, Position(mark.segment, mark.offset))
        known |= dict.fromkeys(names, begin)
    return known


def _recent(journal: PollJournal) -> Position:
    """Return where the last hours of the journal begin, as far as they can be read at a start."""
    folder = journal.journal.folder
    reader = JournalReader(folder)
    begin, size = journal.journal.recovered.end, 0
    try:
        for segment in reversed(segments(folder)):
            began_ns = reader.began_ns(segment)
            following_ns = journal.journal.recovered.written_ns if began_ns is None else began_ns
            size += segment_path(folder, segment).stat().st_size
            if size > _MOST_BYTES or following_ns < journal.journal.recovered.written_ns - _LONGEST_NS:
                break
            begin = Position(segment, FILE_HEADER.size)
    finally:
        reader.close()
    return begin


def _answers(folder: Path, begins: list[Position]) -> Iterator[tuple[Position, Envelope, int]]:
    """Yield (place, answer, receipt time) of each answer from the first of some places on.

    What is damaged is left out.
    """
    if not begins:
        return
    reader = JournalReader(folder)
    try:
        for item in reader.read(min(begins), _ALL_BYTES, bodies=False):
            if not isinstance(item, StoredBlock) or not item.frames:
                continue
            try:
                frames = [(decode_envelope(frame.payload), frame.ts_recv_ns) for frame in reader.frames_of(item)]
            except (ValueError, msgspec.MsgspecError) as error:
                _log.error("poll.answer_unreadable", journal=folder.name, error=str(error))
                continue
            for envelope, received_ns in frames:
                yield item.position, envelope, received_ns
    finally:
        reader.close()
