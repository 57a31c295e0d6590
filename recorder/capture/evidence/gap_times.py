"""The times of gaps where the clock of a venue is wrong, or ours was set. Pure."""

from collections.abc import Mapping

import msgspec

from recorder.events import Gap
from recorder.journal.block import StreamCheckpoint

AHEAD_NS = 5 * 10**9
"""A venue's clock may be this far ahead of ours. Of a stamp further ahead, only this much is remembered."""
_LOST_REVISIONS = 100


def bounded(one: StreamCheckpoint, last_frame_ns: Mapping[int, int], now_ns: int) -> StreamCheckpoint:
    """Return a checkpoint whose time is close to the last frame, whichever version wrote it."""
    if one.last_ts_event_ns is None:
        return one
    limit_ns = last_frame_ns.get(one.session_id or 0, now_ns) + AHEAD_NS
    return msgspec.structs.replace(one, last_ts_event_ns=min(one.last_ts_event_ns, limit_ns))


def since(gap: Gap, started_ns: int) -> Gap:
    """Return a gap that begins at another time by our clock; also by the venue's, where it has no time of its own."""
    last_ts_ns = started_ns if gap.last_ts_event_ns is None else min(gap.last_ts_event_ns, started_ns)
    return msgspec.structs.replace(gap, started_ns=started_ns, last_ts_event_ns=last_ts_ns)


def end_by_venue(gap: Gap, ts_event_ns: int | None, ts_recv_ns: int) -> int | None:
    """Return the end of a gap by the venue's clock; None where the stamp of the first good message cannot be that."""
    begin_ns = gap.started_ns if gap.last_ts_event_ns is None else gap.last_ts_event_ns
    if ts_event_ns is None or ts_event_ns < min(begin_ns, ts_recv_ns):
        return None
    return min(ts_event_ns, ts_recv_ns + AHEAD_NS)


def resumed(gap: Gap) -> Gap:
    """Return a gap that goes on after a restart.

    A power cut may destroy blocks that the database has: it may know later revisions of this gap, even its end. The
    revisions from now on must win over those, or the time until the new end is declared nowhere.
    """
    return msgspec.structs.replace(gap, revision=gap.revision + _LOST_REVISIONS)
