"""An invented venue passes the contract, with only the data that a new venue's test file provides."""

from collections.abc import Iterator
from typing import Any, ClassVar

import msgspec
import pytest
from support.venues.contract import VenueContract
from support.venues.tern import Tern

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
