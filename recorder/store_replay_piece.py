"""One transaction of a replay: what is stored of some journal blocks is made what their frames say now.

The rows that are stored decide, not those in the journal: a row is touched only where it differs, so applying
again changes nothing, and an earlier replay by another adapter is corrected too. `load_ledger` is corrected with
them and says afterwards what it would had the right adapter recorded.
"""

import hashlib
import io
import struct
from collections import Counter
from collections.abc import Iterable, Sequence

import msgspec

from recorder import __version__, rows
from recorder.database import Cursor
from recorder.replay import TABLES, Redone
from recorder.store_batch import COPY_HEADER, CopyReader, copy_stream
from recorder.tuples import fields, number, split

HEALED = "decoded again from the intact frames of the block by tapedeck replay"
COMPLETE = "all missing trades are stored since tapedeck replay"

_KEY_END = 2 + 3 * 12  # of a trade tuple: instrument_id, trade_id, ts_event, none of them ever null
_IDENTITY_END = _KEY_END + 12  # and ts_recv, which tells in which block it came
_FOUR = struct.pack("!h", 4)
_SEVEN = struct.pack("!h", 7)

# Each row is looked up by its key; a planner without statistics of a staging table would rather read all of
# a day's partition.
_PREPARE = """
SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off;
CREATE TEMP TABLE IF NOT EXISTS replay_trade (LIKE trade) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS replay_gone (
    instrument_id bigint, ts_recv timestamptz, first bigint, second bigint, ts_event timestamptz
) ON COMMIT DELETE ROWS;
CREATE TEMP TABLE IF NOT EXISTS replay_span (
    session_id bigint, first_seq bigint, last_seq bigint, low timestamptz, high timestamptz
) ON COMMIT DELETE ROWS"""

_DELETE_TRADES = """
DELETE FROM trade t USING replay_gone g
 WHERE t.instrument_id = g.instrument_id AND t.trade_id = g.first AND t.ts_event = g.ts_event
   AND t.ts_recv = g.ts_recv"""
# A trade that came several times keeps the first time of receipt.
_UPDATE_TRADES = """
UPDATE trade t
   SET ts_recv = least(t.ts_recv, s.ts_recv), price = s.price, size = s.size, aggressor = s.aggressor,
       venue_trade_id = s.venue_trade_id
  FROM (SELECT DISTINCT ON (instrument_id, trade_id, ts_event) *
          FROM replay_trade ORDER BY instrument_id, trade_id, ts_event, ts_recv) s
 WHERE t.instrument_id = s.instrument_id AND t.trade_id = s.trade_id AND t.ts_event = s.ts_event
   AND ((t.price, t.size, t.aggressor, t.venue_trade_id) IS DISTINCT FROM
        (s.price, s.size, s.aggressor, s.venue_trade_id) OR s.ts_recv < t.ts_recv)"""
_INSERT_TRADES = """
INSERT INTO trade SELECT DISTINCT ON (instrument_id, trade_id, ts_event) *
  FROM replay_trade ORDER BY instrument_id, trade_id, ts_event, ts_recv
    ON CONFLICT (instrument_id, trade_id, ts_event) DO NOTHING"""
_STORED = """
COPY (SELECT q.* FROM replay_span p CROSS JOIN LATERAL (
          SELECT {columns} FROM {table} r
           WHERE r.instrument_id = ANY(%s) AND r.ts_recv BETWEEN p.low AND p.high
             AND r.session_id = p.session_id AND r.frame_seq BETWEEN p.first_seq AND p.last_seq) q)
  TO STDOUT BINARY"""
_DELETE_ROWS = """
DELETE FROM {table} r USING replay_gone g
 WHERE r.instrument_id = g.instrument_id AND r.ts_recv = g.ts_recv AND r.session_id = g.first
   AND r.frame_seq = g.second"""
