"""Streams that another process of a venue records now: their history moves along, and nothing between goes undeclared.

With another number of processes a symbol may belong to another one, whose journal has never heard of it. At its start
each process reads where the other journals of the venue left the streams of its share, and goes on from there: the
range between the last frame there and the first good data here is one gap, with one id, whoever names it first. The
process that had the stream says the same and no more. A journal no process holds any longer is closed by process 0.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from recorder.block import Mark
from recorder.clock import Clock
from recorder.continuity import Continuity
from recorder.errors import ConfigError, JournalError
from recorder.events import Gap
from recorder.instruments import stable_hash64
from recorder.journal import Journal, Recovered, recover
from recorder.log import get_logger
from recorder.settings import JournalSettings
from recorder.shares import Share, recorder_names
from recorder.tape import Tape

_log = get_logger(__name__)


class Left(NamedTuple):
    """Where a journal stands."""

    marks: Sequence[Mark]
    last_frame_ns: Mapping[int, int]  # by session

    def seen_ns(self, mark: Mark) -> int:
        """The latest time this journal can speak of a stream."""
        gap_ns = 0 if mark.gap is None else mark.gap.started_ns
        return max(mark.since_ns, self.last_frame_ns.get(mark.session_id or 0, 0) if mark.watched else 0, gap_ns)


def settle(own: Left, others: Iterable[Left], carries: Callable[[str], bool], key: str, now_ns: int) -> Iterator[Mark]:
    """Marks to begin with: what is ours now, and what of ours another process has from now on.

    Args:
        own: Our journal.
        others: The other journals of the venue.
        carries: Whether a symbol is in our share.
        key: Name of the venue in the settings.
        now_ns: When we take streams over.

    Yields:
        Marks for `Continuity.restore`. A stream given up earlier is not among them: it is not ours to speak of.
    """
    newest: dict[tuple[str, str], tuple[int, Mark]] = {}  # of the others
    for left in others:
        for mark in left.marks:
            stream, seen_ns = (mark.symbol, mark.channel), left.seen_ns(mark)
            if carries(mark.symbol) and (stream not in newest or newest[stream][0] < seen_ns):
                newest[stream] = (seen_ns, _left_behind(mark, left, key))
    for mark in own.marks:
        if not carries(mark.symbol):
            if mark.watched:
                yield _left_behind(mark, own, key)
            continue
        seen_ns, _ = newest.get((mark.symbol, mark.channel), (-1, mark))
        if seen_ns <= own.seen_ns(mark):
            newest.pop((mark.symbol, mark.channel), None)
            yield mark
    for _, mark in newest.values():
        yield msgspec.structs.replace(mark, since_ns=now_ns)  # so that ours is the newest next time


def _left_behind(mark: Mark, left: Left, key: str) -> Mark:
    """A stream nobody watches at the moment: since its last frame it has a gap, the same whoever says so."""
    gap = mark.gap
    if gap is None and mark.watched:
        started_ns = max(left.last_frame_ns.get(mark.session_id or 0, 0), mark.since_ns)
        gap = Gap(
            stable_hash64(f"moved:{key}:{mark.symbol}:{mark.channel}:{started_ns}"), mark.symbol, mark.channel, None,
            "restart", "open", None, mark.last_id, None, started_ns, None, mark.last_ts_event_ns, None, 1,
        )  # fmt: skip
    return msgspec.structs.replace(mark, watched=False, gap=gap, first_id=None, first_ts_event_ns=None)


def begin(journal: Journal, key: str, share: Share, now_ns: int) -> list[Mark]:
    """Marks the recorder of this share begins with; reads the other journals of the venue `key` of the settings."""
    recovered = journal.recovered
    others = []
    for folder in _journals(journal.folder.parent, key):
        if folder != journal.folder:
            try:
                left = recover(folder)[0]
            except (OSError, JournalError) as error:  # recording is worth more than the exact begin of a gap
                _log.error("journal.not_read", journal=folder.name, error=str(error))
            else:
                others.append(Left(left.marks, left.last_frame_ns))
    own = Left(recovered.marks, recovered.last_frame_ns)
    return list(settle(own, others, share.carries, key, now_ns))


def close_abandoned(settings: JournalSettings, key: str, share: Share, venue: str, clock: Clock) -> None:
    """Process 0 ends the accounts of journals that no process of the venue holds any longer.

    Args:
        settings: Where journals are.
        key: Name of the venue in the settings; a dialect of a venue has its own.
        share: Whose process asks.
        venue: Name of the venue in the tables.
        clock: For the times of what is said.
    """
    if share.number != 0:
        return
    for folder in _journals(settings.dir, key):
        if folder.name in recorder_names(key, share.processes):
            continue
        try:
            journal = Journal(folder, venue, settings, clock)
            try:
                if _unfinished(journal.recovered):
                    _give_up(journal, key, venue, clock)
            finally:
                journal.close()
        except (ConfigError, JournalError, OSError) as error:  # such as: an older process runs still and holds it
            _log.error("journal.not_closed", journal=folder.name, error=str(error))


def _unfinished(left: Recovered) -> bool:
    return bool(left.sessions) or any(mark.watched for mark in left.marks)


def _give_up(journal: Journal, key: str, venue: str, clock: Clock) -> None:
    left, now_ns = journal.recovered, clock.wall_ns()
    continuity = Continuity(frozenset(), lambda: 0)  # every gap it is told of has its id
    marks = list(settle(Left(left.marks, left.last_frame_ns), (), lambda _symbol: False, key, now_ns))
    continuity.restore(marks, left.last_frame_ns, now_ns)
    tape = Tape(journal, continuity, venue, 1 << 20, clock)
    tape.close_sessions(left.sessions, now_ns)
    tape.flush()
    _log.info("journal.given_up", journal=journal.name, streams=len(marks), sessions=len(left.sessions))


def _journals(folder: Path, key: str) -> list[Path]:
    """Folders of all journals of a venue, whatever number of processes wrote them."""
    alone = folder / f"recorder-{key}"
    return [*([alone] if alone.is_dir() else []), *sorted(folder.glob(f"recorder-{key}-[0-9][0-9]"))]
