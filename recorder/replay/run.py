"""Replays one journal: counts every block, and corrects those that differ in batches of a bounded size."""

from collections.abc import Callable

import msgspec

from recorder.errors import RowRejected
from recorder.journal.reader import JournalReader
from recorder.position import Position
from recorder.replay.apply import ReplayStore
from recorder.replay.archived import Day, days_of
from recorder.replay.redecode import RedecodedBlock, Skipped, redecode
from recorder.replay.report import ReplayReport
from recorder.replay.transaction import Applied, Archived
from recorder.venues.base import Decoder

_BATCH_BYTES = 8 << 20
_BATCH_BLOCKS = 2000


class Request(msgspec.Struct, frozen=True):
    """The range to replay, and how to report it.

    Attributes:
        new_decoder: Returns the decoder of a new connection of the journal's venue.
        from_ns: Only blocks written at or after this time.
        until_ns: Only blocks written before this time.
        examples: Number of rows to keep of each kind of difference.
    """

    new_decoder: Callable[[], Decoder]
    from_ns: int = 0
    until_ns: int | None = None
    examples: int = 3


class ReplayApplier:
    """Collects blocks that differ, and applies them in batches."""

    def __init__(self, store: ReplayStore, report: ReplayReport) -> None:
        self.applied = Applied()
        self.not_loaded = 0  # blocks that differ and that the writer has not loaded yet
        self.archived = 0  # blocks that differ and have rows of archived days
        self.archived_days: set[Day] = set()  # of these rows
        self._store = store
        self._report = report
        self._batch: list[RedecodedBlock] = []
        self._size = 0

    def add(self, block: RedecodedBlock) -> None:
        """Add a block to the next batch if its stored rows may need a correction."""
        until = self._store.loaded_until
        if until is None or block.position >= until:
            self.not_loaded += block.differs
            return
        if not (block.differs or self._store.replayed(block.position)):
            return
        if self._batch and self._batch[0].position.segment != block.position.segment:
            self.flush()
        self._batch.append(block)
        self._size += sum(map(len, (*block.now.values(), *block.before.values())))
        if self._size >= _BATCH_BYTES or len(self._batch) >= _BATCH_BLOCKS:
            self.flush()

    def flush(self) -> None:
        """Apply the current batch."""
        batch, self._batch, self._size = self._batch, [], 0
        if batch:
            self._apply(batch)

    def _apply(self, batch: list[RedecodedBlock]) -> None:
        """Apply a batch, leaving out blocks of archived days and the block of a row that Postgres refuses."""
        batch = self._without_archived(batch)
        if not batch:
            return
        try:
            self.applied.add(self._store.apply(batch))
        except Archived:
            self._apply(batch)  # the next look finds the day that left its table meanwhile
        except RowRejected as error:
            if len(batch) == 1:
                reason = f"not applied, because Postgres refuses a row of it: {error}"
                self._report.skip(Skipped(batch[0].position, reason))
                return
            middle = len(batch) // 2
            self._apply(batch[:middle])
            self._apply(batch[middle:])

    def _without_archived(self, batch: list[RedecodedBlock]) -> list[RedecodedBlock]:
        """Return the blocks that have no row of an archived day, and count the others."""
        gone = self._store.archived(batch)
        if not gone:
            return batch
        left = []
        for block in batch:
            touched = days_of(block) & gone
            if touched:
                self.archived += 1
                self.archived_days |= touched
            else:
                left.append(block)
        return left


def replay(
    reader: JournalReader, request: Request, store: ReplayStore | None, progress: Callable[[Position], None]
) -> tuple[ReplayReport, ReplayApplier | None]:
    """Decode a journal again, and correct its stored rows if a store is given.

    Args:
        reader: The journal.
        request: Range and options.
        store: Where to apply the differences; None only counts them.
        progress: Receives the position of each block.

    Raises:
        StoreUnavailable: The database became unavailable. Complete batches are applied; another run continues there.
    """
    report = ReplayReport(reader.folder.name, reader.venue)
    applier = None if store is None else ReplayApplier(store, report)
    for item in redecode(reader, request.new_decoder, request.from_ns, request.until_ns):
        report.add(item, request.examples)
        if applier is not None and isinstance(item, RedecodedBlock):
            applier.add(item)
        progress(item.position)
    if applier is not None:
        applier.flush()
    return report, applier
