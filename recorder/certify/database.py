"""What the database says of the hours of streams, and the certificates in it."""

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

import psycopg2

from recorder.certify.document import HOUR_US, Certificate, GapFact, decode, encode, same_facts, sealed
from recorder.certify.tape import CLOCK_MARGIN_US, StreamHour
from recorder.errors import StoreError, StoreUnavailable
from recorder.events import Channel
from recorder.pgcopy.decode import split
from recorder.pgcopy.encode import COLUMNS
from recorder.pgcopy.stream import COPY_HEADER
from recorder.position import Position
from recorder.store.database import WRITER, Cursor, classify, connect

_STATEMENT_S = 600.0
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_US = "(extract(epoch FROM {0}) * 1000000)::bigint"
_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('tapedeck.certify', 0))"

_STREAMS = """
SELECT i.instrument_id, i.symbol FROM instrument i
 WHERE i.venue = %s AND (%s = '' OR i.symbol = %s) AND i.recorded ORDER BY i.symbol"""
_JOURNALS = f"""
SELECT journal_id, recorder, segment, position, {_US.format("written_at")} FROM journal"""
_SESSIONS = f"""
SELECT recorder, min({_US.format("started_at")}) FROM (
    SELECT recorder, started_at,
           least(ended_at, lead(started_at) OVER (PARTITION BY recorder, link ORDER BY started_at)) AS over_at
      FROM session WHERE venue = %s) s
 WHERE started_at < %s AND (over_at IS NULL OR over_at >= %s) GROUP BY recorder"""
_RECEIVED = f"""
SELECT max({_US.format("t.ts_recv")}) FROM trade t
 WHERE t.instrument_id = %(id)s AND t.ts_event >= %(begin)s AND t.ts_event < %(end)s
   AND NOT EXISTS (SELECT FROM past_trade p WHERE p.instrument_id = t.instrument_id AND p.trade_id = t.trade_id
                      AND p.ts_event = t.ts_event)"""
_PAST = """
SELECT EXISTS (SELECT FROM past_trade
                WHERE instrument_id = %(id)s AND ts_event >= %(begin)s AND ts_event < %(end)s)"""
_CANDLES = """
SELECT EXISTS (SELECT FROM venue_bar
                WHERE instrument_id = %(id)s AND interval_s = 60 AND start >= %(begin)s AND start < %(end)s)"""
_GAPS = f"""
SELECT gap_id, revision, cause, state, reason, last_id, first_id, {_US.format("started_at")}, {_US.format("ended_at")}
  FROM gap
 WHERE instrument_id = %(id)s AND channel = %(channel)s AND started_at < %(end)s + %(margin)s
   AND (ended_at IS NULL OR ended_at >= %(begin)s - %(margin)s)
 ORDER BY started_at, gap_id"""
# Trades beside the hour whose ids are beside its ids: the order by time need not be that by id.
_NEIGHBOURS = """
SELECT (SELECT max(trade_id) FROM (SELECT trade_id FROM trade
                WHERE instrument_id = %(id)s AND ts_event < %(begin)s AND ts_event >= %(begin)s - interval '1 day'
                ORDER BY ts_event DESC, trade_id DESC LIMIT 1000) b WHERE trade_id < coalesce(%(first)s, trade_id + 1)),
       (SELECT min(trade_id) FROM (SELECT trade_id FROM trade
                WHERE instrument_id = %(id)s AND ts_event >= %(end)s AND ts_event < %(end)s + interval '1 day'
                ORDER BY ts_event, trade_id LIMIT 1000) a WHERE trade_id > coalesce(%(last)s, trade_id - 1)),
       (SELECT count(DISTINCT trade_id) FROM trade
         WHERE instrument_id = %(id)s AND trade_id BETWEEN %(first)s AND %(last)s
           AND (ts_event >= %(begin)s - interval '5 min' AND ts_event < %(begin)s
                OR ts_event >= %(end)s AND ts_event < %(end)s + interval '5 min'))"""
