"""Streams that another process of a venue records now: their history moves with them, and no range goes undeclared.

With another number of processes a symbol may belong to another process, whose journal has never held it. At its start
each process reads where the other journals of the venue left the streams of its shard, and continues from there: the
range between the last frame there and the first good data here is one gap, with one id, whichever process declares it
first. The process that had the stream declares the same gap and nothing after it. A journal that no process holds any
longer is closed by process 0. The journals of both slots of a process count.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from recorder.capture.buffer import WriteBuffer
from recorder.capture.continuity import Continuity
from recorder.capture.handover.state import checkpoints_of
from recorder.clock import Clock
from recorder.errors import ConfigError, JournalError
from recorder.events import Gap, Stream
from recorder.identity import stable_hash64
from recorder.journal.block import StreamCheckpoint
from recorder.journal.writer import Journal, Recovered, recover
from recorder.process.log import get_logger
from recorder.settings import JournalSettings
from recorder.shards import ALL_OF, Shard, slot_names

_log = get_logger(__name__)


class JournalState(NamedTuple):
    """The state of the streams of a journal."""

    checkpoints: Sequence[StreamCheckpoint]
    last_frame_ns: Mapping[int, int]  # by session

    def known_until_ns(self, checkpoint: StreamCheckpoint) -> int:
        """Return the latest time for which the journal has information on a stream."""
        gap_ns = 0 if checkpoint.gap is None else checkpoint.gap.started_ns
        frame_ns = self.last_frame_ns.get(checkpoint.session_id or 0, 0) if checkpoint.watched else 0
        return max(checkpoint.since_ns, frame_ns, gap_ns)


def reassign(
    own: JournalState, others: Iterable[JournalState], carries: Callable[[str], bool], key: str, now_ns: int
) -> Iterator[StreamCheckpoint]:
    """Return the initial checkpoints: streams that this shard records now, and streams that it gives to another.

    Args:
        own: Our journal.
        others: The other journals of the venue.
        carries: Whether a symbol is in our shard.
        key: Name of the venue in the settings.
        now_ns: When the streams are taken over.

    Yields:
        Checkpoints for `Continuity.restore`. A stream that was given up earlier is not included: another process
        accounts for it.
    """
    newest: dict[tuple[str, str], tuple[int, StreamCheckpoint]] = {}  # of the others
    for state in others:
        for one in state.checkpoints:
            stream, until_ns = (one.symbol, one.channel), state.known_until_ns(one)
            if carries(one.symbol) and (stream not in newest or newest[stream][0] < until_ns):
                newest[stream] = (until_ns, _given_up(one, state, key))
    for one in own.checkpoints:
        if not carries(one.symbol):
            if one.watched:
                yield _given_up(one, own, key)
            continue
        until_ns, _ = newest.get((one.symbol, one.channel), (-1, one))
        if until_ns <= own.known_until_ns(one):
            newest.pop((one.symbol, one.channel), None)
            yield one
    for _, one in newest.values():
        yield msgspec.structs.replace(one, since_ns=now_ns)  # so that ours is the newest next time


def _given_up(checkpoint: StreamCheckpoint, state: JournalState, key: str) -> StreamCheckpoint:
    """Return a stream as no process watches it: it has a gap since its last frame, the same in every process."""
    gap = checkpoint.gap
    if gap is None and checkpoint.watched:
        stream = Stream(checkpoint.channel, checkpoint.symbol)
        started_ns = max(state.last_frame_ns.get(checkpoint.session_id or 0, 0), checkpoint.since_ns)
        gap = Gap.opened(
            stable_hash64(f"moved:{key}:{stream.symbol}:{stream.channel}:{started_ns}"),
            stream,
            "restart",
            started_ns,
            session_id=None,
            last_id=checkpoint.last_id,
            last_ts_event_ns=checkpoint.last_ts_event_ns,
        )
    return msgspec.structs.replace(checkpoint, watched=False, gap=gap, first_id=None, first_ts_event_ns=None)


def initial_checkpoints(journal: Journal, key: str, shard: Shard, now_ns: int) -> list[StreamCheckpoint]:
    """Return the streams that the recorder of a shard begins with; read the other journals of the venue for that.

    Args:
        journal: Of the recorder.
        key: Name of the venue in the settings; a dialect of a venue has its own.
        shard: Of the recorder.
        now_ns: When the streams are taken over.
    """
    recovered = journal.recovered
    others = []
    for folder in _journals(journal.folder.parent, key):
        if folder != journal.folder:
            try:
                other = recover(folder)[0]
            except (OSError, JournalError) as error:  # recording matters more than the exact begin of a gap
                _log.error("journal.not_read", journal=folder.name, error=str(error))
            else:
                others.append(JournalState(checkpoints_of(other), other.last_frame_ns))
    own = JournalState(recovered.checkpoints, recovered.last_frame_ns)
    return list(reassign(own, others, shard.carries, key, now_ns))


def close_abandoned(settings: JournalSettings, key: str, shard: Shard, venue: str, clock: Clock) -> None:
    """Close the sessions and streams of journals that no process of the venue holds any longer.

    Args:
        settings: Where journals are.
        key: Name of the venue in the settings; a dialect of a venue has its own.
        shard: Of the calling process; only process 0 does anything.
        venue: Name of the venue in the tables.
        clock: For the times of what is written.
    """
    if shard.number != 0:
        return
    for folder in _journals(settings.dir, key):
        if folder.name in slot_names(key, shard.processes):
            continue
        try:
            journal = Journal.open(folder, venue, settings, clock)
            try:
                if _is_open(journal.recovered):
                    _close(journal, key, venue, clock)
            finally:
                journal.close()
        except (ConfigError, JournalError, OSError) as error:  # for example an older process still holds it
            _log.error("journal.not_closed", journal=folder.name, error=str(error))


def _is_open(recovered: Recovered) -> bool:
    return bool(recovered.sessions) or any(one.watched for one in recovered.checkpoints)


def _close(journal: Journal, key: str, venue: str, clock: Clock) -> None:
    recovered, now_ns = journal.recovered, clock.wall_ns()
    continuity = Continuity(frozenset(), lambda: 0)  # no gap is opened here: each stream that had none got one
    own = JournalState(recovered.checkpoints, recovered.last_frame_ns)
    checkpoints = list(reassign(own, (), lambda _symbol: False, key, now_ns))
    continuity.restore(checkpoints, recovered.last_frame_ns, now_ns)
    buffer = WriteBuffer(journal, continuity, venue, 1 << 20, clock)
    buffer.close_sessions(recovered.sessions)
    buffer.flush()
    _log.info("journal.closed", journal=journal.name, streams=len(checkpoints), sessions=len(recovered.sessions))


def _journals(folder: Path, key: str) -> list[Path]:
    """Return the folders of all journals of a venue, whatever number of processes wrote them."""
    singles = (folder / name for name in slot_names(key, ALL_OF))
    several = sorted(path for slot in ("", "-b") for path in folder.glob(f"recorder-{key}-[0-9][0-9]{slot}"))
    return [*(single for single in singles if single.is_dir()), *several]
