"""Homes of simulated venues whose hours are certified, and forged certificates."""

import time
from pathlib import Path

import msgspec

from recorder.certify.check import check
from recorder.certify.database import opened
from recorder.certify.document import HOUR_US, Certificate, digest
from recorder.certify.make import Maker, graded
from recorder.certify.tape import StreamHour
from recorder.events import CHANNELS
from recorder.venues import VENUES
from support.certify.home import BEGIN_US, CertifiedHome
from support.certify.simulated import SimulatedSession


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
        now_us = time.time_ns() // 1000
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


def faults_of(some: list[Certificate], journals: Path) -> list[list[str]]:
    """Return what the check finds wrong with each certificate."""
    return [result.faults for result in check(some, journals)]


def forged(one: Certificate, **changes: object) -> Certificate:
    """Return a certificate with other facts, graded by the rules, and a hash that fits them."""
    changed = graded(msgspec.structs.replace(one, **changes, sha256=""))
    return msgspec.structs.replace(changed, sha256=digest(changed))
