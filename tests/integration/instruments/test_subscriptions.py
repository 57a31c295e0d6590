"""The streams a recorder follows, from the table with its patterns, the current listing, and the last streams."""

import os
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from support.misbehaving_rest import response, rest_server

from recorder.appliance.processes import wait_until
from recorder.clock import ManualClock
from recorder.errors import ConfigError
from recorder.events import CHANNELS, Channel, Stream
from recorder.instruments import subscription_store
from recorder.instruments.catalog import Catalog, CatalogFile, Listings
from recorder.instruments.catalog_store import store_listings
from recorder.instruments.patterns import SymbolSelector
from recorder.instruments.subscription_store import followed, list_subscriptions, set_subscriptions
from recorder.instruments.subscriptions import Cache, follow
from recorder.rest.client import client_of
from recorder.venues.base import Listing
from recorder.venues.coinbase.stream import Coinbase

TRADE: tuple[Channel, ...] = ("trade",)


def listing(symbol: str, volume: float = 1.0) -> Listing:
    base, _, quote = symbol.partition("-")
    return Listing(symbol, base, quote, "spot", None, None, "online", price=1.0, volume=volume)


def catalog(*listings: Listing) -> Catalog:
    return Catalog("source", 0, list(listings))


class Follower:
    """Follows subscriptions as a recorder does."""

    def __init__(self, home: Path) -> None:
        self.cache = Cache(home / "subscriptions" / "x.json")
        self.catalog: Catalog | None = None
        self.answers: list[tuple[str, ...]] = []  # symbols of the trade streams, in order

    def apply(self, streams: Sequence[Stream]) -> None:
        self.answers.append(tuple(stream.symbol for stream in streams if stream.channel == "trade"))

    @contextmanager
    def following(self, url: Callable[[], str], *first: SymbolSelector) -> Iterator[None]:
        stop = threading.Event()
        part = follow(url, "venue", first, self.cache, lambda: self.catalog, self.apply)
        thread = threading.Thread(target=part, args=(stop,), name="subscriptions")
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join(10)
            assert not thread.is_alive()

    def settles_at(self, *symbols: str) -> bool:
        return wait_until(lambda: self.answers[-1:] == [symbols], 30.0)


@pytest.fixture
def follower(tmp_path: Path) -> Follower:
    return Follower(tmp_path)


def no_database() -> str:
    raise ConfigError("the embedded Postgres was not started yet")


def rows(url: str) -> int:
    """Return the number of rows of the table."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM subscription")
            return int((cursor.fetchone() or (0,))[0])
    finally:
        connection.close()


def lists(url: str, *symbols: str) -> None:
    """Store a listing of the venue, as discovery does."""
    store_listings(url, "venue", [Listing(symbol, symbol, "", "spot", None, None, "online") for symbol in symbols])


def touch(url: str) -> None:
    """Notify the recorders, as a change does."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify('subscription', 'venue')")
    connection.close()


def test_patterns_of_the_settings_are_stored_unresolved(database: str, follower: Follower) -> None:
    follower.catalog = catalog(listing("A-USD"), listing("B-USD"), listing("C-EUR"))
    with follower.following(lambda: database, SymbolSelector("*-USD", TRADE), SymbolSelector("C-EUR", TRADE)):
        assert follower.settles_at("A-USD", "B-USD", "C-EUR")
        assert wait_until(lambda: follower.cache.read() is not None, 10.0)
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT symbol, channel FROM subscription ORDER BY symbol")
        assert cursor.fetchall() == [("*-USD", "trade"), ("C-EUR", "trade")]
    connection.close()
    assert follower.cache.read() == tuple(Stream("trade", symbol) for symbol in ("A-USD", "B-USD", "C-EUR"))