_RECORDED_TRADES = """
COPY (SELECT segment, position, instrument_id, trade_id, ts_event, ts_recv FROM replayed_trade
       WHERE journal_id = %s AND segment = %s AND position = ANY(%s::bigint[])) TO STDOUT BINARY"""
_CORRECT_LEDGER = """
UPDATE load_ledger
   SET offered = offered + %s - %s, inserted = inserted + %s, quarantined = quarantined - %s, updated_at = now()
 WHERE journal_id = %s AND segment = %s AND table_name = %s"""
_BEGIN_LEDGER = """
INSERT INTO load_ledger (journal_id, segment, table_name, blocks, offered, inserted, duplicate, quarantined)
VALUES (%s, %s, %s, 0, 0, 0, 0, 0) ON CONFLICT DO NOTHING"""
_NOTE = """
INSERT INTO replay_ledger AS l (replay_id, journal_id, segment, table_name, program, removed, inserted, updated)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s)
    ON CONFLICT (replay_id, journal_id, segment, table_name) DO UPDATE
   SET removed = l.removed + excluded.removed, inserted = l.inserted + excluded.inserted,
       updated = l.updated + excluded.updated, applied_at = now()"""
_HEAL = """
UPDATE gap SET state = 'healed', reason = %s, revision = revision + 1
 WHERE gap_id = ANY(%s::bigint[]) AND cause = 'journal_damage' AND state <> 'healed'"""
# Ids that rise by one prove it: as many trades between the two ends as there are ids.
_COMPLETE = """
UPDATE gap g SET state = 'healed', reason = %s, revision = revision + 1
  FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[]) AS p (instrument_id, low, high)
 WHERE g.instrument_id = p.instrument_id AND g.channel = 'trade' AND g.cause IN ('unreadable', 'journal_damage')
   AND g.state = 'open' AND g.ended_at IS NOT NULL AND g.last_id < p.high AND g.first_id > p.low
   AND g.first_id - g.last_id - 1 = (
       SELECT count(DISTINCT t.trade_id) FROM trade t
        WHERE t.instrument_id = g.instrument_id AND t.trade_id > g.last_id AND t.trade_id < g.first_id
          AND t.ts_event BETWEEN coalesce(g.last_ts_event, '-infinity') AND coalesce(g.first_ts_event, 'infinity'))"""
_QUARANTINE = """
INSERT INTO quarantine (journal_id, segment, position, item, scope, table_name, instrument_id, session_id, ts_recv,
                        reason, sample, sha256)
VALUES (%s, %s, %s, %s, 'frame', NULL, %s, %s, timestamptz 'epoch' + %s * interval '1 microsecond', %s, %s, %s)
ON CONFLICT (journal_id, segment, position, scope, item) DO NOTHING"""


class Changed(msgspec.Struct):
    """What was done to one table."""

    removed: int = 0
    inserted: int = 0
    updated: int = 0
    accepted: int = 0  # rows Postgres once refused, and that are made no more

    def add(self, other: "Changed") -> None:
        """Count `other` in."""
        self.removed += other.removed
        self.inserted += other.inserted
        self.updated += other.updated
        self.accepted += other.accepted

    @property
    def any(self) -> bool:
        """Whether something was done."""
        return bool(self.removed or self.inserted or self.updated or self.accepted)


class Applied(msgspec.Struct):
    """What was done."""

    tables: dict[str, Changed] = {}
    gaps_healed: int = 0

    def add(self, other: "Applied") -> None:
        """Count `other` in."""
        for table, changed in other.tables.items():
            self.tables.setdefault(table, Changed()).add(changed)
        self.gaps_healed += other.gaps_healed

    @property
    def any(self) -> bool:
        """Whether something was done."""
        return self.gaps_healed > 0 or any(changed.any for changed in self.tables.values())


class Journal(msgspec.Struct, frozen=True):
    """Whose blocks they are."""

    journal_id: str
    venue: str
    contiguous: bool  # ids of its trades rise by exactly one
    replay_id: int


