"""The table `subscription`, changed by a person. A trigger tells the recorders; nobody reconnects."""

import select
import threading
import time
from collections.abc import Iterable
from typing import Self

import psycopg2

from recorder.database import WRITER, classify, connect
from recorder.events import Stream
from recorder.patterns import Wanted, Wish, is_pattern

# A symbol that a pattern may bring has no row of its own: one that is not active takes it out.
_EXCEPT = """
INSERT INTO subscription (venue, symbol, channel, active)
SELECT %s, %s, %s, false
 WHERE EXISTS (SELECT FROM subscription
                WHERE venue = %s AND channel = %s AND active AND (symbol ~ '[*?[]' OR starts_with(symbol, 'top:')))
    ON CONFLICT DO NOTHING"""


def set_subscriptions(url: str, venue: str, symbols: Iterable[str], channels: Iterable[str], *, active: bool) -> int:
    """Begin or end recording of streams.

    Args:
        url: The recording database.
        venue: Name of the venue.
        symbols: In the venue's spelling, or patterns.
        channels: trade, quote, book.
        active: Whether they shall be recorded.

    Returns:
        How many streams changed; those that were so already are not counted.

    Raises:
        StoreUnavailable, ConfigError: what `classify` makes of the database's answer.
    """
    connection = connect(url, application_name="tapedeck", role=WRITER, autocommit=False)
    changed = 0
    try:
        with connection, connection.cursor() as cursor:
            for symbol in symbols:
                for channel in channels:
                    if active:
                        cursor.execute(
                            "INSERT INTO subscription (venue, symbol, channel) VALUES (%s, %s, %s) "
                            "ON CONFLICT (venue, symbol, channel) DO UPDATE SET active = true "
                            "WHERE NOT subscription.active",
                            (venue, symbol, channel),
                        )
                    else:
                        cursor.execute(
                            "UPDATE subscription SET active = false "
                            "WHERE venue = %s AND symbol = %s AND channel = %s AND active",
                            (venue, symbol, channel),
                        )
                        if not cursor.rowcount and not is_pattern(symbol):
                            cursor.execute(_EXCEPT, (venue, symbol, channel, venue, channel))
                    changed += cursor.rowcount
    except psycopg2.Error as error:
        raise classify(error) from error
    finally:
        connection.close()
    return changed


class SubscriptionFeed:
    """A recorder's view of the table: what is wanted of its venue, and a wait for changes.

    Methods raise what `classify` makes of the database's answer.
    """

    def __init__(self, url: str, venue: str) -> None:
        self._venue = venue
        self._connection = connect(url, application_name=f"recorder-{venue}", role=WRITER)

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

    def seed(self, wishes: Iterable[Wish]) -> None:
        """Write these down where the venue has no row yet, not even an ended one."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute("SELECT EXISTS (SELECT FROM subscription WHERE venue = %s)", (self._venue,))
                if cursor.fetchone() == (False,):
                    cursor.executemany(
                        "INSERT INTO subscription (venue, symbol, channel, priority) VALUES (%s, %s, %s, %s) "
                        "ON CONFLICT DO NOTHING",
                        [
                            (self._venue, wish.symbol, channel, wish.priority)
                            for wish in wishes
                            for channel in wish.channels
                        ],
                    )
        except psycopg2.Error as error:
            raise classify(error) from error

    def wanted(self) -> Wanted:
        """What the table says, the most wanted first."""
        try:
            with self._connection.cursor() as cursor:
                cursor.execute(
                    "SELECT channel, symbol, priority, active FROM subscription WHERE venue = %s "
                    "ORDER BY priority DESC, created_at, symbol, channel",
                    (self._venue,),
                )
                rows = cursor.fetchall()
        except psycopg2.Error as error:
            raise classify(error) from error
        return Wanted(
            tuple(Wish(symbol, (channel,), priority) for channel, symbol, priority, active in rows if active),
            frozenset(Stream(channel, symbol) for channel, symbol, _, active in rows if not active),
        )

    def wait(self, stop: threading.Event, step_s: float, limit_s: float) -> None:
        """Return once our venue is notified, `stop` is set, or `limit_s` is over."""
        deadline = time.monotonic() + limit_s
        while not stop.is_set() and time.monotonic() < deadline:
            try:
                ready, _, _ = select.select([self._connection], [], [], step_s)
                if ready:
                    self._connection.poll()
            except psycopg2.Error as error:
                raise classify(error) from error
            notes = self._connection.notifies
            told = any(note.payload in (self._venue, "") for note in notes)
            notes.clear()
            if told:
                return
