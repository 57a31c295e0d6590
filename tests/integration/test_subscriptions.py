"""What a recorder follows: the table with its patterns, what the venue lists now, and what was known before."""

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg2
import pytest
from misbehaving_rest import response, rest_server

from recorder.appliance import wait_until
from recorder.catalog import Catalog, CatalogFile, Listings
from recorder.clock import ManualClock
from recorder.errors import ConfigError
from recorder.events import CHANNELS, Channel, Stream
from recorder.patterns import Wish
from recorder.rest import client_of
from recorder.store_subscription import set_subscriptions
from recorder.subscriptions import Cache, follow
from recorder.venues.base import Listing
from recorder.venues.coinbase import Coinbase

TRADE: tuple[Channel, ...] = ("trade",)


def listing(symbol: str, volume: float = 1.0) -> Listing:
    base, _, quote = symbol.partition("-")
    return Listing(symbol, base, quote, "spot", None, None, "online", price=1.0, volume=volume)


def catalog(*listings: Listing) -> Catalog:
    return Catalog("source", 0, list(listings))


class Follower:
    """A recorder's side, without the recorder."""

    def __init__(self, home: Path) -> None:
        self.cache = Cache(home / "subscriptions" / "x.json")
        self.catalog: Catalog | None = None
        self.answers: list[tuple[str, ...]] = []  # symbols of the trade streams, in order

    def apply(self, streams: Sequence[Stream]) -> None:
        self.answers.append(tuple(stream.symbol for stream in streams if stream.channel == "trade"))

    @contextmanager
    def following(self, url: Callable[[], str], *first: Wish) -> Iterator[None]:
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
    """Rows of the table."""
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute("SELECT count(*) FROM subscription")
            return int((cursor.fetchone() or (0,))[0])
    finally:
        connection.close()


def touch(url: str) -> None:
    """Tell the recorders to look, as a change does."""
    connection = psycopg2.connect(url)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify('subscription', 'venue')")
    connection.close()


def test_patterns_of_the_settings_stand_in_the_table_as_they_are(database: str, follower: Follower) -> None:
    follower.catalog = catalog(listing("A-USD"), listing("B-USD"), listing("C-EUR"))
    with follower.following(lambda: database, Wish("*-USD", TRADE), Wish("C-EUR", TRADE)):
        assert follower.settles_at("A-USD", "B-USD", "C-EUR")
        assert wait_until(lambda: follower.cache.read() is not None, 10.0)
    connection = psycopg2.connect(database)
    with connection, connection.cursor() as cursor:
        cursor.execute("SELECT symbol, channel FROM subscription ORDER BY symbol")
        assert cursor.fetchall() == [("*-USD", "trade"), ("C-EUR", "trade")]
    connection.close()
    assert follower.cache.read() == tuple(Stream("trade", symbol) for symbol in ("A-USD", "B-USD", "C-EUR"))


def test_what_is_listed_anew_is_recorded_and_what_is_listed_no_more_is_not(database: str, follower: Follower) -> None:
    follower.catalog = catalog(listing("A-USD"), listing("B-USD"))
    with follower.following(lambda: database, Wish("*-USD", TRADE)):
        assert follower.settles_at("A-USD", "B-USD")
        follower.catalog = catalog(listing("B-USD"), listing("C-USD"))
        touch(database)
        assert follower.settles_at("B-USD", "C-USD")


def test_a_pattern_subscribed_at_run_time_is_followed_and_a_symbol_ended_by_name_is_left_out(
    database: str, follower: Follower
) -> None:
    follower.catalog = catalog(listing("A-USD", 1), listing("B-USD", 2), listing("C-USD", 3))
    with follower.following(lambda: database, Wish("A-USD", TRADE)):
        assert follower.settles_at("A-USD")
        assert wait_until(lambda: rows(database) == 1, 30.0)  # the settings have filled the table
        set_subscriptions(database, "venue", ["top:2"], CHANNELS, active=True)
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


def test_ending_what_nothing_brings_changes_nothing(database: str) -> None:
    assert set_subscriptions(database, "venue", ["A-USD", "*-EUR"], TRADE, active=False) == 0
    set_subscriptions(database, "venue", ["*-USD"], TRADE, active=True)
    assert set_subscriptions(database, "venue", ["A-USD"], ("book",), active=False) == 0
    assert set_subscriptions(database, "other", ["A-USD"], TRADE, active=False) == 0


def test_the_most_wanted_come_first(database: str, follower: Follower) -> None:
    wishes = Wish("A-USD", TRADE), Wish("B-USD", TRADE, 5), Wish("C-USD", TRADE)
    with follower.following(lambda: database, *wishes):
        assert follower.settles_at("B-USD", "A-USD", "C-USD")


def test_without_the_database_the_settings_hold_and_are_not_taken_for_its_answer(follower: Follower) -> None:
    follower.catalog = catalog(listing("A-USD"))
    with follower.following(no_database, Wish("*-USD", TRADE)):
        assert follower.settles_at("A-USD")
        follower.catalog = catalog(listing("A-USD"), listing("B-USD"))
        assert follower.settles_at("A-USD", "B-USD")
    assert follower.cache.read() is None


def test_where_the_venues_list_cannot_be_had_what_was_recorded_goes_on(database: str, follower: Follower) -> None:
    known = Stream("trade", "A-USD"), Stream("trade", "B-USD")
    follower.cache.write(known)
    set_subscriptions(database, "venue", ["*-USD", "X-EUR"], TRADE, active=True)
    set_subscriptions(database, "venue", ["B-USD"], TRADE, active=True)
    set_subscriptions(database, "venue", ["B-USD"], TRADE, active=False)
    with follower.following(lambda: database):
        assert follower.settles_at("X-EUR", "A-USD")


def test_a_row_nobody_understands_costs_nothing_else(database: str, follower: Follower) -> None:
    set_subscriptions(database, "venue", ["top:many", "A-USD"], TRADE, active=True)
    with follower.following(lambda: database):
        assert follower.settles_at("A-USD")


def test_an_answer_that_cannot_be_kept_is_followed_all_the_same(database: str, tmp_path: Path) -> None:
    (tmp_path / "subscriptions").write_text("a file where the folder should be")
    follower = Follower(tmp_path)
    with follower.following(lambda: database, Wish("A-USD", TRADE)):
        assert follower.settles_at("A-USD")
        assert wait_until(lambda: rows(database) == 1, 30.0)
        set_subscriptions(database, "venue", ["B-USD"], TRADE, active=True)
        assert follower.settles_at("A-USD", "B-USD")


PRODUCT = (
    b'[{"id":"A-USD","base_currency":"A","quote_currency":"USD","quote_increment":"0.01","base_increment":"1",'
    b'"status":"online"}]'
)


def test_a_young_list_on_disk_is_taken_and_an_old_one_is_asked_for_anew(tmp_path: Path) -> None:
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


def test_volumes_that_are_missing_for_once_are_those_of_the_list_before(tmp_path: Path) -> None:
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
