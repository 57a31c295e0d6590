"""Which services the poller reports as failing too often to be asked."""

import random
import threading

import pytest
from support.misbehaving_rest import response, rest_server

from recorder.clock import SystemClock
from recorder.errors import RestUnavailable
from recorder.poller.services import ClientService, Services
from recorder.rest.client import RestClient
from recorder.venues.base import RestLimits


def test_a_circuit_is_reported_when_it_opens_though_no_request_was_refused_yet() -> None:
    limits = RestLimits(per_s=1000, burst=1000, attempts=1, failures_to_open=2)
    with rest_server(*[response("429 Too Many Requests", b"{}")] * 2) as server:
        client = RestClient("venue", server.url, limits, "test", threading.Event(), SystemClock(), random.Random())
        inner = ClientService(client)
        services = Services({"clob": inner})
        for expected in ([], ["clob"]):
            with pytest.raises(RestUnavailable):
                inner.ask("/books", b"")  # as another service asks it
            assert services.circuits == expected
        services.close()
