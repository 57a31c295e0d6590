"""An invented venue passes the contract: what a new venue's own test file brings, and nothing more."""

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
import pytest
from contract import VenueContract
from tern import Tern

from recorder.venues import VENUES
from recorder.venues.base import Listing


@pytest.fixture(scope="module", autouse=True)
def known() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(VENUES, "tern", Tern)
        yield


class TestTern(VenueContract):
    name = "tern"
    symbols = ("AAA/USD", "BBB/USD")
    captures = ()
    listings: ClassVar[list[Listing]] = [Listing("AAA/USD", "AAA", "USD", "spot", "0.01", None, "open")]
    listing_body = msgspec.json.encode(listings)

    @staticmethod
    def trades_in(message: Any) -> int:
        return int(message["kind"] == "fills")
