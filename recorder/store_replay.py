"""SQL of a replay: what is stored of some journal blocks is made what their frames say now, all or nothing.

The rows that are stored decide, not those in the journal: a row is touched only where it differs, so applying
again changes nothing, and an earlier replay by another adapter is corrected too. `load_ledger` is corrected in
the same transaction and says afterwards what it would had the right adapter recorded.
"""

import hashlib
import io
import struct
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NoReturn

import msgspec
import psycopg2
import psycopg2.errors

from recorder import __version__, rows
from recorder.database import Connection, Cursor, classify, connect
from recorder.errors import ConfigError, RecorderError, StoreError
from recorder.position import Position
from recorder.replay import TABLES, Redone
from recorder.store_batch import COPY_HEADER, CopyReader, copy_stream
from recorder.timestamps import NS_PER_DAY
from recorder.tuples import fields, number, split

REPLAY = "tapedeck_replay"
HEALED = "decoded again from the intact frames of the block by tapedeck replay"

_KEY_END = 2 + 3 * 12  # of a trade tuple: instrument_id, trade_id, ts_event, none of them ever null
_IDENTITY_END = _KEY_END + 12  # and ts_recv, which tells in which block it came
_FOUR = struct.pack("!h", 4)
_SEVEN = struct.pack("!h", 7)
_FIRST_DAY = 14_245  # 2009-01-01
_LAST_DAY_AHEAD = 60
_PG_EPOCH_DAY = 10_957
_US_PER_DAY = NS_PER_DAY // 1000
_DEADLOCK_TRIES = 5

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