_ROWS = """
COPY (SELECT {columns} FROM {table}
       WHERE instrument_id = {id} AND {time} >= '{begin}' AND {time} < '{end}') TO STDOUT BINARY"""
_LAST = """
SELECT DISTINCT ON (hour) document FROM certificate
 WHERE instrument_id = %s AND channel = %s AND hour >= %s AND hour < %s ORDER BY hour, revision DESC"""
_NEWEST = """
SELECT number, sha256 FROM certificate WHERE instrument_id = %s AND channel = %s ORDER BY number DESC LIMIT 1"""
_INSERT = """
INSERT INTO certificate (instrument_id, channel, hour, revision, number, grade, replay, row_count, open_gaps, made_at,
                         previous, sha256, document)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)"""
_DUE = f"""
SELECT i.instrument_id, i.symbol, c.channel, h.hour
  FROM instrument i
 CROSS JOIN unnest(ARRAY['trade', 'quote', 'book']) AS c (channel)
 CROSS JOIN generate_series(greatest(%(begin)s, date_trunc('hour', i.first_seen, 'UTC')), %(end)s - interval '1 hour',
                            interval '1 hour') AS h (hour)
  LEFT JOIN LATERAL (SELECT e.document, e.row_count, e.made_at FROM certificate e
                      WHERE e.instrument_id = i.instrument_id AND e.channel = c.channel AND e.hour = h.hour
                      ORDER BY e.revision DESC LIMIT 1) e ON true
 WHERE i.venue = %(venue)s AND i.recorded
   AND NOT EXISTS (SELECT FROM archive a WHERE a.table_name = c.channel AND a.venue = i.venue
                      AND a.day = (h.hour AT TIME ZONE 'UTC')::date)
   AND (e.document IS NULL OR e.row_count <> (
        SELECT count(*) FROM trade r WHERE c.channel = 'trade' AND r.instrument_id = i.instrument_id
           AND r.ts_event >= h.hour AND r.ts_event < h.hour + interval '1 hour') + (
        SELECT count(*) FROM quote r WHERE c.channel = 'quote' AND r.instrument_id = i.instrument_id
           AND r.ts_recv >= h.hour AND r.ts_recv < h.hour + interval '1 hour') + (
        SELECT count(*) FROM book r WHERE c.channel = 'book' AND r.instrument_id = i.instrument_id
           AND r.ts_recv >= h.hour AND r.ts_recv < h.hour + interval '1 hour') OR ARRAY(
        SELECT concat_ws(' ', f ->> 'gap_id', f ->> 'revision', f ->> 'state', f ->> 'from_us', f ->> 'until_us')
          FROM json_array_elements(e.document::json -> 'gaps') f ORDER BY 1) <> ARRAY(
        SELECT concat_ws(' ', g.gap_id, g.revision, g.state, {_US.format("g.started_at")}, {_US.format("g.ended_at")})
          FROM gap g
         WHERE g.instrument_id = i.instrument_id AND g.channel = c.channel
           AND g.started_at < h.hour + interval '1 hour' + %(margin)s
           AND (g.ended_at IS NULL OR g.ended_at >= h.hour - %(margin)s) ORDER BY 1)
        OR %(candles)s AND c.channel = 'trade'
           AND coalesce(e.document::json -> 'candles' ->> 'equal', '0') <> '60' AND EXISTS (
               SELECT FROM venue_bar v WHERE v.instrument_id = i.instrument_id AND v.interval_s = 60
                  AND v.start >= h.hour AND v.start < h.hour + interval '1 hour' AND v.ts_recv > e.made_at))
 ORDER BY 2, 3, 4"""


class LoadedJournal(NamedTuple):
    """How far a journal is loaded."""

    recorder: str
    end: Position
    written_us: int


class DueHour(NamedTuple):
    """An hour of a stream that has no certificate, or an outdated one."""

    instrument_id: int
    symbol: str
    channel: Channel
    begin_us: int

    @property
    def key(self) -> StreamHour:
        """The stream and the hour."""
        return StreamHour(self.instrument_id, self.channel, self.begin_us)


