"""Whether trade ids that do not go on mean that the venue restarted them, or a repeat. Pure.

A repeat has no later time than the newest trade. That holds for the time that is remembered, except for trades stamped
ahead, of whose stamp only a part is remembered (`AHEAD_NS`): such a trade, repeated by the snapshot of the next
connection, would look like the first after a restart. So the latest of these stamps is remembered, too.
"""

from recorder.capture.evidence.gap_times import AHEAD_NS
from recorder.events import Trade


def shows_restart(trade: Trade, last_ts_ns: int | None, ahead_ts_ns: int | None) -> bool:
    """Return whether a trade with a lower id than the newest shows that the venue restarted its ids.

    Args:
        trade: The trade.
        last_ts_ns: The newest time of its stream, as it is remembered.
        ahead_ts_ns: The latest stamp ahead of it; None without one.
    """
    return last_ts_ns is not None and trade.ts_event_ns > last_ts_ns and not _stamped_ahead(trade, ahead_ts_ns)


def before_restart(trade: Trade, reset_id: int | None, reset_ts_ns: int | None, ahead_ts_ns: int | None) -> bool:
    """Return whether a trade is a repeat from before the venue restarted its ids.

    Args:
        trade: The trade.
        reset_id, reset_ts_ns: The newest id and time before the restart; None without one.
        ahead_ts_ns: The latest stamp ahead of its time; None without one.
    """
    if reset_id is None or trade.trade_id > reset_id:
        return False
    return trade.ts_event_ns <= (reset_ts_ns or 0) or _stamped_ahead(trade, ahead_ts_ns)


def _stamped_ahead(trade: Trade, ahead_ts_ns: int | None) -> bool:
    """Return whether a trade may be one of those stamped ahead: its time says nothing about the order."""
    if ahead_ts_ns is None:
        return False
    return trade.ts_event_ns == ahead_ts_ns or trade.ts_recv_ns + AHEAD_NS < trade.ts_event_ns < ahead_ts_ns