class ReplayStore:
    """The connection by which one journal's stored rows are corrected. Not for several threads."""

    def __init__(self, url: str, journal_id: str, venue: str, replay_id: int) -> None:
        """
        Args:
            url: DATABASE_URL.
            journal_id: Identity of the journal.
            venue: Whose frames it holds.
            replay_id: Number of this run in `replay_ledger`.

        Raises:
            ConfigError: the login may not do this, or the database has nothing of this journal.
            StoreUnavailable: the database cannot be reached.
            StoreError: another replay of the journal is at work.
        """
        self._journal_id = journal_id
        self._venue = venue
        self._replay_id = replay_id
        self._days: set[tuple[str, int]] = set()
        self._segment = 0
        self._replayed: set[int] = set()  # positions in that segment
        self._connection: Connection = connect(url, application_name="replay", role=REPLAY)
        try:
            self.loaded_until = self._claim()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Let go of the connection."""
        self._connection.close()

    def replayed(self, position: Position) -> bool:
        """Whether what is stored of a block is no more what the journal holds."""
        if position.segment != self._segment:
            try:
                with self._connection.cursor() as cursor:
                    cursor.execute(
                        "SELECT position FROM replayed_block WHERE journal_id = %s AND segment = %s",
                        (self._journal_id, position.segment),
                    )
                    self._replayed = {int(row[0]) for row in cursor.fetchall()}
            except psycopg2.Error as error:
                self._fail(error)
            self._segment = position.segment
        return position.offset in self._replayed

    def apply(self, blocks: Sequence[Redone]) -> Applied:
        """Make what is stored of some blocks of one segment what their frames say now.

        Raises:
            RowRejected: Postgres refuses a row of it; nothing was changed.
            StoreUnavailable: the connection is lost; all of it was done or nothing.
        """
        for table in TABLES:
            self._ensure_partitions(table, blocks)
        for attempt in range(_DEADLOCK_TRIES):
            try:
                return self._transaction(blocks)
            except psycopg2.errors.DeadlockDetected as error:  # the writer met us on a trade that came twice
                if attempt == _DEADLOCK_TRIES - 1:
                    self._fail(error)
                self._roll_back()
            except psycopg2.Error as error:
                self._fail(error)
        raise AssertionError("unreachable")

    # ---- one transaction -----------------------------------------------------------------------------------

    def _transaction(self, blocks: Sequence[Redone]) -> Applied:
        segment = blocks[0].position.segment
        applied = Applied()
        replayed = {block.position.offset for block in blocks if self.replayed(block.position)}
        with self._connection.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(_PREPARE)
            self._names(cursor, blocks, applied)
            refused = self._refused_rows(cursor, segment, blocks, applied)
            self._trades(cursor, blocks, refused.get("trade", set()), replayed, applied)
            spans = [span for block in blocks for span in block.spans]
            _copy(
                cursor,
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
                now = _kept(blocks, table, refused.get(table, set()))
                applied.tables.setdefault(table, Changed()).add(self._rows(cursor, table, now, blocks))
            self._quarantine(cursor, segment, blocks, applied)
            self._heal(cursor, blocks, applied)
            self._book(cursor, segment, applied)
            cursor.execute("COMMIT")
        if segment == self._segment:
            self._replayed |= {block.position.offset for block in blocks if block.differs}
            self._replayed -= {block.position.offset for block in blocks if not block.differs}
        return applied

    def _names(self, cursor: Cursor, blocks: Sequence[Redone], applied: Applied) -> None:
        """Instruments of which no frame could be decoded before have no row yet."""
        names = {number_: symbol for block in blocks for number_, symbol in block.names.items()}
        seen_ns = min(block.seen_ns for block in blocks)
        used = {number(row[2:14]) for block in blocks for table in TABLES for row in split(block.now[table])}
        inserted = 0
        for number_ in used & names.keys():
            cursor.execute(
                "INSERT INTO instrument (instrument_id, venue, symbol, first_seen) "
                "VALUES (%s, %s, %s, timestamptz 'epoch' + %s * interval '1 microsecond') ON CONFLICT DO NOTHING",
                (number_, self._venue, names[number_], seen_ns // 1000),
            )
            inserted += cursor.rowcount
        applied.tables["instrument"] = Changed(inserted=inserted)

    def _refused_rows(
        self, cursor: Cursor, segment: int, blocks: Sequence[Redone], applied: Applied
    ) -> dict[str, set[bytes]]:
        """Rows of these blocks that Postgres refused when they were loaded, by digest; those no longer made go."""
        cursor.execute(
            "SELECT position, item, table_name, sha256 FROM quarantine "
            "WHERE journal_id = %s AND segment = %s AND scope = 'row' AND position = ANY(%s::bigint[])",
            (self._journal_id, segment, [block.position.offset for block in blocks]),
        )
        found = [(place, item, str(table), bytes(digest)) for place, item, table, digest in cursor.fetchall()]
        refused: dict[str, set[bytes]] = {}
        for table in {table for _, _, table, _ in found} & set(TABLES):
            made = {hashlib.sha256(row).digest() for block in blocks for row in split(block.now[table])}
            for place, item, other, digest in found:
                if other != table:
                    continue
                if digest in made:
                    refused.setdefault(table, set()).add(digest)
                    continue
                cursor.execute(
                    "DELETE FROM quarantine WHERE journal_id = %s AND segment = %s AND position = %s AND scope = 'row' "
                    "AND item = %s",
                    (self._journal_id, segment, place, item),
                )
                applied.tables.setdefault(table, Changed()).accepted += cursor.rowcount
        return refused

    def _trades(
        self, cursor: Cursor, blocks: Sequence[Redone], refused: set[bytes], replayed: set[int], applied: Applied
    ) -> None:
        segment = blocks[0].position.segment
        recorded = self._recorded_trades(cursor, segment, replayed)
        gone: list[bytes] = []
        noted: list[bytes] = []
        renewed: list[int] = []
        for block in blocks:
            place = block.position.offset
            now, was = _identities(block.now["trade"]), _identities(block.before.get("trade", b""))
            extra = {min(found) for key, found in now.items() if key not in was}
            old = recorded.get(place, set())
            gone += [identity for key, found in was.items() if key not in now for identity in found]
            gone += [identity for identity in old if identity[: _KEY_END - 2] not in now]
            if old != extra or (place in replayed) != block.differs:
                renewed.append(place)
                head = rows.text(self._journal_id) + rows.int4(segment) + rows.int8(place)
                noted += [_SEVEN + head + identity for identity in extra]
        changed = applied.tables.setdefault("trade", Changed())
        if gone:
            _copy(cursor, "replay_gone (instrument_id, first, ts_event, ts_recv)", (_FOUR + one for one in gone))
            cursor.execute(_DELETE_TRADES)
            changed.removed = cursor.rowcount
        kept = _kept(blocks, "trade", refused)
        if kept:
            _copy(cursor, "replay_trade", sorted(kept))  # by key: the order in which rows are locked
            cursor.execute(_UPDATE_TRADES)
            changed.updated = cursor.rowcount
            cursor.execute(_INSERT_TRADES)
            changed.inserted = cursor.rowcount
        if renewed:
            differing = [block.position.offset for block in blocks if block.differs]
            cursor.execute(
                "DELETE FROM replayed_block WHERE journal_id = %s AND segment = %s AND position = ANY(%s::bigint[])",
                (self._journal_id, segment, renewed),
            )
            cursor.execute(
                "INSERT INTO replayed_block (journal_id, segment, position) SELECT %s, %s, unnest(%s::bigint[])",
                (self._journal_id, segment, [place for place in renewed if place in set(differing)]),
            )
            _copy(cursor, "replayed_trade", noted)

    def _recorded_trades(self, cursor: Cursor, segment: int, places: set[int]) -> dict[int, set[bytes]]:
        """Trades earlier replays stored under keys the blocks do not have: identities by position of the block."""
        recorded: dict[int, set[bytes]] = {}
        if places:
            query = cursor.mogrify(_RECORDED_TRADES, (self._journal_id, segment, sorted(places)))
            for row in _select(cursor, query):
                cells = fields(row)
                recorded.setdefault(number(cells[1]), set()).add(b"".join(cells[2:]))
        return recorded

    def _rows(self, cursor: Cursor, table: str, now: list[bytes], blocks: Sequence[Redone]) -> Changed:
        """Quotes or book messages: all rows of a frame are replaced where one differs."""
        ids = {number_ for block in blocks for number_ in block.names}
        cursor.execute("SELECT instrument_id FROM instrument WHERE venue = %s", (self._venue,))
        ids |= {int(row[0]) for row in cursor.fetchall()}
        columns = ", ".join(rows.COLUMNS[table])
        query = cursor.mogrify(_STORED.format(columns=columns, table=table), (sorted(ids),))
        stored: dict[bytes, list[bytes]] = {}
        for row in _select(cursor, query):
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
            cursor.execute("TRUNCATE replay_gone")
            _copy(cursor, "replay_gone (instrument_id, ts_recv, first, second)", (_FOUR + one for one in gone))
            cursor.execute(_DELETE_ROWS.format(table=table))
            changed.removed = cursor.rowcount
        replaced = set(wrong)
        fresh = [row for frame, made in wanted.items() if frame in replaced for row in made]
        if fresh:
            changed.inserted = _copy(cursor, f"{table} ({columns})", fresh)
        return changed

    def _quarantine(self, cursor: Cursor, segment: int, blocks: Sequence[Redone], applied: Applied) -> None:
        """Frames that are understood now leave quarantine; those that no longer are enter it."""
        changed = applied.tables.setdefault("quarantine", Changed())
        for block in blocks:
            place = (self._journal_id, segment, block.position.offset)
            cursor.execute(
                "DELETE FROM quarantine WHERE journal_id = %s AND segment = %s AND position = %s AND scope = 'frame' "
                "AND item <> ALL(%s::integer[])",
                (*place, sorted(block.unread)),
            )
            changed.removed += cursor.rowcount
            symbols = {symbol: number_ for number_, symbol in block.names.items()}
            for item, one in block.unread.items():
                known = symbols.get(one.symbol) if one.symbol is not None else None
                values = (known, block.unread_sessions[item], one.ts_recv_ns // 1000, one.reason, one.sample)
                cursor.execute(_QUARANTINE, (*place, item, *values, one.payload_sha256))
                changed.inserted += cursor.rowcount

    def _heal(self, cursor: Cursor, blocks: Sequence[Redone], applied: Applied) -> None:
        gaps = [gap_id for block in blocks for gap_id in block.restores]
        if gaps:
            cursor.execute(_HEAL, (HEALED, gaps))
            applied.gaps_healed = cursor.rowcount

    def _book(self, cursor: Cursor, segment: int, applied: Applied) -> None:
        for table, changed in applied.tables.items():
            if not changed.any:
                continue
            key = (self._journal_id, segment, table)
            more = changed.inserted - changed.removed
            # Not one statement: the row an INSERT proposes must satisfy the constraints by itself.
            cursor.execute(_BEGIN_LEDGER, key)
            cursor.execute(_CORRECT_LEDGER, (more, changed.accepted, more, changed.accepted, *key))
            counts = (changed.removed, changed.inserted, changed.updated)
            cursor.execute(_NOTE, (self._replay_id, *key, __version__, *counts))

    # ---- around it -----------------------------------------------------------------------------------------

    def _claim(self) -> Position | None:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT to_regclass('replayed_block') IS NOT NULL")
                if cursor.fetchone() != (True,):
                    raise ConfigError("the database schema is older than this program; run: tapedeck migrate")
                cursor.execute("SELECT has_table_privilege('trade', 'DELETE')")
                if cursor.fetchone() != (True,):
                    raise ConfigError(f"the login may not correct stored rows; grant it the role {REPLAY}")
                key = f"tapedeck.replay.{self._journal_id}"
                cursor.execute("SELECT pg_try_advisory_lock(hashtextextended(%s, 0))", (key,))
                if cursor.fetchone() != (True,):
                    raise StoreError("another replay of this journal is at work; wait until it has ended")
                cursor.execute("SELECT segment, position FROM journal WHERE journal_id = %s", (self._journal_id,))
                row = cursor.fetchone()
        except psycopg2.Error as error:
            self._fail(error)
        return None if row is None else Position(*row)

    def _ensure_partitions(self, table: str, blocks: Sequence[Redone]) -> None:
        place = 2 if table == "trade" else 1
        for block in blocks:
            for row in split(block.now[table]):
                day = number(row[2 + 12 * place : 14 + 12 * place]) // _US_PER_DAY + _PG_EPOCH_DAY
                key = (table, day)
                if key in self._days or not _FIRST_DAY <= day <= int(time.time()) // 86_400 + _LAST_DAY_AHEAD:
                    continue
                try:
                    with self._connection.cursor() as cursor:
                        cursor.execute("SELECT ensure_partition(%s, DATE '1970-01-01' + %s)", key)
                except psycopg2.errors.LockNotAvailable:
                    pass  # a long query holds the default partition, which takes the rows for now
                except psycopg2.Error as error:
                    self._fail(error)
                self._days.add(key)

    def _fail(self, error: psycopg2.Error) -> NoReturn:
        trouble: RecorderError = classify(error)
        self._roll_back()
        raise trouble from error

    def _roll_back(self) -> None:
        try:
            if not self._connection.closed:
                self._connection.cursor().execute("ROLLBACK")
        except psycopg2.Error:
            self._connection.close()  # lost together with its transaction


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
