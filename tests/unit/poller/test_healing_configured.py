"""The job `healing` as the settings describe it: which venues it heals, by which service, within which budget."""

import threading
from pathlib import Path

import pytest

from recorder.clock import ManualClock
from recorder.poller.healing.configured import NAME, healing_services, pages_of
from recorder.poller.healing.job import PERIOD_S
from recorder.poller.jobs import jobs_of
from recorder.settings import Settings
from recorder.venues import VENUES


def settings(home: Path, text: str) -> Settings:
    file = home / "tapedeck.toml"
    file.write_text(text)
    return Settings.load(file, {"TAPEDECK_HOME": str(home)})


def test_a_second_interface_heals_by_the_history_of_the_first(tmp_path: Path) -> None:
    services = healing_services(settings(tmp_path, "[venues.coinbase_advanced]\n"), threading.Event())
    assert {name: service.url for name, service in services.items()} == {
        "coinbase": "https://api.exchange.coinbase.com"
    }
    for service in services.values():
        service.close()
    both = settings(tmp_path, "[venues.coinbase]\n[venues.coinbase_advanced]\n")
    assert healing_services(both, threading.Event()) == {}, "the recorder's own service is asked"


def test_a_second_interface_at_another_address_asks_no_public_service(tmp_path: Path) -> None:
    own = settings(tmp_path, '[venues.coinbase_advanced]\nrest_url = "http://127.0.0.1:1"\n')
    assert healing_services(own, threading.Event()) == {}


def test_the_job_can_be_switched_off(tmp_path: Path) -> None:
    assert NAME in [job.name for job in jobs_of(settings(tmp_path, "[venues.kraken]\n"), ManualClock())]
    off = settings(tmp_path, f'[venues.kraken]\n[poller]\noff = ["{NAME}"]\n')
    assert NAME not in [job.name for job in jobs_of(off, ManualClock())]


@pytest.mark.parametrize("name", sorted(name for name, kind in VENUES.items() if kind.trade_history is not None))
def test_a_round_takes_a_quarter_of_the_budget_at_most_or_one_page(name: str) -> None:
    history = VENUES[name].trade_history
    assert history is not None
    pages = pages_of(VENUES[name].rest, history, PERIOD_S)
    cost = 25 if name == "binance" else 1
    assert pages == 1 or pages * cost <= VENUES[name].rest.per_s * PERIOD_S / 4
