"""The result of a replay: counts, and examples of what differs."""

import msgspec

from recorder.pgcopy.decode import readable
from recorder.replay.redecode import RedecodedBlock, Skipped


class Example(msgspec.Struct):
    """One row that differs, as text."""

    table: str
    what: str  # changed, added, removed
    at: str  # segment:offset of its block
    old: dict[str, str] | None
    new: dict[str, str] | None


class TableCount(msgspec.Struct):
    """Number of rows of one channel."""

    same: int = 0
    changed: int = 0
    added: int = 0
    removed: int = 0


class ReplayReport(msgspec.Struct):
    """The result of a replay of one journal."""

    journal: str
    venue: str = ""
    blocks: int = 0
    differing_blocks: int = 0
    frames: int = 0
    tables: dict[str, TableCount] = {}
    quarantined_before: int = 0
    quarantined_now: int = 0
    restorable_gaps: int = 0
    sessions_without_beginning: int = 0
    examples: list[Example] = []
    undecodable: list[str] = []  # reasons of frames that cannot be decoded now
    skipped: int = 0
    skipped_examples: list[str] = []

    @property
    def differs(self) -> bool:
        """Whether the frames give other rows now."""
        return self.differing_blocks > 0

    def add(self, item: RedecodedBlock | Skipped, examples: int) -> bool:
        """Count one block, and return whether it differs.

        Args:
            examples: Number of rows to keep for each table and kind of difference.
        """
        if isinstance(item, Skipped):
            self.skip(item)
            return False
        self.blocks += 1
        self.frames += item.frames
        self.sessions_without_beginning += item.sessions_without_beginning
        self.quarantined_before += len(item.undecodable_before)
        self.quarantined_now += len(item.undecodable)
        self.restorable_gaps += len(item.restorable_gaps)
        if item.unrestorable:
            tables = ", ".join(item.unrestorable)
            self.skip(Skipped(item.position, f"the damaged rows of {tables} cannot be decoded from frames"))
        for one in item.undecodable.values():
            if len(self.undecodable) < examples and one.reason not in self.undecodable:
                self.undecodable.append(one.reason)
        for table, diff in item.diffs.items():
            count = self.tables.setdefault(table, TableCount())
            count.same += diff.same
            for what, found in (("changed", diff.changed), ("added", diff.added), ("removed", diff.removed)):
                before = getattr(count, what)
                setattr(count, what, before + len(found))
                for row in found[: max(0, examples - before)]:
                    self.examples.append(_example(item, table, what, row))
        self.differing_blocks += item.differs
        return item.differs

    def skip(self, item: Skipped) -> None:
        """Count a block that could not be replayed."""
        self.skipped += 1
        if len(self.skipped_examples) < 20:
            self.skipped_examples.append(f"{item.position.segment}:{item.position.offset}: {item.reason}")


def _example(item: RedecodedBlock, table: str, what: str, row: bytes | tuple[bytes, bytes]) -> Example:
    at = f"{item.position.segment}:{item.position.offset}"
    old, new = row if isinstance(row, tuple) else (row, None) if what == "removed" else (None, row)
    texts = [None if one is None else readable(table, one, item.names) for one in (old, new)]
    return Example(table, what, at, texts[0], texts[1])
