"""One transaction of a replay, which makes the stored rows of some journal blocks equal to what their frames give now.

The stored rows are compared, not those in the journal. A row is changed only where it differs, so applying again
changes nothing, and an earlier replay with another adapter is corrected too. `load_ledger` is corrected as well, and
ends up as if the current adapter had recorded.
"""

import hashlib
import io
import struct
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from recorder import __version__
from recorder.errors import StoreError
from recorder.pgcopy import encode, scalars
from recorder.pgcopy.decode import fields, number, split
from recorder.pgcopy.stream import COPY_HEADER, CopyReader, copy_stream
from recorder.replay import statements
from recorder.replay.archived import archived_days, days_of
from recorder.replay.compare import TABLES
from recorder.replay.redecode import RedecodedBlock
from recorder.store.database import Cursor

HEALED = "decoded again from the intact frames of the block by tapedeck replay"
COMPLETE = "all missing trades are stored since tapedeck replay"

_KEY_END = 2 + 3 * 12  # of a trade tuple: instrument_id, trade_id, ts_event, which are never null
_IDENTITY_END = _KEY_END + 12  # and ts_recv, which identifies the block of the trade
_FOUR = struct.pack("!h", 4)
_SEVEN = struct.pack("!h", 7)


class Archived(StoreError):
    """A day of the rows has left its table, so that its rows are in the archive."""


class Changed(msgspec.Struct):
    """Number of rows that were changed in one table."""

    removed: int = 0
    inserted: int = 0
    updated: int = 0
    accepted: int = 0  # rows that Postgres refused once and that are no longer made

    def add(self, other: "Changed") -> None:
        """Add the counts of `other`."""
        self.removed += other.removed
        self.inserted += other.inserted
        self.updated += other.updated
        self.accepted += other.accepted

    @property
    def any(self) -> bool:
        """Whether anything was changed."""
        return bool(self.removed or self.inserted or self.updated or self.accepted)


class Applied(msgspec.Struct):
    """The changes of one or several transactions."""

    tables: dict[str, Changed] = {}
    gaps_healed: int = 0

    def add(self, other: "Applied") -> None:
        """Add the counts of `other`."""
        for table, changed in other.tables.items():
            self.tables.setdefault(table, Changed()).add(changed)
        self.gaps_healed += other.gaps_healed

    @property
    def any(self) -> bool:
        """Whether anything was changed."""
        return self.gaps_healed > 0 or any(changed.any for changed in self.tables.values())


class Journal(msgspec.Struct, frozen=True):
    """The journal of the blocks, and the number of the run."""

    journal_id: str
    venue: str
    contiguous: bool  # whether the ids of the venue's trades rise by one
    replay_id: int


