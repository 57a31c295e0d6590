"""Rounds of discovery against simulated venues and a real database; the program as supervisord runs it."""

import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from misbehaving_rest import response, rest_server

from recorder.appliance import ROOT, wait_until
from recorder.catalog import CatalogFile
from recorder.clock import ManualClock
from recorder.discovery import Discovery, Source, merge
from recorder.errors import StoreUnavailable
from recorder.health import read_all
from recorder.rest import client_of
from recorder.simulator.build import VENUES as SIMULATED
from recorder.simulator.running import running
from recorder.store_instrument import Changes, store_listings
from recorder.venues import VENUES
from recorder.venues.base import Listing
from recorder.venues.coinbase import Coinbase

INTERVAL_S = 3600.0


def products(*symbols: str) -> bytes:
    rows = ",".join(
        f'{{"id":"{symbol}","base_currency":"A","quote_currency":"USD","quote_increment":"0.01",'
        f'"base_increment":"1","status":"online"}}'
        for symbol in symbols
    )
    return response(body=f"[{rows}]".encode())


NO_STATS = response(body=b"{}")


def discovery(
    home: Path, url: str, store: Callable[[str, list[Listing]], Changes], clock: ManualClock, stop: threading.Event
) -> Discovery:
    venue = Coinbase()
    source = Source(venue, client_of(venue, url, "tapedeck-test", stop), CatalogFile(home, "coinbase", url))
    return Discovery("coinbase", [source], store, INTERVAL_S, clock, random.Random(1))


def query(url: str, text: str) -> list[tuple[Any, ...]]:
    connection = psycopg2.connect(url)
    try:
        with connection, connection.cursor() as cursor:
            cursor.execute(text)
            return cursor.fetchall()
    finally:
        connection.close()


def test_a_round_an_hour_finds_what_is_new_and_what_vanished(tmp_path: Path, database: str) -> None:
    clock, stop = ManualClock(), threading.Event()
    with rest_server(products("A-USD", "B-USD"), NO_STATS, products("B-USD", "C-USD"), NO_STATS) as server:
        one = discovery(tmp_path, server.url, lambda name, rows: store_listings(database, name, rows), clock, stop)
        assert one.round(stop) == INTERVAL_S
        clock.advance(INTERVAL_S)
        assert one.round(stop) == INTERVAL_S
    found = query(database, "SELECT symbol, status FROM instrument ORDER BY symbol")
    assert found == [("A-USD", "delisted"), ("B-USD", "online"), ("C-USD", "online")]


def test_a_restart_within_the_hour_asks_the_venue_nothing(tmp_path: Path) -> None:
    clock, stop = ManualClock(), threading.Event()
    stored: list[int] = []

    def store(_name: str, listings: list[Listing]) -> Changes:
        stored.append(len(listings))
        return Changes(0, 0, 0)

    with rest_server(products("A-USD"), NO_STATS) as server:
        discovery(tmp_path, server.url, store, clock, stop).round(stop)
        clock.advance(600)
        assert discovery(tmp_path, server.url, store, clock, stop).round(stop) == INTERVAL_S - 600
    assert stored == [1, 1]
    assert len(server.requests) == 2


def test_while_the_database_is_away_the_list_is_on_disk_and_the_venue_is_not_asked_again(tmp_path: Path) -> None:
    clock, stop = ManualClock(), threading.Event()
    answers = [StoreUnavailable("down"), StoreUnavailable("down"), None]

    def store(_name: str, _listings: list[Listing]) -> Changes:
        error = answers.pop(0)
        if error is not None:
            raise error
        return Changes(1, 0, 0)

    with rest_server(products("A-USD"), NO_STATS) as server:
        one = discovery(tmp_path, server.url, store, clock, stop)
        assert one.round(stop) <= 5.0
        assert one.problem == "down"
        kept = CatalogFile(tmp_path, "coinbase", server.url).read()
        assert kept is not None
        assert [listing.symbol for listing in kept.listings] == ["A-USD"]
        assert one.round(stop) <= 10.0
        assert one.round(stop) == INTERVAL_S
        assert one.problem == ""
    assert len(server.requests) == 2


def test_a_venue_that_fails_is_a_problem_at_once_and_late_after_three_rounds(tmp_path: Path) -> None:
    clock, stop = ManualClock(), threading.Event()
    with rest_server(response("404 Gone", b"{}")) as server:
        one = discovery(tmp_path, server.url, lambda _name, _rows: Changes(0, 0, 0), clock, stop)
        assert 0 < one.round(stop) <= 5.0
        assert "HTTP 404" in one.problem
        assert not one.late
        clock.advance(3 * INTERVAL_S + 1)
        one.round(stop)
        assert one.late


def test_two_dialects_of_a_venue_do_not_delist_each_others_instruments(database: str) -> None:
    def row(symbol: str, tick: str) -> Listing:
        return Listing(symbol, "A", "USD", "spot", tick, None, "online")

    both = merge([[row("A-USD", "1"), row("B-USD", "1")], [row("B-USD", "2"), row("C-USD", "2")]])
    assert [(one.symbol, one.tick_size) for one in both] == [("A-USD", "1"), ("B-USD", "1"), ("C-USD", "2")]
    assert store_listings(database, "coinbase", both) == Changes(3, 0, 0)
    assert store_listings(database, "coinbase", both) == Changes(0, 0, 0)


@pytest.mark.parametrize("name", sorted(SIMULATED))
def test_every_simulated_venue_is_stored_with_its_sizes(name: str, tmp_path: Path, database: str) -> None:
    stop = threading.Event()
    venue = VENUES[name]()
    with running(name, truth=tmp_path / "truth.jsonl", rate=0) as simulated:
        client = client_of(venue, simulated.rest_url, "tapedeck-test", stop)
        source = Source(venue, client, CatalogFile(tmp_path, name, client.url))
        one = Discovery(
            venue.name, [source], lambda key, rows: store_listings(database, key, rows), INTERVAL_S,
            ManualClock(), random.Random(1),
        )  # fmt: skip
        assert one.round(stop) > 0
        client.close()
        assert one.problem == ""
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
        process = subprocess.Popen([sys.executable, str(ROOT / "bin" / "discovery")], env=environment)
        try:
            assert wait_until(lambda: _rounds(tmp_path) == {"coinbase": 1, "kraken": 1}, 30.0)
            assert read_all(tmp_path)["discovery"].state == "live"
            process.send_signal(signal.SIGTERM)
            assert process.wait(5) == 0
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
        [sys.executable, str(ROOT / "bin" / "discovery")],
        env=environment, capture_output=True, text=True, timeout=30, check=False,
    )  # fmt: skip
    assert result.returncode == 2
    assert "enables no venue" in result.stderr


def _rounds(home: Path) -> dict[str, int]:
    report = read_all(home).get("discovery")
    return {name: venue["rounds"] for name, venue in report.metrics["venues"].items()} if report else {}
