"""Reads what is new for all clients together, in the thread of the stream and on a connection of its own.

Only what differs from the last look is returned. The window of a look reaches back as far as Postgres is behind the
journals, so that rows which are loaded late are seen, too.
"""

import time
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import psycopg2

from recorder.errors import ConfigError, StoreError, StoreUnavailable
from recorder.identity import instrument_id
from recorder.printable import one_line
from recorder.store.database import READER, Connection, Cursor, classify, connect
from recorder.web.live import items, queries
from recorder.web.live.outbox import ItemKey
from recorder.web.live.protocol import Topic, text_of
from recorder.web.market_data.books import cut_depth_of
from recorder.web.market_data.rebuild import Rebuilt
from recorder.web.queries import books as stored
from recorder.web.queries.books import Place

STATEMENT_S = 2.0
_OVERLAP_S = 5.0  # journals are loaded side by side, so that rows do not come in the order of their receipt
_MOST_BEHIND_S = 3_600.0  # older rows are history: a chart asks for them
_QUOTE_BACK = timedelta(days=1)
_MOST_GAPS = 400  # less than a client may have waiting
_MOST_BOOK_ROWS = 20_000
_CLOCK_AHEAD = timedelta(hours=1)  # the clock of Postgres or of another recorder may be ahead of ours
_CHANNELS = {"quote": "quote", "trade": "trade", "bar": "trade", "book": "book"}

Rows = list[tuple[Any, ...]]


class Event(NamedTuple):
    """Something that clients hear of at once."""

    topics: tuple[Topic, ...]
    key: Hashable
    frame: str


class Reading(NamedTuple):
    """What one look found."""

    items: Mapping[ItemKey, str]
    events: Sequence[Event]
    generation: int
    problem: str = ""  # why Postgres did not answer


class _LiveBook:
    def __init__(self, asked_at: datetime, rebuilt: Rebuilt) -> None:
        self.asked_at = asked_at  # the book is unknown since then, until a snapshot is found
        self.rebuilt = rebuilt
        self.place: Place | None = None  # where to read on; None before the first snapshot


