"""The table `subscription`. A trigger notifies the recorders of each change, and no link reconnects."""

import select
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Self

import msgspec
import psycopg2

from recorder.errors import ConfigError, StoreUnavailable, nearest
from recorder.events import Stream
from recorder.instruments.patterns import Pattern, SymbolSelector, Wanted, is_pattern
from recorder.store.database import READER, RECORDER, Cursor, classify, connect
from recorder.store.restore import unfinished_restore
from recorder.venues.base import Listing

# A symbol that a pattern matches has no row of its own. An inactive row excludes it.
_EXCLUDE = """
INSERT INTO subscription (venue, symbol, channel, active) VALUES (%s, %s, %s, false) ON CONFLICT DO NOTHING"""
_SUBSCRIBE = """
INSERT INTO subscription (venue, symbol, channel) VALUES (%s, %s, %s)
    ON CONFLICT (venue, symbol, channel) DO UPDATE SET active = true, origin = 'hand'
     WHERE NOT subscription.active OR subscription.origin <> 'hand'"""
_UNSUBSCRIBE = """
UPDATE subscription SET active = false, origin = 'hand'
 WHERE venue = %s AND symbol = %s AND channel = %s AND active"""
# What a person subscribed to or left out stays as it is.
_FOLLOW = """
INSERT INTO subscription (venue, symbol, channel, priority, origin)
SELECT %s, f.symbol, c, f.priority, 'poller'
  FROM unnest(%s::text[], %s::integer[]) AS f (symbol, priority) CROSS JOIN unnest(%s::text[]) AS c
    ON CONFLICT (venue, symbol, channel) DO UPDATE SET priority = EXCLUDED.priority
     WHERE subscription.origin = 'poller' AND subscription.priority <> EXCLUDED.priority"""
_LEAVE = "DELETE FROM subscription WHERE venue = %s AND symbol = ANY (%s) AND origin = 'poller'"
_FOLLOWED = "SELECT symbol, min(priority) FROM subscription WHERE venue = %s AND origin = 'poller' GROUP BY symbol"
_ROWS = "SELECT symbol, channel, active FROM subscription WHERE venue = %s"
_SEED = """
INSERT INTO subscription (venue, symbol, channel, priority, active, origin) VALUES (%s, %s, %s, %s, %s, %s)
    ON CONFLICT DO NOTHING"""
_STATEMENT_S = 10.0
_READ_EVERY_S = 0.3  # at most: every login may notify, as often as it likes
_INSTRUMENT = "SELECT symbol, base, kind FROM instrument WHERE venue = %s AND symbol = %s"


class Subscription(msgspec.Struct, frozen=True):
    """One row of the table."""

    venue: str
    symbol: str  # or a pattern
    channel: str
    active: bool  # False: left out, even where a pattern matches
    priority: int
    updated_at: datetime
    origin: str = "hand"  # or poller


def list_subscriptions(url: str, venue: str | None = None) -> list[Subscription]:
    """Return the rows of one venue or of all, active ones and higher priorities of each venue first.

    Raises:
        StoreUnavailable, ConfigError: The database failed (see `classify`).
    """
    connection = connect(url, application_name="tapedeck", role=READER, statement_timeout_s=_STATEMENT_S)
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT venue, symbol, channel, active, priority, updated_at, origin FROM subscription "
                "WHERE %s IS NULL OR venue = %s "
                "ORDER BY venue, active DESC, priority DESC, created_at, symbol, channel",
                (venue, venue),
            )
            return [Subscription(*row) for row in cursor.fetchall()]
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()


def set_subscriptions(url: str, venue: str, symbols: Sequence[str], channels: Sequence[str], *, active: bool) -> int:
    """Begin or end the recording of streams.

    Args:
        url: The recording database.
        venue: Name of the venue.
        symbols: Symbols in the venue's spelling, or patterns.
        channels: trade, quote, book.
        active: Whether to record them.

    Returns:
        Number of streams that changed. Streams that were in this state already do not count.

    Raises:
        ConfigError: A symbol to be ended is not subscribed to, and no pattern matches it. Nothing is changed then.
        StoreUnavailable, ConfigError: The database failed (see `classify`).
    """
    connection = connect(
        url, application_name="tapedeck", role=RECORDER, statement_timeout_s=_STATEMENT_S, autocommit=False
    )
    changed = 0
    try:
        with connection, connection.cursor() as cursor:
            for symbol in symbols:
                matched = None if active else _matched_channels(cursor, venue, symbol)
                for channel in channels:
                    cursor.execute(_SUBSCRIBE if active else _UNSUBSCRIBE, (venue, symbol, channel))
                    changed += cursor.rowcount
                    if matched is not None and not cursor.rowcount and channel in matched:
                        cursor.execute(_EXCLUDE, (venue, symbol, channel))
                        changed += cursor.rowcount
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()
    return changed


def followed(url: str, venue: str) -> dict[str, int]:
    """Return the symbols that the poller subscribed to, with their priorities.

    Raises:
        StoreUnavailable, ConfigError: The database failed (see `classify`).
    """
    connection = connect(url, application_name="poller", role=RECORDER, statement_timeout_s=_STATEMENT_S)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_FOLLOWED, (venue,))
            return dict(cursor.fetchall())
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()


