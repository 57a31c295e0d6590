"""The ranges of ids of one stream that were declared missing; a late message may still fill them. Pure.

They are part of the checkpoints of the stream: after a restart a venue may send what was declared missing before it,
in its snapshot of the last trades or by sending trades again.
"""

from collections.abc import Callable, Iterable

import msgspec

from recorder.capture.evidence.gap_times import resumed
from recorder.events import Gap

_REMEMBERED = 32  # each is some 250 bytes of a checkpoint, in which they stand only when one of them changed


class _Range(msgspec.Struct, gc=False):
    """Missing ids, exclusive at both ends, and the gap that declares them."""

    last_id: int
    first_id: int
    gap: Gap


class MissingRanges:
    """The latest ranges of a stream whose ids rise by one."""

    __slots__ = ("_changed", "_filled", "_in_block", "_ranges")

    def __init__(self, gaps: Iterable[Gap] = ()) -> None:
        """
        Args:
            gaps: Of an earlier process, with both ends.
        """
        self._ranges = [
            _Range(gap.last_id, gap.first_id, resumed(gap))
            for gap in gaps
            if gap.last_id is not None and gap.first_id is not None
        ]
        self._changed = False  # since the last checkpoint
        self._filled: list[tuple[int, Gap]] = []  # ids that came since then, and the gap that declared each
        self._in_block: list[tuple[int, Gap]] = []  # those of the block that was written last

    def add(self, last_id: int, first_id: int, gap: Gap) -> None:
        """Remember a range, exclusive at both ends, and the gap that declares it."""
        self._ranges = [*self._ranges[1 - _REMEMBERED :], _Range(last_id, first_id, gap)]
        self._changed = True

    def clear(self) -> None:
        """Forget all: the venue restarted its ids."""
        self._changed = self._changed or bool(self._ranges)
        self._ranges = []

    def fill(self, trade_id: int, ts_ns: int, newest_ns: int | None, new_gap_id: Callable[[], int]) -> list[Gap]:
        """Take a late trade out of the range that declares it missing.

        A trade that is later than the end of the range and than all others is none of it: the venue has restarted its
        ids, and this is a new one.

        Args:
            trade_id: Of the trade.
            ts_ns: Its time by the venue's clock.
            newest_ns: The newest time of the stream.
            new_gap_id: Returns an id that no other gap has.

        Returns:
            The gaps that changed; none where no range holds this trade.
        """
        for missing in self._ranges:
            end_ns = max(missing.gap.first_ts_event_ns or missing.gap.ended_ns or 0, newest_ns or 0)
            if missing.last_id < trade_id < missing.first_id and ts_ns <= end_ns:
                break
        else:
            return []
        self._changed = True
        changed = []
        gap = missing.gap
        self._filled.append((trade_id, gap))
        if trade_id not in (missing.last_id + 1, missing.first_id - 1):  # inside: the upper part becomes its own gap
            upper = msgspec.structs.replace(gap, gap_id=new_gap_id(), last_id=trade_id, revision=1)
            self.add(trade_id, missing.first_id, upper)
            changed.append(upper)
            missing.first_id = trade_id
        elif trade_id == missing.last_id + 1:
            missing.last_id = trade_id
        else:
            missing.first_id = trade_id
        missing.gap = msgspec.structs.replace(
            gap, last_id=missing.last_id, first_id=missing.first_id, revision=gap.revision + 1
        )
        if missing.last_id + 1 >= missing.first_id:
            missing.gap.state, missing.gap.reason = "healed", "all missing trades arrived late"
            self._ranges = [other for other in self._ranges if other is not missing]
        return [*changed, missing.gap]

    def take_checkpoint(self) -> tuple[Gap, ...] | None:
        """Return the gaps of the ranges; None where nothing changed since the last call."""
        if not self._changed:
            return None
        self._changed = False
        self._in_block, self._filled = self._filled, []
        return tuple(one.gap for one in self._ranges)

    def give_back(self) -> None:
        """Note that the journal did not take the last checkpoint."""
        self._changed = True
        self._in_block, self._filled = [], self._in_block + self._filled

    def drop(self, new_gap_id: Callable[[], int]) -> list[Gap]:
        """Declare again, each for itself, the ids that came since the last checkpoint: their rows were dropped.

        Returns:
            The new gaps.
        """
        dropped, self._filled = self._filled, []
        again = []
        for trade_id, gap in dropped:
            one = msgspec.structs.replace(
                gap, gap_id=new_gap_id(), last_id=trade_id - 1, first_id=trade_id + 1, revision=1
            )
            self.add(trade_id - 1, trade_id + 1, one)
            again.append(one)
        return again