def test_newly_listed_symbols_are_recorded_and_delisted_ones_are_not(database: str, follower: Follower) -> None:
    follower.catalog = catalog(listing("A-USD"), listing("B-USD"))
    with follower.following(lambda: database, SymbolSelector("*-USD", TRADE)):
        assert follower.settles_at("A-USD", "B-USD")
        follower.catalog = catalog(listing("B-USD"), listing("C-USD"))
        touch(database)
        assert follower.settles_at("B-USD", "C-USD")


def test_a_pattern_subscribed_at_run_time_is_followed_and_a_symbol_ended_by_name_is_left_out(
    database: str, follower: Follower
) -> None:
    follower.catalog = catalog(listing("A-USD", 1), listing("B-USD", 2), listing("C-USD", 3))
    with follower.following(lambda: database, SymbolSelector("A-USD", TRADE)):
        assert follower.settles_at("A-USD")
        assert wait_until(lambda: rows(database) == 1, 30.0)  # the settings have filled the table
        set_subscriptions(database, "venue", ["top:2"], CHANNELS, active=True)
        lists(database, "A-USD", "B-USD", "C-USD")
        assert follower.settles_at("A-USD", "C-USD", "B-USD")
        assert set_subscriptions(database, "venue", ["C-USD"], TRADE, active=False) == 1
        assert follower.settles_at("A-USD", "B-USD")
        assert set_subscriptions(database, "venue", ["C-USD"], TRADE, active=False) == 0
        assert set_subscriptions(database, "venue", ["C-USD"], TRADE, active=True) == 1
        assert follower.settles_at("A-USD", "C-USD", "B-USD")
        set_subscriptions(database, "venue", ["top:2"], CHANNELS, active=False)
        assert follower.settles_at("A-USD", "C-USD")
        set_subscriptions(database, "venue", ["C-USD"], TRADE, active=False)
        assert follower.settles_at("A-USD")


@pytest.mark.parametrize(
    ("venue", "symbol", "hint"),
    [
        ("venue", "NOPE-GBP", "known are BTC-EUR, top:2:*-USD"),
        ("venue", "B-USD", ""),
        ("venue", "BTCEURO", "did you mean BTC-EUR?"),
        ("venue", "*-EUR", "did you mean"),
        ("other", "BTC-EUR", ""),
    ],
)
def test_unsubscribing_what_was_never_subscribed_is_refused_and_leaves_no_row(
    venue: str, symbol: str, hint: str, database: str
) -> None:
    set_subscriptions(database, "venue", ["top:2:*-USD", "BTC-EUR"], TRADE, active=True)
    lists(database, "A-USD", "B-GBP")
    with pytest.raises(ConfigError, match=rf"{venue} has no subscription '{re.escape(symbol)}'") as refused:
        set_subscriptions(database, venue, ["BTC-EUR", symbol] if venue == "venue" else [symbol], TRADE, active=False)
    assert hint in str(refused.value)
    assert rows(database) == 2
    assert all(one.active for one in list_subscriptions(database))  # nor is any other symbol of the call ended


def test_a_symbol_that_a_pattern_matches_is_excluded_on_the_channels_of_the_pattern_only(database: str) -> None:
    set_subscriptions(database, "venue", ["*-USD"], TRADE, active=True)
    lists(database, "A-USD")
    assert set_subscriptions(database, "venue", ["A-USD"], CHANNELS, active=False) == 1
    assert set_subscriptions(database, "venue", ["A-USD"], CHANNELS, active=False) == 0


def test_subscriptions_are_listed_by_venue_with_inactive_ones_last(database: str) -> None:
    set_subscriptions(database, "venue", ["A-USD", "*-EUR"], CHANNELS, active=True)
    set_subscriptions(database, "other", ["B-USD"], TRADE, active=True)
    set_subscriptions(database, "venue", ["A-USD"], ("book",), active=False)
    listed = [(one.venue, one.symbol, one.channel, one.active) for one in list_subscriptions(database)]
    assert [row for row in listed if row[3]] == [
        ("other", "B-USD", "trade", True),
        *(("venue", "*-EUR", channel, True) for channel in sorted(CHANNELS)),
        *(("venue", "A-USD", channel, True) for channel in ("quote", "trade")),
    ]
    assert [row for row in listed if not row[3]] == [("venue", "A-USD", "book", False)]
    assert [one.venue for one in list_subscriptions(database, "other")] == ["other"]
    assert all(one.updated_at.tzinfo is not None for one in list_subscriptions(database))


