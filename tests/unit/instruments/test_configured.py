"""Venues as the settings describe them."""

import pytest

from recorder.errors import ConfigError
from recorder.instruments.configured import make_venue
from recorder.settings import RestSettings, VenueSettings
from recorder.venues import VENUES


def test_without_settings_a_venue_has_its_own_limits() -> None:
    for name, kind in VENUES.items():
        venue = make_venue(name, VenueSettings())
        assert venue.limits == kind.limits
        assert venue.rest == kind.rest


def test_lower_limits_of_the_settings_replace_those_of_the_venue() -> None:
    rest = RestSettings(per_s=0.5, retries=1, failures_to_open=2, open_s=10)
    own = VenueSettings(streams_per_link=100, connects_per_minute=6, max_links=6, rest=rest)
    venue = make_venue("kraken", own)
    assert (venue.limits.streams_per_link, venue.limits.connects_per_minute) == (100, 6)
    assert (venue.rest.per_s, venue.rest.attempts, venue.rest.failures_to_open, venue.rest.open_s) == (0.5, 2, 2, 10)
    assert venue.limits.frames_per_s == VENUES["kraken"].limits.frames_per_s
    assert VENUES["kraken"].limits.streams_per_link == 300  # others of its kind are not changed


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        (VenueSettings(streams_per_link=301), "venues.kraken.streams_per_link = 301 is above .* at most 300 streams"),
        (VenueSettings(connects_per_minute=13), "venues.kraken.connects_per_minute = 13 is above .* at most 12"),
        (VenueSettings(max_links=13), "venues.kraken.max_links = 13 is above .* at most 12 connections"),
        (VenueSettings(max_links=5, processes=3), "venues.kraken.max_links x processes = 15 is above .* at most 12"),
        (VenueSettings(rest=RestSettings(per_s=1.5)), "venues.kraken.rest.per_s = 1.5 is above .* at most 1 units"),
    ],
)
def test_a_setting_above_the_limit_of_the_venue_is_refused_in_one_sentence(
    settings: VenueSettings, sentence: str
) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_venue("kraken", settings)


def test_a_simulated_venue_may_be_called_more_often() -> None:
    own = VenueSettings(url="ws://127.0.0.1:1/v2", connects_per_minute=6000, max_links=40)
    assert make_venue("kraken", own).limits.connects_per_minute == 6000
    asked = VenueSettings(rest_url="http://127.0.0.1:1", rest=RestSettings(per_s=1000))
    assert make_venue("kraken", asked).rest.per_s == 1000
    with pytest.raises(ConfigError, match="connects_per_minute"):
        make_venue("kraken", own.model_copy(update={"url": "ws://192.0.2.1/v2"}))