class Piece:
    """Some blocks of one segment, and the open transaction in which they are corrected."""

    def __init__(self, cursor: Cursor, journal: Journal, blocks: Sequence[Redone], replayed: set[int]) -> None:
        """
        Args:
            cursor: Of a connection in autocommit.
            journal: Whose blocks they are.
            blocks: All of one segment.
            replayed: Positions of those that an earlier replay corrected.
        """
        self.applied = Applied()
        self._cursor = cursor
        self._journal = journal
        self._blocks = blocks
        self._replayed = replayed
        self._segment = blocks[0].position.segment

    def correct(self) -> Applied:
        """Do it, all or nothing."""
        self._cursor.execute("BEGIN")
        self._cursor.execute(_PREPARE)
        self._names()
        refused = self._refused_rows()
        self._trades(refused.get("trade", set()))
        spans = [span for block in self._blocks for span in block.spans]
        _copy(
            self._cursor,
            "replay_span",
            (
                rows.tuple_of(
                    rows.int8(span.session_id), rows.int8(span.first_seq), rows.int8(span.last_seq),
                    rows.instant(span.low_ns), rows.instant(span.high_ns),
                )
                for span in spans
            ),
        )  # fmt: skip
        for table in ("quote", "book"):
            now = _kept(self._blocks, table, refused.get(table, set()))
            self.applied.tables.setdefault(table, Changed()).add(self._rows(table, now))
        self._quarantine()
        self._heal()
        self._book()
        self._cursor.execute("COMMIT")
        return self.applied

    def _names(self) -> None:
        """Instruments of which no frame could be decoded before have no row yet."""
        names = {number_: symbol for block in self._blocks for number_, symbol in block.names.items()}
        seen_ns = min(block.seen_ns for block in self._blocks)
        used = {number(row[2:14]) for block in self._blocks for table in TABLES for row in split(block.now[table])}
        inserted = 0
        for number_ in used & names.keys():
            self._cursor.execute(
                "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) "
                "VALUES (%s, %s, %s, timestamptz 'epoch' + %s * interval '1 microsecond') ON CONFLICT DO NOTHING",
                (number_, self._journal.venue, names[number_], seen_ns // 1000),
            )
            inserted += self._cursor.rowcount
        self.applied.tables["instrument"] = Changed(inserted=inserted)

    def _refused_rows(self) -> dict[str, set[bytes]]:
        """Rows of these blocks that Postgres refused when they were loaded, by digest; those no longer made go."""
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
        """Those whose key is no longer made go; the others are updated or inserted by key."""
        recorded = self._recorded_trades()
        gone: list[bytes] = []
        noted: list[bytes] = []
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
                head = rows.text(self._journal.journal_id) + rows.int4(self._segment) + rows.int8(place)
                noted += [_SEVEN + head + identity for identity in extra]
        changed = self.applied.tables.setdefault("trade", Changed())
        if gone:
            _copy(self._cursor, "replay_gone (instrument_id, first, ts_event, ts_recv)", (_FOUR + one for one in gone))
            self._cursor.execute(_DELETE_TRADES)
            changed.removed = self._cursor.rowcount
        kept = _kept(self._blocks, "trade", refused)
        if kept:
            _copy(self._cursor, "replay_trade", sorted(kept))  # by key: the order in which rows are locked
            self._cursor.execute(_UPDATE_TRADES)
            changed.updated = self._cursor.rowcount
            self._cursor.execute(_INSERT_TRADES)
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
            _copy(self._cursor, "replayed_trade", noted)

    def _recorded_trades(self) -> dict[int, set[bytes]]:
        """Trades earlier replays stored under keys the blocks do not have: identities by position of the block."""
        recorded: dict[int, set[bytes]] = {}
        if self._replayed:
            query = self._cursor.mogrify(
                _RECORDED_TRADES, (self._journal.journal_id, self._segment, sorted(self._replayed))
            )
            for row in _select(self._cursor, query):
                cells = fields(row)
                recorded.setdefault(number(cells[1]), set()).add(b"".join(cells[2:]))
        return recorded

    def _rows(self, table: str, now: list[bytes]) -> Changed:
        """Quotes or book messages: all rows of a frame are replaced where one differs."""
        ids = {number_ for block in self._blocks for number_ in block.names}
        self._cursor.execute("SELECT instrument_id FROM instrument WHERE venue = %s", (self._journal.venue,))
        ids |= {int(row[0]) for row in self._cursor.fetchall()}
        columns = ", ".join(rows.COLUMNS[table])
        query = self._cursor.mogrify(_STORED.format(columns=columns, table=table), (sorted(ids),))
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
            self._cursor.execute(_DELETE_ROWS.format(table=table))
            changed.removed = self._cursor.rowcount
        replaced = set(wrong)
        fresh = [row for frame, made in wanted.items() if frame in replaced for row in made]
        if fresh:
            changed.inserted = _copy(self._cursor, f"{table} ({columns})", fresh)
        return changed

    def _quarantine(self) -> None:
        """Frames that are understood now leave quarantine; those that no longer are enter it."""
        changed = self.applied.tables.setdefault("quarantine", Changed())
        for block in self._blocks:
            if not (block.unread or block.unread_before or block.position.offset in self._replayed):
                continue
            place = (self._journal.journal_id, self._segment, block.position.offset)
            self._cursor.execute(
                "DELETE FROM quarantine WHERE journal_id = %s AND segment = %s AND position = %s AND scope = 'frame' "
                "AND item <> ALL(%s::integer[])",
                (*place, sorted(block.unread)),
            )
            changed.removed += self._cursor.rowcount
            symbols = {symbol: number_ for number_, symbol in block.names.items()}
            for item, one in block.unread.items():
                known = symbols.get(one.symbol) if one.symbol is not None else None
                values = (known, block.unread_sessions[item], one.ts_recv_ns // 1000, one.reason, one.sample)
                self._cursor.execute(_QUARANTINE, (*place, item, *values, one.payload_sha256))
                changed.inserted += self._cursor.rowcount

    def _heal(self) -> None:
        gaps = [gap_id for block in self._blocks for gap_id in block.restores]
        if gaps:
            self._cursor.execute(_HEAL, (HEALED, gaps))
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
            self._cursor.execute(_COMPLETE, (COMPLETE, list(ends), list(lows), list(highs)))
            self.applied.gaps_healed += self._cursor.rowcount

    def _book(self) -> None:
        """Correct the account, and leave a note of what was done."""
        for table, changed in self.applied.tables.items():
            if not changed.any:
                continue
            key = (self._journal.journal_id, self._segment, table)
            more = changed.inserted - changed.removed
            # Not one statement: the row an INSERT proposes must satisfy the constraints by itself.
            self._cursor.execute(_BEGIN_LEDGER, key)
            self._cursor.execute(_CORRECT_LEDGER, (more, changed.accepted, more, changed.accepted, *key))
            counts = (changed.removed, changed.inserted, changed.updated)
            self._cursor.execute(_NOTE, (self._journal.replay_id, *key, __version__, *counts))


def _kept(blocks: Iterable[Redone], table: str, refused: set[bytes]) -> list[bytes]:
    """Rows as they are decoded now, without those Postgres is known to refuse."""
    made = [row for block in blocks for row in split(block.now[table])]
    return [row for row in made if hashlib.sha256(row).digest() not in refused] if refused else made


def _identities(data: bytes) -> dict[bytes, set[bytes]]:
    """Trades by key: the key with each time of receipt, of which there are several where a trade was repeated."""
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
    """Rows of a COPY ... TO STDOUT BINARY, encoded as the journal encodes them."""
    target = io.BytesIO()
    cursor.copy_expert(query.decode(), target)
    return split(target.getvalue()[len(COPY_HEADER) : -2])
