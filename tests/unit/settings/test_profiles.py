"""Profiles record every venue, with symbols that the venue has."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest

from recorder.errors import ConfigError
from recorder.instruments.patterns import Pattern
from recorder.settings import Settings
from recorder.simulator.build import build
from recorder.truth import TruthLog
from recorder.venues import VENUES, venue_class

RECORDED = VENUES.keys() - {"coinbase_advanced"}  # a second dialect of a venue that is recorded
DEMO, LIVE = (Settings.load(Path(name), {}) for name in ("demo", "live"))


@pytest.mark.parametrize("settings", [DEMO, LIVE], ids=["demo", "live"])
def test_every_venue_is_recorded(settings: Settings) -> None:
    assert settings.venues.keys() == RECORDED
    assert all(venue.symbols and venue.enabled for venue in settings.venues.values())


@pytest.mark.parametrize("name", sorted(DEMO.venues))
def test_the_demo_uses_symbols_and_paths_that_the_simulated_venue_shares_with_the_real_one(name: str) -> None:
    venue, port, real = DEMO.venues[name], DEMO.simulator.ports[name], venue_class(name)
    fake, _, _ = build(name, truth=TruthLog(None), seed=DEMO.simulator.seed, rate=0, depth=20)
    assert set(venue.symbols) <= set(fake.symbols)
    assert venue.url == f"ws://127.0.0.1:{port}{urlsplit(real.url).path}"
    assert str(venue.rest_url).startswith(f"http://127.0.0.1:{port}")


def test_no_two_simulated_venues_share_a_port() -> None:
    ports = [*DEMO.simulator.ports.values(), DEMO.simulator.control_port, DEMO.database.port]
    assert len(set(ports)) == len(ports)


def test_the_live_profile_uses_public_endpoints_and_valid_patterns() -> None:
    for venue in LIVE.venues.values():
        assert venue.url is venue.rest_url is None
        assert all(Pattern.parse(symbol) for symbol in venue.symbols)
    assert not LIVE.simulator.enabled


def test_a_file_starts_from_a_profile_and_changes_what_it_names(tmp_path: Path) -> None:
    file = tmp_path / "tapedeck.toml"
    file.write_text('profile = "demo"\nport_base = 25000\n[venues.kraken]\nsymbols = ["ETH/USD"]\n')
    settings = Settings.load(file, {})
    assert settings.venues.keys() == DEMO.venues.keys()
    assert settings.venues["kraken"].symbols == ("ETH/USD",)
    assert settings.venues["kraken"].url == f"ws://127.0.0.1:{settings.simulator.ports['kraken']}/v2"
    assert settings.simulator.ports["kraken"] == DEMO.simulator.ports["kraken"] - DEMO.port_base + 25000
    origins = {key: origin for key, _, origin in settings.rows()}
    assert (origins["venues.kraken.symbols"], origins["venues.okx.symbols"]) == (str(file), "profile demo")
    assert settings.files_with_secrets() == []


def test_the_environment_may_name_the_profile_and_an_unknown_one_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tapedeck.toml"
    file.write_text("port_base = 25000\n")
    assert Settings.load(file, {}).venues == {}
    assert Settings.load(file, {"TAPEDECK__PROFILE": "live"}).venues == LIVE.venues
    file.write_text('profile = "dmeo"\n')
    with pytest.raises(ConfigError, match=r"starts from the profile 'dmeo'.*did you mean demo"):
        Settings.load(file, {})