def follow(url: str, venue: str, join: Mapping[str, int], leave: Collection[str], channels: Sequence[str]) -> None:
    """Change the subscriptions of the poller, all or none. Those of people are left alone.

    Args:
        url: The recording database.
        venue: Name of the venue.
        join: Symbols to subscribe to, or whose priority changed, with their priorities.
        leave: Symbols to end.
        channels: trade, quote, book.

    Raises:
        StoreUnavailable, ConfigError: The database failed (see `classify`).
    """
    connection = connect(
        url, application_name="poller", role=RECORDER, statement_timeout_s=_STATEMENT_S, autocommit=False
    )
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(_LEAVE, (venue, list(leave)))
            cursor.execute(_FOLLOW, (venue, list(join), list(join.values()), list(channels)))
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()


def _matched_channels(cursor: Cursor, venue: str, symbol: str) -> set[str]:
    """Return the channels on which an active pattern matches a symbol, so that it can be excluded there.

    Raises:
        ConfigError: There is neither a row of this symbol nor a match.
    """
    cursor.execute(_ROWS, (venue,))
    rows = cursor.fetchall()
    matched: set[str] = set()
    if not is_pattern(symbol):
        cursor.execute(_INSTRUMENT, (venue, symbol))
        known = [Listing(name, base or "", "", kind or "", None, None, "") for name, base, kind in cursor.fetchall()]
        patterns = [(text, channel) for text, channel, active in rows if active and is_pattern(text)]
        matched = {channel for text, channel in patterns if _matches(text, known)}
    names = {row[0] for row in rows}
    if symbol in names or matched:
        return matched
    hint = nearest(symbol, sorted(names)) if len(names) <= 20 else "; `tapedeck subscriptions` lists all"
    raise ConfigError(f"{venue} has no subscription {symbol!r}{hint}")


def _matches(pattern: str, listings: Sequence[Listing]) -> bool:
    try:
        return bool(Pattern.parse(pattern).matches(listings))
    except ConfigError:  # a row that a person wrote wrongly matches nothing
        return False


class SubscriptionFeed:
    """A recorder's view of the table: the selectors of its venue, and a wait for changes.

    The methods raise StoreUnavailable and ConfigError (see `classify`).
    """

    def __init__(self, url: str, venue: str) -> None:
        self._venue = venue
        self._read_s = float("-inf")
        self._connection = connect(
            url, application_name=f"recorder-{venue}", role=RECORDER, statement_timeout_s=_STATEMENT_S
        )

    def __enter__(self) -> Self:
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("LISTEN subscription")
        except psycopg2.Error as error:
            self._connection.close()
            raise classify(error) from error
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def seed(self, wanted: Wanted) -> None:
        """Insert these subscriptions of the venue, all or none."""
        rows = [
            (self._venue, selector.symbol, channel, selector.priority, True, selector.origin)
            for selector in wanted.selectors
            for channel in selector.channels
        ]
        rows += [
            (self._venue, stream.symbol, stream.channel, 0, False, "hand") for stream in sorted(wanted.ended, key=str)
        ]
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.executemany(_SEED, rows)
                cursor.execute("COMMIT")
        except psycopg2.Error as error:
            raise classify(error) from error

    def wanted(self) -> Wanted | None:
        """Return the content of the table, highest priority first; None while it has no row of the venue.

        Raises:
            StoreUnavailable: A restore fills the table just now, so that its content means nothing yet.
        """
        self._read_s = time.monotonic()
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(
                    "SELECT channel, symbol, priority, active, origin FROM subscription WHERE venue = %s "
                    "ORDER BY priority DESC, created_at, symbol, channel",
                    (self._venue,),
                )
                rows = cursor.fetchall()
                restoring = unfinished_restore(cursor)
        except psycopg2.Error as error:
            raise classify(error) from error
        if restoring is not None:
            raise StoreUnavailable(f"a restore of the database is not complete: {restoring}")
        if not rows:
            return None
        return Wanted(
            tuple(
                SymbolSelector(symbol, (channel,), priority, origin)
                for channel, symbol, priority, active, origin in rows
                if active
            ),
            frozenset(Stream(channel, symbol) for channel, symbol, _, active, _ in rows if not active),
        )

    def wait(self, stop: threading.Event, step_s: float, limit_s: float) -> None:
        """Return once the venue is notified, `stop` is set, or `limit_s` is over."""
        deadline = time.monotonic() + limit_s
        while not stop.is_set() and time.monotonic() < deadline:
            try:
                ready, _, _ = select.select([self._connection], [], [], step_s)
                if ready:
                    self._connection.poll()
            except psycopg2.Error as error:
                raise classify(error) from error
            notifications = self._connection.notifies
            changed = any(one.payload in (self._venue, "") for one in notifications)
            notifications.clear()
            if changed:
                stop.wait(max(0.0, self._read_s + _READ_EVERY_S - time.monotonic()))
                return