class Reader:
    """Looks into Postgres. One thread uses it."""

    def __init__(self, url: Callable[[], str], behind_s: Callable[[], float]) -> None:
        """
        Args:
            url: Returns the address of the database; it is unknown before the first start of the embedded server.
            behind_s: Returns how far Postgres is behind the journals.
        """
        self._url = url
        self._behind_s = behind_s
        self._connection: Connection | None = None
        self._generation = 0
        self._looked_s = time.monotonic()
        self._names: dict[int, str] = {}
        self._seen: dict[ItemKey, tuple[Any, ...]] = {}
        self._quoted: dict[int, datetime] = {}  # receipt of the last quote
        self._books: dict[int, _LiveBook] = {}
        self._gaps: dict[int, int] = {}  # revisions of the gaps that clients know, by id

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def look(self, topics: frozenset[Topic]) -> Reading:
        """Return what changed since the last look of these topics."""
        self._generation += 1
        if not topics:
            return Reading({}, (), self._generation)
        try:
            found = self._items(topics)
            events = self._gap_events(topics)
            self._looked_s = time.monotonic()
        except (psycopg2.Error, StoreUnavailable, StoreError, ConfigError) as error:
            self._forget(topics)
            return Reading({}, (), self._generation, self._failed(error))
        self._forget(topics)
        return Reading({key: text_of(item) for key, item in found.items()}, events, self._generation)

    def snapshot(self, topics: Collection[Topic]) -> Reading:
        """Return the values of topics now, each with its coverage; of gaps those that are open."""
        self._generation += 1
        asked = frozenset(topics)
        try:
            seen, self._seen = self._seen, {}
            quoted, self._quoted = self._quoted, {}
            try:
                found = self._items(asked)
            finally:
                self._seen = {**self._seen, **seen}
                self._quoted = {**self._quoted, **quoted}
            covered = self._coverage(asked)
            gaps = self._open_gaps(asked)
            known = [*gaps, *self._recent_gaps(asked)]
        except (psycopg2.Error, StoreUnavailable, StoreError, ConfigError) as error:
            return Reading({}, (), self._generation, self._failed(error))
        now = datetime.now(UTC)
        result = {
            key: text_of(items.with_quality(item, now, covered.get((key[0].instrument_id, _CHANNELS[key[0].kind]))))
            for key, item in found.items()
        }
        self._gaps |= {row[0]: row[10] for row in known}  # only what changes from now on is an event
        for row in gaps:
            topic = Topic("gap") if Topic("gap") in asked else Topic("gap", row[1])
            result[topic, row[0]] = text_of({"kind": "gap", **items.gap(row)})
        return Reading(result, (), self._generation)

    def resolve(self, names: Iterable[str]) -> dict[str, int]:
        """Return the instrument ids of names such as kraken:BTC/USD, or of ids as text; unknown ones are left out.

        While Postgres does not answer, a name is taken as it is: an id follows from it.
        """
        wanted: dict[str, int] = {}
        for name in names:
            venue, colon, symbol = name.partition(":")
            if colon and venue and symbol:
                wanted[name] = instrument_id(venue, symbol)
            elif name.lstrip("-").isascii() and name.lstrip("-").isdigit() and len(name) <= 20:
                wanted[name] = int(name)
        wanted = {name: one for name, one in wanted.items() if -(2**63) <= one < 2**63}
        try:
            self._name(set(wanted.values()))
        except (psycopg2.Error, StoreUnavailable, StoreError, ConfigError) as error:
            self._failed(error)
            return wanted
        return {name: one for name, one in wanted.items() if one in self._names}

    # ---- items

    def _items(self, topics: frozenset[Topic]) -> dict[ItemKey, items.Item]:
        ids = {kind: sorted({one.instrument_id for one in topics if one.kind == kind}) for kind in _CHANNELS}
        self._name({one for found in ids.values() for one in found})
        found: dict[ItemKey, items.Item] = {}
        now = datetime.now(UTC)
        if ids["quote"]:
            found |= self._quotes(ids["quote"], now)
        if ids["trade"]:
            found |= self._trades(ids["trade"], now)
        if ids["bar"]:
            found |= self._bars([one for one in topics if one.kind == "bar"])
        if ids["book"]:
            found |= self._book_items(ids["book"], now)
        return found

    def _quotes(self, ids: list[int], now: datetime) -> dict[ItemKey, items.Item]:
        back = now - _QUOTE_BACK
        since = [max(back, self._quoted.get(one, back)) for one in ids]
        rows = self._rows(queries.QUOTES, {"ids": ids, "since": since, "oldest": min(since)})
        self._quoted |= {row[0]: row[1] for row in rows}
        return self._changed((Topic("quote", row[0]), 0, row, items.quote(self._names[row[0]], row)) for row in rows)

    def _trades(self, ids: list[int], now: datetime) -> dict[ItemKey, items.Item]:
        new = [one for one in ids if (Topic("trade", one), 0) not in self._seen]
        newest = {row[0]: row for row in self._rows(queries.LAST_TRADES, {"ids": new})} if new else {}
        passed_s = min(_MOST_BEHIND_S, time.monotonic() - self._looked_s + self._behind_s()) + _OVERLAP_S
        for row in self._rows(queries.TRADES, {"ids": ids, "oldest": now - timedelta(seconds=passed_s)}):
            if row[0] not in newest or row[2] >= newest[row[0]][2]:
                newest[row[0]] = row
        return self._changed(
            (Topic("trade", row[0]), 0, row, items.trade(self._names[row[0]], row)) for row in newest.values()
        )

    def _bars(self, topics: list[Topic]) -> dict[ItemKey, items.Item]:
        asked = {"ids": [one.instrument_id for one in topics], "widths": [one.width_s for one in topics]}
        return self._changed(
            (Topic("bar", row[0], row[1]), int(row[2].timestamp()), row, items.bar(self._names[row[0]], row))
            for row in self._rows(queries.BARS, asked)
        )

    def _book_items(self, ids: list[int], now: datetime) -> dict[ItemKey, items.Item]:
        found: list[tuple[Topic, int, tuple[Any, ...], items.Item]] = []
        until = now + _CLOCK_AHEAD
        for one in ids:
            book = self._books.get(one)
            if book is None:
                venue = self._names.get(one, "").partition(":")[0]
                book = self._books[one] = _LiveBook(now, Rebuilt(cut_depth_of(venue)))
            complete = self._read_book(one, book, until)
            rebuilt = book.rebuilt
            levels = rebuilt.at(until, items.MOST_LEVELS) if complete else None
            since = rebuilt.unknown_since(until) or book.asked_at
            state = (one, rebuilt.last, levels is None, None if levels is not None else since)
            found.append((Topic("book", one), 0, state, items.book(self._names[one], one, rebuilt, levels, since)))
        return self._changed(found)

    def _read_book(self, one: int, book: "_LiveBook", until: datetime) -> bool:
        """Read on; return False where more is stored, so that the book is one of the past."""
        with self._cursor() as cursor:
            place = book.place or stored.begin(cursor, one, until)
            if place is None:
                return True
            book.place, complete = stored.read(cursor, one, book.rebuilt, place, until, _MOST_BOOK_ROWS)
            return complete

    def _changed(self, found: Iterable[tuple[Topic, int, tuple[Any, ...], items.Item]]) -> dict[ItemKey, items.Item]:
        """Return the items whose rows are not those of the last look."""
        changed: dict[ItemKey, items.Item] = {}
        for topic, part, row, item in found:
            if self._seen.get((topic, part)) != row:
                self._seen[topic, part] = row
                changed[topic, part] = item
        return changed

    def _coverage(self, topics: frozenset[Topic]) -> dict[tuple[int, str], float]:
        pairs = sorted({(one.instrument_id, _CHANNELS[one.kind]) for one in topics if one.kind in _CHANNELS})
        if not pairs:
            return {}
        asked: dict[str, Any] = {"ids": [one for one, _ in pairs], "channels": [channel for _, channel in pairs]}
        asked["behind_s"] = behind_s if (behind_s := self._behind_s()) > _OVERLAP_S else 0.0
        return {(one, channel): float(share) for one, channel, share in self._rows(queries.COVERAGE, asked)}

    # ---- gaps

    def _gap_events(self, topics: frozenset[Topic]) -> list[Event]:
        wanted = frozenset(one for one in topics if one.kind == "gap")
        if not wanted:
            self._gaps = {}
            return []
        rows = {row[0]: row for row in self._open_gaps(wanted)}
        for row in self._recent_gaps(wanted):
            rows.setdefault(row[0], row)
        gone = [gap_id for gap_id in self._gaps if gap_id not in rows]
        if gone:
            rows |= {row[0]: row for row in self._rows(queries.GAPS_BY_ID, {"ids": gone})}
        events = [
            Event((Topic("gap"), Topic("gap", row[1])), ("gap", row[0]), text_of(items.gap(row)))
            for row in rows.values()
            if row[10] > self._gaps.get(row[0], 0)
        ]
        self._gaps = {row[0]: row[10] for row in rows.values() if row[4] == "open" or row[0] not in gone}
        return events

    def _recent_gaps(self, topics: frozenset[Topic]) -> Rows:
        return self._gap_rows(queries.RECENT_GAPS, topics)

    def _open_gaps(self, topics: frozenset[Topic]) -> Rows:
        return self._gap_rows(queries.OPEN_GAPS, topics)

    def _gap_rows(self, query: str, topics: frozenset[Topic]) -> Rows:
        wanted = [one for one in topics if one.kind == "gap"]
        if not wanted:
            return []
        ids = [one.instrument_id for one in wanted if one.instrument_id]
        return self._rows(query, {"all": Topic("gap") in topics, "ids": ids, "most": _MOST_GAPS})

    # ---- the connection

    def _name(self, ids: Collection[int]) -> None:
        unknown = [one for one in ids if one not in self._names]
        if unknown:
            rows = self._rows(queries.NAMES, {"ids": unknown})
            self._names |= {one: f"{venue}:{symbol}" for one, venue, symbol in rows}

    def _rows(self, query: str, values: Mapping[str, Any]) -> Rows:
        with self._cursor() as cursor:
            cursor.execute(query, values)
            return cursor.fetchall()

    def _cursor(self) -> Cursor:
        if self._connection is None:
            self._connection = connect(
                self._url(),
                application_name="web-stream",
                role=READER,
                statement_timeout_s=STATEMENT_S,
                lock_timeout_s=1.0,
            )
        return self._connection.cursor()

    def _failed(self, error: Exception) -> str:
        self.close()
        known = classify(error) if isinstance(error, psycopg2.Error) else error
        return f"Postgres does not answer: {one_line(str(known))[:200]}"

    def _forget(self, topics: frozenset[Topic]) -> None:
        """Forget what is not wanted any more, so that memory follows the clients."""
        self._seen = {key: row for key, row in self._seen.items() if key[0] in topics}
        self._quoted = {one: at for one, at in self._quoted.items() if Topic("quote", one) in topics}
        self._books = {one: book for one, book in self._books.items() if Topic("book", one) in topics}
        if len(self._names) > 10_000:
            self._names.clear()
