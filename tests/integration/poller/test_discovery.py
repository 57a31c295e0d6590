"""The job `discovery` against simulated venues and a real database, and the program as supervisord runs it."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from support.database_server import ROOT
from support.misbehaving_rest import response, rest_server
from support.poller.polling import Asking

from recorder.appliance.processes import wait_until
from recorder.clock import ManualClock
from recorder.errors import ConfigError, RestUnavailable, StoreUnavailable
from recorder.instruments.catalog import CatalogFile
from recorder.instruments.catalog_store import Changes, store_listings
from recorder.poller.discovery import Discovery, Source, merge
from recorder.process.health import PollerFigures, read_all
from recorder.simulator.build import VENUES as SIMULATED
from recorder.simulator.running import running
from recorder.venues import VENUES
from recorder.venues.base import Listing, Venue
from recorder.venues.coinbase.stream import Coinbase
from recorder.venues.kraken.stream import Kraken

PERIOD_S = 3600.0


def products(*symbols: str) -> bytes:
    rows = ",".join(
        f'{{"id":"{symbol}","base_currency":"A","quote_currency":"USD","quote_increment":"0.01",'
        f'"base_increment":"1","status":"online"}}'
        for symbol in symbols
    )
    return response(body=f"[{rows}]".encode())


NO_STATS = response(body=b"{}")

Store = Callable[[str, list[Listing]], Changes]


def discovery(home: Path, store: Store, clock: ManualClock, **venues: tuple[Venue, str]) -> Discovery:
    sources = {name: [Source(venue, name, url, CatalogFile(home, name, url))] for name, (venue, url) in venues.items()}
    return Discovery(sources, store, PERIOD_S, clock)


def query(url: str, text: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()
    finally:
        connection.close()


def test_a_round_an_hour_finds_what_is_new_and_what_vanished(tmp_path: Path, database: str) -> None:
    clock = ManualClock()
    with rest_server(products("A-USD", "B-USD"), NO_STATS, products("B-USD", "C-USD"), NO_STATS) as server:
        round = Asking(coinbase=server.url)
        one = discovery(
            tmp_path, lambda name, rows: store_listings(database, name, rows), clock, coinbase=(Coinbase(), server.url)
        )
        one.run(round)
        clock.advance(PERIOD_S)
        one.run(round)
    found = query(database, "SELECT symbol, status FROM instrument ORDER BY symbol")
    assert found == [("A-USD", "delisted"), ("B-USD", "online"), ("C-USD", "online")]
    assert len(round.kept) == 4, "every answer was kept"


def test_a_restart_within_half_an_hour_asks_the_venue_nothing(tmp_path: Path) -> None:
    clock = ManualClock()
    stored: list[int] = []

    def store(_name: str, listings: list[Listing]) -> Changes:
        stored.append(len(listings))
        return Changes(0, 0, 0)

    with rest_server(products("A-USD"), NO_STATS) as server:
        round = Asking(coinbase=server.url)
        discovery(tmp_path, store, clock, coinbase=(Coinbase(), server.url)).run(round)
        clock.advance(600)
        discovery(tmp_path, store, clock, coinbase=(Coinbase(), server.url)).run(round)
    assert stored == [1, 1]
    assert len(server.requests) == 2


@pytest.mark.parametrize("error", [StoreUnavailable("down"), ConfigError("the database refuses this login")])
def test_without_a_database_the_listing_is_on_disk_and_the_venue_is_not_asked_again(
    error: Exception, tmp_path: Path
) -> None:
    clock = ManualClock()
    answers: list[Exception | None] = [error, None]

    def store(_name: str, _listings: list[Listing]) -> Changes:
        problem = answers.pop(0)
        if problem is not None:
            raise problem
        return Changes(1, 0, 0)

    with rest_server(products("A-USD"), NO_STATS) as server:
        round = Asking(coinbase=server.url)
        one = discovery(tmp_path, store, clock, coinbase=(Coinbase(), server.url))
        with pytest.raises(StoreUnavailable, match=f"coinbase: {error}"):
            one.run(round)
        kept = CatalogFile(tmp_path, "coinbase", server.url).read()
        assert kept is not None
        assert [listing.symbol for listing in kept.listings] == ["A-USD"]
        assert one.run(round).state == "done"
    assert len(server.requests) == 2


def test_a_venue_that_fails_is_named_and_the_others_are_stored(tmp_path: Path) -> None:
    stored: list[str] = []

    def store(name: str, _listings: list[Listing]) -> Changes:
        stored.append(name)
        return Changes(0, 0, 0)

    with rest_server(response("403 Forbidden", b"{}")) as gone, rest_server(products("A-USD"), NO_STATS) as server:
        one = discovery(tmp_path, store, ManualClock(), kraken=(Kraken(), gone.url), coinbase=(Coinbase(), server.url))
        with pytest.raises(RestUnavailable, match=r"kraken: .* HTTP 403"):
            one.run(Asking(kraken=gone.url, coinbase=server.url))
    assert stored == ["coinbase"]


def test_a_hanging_database_does_not_keep_the_program_from_its_end(tmp_path: Path) -> None:
    hanging, released = threading.Event(), threading.Event()

    def store(_name: str, _listings: list[Listing]) -> Changes:
        hanging.set()
        released.wait(60)
        return Changes(0, 0, 0)

    with rest_server(products("A-USD"), NO_STATS) as server:
        round = Asking(coinbase=server.url)
        one = discovery(tmp_path, store, ManualClock(), coinbase=(Coinbase(), server.url))

        def stop_when_it_hangs() -> None:
            hanging.wait(30)
            round.stop.set()

        stopper = threading.Thread(target=stop_when_it_hangs)
        stopper.start()
        with pytest.raises(StoreUnavailable, match="the program stops"):
            one.run(round)
        stopper.join()
        released.set()


def test_two_dialects_of_a_venue_do_not_delist_each_others_instruments(database: str) -> None:
    def row(symbol: str, tick: str) -> Listing:
        return Listing(symbol, "A", "USD", "spot", tick, None, "online")

    both = merge([[row("A-USD", "1"), row("B-USD", "1")], [row("B-USD", "2"), row("C-USD", "2")]])
    assert [(one.symbol, one.tick_size) for one in both] == [("A-USD", "1"), ("B-USD", "1"), ("C-USD", "2")]
    assert store_listings(database, "coinbase", both) == Changes(3, 0, 0)
    assert store_listings(database, "coinbase", both) == Changes(0, 0, 0)


@pytest.mark.parametrize("name", sorted(SIMULATED))
def test_every_simulated_venue_is_stored_with_its_sizes(name: str, tmp_path: Path, database: str) -> None:
    venue = VENUES[name]()
    with running(name, truth=tmp_path / "truth.jsonl", rate=0) as simulated:
        url = simulated.rest_url
        sources = {venue.name: [Source(venue, name, url, CatalogFile(tmp_path, name, url))]}
        one = Discovery(sources, lambda key, rows: store_listings(database, key, rows), PERIOD_S, ManualClock())
        assert one.run(Asking(**{name: url})).state == "done"
        symbols = set(simulated.venue.symbols)
    found = query(database, f"SELECT symbol, base, quote, kind, status FROM instrument WHERE venue = '{venue.name}'")
    assert symbols <= {row[0] for row in found}
    assert all(all(row[1:]) for row in found)
    assert query(database, "SELECT count(*) FROM instrument_history") == [(len(found),)]


def test_the_program_lists_all_venues_and_stops_at_once(tmp_path: Path, database: str) -> None:
    config = tmp_path / "two.toml"
    config.write_text("[venues.coinbase]\n[venues.kraken]\n")
    with (
        running("coinbase", truth=tmp_path / "c.jsonl", rate=0) as coinbase,
        running("kraken", truth=tmp_path / "k.jsonl", rate=0) as kraken,
    ):
        environment = {
            **os.environ, "TAPEDECK_HOME": str(tmp_path), "TAPEDECK_CONFIG": str(config), "DATABASE_URL": database,
            "TAPEDECK__VENUES__COINBASE__REST_URL": coinbase.rest_url,
            "TAPEDECK__VENUES__KRAKEN__REST_URL": kraken.rest_url,
        }  # fmt: skip
        process = subprocess.Popen([sys.executable, str(ROOT / "bin" / "poller")], env=environment)
        try:
            assert wait_until(lambda: _last(tmp_path) in ("done", "late"), 60.0)
            assert read_all(tmp_path)["poller"].state == "live"
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0
        finally:
            process.kill()
            process.wait()
    found = query(database, "SELECT venue, count(*) FROM instrument GROUP BY venue ORDER BY venue")
    assert found == [("coinbase", len(coinbase.venue.symbols)), ("kraken", len(kraken.venue.symbols))]
    assert {path.name for path in (tmp_path / "listings").iterdir()} == {"coinbase.json", "kraken.json"}


def test_without_a_venue_the_program_says_so_and_ends_with_2(tmp_path: Path) -> None:
    (tmp_path / "none.toml").write_text("")
    environment = {**os.environ, "TAPEDECK_HOME": str(tmp_path), "TAPEDECK_CONFIG": str(tmp_path / "none.toml")}
    result = subprocess.run(
        [sys.executable, str(ROOT / "bin" / "poller")],
        env=environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert "enables no venue" in result.stderr


def _last(home: Path) -> str:
    report = read_all(home).get("poller")
    figures = report.figures if report else None
    return figures.jobs["discovery"].last_state if isinstance(figures, PollerFigures) else ""