class Database:
    """One connection."""

    def __init__(self, cursor: Cursor) -> None:
        self._cursor = cursor

    def snapshot(self) -> None:
        """Read from one snapshot, until certificates are stored or this is called again."""
        self._cursor.execute("COMMIT")
        self._cursor.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")

    def streams(self, venue: str, symbol: str = "") -> dict[int, str]:
        """Return the symbols of the recorded instruments of a venue, or of one of them, by instrument."""
        self._cursor.execute(_STREAMS, (venue, symbol, symbol))
        return {int(row[0]): str(row[1]) for row in self._cursor.fetchall()}

    def journals(self) -> dict[str, LoadedJournal]:
        """Return how far each journal is loaded, by its identity."""
        self._cursor.execute(_JOURNALS)
        return {
            row[0]: LoadedJournal(row[1], Position(int(row[2]), int(row[3])), int(row[4] or 0))
            for row in self._cursor.fetchall()
        }

    def archived(self, venue: str) -> set[tuple[str, date]]:
        """Return the tables and days of a venue whose rows were moved to the archive."""
        self._cursor.execute("SELECT table_name, day FROM archive WHERE venue = %s", (venue,))
        return {(str(row[0]), row[1]) for row in self._cursor.fetchall()}

    def has_replayed(self) -> bool:
        """Return whether stored rows come from a replay and not from the rows as they were recorded."""
        self._cursor.execute("SELECT EXISTS (SELECT FROM replayed_block)")
        return self._cursor.fetchone() == (True,)

    def sessions_since(self, venue: str, begin_us: int, end_us: int) -> dict[str, int]:
        """Return when the oldest session began that may have received in a time, by recorder."""
        self._cursor.execute(_SESSIONS, (venue, instant(end_us), instant(begin_us)))
        return {row[0]: int(row[1]) for row in self._cursor.fetchall()}

    def received_until(self, key: StreamHour) -> int | None:
        """Return when the last stored trade of an hour was received by the feed, microseconds since 1970."""
        return None if (found := self._one(_RECEIVED, key)) is None else int(str(found))

    def has_past(self, key: StreamHour) -> bool:
        """Return whether trades of an hour came from the history of the venue."""
        return bool(self._one(_PAST, key))

    def has_candles(self, key: StreamHour) -> bool:
        """Return whether candles of the venue of an hour are stored."""
        return bool(self._one(_CANDLES, key))

    def gaps(self, key: StreamHour) -> list[GapFact]:
        """Return the gaps that touch an hour."""
        self._cursor.execute(_GAPS, _values(key))
        names = ("gap_id", "revision", "cause", "state", "reason", "last_id", "first_id", "from_us", "until_us")
        return [GapFact(**dict(zip(names, row, strict=True))) for row in self._cursor.fetchall()]

    def neighbours(
        self, key: StreamHour, first_id: int | None, last_id: int | None
    ) -> tuple[int | None, int | None, int]:
        """Return the highest trade id before the ids of an hour, the lowest after them, and the strays between them."""
        self._cursor.execute(_NEIGHBOURS, {**_values(key), "first": first_id, "last": last_id})
        row = self._cursor.fetchone()
        assert row is not None
        return row[0], row[1], int(row[2])

    def rows(self, key: StreamHour) -> list[bytes]:
        """Return the stored rows of an hour, as COPY writes them."""
        target = io.BytesIO()
        query = _ROWS.format(
            columns=", ".join(COLUMNS[key.channel]), table=key.channel, id=key.instrument_id,
            time="ts_event" if key.channel == "trade" else "ts_recv",
            begin=instant(key.begin_us).isoformat(), end=instant(key.begin_us + HOUR_US).isoformat(),
        )  # fmt: skip
        self._cursor.copy_expert(query, target)
        return split(target.getvalue()[len(COPY_HEADER) : -2])

    def due(self, venue: str, begin_us: int, end_us: int, *, candles: bool = False) -> list[DueHour]:
        """Return the hours of a time without a certificate, and those whose rows or gaps are stored otherwise now.

        Rows are counted: that a row was changed in place, only their hash shows.

        Args:
            venue: Name of the venue.
            begin_us: Begin of the time.
            end_us: Its end.
            candles: Whether hours of trades are due, too, whose candles were read since.
        """
        margin = timedelta(microseconds=CLOCK_MARGIN_US)
        self._cursor.execute(
            _DUE,
            {
                "venue": venue, "begin": instant(begin_us), "end": instant(end_us), "margin": margin,
                "candles": candles,
            },
        )  # fmt: skip
        return [DueHour(int(row[0]), row[1], row[2], micros(row[3])) for row in self._cursor.fetchall()]

    def last(self, instrument_id: int, channel: Channel, begin_us: int, end_us: int) -> dict[int, Certificate]:
        """Return the highest revision of each hour of a time, by the begin of the hour.

        Raises:
            ConfigError: A document in the table is none.
        """
        self._cursor.execute(_LAST, (instrument_id, channel, instant(begin_us), instant(end_us)))
        found = [decode(row[0]) for row in self._cursor.fetchall()]
        return {one.begin_us: one for one in found}

    def store(self, made: Sequence[Certificate], now_us: int) -> list[Certificate]:
        """Store certificates in one transaction; one that says nothing new is left out, and the stored one returned."""
        result = []
        made_at = instant(now_us).strftime("%Y-%m-%dT%H:%M:%SZ")
        self._cursor.execute("COMMIT")
        self._cursor.execute("BEGIN")
        self._cursor.execute(_LOCK)
        for one in made:
            stream = one.instrument_id, one.channel
            before = self.last(*stream, one.begin_us, one.begin_us + HOUR_US).get(one.begin_us)
            if before is not None and same_facts(before, one):
                result.append(before)
                continue
            self._cursor.execute(_NEWEST, stream)
            number, previous = self._cursor.fetchone() or (0, None)
            revision = 1 if before is None else before.revision + 1
            one = sealed(one, number=number + 1, revision=revision, previous=previous, made_at=made_at)
            self._cursor.execute(
                _INSERT,
                (
                    *stream, instant(one.begin_us), revision, one.number, one.grade, one.replay, one.rows.stored,
                    sum(gap.state != "healed" for gap in one.gaps), instant(now_us), previous, one.sha256,
                    encode(one).decode(),
                ),
            )  # fmt: skip
            result.append(one)
        self._cursor.execute("COMMIT")
        return result

    def _one(self, query: str, key: StreamHour) -> object:
        self._cursor.execute(query, _values(key))
        row = self._cursor.fetchone()
        return None if row is None else row[0]


@contextmanager
def opened(url: str) -> Iterator[Database]:
    """Open the database.

    Raises:
        StoreError, ConfigError: It failed (see `classify`).
    """
    connection = connect(url, application_name="certify", role=WRITER, statement_timeout_s=_STATEMENT_S)
    try:
        with connection.cursor() as cursor:
            yield Database(cursor)
    except psycopg2.errors.UndefinedTable as error:
        raise StoreUnavailable("the database has no table of certificates yet") from error
    except psycopg2.errors.UniqueViolation as error:
        raise StoreError("another program made certificates at the same moment; run it again") from error
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()


def instant(at_us: int) -> datetime:
    """Return microseconds since 1970 as an instant."""
    return _EPOCH + timedelta(microseconds=at_us)


def micros(at: datetime) -> int:
    """Return an instant as microseconds since 1970."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def _values(key: StreamHour) -> dict[str, object]:
    return {
        "id": key.instrument_id,
        "channel": key.channel,
        "begin": instant(key.begin_us),
        "end": instant(key.begin_us + HOUR_US),
        "margin": timedelta(microseconds=CLOCK_MARGIN_US),
    }
