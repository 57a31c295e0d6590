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

    __slots__ = ("_changed", "_ranges")

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

    def add(self, last_id: int, first_id: int, gap: Gap) -> None:
        """Remember a range, exclusive at both ends, and the gap that declares it."""
        self._ranges = [*self._ranges[1 - _REMEMBERED :], _Range(last_id, first_id, gap)]
        self._changed = True

    def clear(self) -> None:
        """Forget all: the venue restarted its ids."""
        self._changed = self._changed or bool(self._ranges)
        self._ranges = []

    def fill(self, trade_id: int, new_gap_id: Callable[[], int]) -> list[Gap]:
        """Take a late trade out of the range that declares it missing.

        Returns:
            The gaps that changed; none where no range holds this id.
        """
        for missing in self._ranges:
            if missing.last_id < trade_id < missing.first_id:
                break
        else:
            return []
        self._changed = True
        changed = []
        gap = missing.gap
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
        return tuple(one.gap for one in self._ranges)

    def give_back(self) -> None:
        """Note that the journal did not take the last checkpoint."""
        self._changed = True