class ReplayBatch:
    """Some blocks of one segment, and the transaction in which they are corrected."""

    def __init__(self, cursor: Cursor, journal: Journal, blocks: Sequence[RedecodedBlock], replayed: set[int]) -> None:
        """
        Args:
            cursor: Cursor of a connection in autocommit.
            journal: Journal of the blocks.
            blocks: Blocks of one segment.
            replayed: Positions of the blocks that an earlier replay corrected.
        """
        self.applied = Applied()
        self._cursor = cursor
        self._journal = journal
        self._blocks = blocks
        self._replayed = replayed
        self._segment = blocks[0].position.segment

    def correct(self) -> Applied:
        """Correct all blocks or none.

        Raises:
            Archived: A day of their rows is archived; the transaction is still open.
        """
        self._cursor.execute("BEGIN")
        self._cursor.execute(statements.PREPARE)
        self._instruments()
        refused = self._refused_rows()
        self._trades(refused.get("trade", set()))
        spans = [span for block in self._blocks for span in block.spans]
        _copy(
            self._cursor,
            "replay_span",
            (
                scalars.tuple_of(
                    scalars.int8(span.session_id), scalars.int8(span.first_seq), scalars.int8(span.last_seq),
                    scalars.instant(span.low_ns), scalars.instant(span.high_ns),
                )
                for span in spans
            ),
        )  # fmt: skip
        for table in ("quote", "book"):
            now = _kept(self._blocks, table, refused.get(table, set()))
            self.applied.tables.setdefault(table, Changed()).add(self._rows(table, now))
        self._quarantine()
        self._heal()
        self._correct_ledgers()
        # At the end: a day that is not archived now cannot leave its table before the COMMIT, because the archiver
        # waits for the rows that were written.
        if archived_days(self._cursor, self._journal.venue, set().union(*map(days_of, self._blocks))):
            raise Archived("a day of these rows left its table meanwhile")
        self._cursor.execute("COMMIT")
        return self.applied

    def _instruments(self) -> None:
        """Insert instruments without a row, because none of their frames could be decoded before."""
        names = {number_: symbol for block in self._blocks for number_, symbol in block.names.items()}
        seen_ns = min(block.written_ns for block in self._blocks)
        used = {number(row[2:14]) for block in self._blocks for table in TABLES for row in split(block.now[table])}
        changed = Changed()
        for number_ in used & names.keys():
            seen_us = seen_ns // 1000
            self._cursor.execute(statements.INSERT_INSTRUMENT, (number_, self._journal.venue, names[number_], seen_us))
            changed.inserted += self._cursor.rowcount
            self._cursor.execute(statements.SEEN_EARLIER, (seen_us, number_, seen_us))
            changed.updated += self._cursor.rowcount
        self.applied.tables["instrument"] = changed

    def _refused_rows(self) -> dict[str, set[bytes]]:
        """Return the digests of rows that Postgres refused when it loaded these blocks.

        Rows that are no longer made leave quarantine.
        """
        self._cursor.execute(
            "SELECT position, item, table_name, sha256 FROM quarantine "
            "WHERE journal_id = %s AND segment = %s AND scope = 'row' AND position = ANY(%s::bigint[])",
            (self._journal.journal_id, self._segment, [block.position.offset for block in self._blocks]),
        )
        found = [(place, item, str(table), bytes(digest)) for place, item, table, digest in self._cursor.fetchall()]
        refused: dict[str, set[bytes]] = {}
        for table in {table for _, _, table, _ in found} & set(TABLES):
            made = {hashlib.sha256(row).digest() for block in self._blocks for row in split(block.now[table])}
            for place, item, other, digest in found:
                if other != table:
                    continue
                if digest in made:
                    refused.setdefault(table, set()).add(digest)
                    continue
                self._cursor.execute(
                    "DELETE FROM quarantine WHERE journal_id = %s AND segment = %s AND position = %s AND scope = 'row' "
                    "AND item = %s",
                    (self._journal.journal_id, self._segment, place, item),
                )
                self.applied.tables.setdefault(table, Changed()).accepted += self._cursor.rowcount
        return refused

    def _trades(self, refused: set[bytes]) -> None:
        """Delete trades whose key is no longer made, and update or insert the others."""
        recorded = self._recorded_trades()
        gone: list[bytes] = []
        recorded_now: list[bytes] = []
        renewed: list[int] = []
        for block in self._blocks:
            place = block.position.offset
            now, was = _identities(block.now["trade"]), _identities(block.before.get("trade", b""))
            extra = {min(found) for key, found in now.items() if key not in was}
            old = recorded.get(place, set())
            gone += [identity for key, found in was.items() if key not in now for identity in found]
            gone += [identity for identity in old if identity[: _KEY_END - 2] not in now]
            if old != extra or (place in self._replayed) != block.differs:
                renewed.append(place)
                head = scalars.text(self._journal.journal_id) + scalars.int4(self._segment) + scalars.int8(place)
                recorded_now += [_SEVEN + head + identity for identity in extra]
        changed = self.applied.tables.setdefault("trade", Changed())
        if gone:
            _copy(self._cursor, "replay_gone (instrument_id, first, ts_event, ts_recv)", (_FOUR + one for one in gone))
            self._cursor.execute(statements.DELETE_TRADES)
            changed.removed = self._cursor.rowcount
        kept = _kept(self._blocks, "trade", refused)
        if kept:
            _copy(self._cursor, "replay_trade", sorted(kept))  # by key: the order in which rows are locked
            self._cursor.execute(statements.UPDATE_TRADES)
            changed.updated = self._cursor.rowcount
            self._cursor.execute(statements.INSERT_TRADES)
            changed.inserted = self._cursor.rowcount
        if renewed:
            differing = {block.position.offset for block in self._blocks if block.differs}
            self._cursor.execute(
                "DELETE FROM replayed_block WHERE journal_id = %s AND segment = %s AND position = ANY(%s::bigint[])",
                (self._journal.journal_id, self._segment, renewed),
            )
            self._cursor.execute(
                "INSERT INTO replayed_block (journal_id, segment, position) SELECT %s, %s, unnest(%s::bigint[])",
                (self._journal.journal_id, self._segment, sorted(differing.intersection(renewed))),
            )
            _copy(self._cursor, "replayed_trade", recorded_now)

    def _recorded_trades(self) -> dict[int, set[bytes]]:
        """Return the trades that earlier replays stored under keys that the blocks do not have, by block position."""
        recorded: dict[int, set[bytes]] = {}
        if self._replayed:
            query = self._cursor.mogrify(
                statements.RECORDED_TRADES, (self._journal.journal_id, self._segment, sorted(self._replayed))
            )
            for row in _select(self._cursor, query):
                cells = fields(row)
                recorded.setdefault(number(cells[1]), set()).add(b"".join(cells[2:]))
        return recorded

    def _rows(self, table: str, now: list[bytes]) -> Changed:
        """Replace all quotes or book messages of a frame where one of its rows differs."""
        ids = {number_ for block in self._blocks for number_ in block.names}
        self._cursor.execute("SELECT instrument_id FROM instrument WHERE venue = %s", (self._journal.venue,))
        ids |= {int(row[0]) for row in self._cursor.fetchall()}
        columns = ", ".join(encode.COLUMNS[table])
        query = self._cursor.mogrify(statements.STORED.format(columns=columns, table=table), (sorted(ids),))
        stored: dict[bytes, list[bytes]] = {}
        for row in _select(self._cursor, query):
            stored.setdefault(_frame(row), []).append(row)
        wanted: dict[bytes, list[bytes]] = {}
        for row in now:
            wanted.setdefault(_frame(row), []).append(row)
        wrong = [
            frame
            for frame in stored.keys() | wanted.keys()
            if Counter(stored.get(frame, ())) != Counter(wanted.get(frame, ()))
        ]
        changed = Changed()
        gone = {
            b"".join(fields(row)[place] for place in (0, 1, 3, 4)) for frame in wrong for row in stored.get(frame, ())
        }
        if gone:
            self._cursor.execute("TRUNCATE replay_gone")
            _copy(self._cursor, "replay_gone (instrument_id, ts_recv, first, second)", (_FOUR + one for one in gone))
            self._cursor.execute(statements.DELETE_ROWS.format(table=table))
            changed.removed = self._cursor.rowcount
        replaced = set(wrong)
        fresh = [row for frame, made in wanted.items() if frame in replaced for row in made]
        if fresh:
            changed.inserted = _copy(self._cursor, f"{table} ({columns})", fresh)
        return changed

    def _quarantine(self) -> None:
        """Remove frames from quarantine that can be decoded now, and add those that no longer can."""
        changed = self.applied.tables.setdefault("quarantine", Changed())
        for block in self._blocks:
            if not (block.undecodable or block.undecodable_before or block.position.offset in self._replayed):
                continue
            place = (self._journal.journal_id, self._segment, block.position.offset)
            self._cursor.execute(
                "DELETE FROM quarantine WHERE journal_id = %s AND segment = %s AND position = %s AND scope = 'frame' "
                "AND item <> ALL(%s::integer[])",
                (*place, sorted(block.undecodable)),
            )
            changed.removed += self._cursor.rowcount
            symbols = {symbol: number_ for number_, symbol in block.names.items()}
            for item, one in block.undecodable.items():
                known = symbols.get(one.symbol) if one.symbol is not None else None
                values = (known, block.undecodable_sessions[item], one.ts_recv_ns // 1000, one.reason, one.sample)
                self._cursor.execute(statements.QUARANTINE, (*place, item, *values, one.payload_sha256))
                changed.inserted += self._cursor.rowcount

    def _heal(self) -> None:
        gaps = [gap_id for block in self._blocks for gap_id in block.restorable_gaps]
        if gaps:
            self._cursor.execute(statements.HEAL, (HEALED, gaps))
            self.applied.gaps_healed = self._cursor.rowcount
        if not self._journal.contiguous:
            return
        ends: dict[int, tuple[int, int]] = {}
        for block in self._blocks:
            for row in split(block.now["trade"]):
                instrument, trade_id = number(row[2:14]), number(row[14:26])
                low, high = ends.get(instrument, (trade_id, trade_id))
                ends[instrument] = (min(low, trade_id), max(high, trade_id))
        if ends:
            lows, highs = zip(*ends.values(), strict=True)
            self._cursor.execute(statements.COMPLETE, (COMPLETE, list(ends), list(lows), list(highs)))
            self.applied.gaps_healed += self._cursor.rowcount

    def _correct_ledgers(self) -> None:
        """Correct load_ledger, and record the changes in replay_ledger."""
        for table, changed in self.applied.tables.items():
            if not changed.any:
                continue
            key = (self._journal.journal_id, self._segment, table)
            more = changed.inserted - changed.removed
            # These are two statements, because the row of an INSERT must satisfy the constraints by itself.
            self._cursor.execute(statements.ADD_LEDGER_ROW, key)
            self._cursor.execute(statements.CORRECT_LEDGER, (more, changed.accepted, more, changed.accepted, *key))
            counts = (changed.removed, changed.inserted, changed.updated)
            self._cursor.execute(statements.ADD_TO_REPLAY_LEDGER, (self._journal.replay_id, *key, __version__, *counts))


def _kept(blocks: Iterable[RedecodedBlock], table: str, refused: set[bytes]) -> list[bytes]:
    """Return the rows as decoded now, without those that Postgres refused."""
    made = [row for block in blocks for row in split(block.now[table])]
    return [row for row in made if hashlib.sha256(row).digest() not in refused] if refused else made


def _identities(data: bytes) -> dict[bytes, set[bytes]]:
    """Return trades by key: the key with each receipt time, of which a repeated trade has several."""
    found: dict[bytes, set[bytes]] = {}
    for row in split(data):
        found.setdefault(row[2:_KEY_END], set()).add(row[2:_IDENTITY_END])
    return found


def _frame(row: bytes) -> bytes:
    cells = fields(row)
    return cells[3] + cells[4]


def _copy(cursor: Cursor, target: str, tuples: Iterable[bytes]) -> int:
    reader = CopyReader(copy_stream(list(tuples)))
    cursor.copy_expert(f"COPY {target} FROM STDIN BINARY", reader)
    return cursor.rowcount


def _select(cursor: Cursor, query: bytes) -> list[bytes]:
    """Return the rows of a COPY ... TO STDOUT BINARY, encoded as in the journal."""
    target = io.BytesIO()
    cursor.copy_expert(query.decode(), target)
    return split(target.getvalue()[len(COPY_HEADER) : -2])