def test_higher_priorities_come_first(database: str, follower: Follower) -> None:
    selectors = SymbolSelector("A-USD", TRADE), SymbolSelector("B-USD", TRADE, 5), SymbolSelector("C-USD", TRADE)
    with follower.following(lambda: database, *selectors):
        assert follower.settles_at("B-USD", "A-USD", "C-USD")


def test_without_a_database_the_settings_apply_and_are_not_cached(follower: Follower) -> None:
    follower.catalog = catalog(listing("A-USD"))
    with follower.following(no_database, SymbolSelector("*-USD", TRADE)):
        assert follower.settles_at("A-USD")
        follower.catalog = catalog(listing("A-USD"), listing("B-USD"))
        assert follower.settles_at("A-USD", "B-USD")
    assert follower.cache.read() is None


def test_without_a_listing_the_recorded_streams_continue(database: str, follower: Follower) -> None:
    known = Stream("trade", "A-USD"), Stream("trade", "B-USD")
    follower.cache.write(known)
    set_subscriptions(database, "venue", ["*-USD", "X-EUR"], TRADE, active=True)
    set_subscriptions(database, "venue", ["B-USD"], TRADE, active=True)
    set_subscriptions(database, "venue", ["B-USD"], TRADE, active=False)
    with follower.following(lambda: database):
        assert follower.settles_at("X-EUR", "A-USD")


def test_an_invalid_row_affects_no_other(database: str, follower: Follower) -> None:
    set_subscriptions(database, "venue", ["top:many", "A-USD"], TRADE, active=True)
    with follower.following(lambda: database):
        assert follower.settles_at("A-USD")


def test_streams_that_cannot_be_cached_are_followed_nevertheless(database: str, tmp_path: Path) -> None:
    (tmp_path / "subscriptions").write_text("a file where the folder should be")
    follower = Follower(tmp_path)
    with follower.following(lambda: database, SymbolSelector("A-USD", TRADE)):
        assert follower.settles_at("A-USD")
        assert wait_until(lambda: rows(database) == 1, 30.0)
        set_subscriptions(database, "venue", ["B-USD"], TRADE, active=True)
        assert follower.settles_at("A-USD", "B-USD")


PRODUCT = (
    b'[{"id":"A-USD","base_currency":"A","quote_currency":"USD","quote_increment":"0.01","base_increment":"1",'
    b'"status":"online"}]'
)


def test_a_recent_listing_on_disk_is_used_and_an_old_one_is_fetched_again(tmp_path: Path) -> None:
    clock, stop = ManualClock(), threading.Event()
    stats = response(body=b'{"A-USD":{"stats_24hour":{"last":"2","volume":"3"}}}')
    with rest_server(response(body=PRODUCT), stats, response("404 Gone", b"{}")) as server:
        client = client_of(Coinbase(), server.url, "tapedeck-test", stop)
        file = CatalogFile(tmp_path, "coinbase", server.url)
        listings = Listings(client, Coinbase(), file, clock)
        first = listings()
        assert first is not None
        assert listings() is first
        assert len(server.requests) == 2
        other = Catalog(server.url, clock.wall_ns() + 1, [listing("B-USD")])  # as discovery writes it
        file.write(other)
        os.utime(tmp_path / "listings" / "coinbase.json", ns=(1, 1))
        assert listings() == other
        clock.advance(7200)
        assert listings() == other  # the venue answers no more: an old list is better than none
        assert len(server.requests) == 3
        listings()
        assert len(server.requests) == 3  # and is not asked again at once


