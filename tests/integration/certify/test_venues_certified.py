"""Certificates of hours of simulated venues: each grade where the guarantees say, and what no check lets pass."""

import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from support.certify.home import BEGIN_US, CertifiedHome, of_channel
from support.certify.simulated import SimulatedSession

from recorder.certify.check import check
from recorder.certify.database import opened
from recorder.certify.document import HOUR_US, Certificate, Grade, digest
from recorder.certify.make import Maker, graded
from recorder.certify.tape import StreamHour
from recorder.events import CHANNELS
from recorder.venues import VENUES

GRADES: dict[str, dict[str, Grade]] = {
    "kraken": {"trade": "proved", "quote": "claimed", "book": "proved"},
    "binance": {"trade": "proved", "quote": "claimed", "book": "consistent"},
    "bitfinex": {"trade": "proved", "quote": "proved", "book": "proved"},
    "figure": {"trade": "claimed", "quote": "claimed", "book": "claimed"},
}


class VenueHome(CertifiedHome):
    """A home of one simulated venue."""

    def __init__(self, folder: Path, url: str, name: str) -> None:
        super().__init__(folder, url)
        self.name = name
        self.recorder = self.journals / f"recorder-{name}"
        self.session = SimulatedSession(self.recorder, name)

    def certify(self, *, decode: bool = True, hours: int = 1) -> list[Certificate]:
        """Certify the first hours and store the certificates."""
        session = self.session
        now_us = BEGIN_US + 40 * HOUR_US
        wanted = [
            StreamHour(session.instrument_id, channel, BEGIN_US + hour * HOUR_US)
            for hour in range(hours)
            for channel in CHANNELS
        ]
        with opened(self.url) as database:
            database.snapshot()
            maker = Maker(database, self.journals, self.name, VENUES[self.name](), decode=decode)
            made, unsettled = maker.make({session.instrument_id: session.symbol}, wanted, now_us)
            assert not unsettled
            return database.store(made, now_us)


@pytest.fixture(params=sorted(GRADES))
def home(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> VenueHome:
    """An hour of a venue and four minutes more, recorded and loaded."""
    found = VenueHome(tmp_path, database, request.param)
    found.session.run(3600 + 300)
    found.session.close()
    found.load()
    return found


def faults_of(some: list[Certificate], journals: Path) -> list[list[str]]:
    return [result.faults for result in check(some, journals)]


def test_an_undisturbed_hour_has_the_grade_that_the_protocol_proves(home: VenueHome) -> None:
    made = home.certify()
    assert {one.channel: one.grade for one in made} == GRADES[home.name], [one.reasons for one in made]
    assert all(one.replay == "equal" and one.rows.stored > 10 for one in made)
    assert faults_of(made, home.journals) == [[], [], []]
    (book,) = of_channel(made, "book")
    assert bool(book.book.checksums_passed) == (home.name in ("kraken", "bitfinex"))