def test_missing_volumes_are_taken_from_the_previous_listing(tmp_path: Path) -> None:
    clock, stop = ManualClock(), threading.Event()
    stats = response(body=b'{"A-USD":{"stats_24hour":{"last":"2","volume":"3"}}}')
    with rest_server(response(body=PRODUCT), stats, response(body=PRODUCT), response("404 Gone", b"{}")) as server:
        client = client_of(Coinbase(), server.url, "tapedeck-test", stop)
        listings = Listings(client, Coinbase(), CatalogFile(tmp_path, "coinbase", server.url), clock)
        before = listings()
        clock.advance(7200)
        after = listings()
        assert len(server.requests) == 4
    assert before is not None
    assert after is not None
    assert after.fetched_ns > before.fetched_ns
    assert after.listings[0].volume == before.listings[0].volume == 6.0


def by_poller(url: str) -> list[tuple[str, str, bool, int, str]]:
    """Return the rows of the table."""
    return [(row.symbol, row.channel, row.active, row.priority, row.origin) for row in list_subscriptions(url, "venue")]


def test_the_poller_changes_its_own_subscriptions_only(database: str) -> None:
    set_subscriptions(database, "venue", ["HAND"], TRADE, active=True)
    set_subscriptions(database, "venue", ["*"], TRADE, active=True)
    lists(database, "OUT")
    set_subscriptions(database, "venue", ["OUT"], TRADE, active=False)
    subscription_store.follow(database, "venue", {"HAND": -1, "OUT": -1, "A": -1, "B": -3}, (), TRADE)
    assert followed(database, "venue") == {"A": -1, "B": -3}
    subscription_store.follow(database, "venue", {"B": -2}, ["A", "HAND", "OUT"], TRADE)
    assert by_poller(database) == [
        ("HAND", "trade", True, 0, "hand"),
        ("*", "trade", True, 0, "hand"),
        ("B", "trade", True, -2, "poller"),
        ("OUT", "trade", False, 0, "hand"),
    ]


def test_what_a_person_says_of_a_followed_symbol_stays(database: str) -> None:
    subscription_store.follow(database, "venue", {"A": -1, "B": -1}, (), TRADE)
    set_subscriptions(database, "venue", ["A"], TRADE, active=True)
    set_subscriptions(database, "venue", ["B"], TRADE, active=False)
    subscription_store.follow(database, "venue", {"B": -1}, ["A", "B"], TRADE)
    assert {row[0]: (row[2], row[4]) for row in by_poller(database)} == {"A": (True, "hand"), "B": (False, "hand")}


def test_the_settings_fill_a_table_that_has_rows_of_the_poller_only(database: str, follower: Follower) -> None:
    subscription_store.follow(database, "venue", {"A": -1}, (), TRADE)
    with follower.following(lambda: database, SymbolSelector("HAND", TRADE)):
        assert follower.settles_at("HAND", "A")
        subscription_store.follow(database, "venue", {"B": -1}, ["A"], TRADE)
        assert follower.settles_at("HAND", "B")
    assert {(row[0], row[4]) for row in by_poller(database)} == {("HAND", "hand"), ("B", "poller")}


def test_a_new_database_gets_the_followed_symbols_of_the_last_one_as_the_pollers(
    database: str, follower: Follower
) -> None:
    subscription_store.follow(database, "venue", {"A": -1}, (), TRADE)
    with follower.following(lambda: database, SymbolSelector("HAND", TRADE)):
        assert follower.settles_at("HAND", "A")
        assert wait_until(lambda: follower.cache.read() is not None and rows(database) == 2, 30.0)
        connection = psycopg2.connect(database)
        with connection, connection.cursor() as cursor:
            cursor.execute("DELETE FROM subscription")
        connection.close()
        assert wait_until(lambda: rows(database) == 2, 30.0)
    assert followed(database, "venue") == {"A": -1}
